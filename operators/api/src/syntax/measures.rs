//! Texts that say how much or how long, as Kubernetes' own configuration files spell them.

use std::time;

use super::{Syntax, is_number};

/// What a unit of a [`Duration`] is in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Most numbers in a [`Duration`], and most digits in one of them.
const NUMBERS_LIMIT: usize = 4;
const DIGITS_LIMIT: usize = 5;
/// Longest [`Quantity`].
pub(crate) const QUANTITY_LENGTH: usize = 32;
/// What a number of a [`Quantity`] may be followed by.
const SUFFIXES: [&str; 14] = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A span of time as the Gateway API writes it (GEP-2257): what every reader of Go's format takes, without
/// signs and fractions.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Duration(time::Duration);

/// What a number of a [`Size`] may be followed by.
const SIZE_SUFFIXES: [&str; 6] = ["k", "M", "G", "Ki", "Mi", "Gi"];
/// Most digits of a [`Size`], without such a suffix and with one. A reader of Kubernetes keeps only those as a number of
/// 64 bits that surely fit: these do.
pub(crate) const SIZE_DIGITS: (usize, usize) = (15, 5);

/// An amount of a resource, not negative.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quantity(String);

/// A number of bytes that the kubelet can count: it has no fraction, and fits into 64 bits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Size(String);

/// What the kubelet compares a free resource with: a [`Quantity`] that is not 0, or a percentage below 100.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Threshold(String);

impl Duration {
    /// Reads `text`.
    pub fn try_new(text: &str) -> Result<Self, Syntax> {
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
        let units = text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty());
        let is_paired = (1..=NUMBERS_LIMIT).contains(&numbers.clone().count())
            && numbers.clone().count() == units.clone().count()
            && text.starts_with(|c: char| c.is_ascii_digit());
        if !is_paired {
            return Err(Syntax::Duration);
        }
        let milliseconds = numbers.zip(units).map(milliseconds).sum::<Option<u64>>();
        milliseconds
            .map(|milliseconds| Self(time::Duration::from_millis(milliseconds)))
            .ok_or(Syntax::Duration)
    }

    /// How long it is.
    pub fn get(self) -> time::Duration {
        self.0
    }
}

impl Quantity {
    /// Checks `text` and keeps it.
    pub fn try_new(text: impl Into<String>) -> Result<Self, Syntax> {
        let text = text.into();
        if is_quantity(&text) { Ok(Self(text)) } else { Err(Syntax::Quantity) }
    }
}

impl Size {
    /// Checks `text` and keeps it.
    pub fn try_new(text: impl Into<String>) -> Result<Self, Syntax> {
        let text = text.into();
        if is_size(&text) { Ok(Self(text)) } else { Err(Syntax::Size) }
    }
}

impl Threshold {
    /// Checks `text` and keeps it.
    pub fn try_new(text: impl Into<String>) -> Result<Self, Syntax> {
        let text = text.into();
        let fits = match text.strip_suffix('%') {
            Some(percentage) => is_percentage(percentage),
            None => is_quantity(&text) && text.contains(|c: char| matches!(c, '1'..='9')),
        };
        if fits { Ok(Self(text)) } else { Err(Syntax::Threshold) }
    }
}

fn milliseconds((number, unit): (&str, &str)) -> Option<u64> {
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= DIGITS_LIMIT)?;
    Some(number * factor)
}

fn is_quantity(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text.strip_prefix(number);
    text.len() <= QUANTITY_LENGTH
        && is_decimal(number)
        && suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix))
}

fn is_size(text: &str) -> bool {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (alone, with_suffix) = SIZE_DIGITS;
    let most = match text.strip_prefix(number) {
        Some("") => alone,
        Some(suffix) if SIZE_SUFFIXES.contains(&suffix) => with_suffix,
        Some(_) | None => 0,
    };
    is_number(number) && number.len() <= most
}

fn is_percentage(text: &str) -> bool {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    text.len() < QUANTITY_LENGTH && whole.len() <= 2 && is_decimal(text)
}

/// Digits, with more of them behind a point or not.
fn is_decimal(text: &str) -> bool {
    text.split_once('.')
        .map_or_else(|| is_number(text), |(whole, fraction)| is_number(whole) && is_number(fraction))
}

#[cfg(test)]
mod tests;
