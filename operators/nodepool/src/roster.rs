//! All pools of the cluster in the order in which nodes are given to them.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::{NodePool, keys::NODEPOOL_LABEL};

use crate::{
    ledger::Record,
    node::Node,
    validate::{Precedence, Valid, validate},
};

/// All pools, compiled once for any number of nodes. Build a new one after each change of a pool.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Pools that are accepted and not being deleted, first come first served.
    competing: Vec<Valid>,
    /// Pools that are not accepted or not readable: they keep what they have, and get nothing.
    frozen: BTreeSet<String>,
    /// Pools that are being deleted: they give away what they have.
    leaving: BTreeSet<String>,
    /// The label keys that decide anything.
    selector_keys: BTreeSet<String>,
}

/// What a node brings to the question whose it is.
pub(crate) struct Candidate<'a> {
    pub(crate) node: &'a Node,
    pub(crate) record: Record,
    /// Its labels without what pools have set, as far as a selector asks for them.
    base: BTreeMap<String, String>,
}

impl Roster {
    /// Sorts `pools` by what they may do; `unreadable` are the names of those that exist but do not decode.
    pub fn new<'a>(
        pools: impl IntoIterator<Item = &'a NodePool>,
        unreadable: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut roster = Self { frozen: unreadable.into_iter().collect(), ..Self::default() };
        for pool in pools {
            let name = Precedence::of(pool).name;
            match validate(pool) {
                _ if pool.metadata.deletion_timestamp.is_some() => drop(roster.leaving.insert(name)),
                Ok(valid) => roster.competing.push(valid),
                Err(_) => drop(roster.frozen.insert(name)),
            }
        }
        roster.competing.sort_by(|one, other| one.precedence.cmp(&other.precedence));
        roster.selector_keys = roster.competing.iter().flat_map(Valid::selector_keys).collect();
        roster
    }

    /// The pools that a node as it was or is now can matter to: those that ask for it, and the one that holds it.
    pub fn concerned(&self, node: &Node) -> BTreeSet<String> {
        let candidate = self.candidate(node, &BTreeSet::new());
        let claiming = self
            .competing
            .iter()
            .filter(|pool| candidate.is_claimed_by(pool))
            .map(|pool| pool.name().to_owned());
        claiming.chain(candidate.holder().map(str::to_owned)).collect()
    }

    /// `node` with the base labels that the selectors of all pools, and `more`, ask for.
    pub(crate) fn candidate<'a>(&self, node: &'a Node, more: &BTreeSet<String>) -> Candidate<'a> {
        let record = node.record();
        let base_of = |key: &String| {
            let owned = record.ledger().and_then(|ledger| ledger.labels.get(key));
            let value = owned.map_or_else(|| node.label(key), |owned| owned.replaced.as_deref());
            Some((key.clone(), value?.to_owned()))
        };
        let base = self.selector_keys.union(more).filter_map(base_of).collect();
        Candidate { node, record, base }
    }

    /// The pool that gets a node which the pool `leaving` lets go: the first that asks for it.
    pub(crate) fn heir(&self, candidate: &Candidate<'_>, leaving: &str) -> Option<&Valid> {
        self.competing.iter().find(|pool| pool.name() != leaving && candidate.is_claimed_by(pool))
    }

    /// Whether `pool`, which asks for the node, has to leave it to another.
    pub(crate) fn has_rival(&self, candidate: &Candidate<'_>, pool: &Valid) -> bool {
        let holder = candidate.holder().filter(|holder| *holder != pool.name());
        holder.is_some_and(|holder| self.frozen.contains(holder))
            || self
                .competing
                .iter()
                .take_while(|older| older.precedence < pool.precedence)
                .any(|older| candidate.is_claimed_by(older))
    }

    /// Whether a pool that is being deleted still holds the node. It hands it over itself, so that only one writes.
    pub(crate) fn is_handed_over(&self, candidate: &Candidate<'_>) -> bool {
        candidate.holder().is_some_and(|holder| self.leaving.contains(holder))
    }
}

impl Candidate<'_> {
    pub(crate) fn is_claimed_by(&self, pool: &Valid) -> bool {
        pool.claims(self.node.name(), &self.base)
    }

    /// The pool that the node carries the marks of. The ledger says it; without one, the label does.
    pub(crate) fn holder(&self) -> Option<&str> {
        match &self.record {
            Record::Kept(ledger) => Some(&ledger.pool),
            Record::TooNew { pool: Some(pool) } => Some(pool),
            Record::Absent | Record::Unreadable | Record::TooNew { pool: None } => {
                self.node.label(NODEPOOL_LABEL)
            }
        }
    }

    pub(crate) fn is_held_by(&self, name: &str) -> bool {
        self.holder() == Some(name)
    }
}

/// Whether a change of a pool leaves every node where it is: what other pools get depends on the name, the spec,
/// the time of creation and whether it is being deleted, and on nothing else.
pub fn competes_alike(old: Option<&NodePool>, new: Option<&NodePool>) -> bool {
    let claim = |pool: &NodePool| {
        (Precedence::of(pool), pool.spec.clone(), pool.metadata.deletion_timestamp.is_some())
    };
    old.map(claim) == new.map(claim)
}

#[cfg(test)]
mod tests;
