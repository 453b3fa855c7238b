//! Which nodes a pool has, and the writes that make them carry its configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};
use stowage_api::NodeCounts;

use crate::{
    ledger::Record,
    names::Names,
    node::Node,
    patch::patch,
    roster::{Candidate, Roster},
    validate::Valid,
};

/// What the caches hold.
#[derive(Clone, Debug)]
pub struct Observed {
    roster: Arc<Roster>,
    /// In the order of their names: messages are the same for the same nodes.
    nodes: Vec<Arc<Node>>,
}

/// What is to be written for one pool, and what is to be said about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// For each node that has to change, by its name, one JSON merge patch. It is to be pinned to the resource
    /// version of the node that was observed.
    pub patches: BTreeMap<String, Map<String, Value>>,
    /// Nodes among them whose ledger could not be read: what it knew is lost, and the live values are the base.
    pub rebased: Names,
    /// Where the pool stands.
    pub standing: Standing,
}

/// Where a pool stands, for its status.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Its nodes.
    pub nodes: NodeCounts,
    /// Those that are not ready.
    pub not_ready: Names,
    /// Nodes that it asks for and another pool has.
    pub contested: Names,
    /// Nodes that it gets as soon as a pool that is being deleted has handed them over.
    pub awaited: Names,
    /// Nodes that it must not touch, because a newer Stowage wrote their ledger.
    pub blocked: Names,
}

/// Whose business a node is, seen from one pool.
enum Claim {
    /// It is a member.
    Won,
    /// Another pool has it.
    Lost,
    /// It is to be released: this pool holds it, and no pool asks for it.
    Over,
    /// It is none of this pool's business.
    None,
}

impl Observed {
    /// All pools and all nodes.
    pub fn new(roster: Arc<Roster>, mut nodes: Vec<Arc<Node>>) -> Self {
        nodes.sort_by(|one, other| one.name().cmp(other.name()));
        Self { roster, nodes }
    }
}

/// The writes that make the members of `pool`, and those that it has to let go, what they should be.
pub fn build(pool: &Valid, observed: &Observed) -> Desired {
    let Observed { roster, nodes } = observed;
    let keys = pool.selector_keys();
    let mut desired = Desired::default();
    for node in nodes {
        let candidate = roster.candidate(node, &keys);
        match claim(pool, roster, &candidate) {
            Claim::Won => desired.join(&candidate, roster, pool),
            Claim::Lost => desired.standing.contested.push(node.name()),
            Claim::Over => desired.write(&candidate, None),
            Claim::None => {}
        }
    }
    desired
}

/// The writes that free every node which the pool of this name holds: each goes back to what it was, or on to the
/// pool that asks for it. Bears that nothing was ever done.
pub fn cleanup(name: &str, observed: &Observed) -> Desired {
    let Observed { roster, nodes } = observed;
    let mut desired = Desired::default();
    for node in nodes {
        let candidate = roster.candidate(node, &BTreeSet::new());
        if candidate.is_held_by(name) {
            desired.write(&candidate, roster.heir(&candidate, name));
        }
    }
    desired
}

/// The writes that take everything of ours from every node, whatever pools there are: for an uninstall.
pub fn release(observed: &Observed) -> Desired {
    let roster = Roster::default();
    let mut desired = Desired::default();
    for node in &observed.nodes {
        desired.write(&roster.candidate(node, &BTreeSet::new()), None);
    }
    desired
}

/// Where a pool stands of which nothing but the name is certain: its nodes are those that it holds.
pub(crate) fn held(name: &str, observed: &Observed) -> Standing {
    let mut standing = Standing::default();
    for node in &observed.nodes {
        if observed.roster.candidate(node, &BTreeSet::new()).is_held_by(name) {
            standing.count(node);
        }
    }
    standing
}

fn claim(pool: &Valid, roster: &Roster, candidate: &Candidate<'_>) -> Claim {
    match (candidate.is_claimed_by(pool), candidate.is_held_by(pool.name())) {
        (true, _) if roster.has_rival(candidate, pool) => Claim::Lost,
        (true, _) => Claim::Won,
        // Where another pool asks for it, that pool writes: a move is one patch by one writer.
        (false, true) if roster.heir(candidate, pool.name()).is_none() => Claim::Over,
        (false, _) => Claim::None,
    }
}

impl Desired {
    fn join(&mut self, candidate: &Candidate<'_>, roster: &Roster, pool: &Valid) {
        self.standing.count(candidate.node);
        if roster.is_handed_over(candidate) {
            self.standing.awaited.push(candidate.node.name());
        } else {
            self.write(candidate, Some(pool));
        }
    }

    /// Has the node belong to `pool`, or to none, unless it must not be touched.
    fn write(&mut self, candidate: &Candidate<'_>, pool: Option<&Valid>) {
        let name = candidate.node.name();
        match candidate.record {
            Record::TooNew { .. } => return self.standing.blocked.push(name),
            Record::Unreadable => self.rebased.push(name),
            Record::Absent | Record::Kept(_) => {}
        }
        if let Some(patch) = patch(candidate, pool) {
            self.patches.insert(name.to_owned(), patch);
        }
    }
}

impl Standing {
    fn count(&mut self, node: &Node) {
        let NodeCounts { total, ready, not_ready, unschedulable } = &mut self.nodes;
        *total += 1;
        if node.is_ready() {
            *ready += 1;
        } else {
            *not_ready += 1;
            self.not_ready.push(node.name());
        }
        if node.is_unschedulable() {
            *unschedulable += 1;
        }
    }
}

#[cfg(test)]
mod tests;
