//! What becomes of one key of a node: a label, an annotation, a taint or one of the two of the cordon.
//!
//! The whole of ownership is this one function. It reads what the ledger says about the key, what is on the
//! node, and what the pool asks for; it tells what shall be on the node, and what the ledger shall say. With its
//! own answer as input it answers the same: one pass is enough.

use stowage_api::node_pool::ConflictPolicy;

use crate::ledger::{Entry, Owned, Placing};

/// What a pool asks of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wish {
    /// The value.
    pub(crate) value: String,
    /// When it is put.
    pub(crate) placing: Placing,
}

/// What holds for every key of a node alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Terms {
    /// The policy under which the entries of the ledger were written. It decides about what a hand did since.
    pub(crate) was: ConflictPolicy,
    /// The policy of the pool that the node belongs to from now on.
    pub(crate) is: ConflictPolicy,
    /// Whether the node is new to that pool.
    pub(crate) arrival: Arrival,
}

/// Whether a node is new to a pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// It joins now.
    Joins,
    /// It was a member before.
    Stays,
}

/// What a key shall be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Settled {
    /// The value on the node; nothing where the key shall not be there.
    pub(crate) value: Option<String>,
    /// What the ledger says about it.
    pub(crate) entry: Option<Entry>,
}

/// Whose a key is before anything is decided.
pub(crate) enum Title<'a> {
    /// Nobody has set it for a pool.
    None,
    /// The pool that the ledger names.
    Held(&'a Owned),
    /// A hand took it, and the policy leaves it to the hand.
    Yielded,
    /// It was put once, or where nothing was, and somebody has taken it over: as if it had never been ours.
    Spent,
}

/// What the key shall be, and what the ledger shall say about it.
pub(crate) fn settle(
    entry: Option<&Entry>,
    live: Option<&str>,
    wish: Option<&Wish>,
    terms: Terms,
) -> Settled {
    let title = Title::of(entry, live, terms.was);
    let base = title.base(live);
    let Some(wish) = wish else { return Settled::left(base) };
    match (wish.placing, terms.arrival, title) {
        (Placing::Always | Placing::IfAbsent, Arrival::Stays, Title::Yielded)
            if terms.is == ConflictPolicy::Yield =>
        {
            Settled { value: live.map(str::to_owned), entry: Some(Entry::Yielded) }
        }
        (Placing::Always, _, _) | (Placing::Once, Arrival::Joins, _) => Settled::owned(wish, base),
        (Placing::IfAbsent, _, _) if base.is_none() => Settled::owned(wish, base),
        (Placing::IfAbsent, _, _) => Settled::left(base),
        // What has been put once stays as it was put, also when the spec says another value since.
        (Placing::Once, Arrival::Stays, Title::Held(owned)) => Settled {
            value: Some(owned.set.clone()),
            entry: Some(Entry::Owned(Owned { placing: Placing::Once, ..owned.clone() })),
        },
        (Placing::Once, Arrival::Stays, Title::None | Title::Yielded | Title::Spent) => Settled::left(live),
    }
}

/// What the key would be without any pool.
pub(crate) fn base<'a>(
    entry: Option<&'a Entry>,
    live: Option<&'a str>,
    was: ConflictPolicy,
) -> Option<&'a str> {
    Title::of(entry, live, was).base(live)
}

impl<'a> Title<'a> {
    pub(crate) fn of(entry: Option<&'a Entry>, live: Option<&str>, was: ConflictPolicy) -> Self {
        let owned = match entry {
            None => return Self::None,
            Some(Entry::Yielded) => return Self::Yielded,
            Some(Entry::Owned(owned)) => owned,
        };
        if live == Some(&owned.set) {
            return Self::Held(owned);
        }
        match (owned.placing, was) {
            // A zone that somebody gave to the node is theirs; one that somebody took away is absent, and put anew.
            (Placing::Once, ConflictPolicy::Enforce | ConflictPolicy::Yield)
            | (Placing::IfAbsent, ConflictPolicy::Enforce) => Self::Spent,
            (Placing::Always | Placing::IfAbsent, ConflictPolicy::Yield) => Self::Yielded,
            (Placing::Always, ConflictPolicy::Enforce) => Self::Held(owned),
        }
    }

    /// What the key would be without any pool.
    pub(crate) fn base<'b>(&self, live: Option<&'b str>) -> Option<&'b str>
    where
        'a: 'b,
    {
        match self {
            Self::Held(owned) => owned.replaced.as_deref(),
            Self::None | Self::Yielded | Self::Spent => live,
        }
    }
}

impl Settled {
    /// The key is not ours.
    fn left(value: Option<&str>) -> Self {
        Self { value: value.map(str::to_owned), entry: None }
    }

    fn owned(wish: &Wish, base: Option<&str>) -> Self {
        let Wish { value, placing } = wish;
        let owned = Owned { set: value.clone(), replaced: base.map(str::to_owned), placing: *placing };
        Self { value: Some(value.clone()), entry: Some(Entry::Owned(owned)) }
    }
}

#[cfg(test)]
mod tests;
