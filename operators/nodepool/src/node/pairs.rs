//! A map of texts in one allocation.

/// Keys and values as `KEY=LENGTH:VALUE`, one after the other. No key may contain `=`; a value may contain
/// anything. A map of the same texts takes several times the room.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Pairs(Box<str>);

impl Pairs {
    /// The value under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// All of them, in the order in which they were given.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (key, after) = rest.split_once('=')?;
            let (length, after) = after.split_once(':')?;
            let (value, after) = after.split_at_checked(length.parse().ok()?)?;
            rest = after;
            Some((key, value))
        })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Pairs {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        let pair = |(key, value): (K, V)| {
            let (key, value) = (key.as_ref(), value.as_ref());
            format!("{key}={}:{value}", value.len())
        };
        Self(pairs.into_iter().map(pair).collect::<String>().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::Pairs;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_is_what_was_given(map in btree_map("[^=]{1,6}", "(?s).{0,9}", 0..6)) {
            let pairs: Pairs = map.iter().collect();
            let kept = pairs.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(&map, &kept);
            for (key, value) in &map {
                prop_assert_eq!(pairs.get(key), Some(value.as_str()));
            }
            prop_assert_eq!(pairs.get("="), None);
        }
    }
}
