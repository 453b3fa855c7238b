//! A few names of many nodes, small whatever the number and length.

use std::fmt;

use stowage_api::node_pool::SAMPLE_LIMIT;

/// Most bytes of the names together: lists in a status must stay small for names of 253 bytes too.
const BYTES_LIMIT: usize = 256;

/// How many nodes, and the first few names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    count: usize,
    first: Vec<String>,
}

impl Names {
    /// No node.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many nodes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The first names: at most 10, and at most 256 bytes. One that is longer alone is cut, so that there always is
    /// one.
    pub fn first(&self) -> &[String] {
        &self.first
    }

    /// One more node. They come in the order of their names.
    pub(crate) fn push(&mut self, name: &str) {
        let bytes: usize = self.first.iter().map(String::len).sum();
        // Without a gap: once a name has not fitted, no later one is shown.
        let fits = self.count < SAMPLE_LIMIT && bytes + name.len() <= BYTES_LIMIT;
        if self.count == 0 {
            self.first.push(shortened(name));
        } else if fits && self.first.len() == self.count {
            self.first.push(name.to_owned());
        }
        self.count += 1;
    }
}

impl<'a> FromIterator<&'a str> for Names {
    /// They come in the order of their names.
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.push(name));
        all
    }
}

impl fmt::Display for Names {
    /// `a, b, c and 9 more`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first.join(", "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// `name` in the room for all.
fn shortened(name: &str) -> String {
    const MORE: &str = "...";
    if name.len() <= BYTES_LIMIT {
        return name.to_owned();
    }
    let ends = name.char_indices().map(|(start, sign)| start + sign.len_utf8());
    let fitting = ends.take_while(|end| *end + MORE.len() <= BYTES_LIMIT).count();
    name.chars().take(fitting).chain(MORE.chars()).collect()
}

/// `1 node`, `2 nodes`
pub(crate) fn counted<N: Copy + fmt::Display + From<u8> + PartialEq>(count: N, thing: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

#[cfg(test)]
mod tests;
