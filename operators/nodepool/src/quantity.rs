//! Exact sums of quantities, written as Kubernetes writes them.
//!
//! `kube_quantity` 0.9, the kept crate for this, reads through `f64`, prints `1Gi` plus `500m` a thousand times
//! too small, and panics on `1E`: it is not used.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The smallest part of a quantity that Kubernetes keeps is a billionth.
const ONE: i128 = 1_000_000_000;
/// What a suffix multiplies with, in billionths, the largest first; the plain number has none.
const DECIMAL: [(&str, i128); 10] = [
    ("E", ONE * 1_000_000_000_000_000_000),
    ("P", ONE * 1_000_000_000_000_000),
    ("T", ONE * 1_000_000_000_000),
    ("G", ONE * 1_000_000_000),
    ("M", ONE * 1_000_000),
    ("k", ONE * 1_000),
    ("", ONE),
    ("m", ONE / 1_000),
    ("u", ONE / 1_000_000),
    ("n", 1),
];
/// Likewise.
const BINARY: [(&str, i128); 7] = [
    ("Ei", ONE << 60),
    ("Pi", ONE << 50),
    ("Ti", ONE << 40),
    ("Gi", ONE << 30),
    ("Mi", ONE << 20),
    ("Ki", ONE << 10),
    ("", ONE),
];

/// One sum for each resource.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sums(BTreeMap<String, Sum>);

/// Nothing where a part could not be read, or the whole is too large: no sum is better than a wrong one.
type Sum = Option<Amount>;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Amount {
    billionths: i128,
    form: Form,
}

/// How an amount is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Form {
    #[default]
    Decimal,
    Binary,
}

impl Sums {
    /// Adds what one node has.
    pub(crate) fn add<'a>(&mut self, resources: impl Iterator<Item = (&'a str, &'a str)>) {
        for (name, quantity) in resources {
            let before = self.0.get(name).copied().unwrap_or_else(|| Some(Amount::default()));
            let sum = before.zip(Amount::read(quantity)).and_then(|(sum, amount)| sum.plus(amount));
            match self.0.get_mut(name) {
                Some(known) => *known = sum,
                None => drop(self.0.insert(name.to_owned(), sum)),
            }
        }
    }

    /// The first `limit` sums: of the resources of Kubernetes, then of the others, by their names.
    pub(crate) fn first(&self, limit: usize) -> BTreeMap<String, Quantity> {
        let known = self.0.iter().filter_map(|(name, sum)| Some((name, sum.as_ref()?)));
        let (own, of_others): (Vec<_>, Vec<_>) = known.partition(|(name, _)| is_of_kubernetes(name));
        let first = own.into_iter().chain(of_others).take(limit);
        first.map(|(name, sum)| (name.clone(), Quantity(sum.text()))).collect()
    }
}

/// Whether every node has the resource, such as cpu; those of devices have a domain.
pub(crate) fn is_of_kubernetes(resource: &str) -> bool {
    !resource.contains('/')
}

impl Amount {
    fn read(text: &str) -> Option<Self> {
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(end)?;
        let known = |table: &[(&str, i128)]| {
            table.iter().find(|(name, _)| *name == suffix).map(|(_, factor)| *factor)
        };
        let (factor, form) = match (known(&DECIMAL), known(&BINARY)) {
            (Some(factor), _) => (factor, Form::Decimal),
            (None, Some(factor)) => (factor, Form::Binary),
            (None, None) => (exponent(suffix)?, Form::Decimal),
        };
        Some(Self { billionths: scaled(number, factor)?, form })
    }

    /// The sum is written like its first part that is not nothing, as Kubernetes does it.
    fn plus(self, other: Self) -> Option<Self> {
        let form = if self.billionths == 0 { other.form } else { self.form };
        Some(Self { billionths: self.billionths.checked_add(other.billionths)?, form })
    }

    /// With the largest suffix that needs no point. A small binary amount, and one with a fraction, is written
    /// with decimal suffixes.
    fn text(self) -> String {
        let Self { billionths, form } = self;
        let is_binary = form == Form::Binary && billionths.abs() >= BINARY_LEAST && billionths % ONE == 0;
        let table: &[(&str, i128)] = if is_binary { &BINARY } else { &DECIMAL };
        let fits = |(_, factor): &&(&str, i128)| billionths % factor == 0;
        match table.iter().find(fits) {
            Some((suffix, factor)) if billionths != 0 => format!("{}{suffix}", billionths / factor),
            _ => "0".to_owned(),
        }
    }
}

/// Least amount that is written with a binary suffix.
const BINARY_LEAST: i128 = ONE << 10;

/// The factor of `e3` or `E-3`.
fn exponent(suffix: &str) -> Option<i128> {
    let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    match u32::try_from(power) {
        Ok(_) => ONE.checked_mul(factor),
        // What is smaller than the smallest part has no factor.
        Err(_) => Some(ONE / factor).filter(|factor| *factor > 0),
    }
}

/// `number`, which may have a sign and a point, times `factor`. What is below the smallest part is rounded up, away
/// from nothing, as Kubernetes does it.
fn scaled(number: &str, factor: i128) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let power = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let all = read_digits(whole)?.checked_mul(power)?.checked_add(read_digits(fraction)?)?;
    let product = all.checked_mul(factor)?;
    Some(sign * (product / power + i128::from(product % power != 0)))
}

fn read_digits(digits: &str) -> Option<i128> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() { Some(0) } else { digits.parse().ok().filter(|_| is_number) }
}

#[cfg(test)]
mod tests;
