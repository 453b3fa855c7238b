//! Texts with rules of their own as types: what exists is well formed.

pub(crate) mod measures;

use std::borrow::Borrow;

pub use self::measures::{Duration, Quantity, Size, Threshold};

/// Longest name part of a key, and longest value.
const NAME_LIMIT: usize = 63;
/// Longest DNS subdomain, and longest name of a sysctl.
const SUBDOMAIN_LIMIT: usize = 253;
/// The sysctl that belongs to a pod by its whole name.
const SYSCTL: &str = "kernel.sem";
/// What the other sysctls that belong to a pod begin with: the kubelet does not start with any other.
const SYSCTL_PREFIXES: [&str; 4] = ["kernel.shm", "kernel.msg", "fs.mqueue.", "net."];

/// A label key by Kubernetes' rules: an optional DNS prefix, `/`, and a name of at most 63 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LabelKey(String);

/// A label value by Kubernetes' rules: empty, or a name of at most 63 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LabelValue(String);

/// The name of a node by Kubernetes' rules: a DNS subdomain.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NodeName(String);

/// A sysctl that the kubelet can let a pod set, or all that begin with a text and a star.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sysctl(String);

/// What is wrong with a text, as the rest of a sentence that begins with its field.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Syntax {
    /// It is no name of a label key, and no label value.
    #[error("must have at most 63 letters, digits, -, _ or ., with a letter or digit at both ends")]
    Name,
    /// It is no DNS subdomain.
    #[error("must be a DNS name: at most 253 lower-case letters, digits, - or .")]
    Subdomain,
    /// It is no span of time.
    #[error("must be 1 to 4 numbers of at most 5 digits, each with h, m, s or ms, such as 15m or 1h30m")]
    Duration,
    /// It is no quantity.
    #[error("must be a quantity that is not negative, such as 500m, 2 or 512Mi")]
    Quantity,
    /// It is no number of bytes.
    #[error(
        "must be a whole number of bytes of at most 15 digits, or 5 with k, M, G, Ki, Mi or Gi: write 10Mi"
    )]
    Size,
    /// It is no quantity and no percentage.
    #[error("must be a quantity of more than 0 or a percentage below 100, such as 200Mi or 5%")]
    Threshold,
    /// It is no sysctl that a pod can have for itself.
    #[error(
        "must be kernel.sem or begin with kernel.shm, kernel.msg, fs.mqueue. or net., in dots, with or without a \
         star at the end"
    )]
    Sysctl,
}

impl LabelKey {
    /// Checks `key` and keeps it.
    pub fn try_new(key: impl Into<String>) -> Result<Self, Syntax> {
        let key = key.into();
        let name = match key.split_once('/') {
            Some((prefix, _)) if !is_subdomain(prefix) => return Err(Syntax::Subdomain),
            Some((_, name)) => name,
            None => &key,
        };
        if is_name(name) { Ok(Self(key)) } else { Err(Syntax::Name) }
    }
}

impl LabelValue {
    /// Checks `value` and keeps it.
    pub fn try_new(value: impl Into<String>) -> Result<Self, Syntax> {
        let value = value.into();
        if value.is_empty() || is_name(&value) { Ok(Self(value)) } else { Err(Syntax::Name) }
    }
}

impl NodeName {
    /// Checks `name` and keeps it.
    pub fn try_new(name: impl Into<String>) -> Result<Self, Syntax> {
        let name = name.into();
        if is_subdomain(&name) { Ok(Self(name)) } else { Err(Syntax::Subdomain) }
    }
}

impl Sysctl {
    /// Checks `pattern` and keeps it.
    pub fn try_new(pattern: impl Into<String>) -> Result<Self, Syntax> {
        let pattern = pattern.into();
        let is_a_pods_own =
            pattern == SYSCTL || SYSCTL_PREFIXES.iter().any(|prefix| pattern.starts_with(prefix));
        if is_a_pods_own && is_sysctl(&pattern) { Ok(Self(pattern)) } else { Err(Syntax::Sysctl) }
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_LIMIT
        && has_alphanumeric_ends(text)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_LIMIT
        && text.split('.').all(|label| {
            has_alphanumeric_ends(label)
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

/// Names in lower case with dots between them; a star may stand for the rest of the last one.
fn is_sysctl(text: &str) -> bool {
    let (parents, last) = text.rsplit_once('.').unwrap_or(("", text));
    let is_part = |part: &str| {
        has_alphanumeric_ends(part)
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    // What stands before a star may end with any sign.
    let is_last = |last: &str| {
        last.strip_suffix('*').map_or_else(|| is_part(last), |start| is_part(&format!("{start}0")))
    };
    text.len() <= SUBDOMAIN_LIMIT && parents.split('.').all(is_part) && is_last(last)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_alphanumeric_ends(text: &str) -> bool {
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_alphanumeric(text.as_bytes().first()) && is_alphanumeric(text.as_bytes().last())
}

#[cfg(test)]
mod tests;
