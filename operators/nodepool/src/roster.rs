//! All pools of the cluster in the order in which nodes are given to them.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::{NodePool, NodePoolSpec, keys::NODEPOOL_LABEL, node_pool::DeletionPolicy};

use crate::{
    ledger::{Ledger, Record},
    node::Node,
    settle::{Arrival, base},
    validate::{Precedence, Valid, validate},
};

/// All pools, compiled once for any number of nodes. Build a new one after each change of a pool.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Pools that are accepted and not being deleted, first come first served.
    competing: Vec<Valid>,
    /// Pools that are to be deleted once they are empty: they keep what they have as long as they ask for it.
    closing: BTreeMap<String, Valid>,
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
    pub(crate) base: BTreeMap<String, String>,
}

impl Roster {
    /// Sorts `pools` by what they may do; `unreadable` are the names of those that exist but do not decode.
    pub fn new<'a>(
        pools: impl IntoIterator<Item = &'a NodePool>,
        unreadable: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut roster = Self { frozen: unreadable.into_iter().collect(), ..Self::default() };
        for pool in pools {
            roster.enter(pool);
        }
        roster.competing.sort_by(|one, other| one.precedence.cmp(&other.precedence));
        let deciding = roster.competing.iter().chain(roster.closing.values());
        roster.selector_keys = deciding.flat_map(Valid::selector_keys).collect();
        roster
    }

    fn enter(&mut self, pool: &NodePool) {
        let name = Precedence::of(pool).name;
        let is_leaving = pool.metadata.deletion_timestamp.is_some();
        match (is_leaving, pool.spec.deletion_policy, validate(pool)) {
            (true, DeletionPolicy::Release, _) => drop(self.leaving.insert(name)),
            (true, DeletionPolicy::Refuse | DeletionPolicy::Drain, Ok(valid)) => {
                drop(self.closing.insert(name, valid));
            }
            (false, _, Ok(valid)) => self.competing.push(valid),
            (_, _, Err(_)) => drop(self.frozen.insert(name)),
        }
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
        let nothing = Ledger::default();
        let ledger = record.ledger().unwrap_or(&nothing);
        let base_of = |key: &String| {
            let value = base(ledger.labels.get(key), node.label(key), ledger.policy)?;
            Some((key.clone(), value.to_owned()))
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
        candidate.member_of().filter(|holder| *holder != pool.name()).is_some_and(|holder| {
            self.frozen.contains(holder)
                || self.closing.get(holder).is_some_and(|closing| candidate.is_claimed_by(closing))
        }) || self
            .competing
            .iter()
            .take_while(|older| older.precedence < pool.precedence)
            .any(|older| candidate.is_claimed_by(older))
    }

    /// The pool that is being deleted and still holds the node. It hands it over itself, so that only one writes.
    pub(crate) fn giver<'a>(&self, candidate: &'a Candidate<'_>) -> Option<&'a str> {
        candidate.holder().filter(|holder| self.leaving.contains(*holder))
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

    /// The pool that the node belongs to: the holder, unless it holds no more than what could not go yet.
    pub(crate) fn member_of(&self) -> Option<&str> {
        self.holder().filter(|_| self.record.ledger().is_none_or(|ledger| !ledger.left))
    }

    pub(crate) fn is_member_of(&self, name: &str) -> bool {
        self.member_of() == Some(name)
    }

    /// Whether the node, as the one that it is, is new to `pool`.
    pub(crate) fn arrival(&self, pool: Option<&str>) -> Arrival {
        let knows_it = self
            .record
            .ledger()
            .and_then(|ledger| ledger.uid.as_deref())
            .is_none_or(|uid| self.node.uid() == Some(uid));
        if knows_it && self.member_of() == pool { Arrival::Stays } else { Arrival::Joins }
    }

    /// The UID for the ledger of `pool`: that of the node which has joined. A ledger without one stays as it is,
    /// or an upgrade would write every node.
    pub(crate) fn uid(&self, pool: &str) -> Option<&str> {
        match (self.arrival(Some(pool)), self.record.ledger()) {
            (Arrival::Stays, Some(ledger)) => ledger.uid.as_deref(),
            (Arrival::Stays, None) | (Arrival::Joins, _) => self.node.uid(),
        }
    }
}

/// Whether a change of a pool leaves every node where it is: what other pools get depends on the name, the spec,
/// the time of creation and whether it is being deleted, and on nothing else.
pub fn competes_alike(old: Option<&NodePool>, new: Option<&NodePool>) -> bool {
    fn claim(pool: &NodePool) -> (Precedence, &NodePoolSpec, bool) {
        (Precedence::of(pool), &pool.spec, pool.metadata.deletion_timestamp.is_some())
    }
    old.map(claim) == new.map(claim)
}

#[cfg(test)]
mod tests;
