//! Texts with rules of their own as types: what exists is well formed.

use std::{borrow::Borrow, fmt};

/// Longest name part of a key, and longest value.
const NAME_LIMIT: usize = 63;
/// Longest DNS subdomain.
const SUBDOMAIN_LIMIT: usize = 253;

/// A label key by Kubernetes' rules: an optional DNS prefix, `/`, and a name of at most 63 characters.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LabelKey(String);

/// A label value by Kubernetes' rules: empty, or a name of at most 63 characters.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct LabelValue(String);

/// The name of a node by Kubernetes' rules: a DNS subdomain.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NodeName(String);

/// What is wrong with a text, as the rest of a sentence that begins with its field.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Syntax {
    /// It is no name of a label key, and no label value.
    #[error("must have at most 63 letters, digits, -, _ or ., with a letter or digit at both ends")]
    Name,
    /// It is no DNS subdomain.
    #[error("must be a DNS name: at most 253 lower-case letters, digits, - or .")]
    Subdomain,
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

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LabelValue {
    /// Checks `value` and keeps it.
    pub fn try_new(value: impl Into<String>) -> Result<Self, Syntax> {
        let value = value.into();
        if value.is_empty() || is_name(&value) { Ok(Self(value)) } else { Err(Syntax::Name) }
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// Checks `name` and keeps it.
    pub fn try_new(name: impl Into<String>) -> Result<Self, Syntax> {
        let name = name.into();
        if is_subdomain(&name) { Ok(Self(name)) } else { Err(Syntax::Subdomain) }
    }
}

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

fn has_alphanumeric_ends(text: &str) -> bool {
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_alphanumeric(text.as_bytes().first()) && is_alphanumeric(text.as_bytes().last())
}

#[cfg(test)]
mod tests;
