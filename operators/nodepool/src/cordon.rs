//! The cordon of a node: two keys, one over the other.
//!
//! Beneath lies what `cordonOnJoin` has put. Over it lies what `unschedulable` or a drain asks for, and when that ends
//! the node is what it is beneath.

use stowage_api::node_pool::ConflictPolicy;

use crate::{
    ledger::{Entry, Ledger, Owned, Placing},
    node::CORDONED,
    settle::{Settled, Terms, Title, Wish, settle},
};

/// What a pool asks of the cordon.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct CordonWish {
    /// When a node joins.
    pub(crate) on_join: bool,
    /// At all times.
    pub(crate) always: bool,
    /// What becomes of it when a hand changes it.
    pub(crate) policy: ConflictPolicy,
}

/// What the ledger says about both keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct CordonEntries {
    pub(crate) above: Option<Entry>,
    pub(crate) beneath: Option<Entry>,
}

/// What the cordon shall be, and what the ledger shall say about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cordon {
    /// The value on the node; nothing where it shall not be cordoned.
    pub(crate) value: Option<String>,
    pub(crate) entries: CordonEntries,
}

impl CordonEntries {
    /// One that is alone stands in the place that every reader knows.
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let (cordon, beneath) = (ledger.cordon.clone(), ledger.cordon_beneath.clone());
        match &cordon {
            Some(Entry::Owned(Owned { placing: Placing::Once, .. })) => Self { above: None, beneath: cordon },
            Some(Entry::Owned(_) | Entry::Yielded) | None => Self { above: cordon, beneath },
        }
    }

    /// `ledger` with these entries.
    pub(crate) fn written_to(self, ledger: Ledger) -> Ledger {
        let Self { above, beneath } = self;
        let (cordon, cordon_beneath) = if above.is_some() { (above, beneath) } else { (beneath, None) };
        Ledger { cordon, cordon_beneath, ..ledger }
    }
}

impl Cordon {
    /// The same for the cordon as [`settle`] for a key.
    pub(crate) fn settle(before: CordonEntries, live: Option<&str>, wish: CordonWish, terms: Terms) -> Self {
        let terms = Terms { is: wish.policy, ..terms };
        let asked = |is_asked: bool, placing| is_asked.then(|| Wish { value: CORDONED.to_owned(), placing });
        let CordonEntries { above, beneath } = before;
        let title = Title::of(above.as_ref(), live, terms.was);
        let on_join = asked(wish.on_join, Placing::Once);
        let Settled { value, entry: beneath } =
            settle(beneath.as_ref(), title.base(live), on_join.as_ref(), terms);
        let (above, live) = match title {
            Title::Held(owned) => {
                (Some(Entry::Owned(Owned { replaced: value, ..owned.clone() })), live.map(str::to_owned))
            }
            Title::Yielded => (Some(Entry::Yielded), value),
            Title::None | Title::Spent => (None, value),
        };
        let always = asked(wish.always, Placing::Always);
        let Settled { value, entry: above } = settle(above.as_ref(), live.as_deref(), always.as_ref(), terms);
        Self { value, entries: CordonEntries { above, beneath } }
    }
}

#[cfg(test)]
mod tests;
