//! Which nodes a pool has, and the writes that make them carry its configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    ledger::Record,
    node::Node,
    patch::{Change, Patch, Zone, change},
    pins::Pins,
    roster::{Candidate, Roster},
    standing::Standing,
    validate::Valid,
};

/// What the caches hold.
#[derive(Clone, Debug)]
pub struct Observed {
    pub(crate) roster: Arc<Roster>,
    /// In the order of their names: messages are the same for the same nodes.
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) pins: Pins,
}

/// What is to be written for one pool, and what is to be said about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// For each node that has to change, by its name, one JSON merge patch. It is to be pinned to the resource
    /// version of the node that was observed.
    pub patches: BTreeMap<String, Patch>,
    /// Those among them that do not only change, but come and go.
    pub moves: BTreeMap<String, Move>,
    /// Nodes among them whose ledger could not be read: what it knew is lost, and the live values are the base.
    pub rebased: BTreeSet<String>,
    /// Where the pool stands.
    pub standing: Standing,
}

/// How a node comes to belong to another pool than before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Move {
    /// It belonged to none, and now to this one.
    Joined(String),
    /// It belonged to this one, and now to none.
    Left(String),
    /// It goes from one to another.
    Changed {
        /// Where it comes from.
        from: String,
        /// Where it goes to.
        to: String,
    },
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
    /// All pools, all nodes, and what volumes are bound to.
    pub fn new(roster: Arc<Roster>, mut nodes: Vec<Arc<Node>>, pins: Pins) -> Self {
        nodes.sort_by(|one, other| one.name().cmp(other.name()));
        Self { roster, nodes, pins }
    }
}

/// The writes that make the members of `pool`, and those that it has to let go, what they should be.
pub fn build(pool: &Valid, observed: &Observed) -> Desired {
    let Observed { roster, nodes, pins } = observed;
    let keys = pool.selector_keys();
    let mut desired = Desired::default();
    for node in nodes {
        let candidate = roster.candidate(node, &keys);
        match claim(pool, roster, &candidate) {
            Claim::Won => desired.join(&candidate, roster, pool, pins),
            Claim::Lost => desired.standing.contested.push(node.name()),
            Claim::Over => desired.write(&candidate, None, pins),
            Claim::None => {}
        }
    }
    desired
}

/// The writes that free every node which a pool holds of which nothing is left but the name. Bears that nothing was
/// ever done.
pub fn abandon(name: &str, observed: &Observed) -> Desired {
    let Observed { roster, nodes, pins } = observed;
    let mut desired = Desired::default();
    for node in nodes {
        let candidate = roster.candidate(node, &BTreeSet::new());
        if candidate.is_member_of(name) {
            desired.standing.count(node);
        }
        if candidate.is_held_by(name) {
            desired.hand_over(&candidate, roster.heir(&candidate, name), pins);
        }
    }
    desired
}

/// The writes that take everything of ours from every node, whatever pools and volumes there are: for an uninstall.
/// `standing.pinned` names the nodes that lose a zone which a volume is bound to.
pub fn release(observed: &Observed) -> Desired {
    let (roster, nothing) = (Roster::default(), Pins::default());
    let mut desired = Desired::default();
    for node in &observed.nodes {
        let candidate = roster.candidate(node, &BTreeSet::new());
        if change(&candidate, None, &observed.pins).zone == Zone::Pinned {
            desired.standing.pinned.push(node.name());
        }
        desired.write(&candidate, None, &nothing);
    }
    desired
}

/// Where a pool stands of which nothing but the name is certain: its nodes are those that it holds.
pub fn held(name: &str, observed: &Observed) -> Standing {
    let mut standing = Standing::default();
    for node in &observed.nodes {
        if observed.roster.candidate(node, &BTreeSet::new()).is_member_of(name) {
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
    fn join(&mut self, candidate: &Candidate<'_>, roster: &Roster, pool: &Valid, pins: &Pins) {
        self.standing.count(candidate.node);
        match roster.giver(candidate) {
            Some(giver) => *self.standing.awaited.entry(giver.to_owned()).or_default() += 1,
            None => self.write(candidate, Some(pool), pins),
        }
    }

    /// Has a node that is not the pool's any more belong to `heir`, or to none. What the heir has to say about it is
    /// not said here.
    pub(crate) fn hand_over(&mut self, candidate: &Candidate<'_>, heir: Option<&Valid>, pins: &Pins) {
        match heir {
            Some(heir) => drop(self.bring(candidate, Some(heir), pins)),
            None => self.write(candidate, None, pins),
        }
    }

    /// Has the node belong to `pool`, or to none, and says so if it keeps a zone.
    pub(crate) fn write(&mut self, candidate: &Candidate<'_>, pool: Option<&Valid>, pins: &Pins) {
        if self.bring(candidate, pool, pins) == Zone::Pinned {
            self.standing.pinned.push(candidate.node.name());
        }
    }

    /// Has the node belong to `pool`, or to none, unless it must not be touched.
    fn bring(&mut self, candidate: &Candidate<'_>, pool: Option<&Valid>, pins: &Pins) -> Zone {
        let name = candidate.node.name();
        match candidate.record {
            Record::TooNew { .. } => {
                self.standing.blocked.push(name);
                return Zone::Settled;
            }
            Record::Unreadable => drop(self.rebased.insert(name.to_owned())),
            Record::Absent | Record::Kept(_) => {}
        }
        let Change { patch, zone } = change(candidate, pool, pins);
        let Some(patch) = patch else { return zone };
        self.patches.insert(name.to_owned(), patch);
        let moved = Move::between(candidate.member_of(), pool.map(Valid::name));
        self.moves.extend(moved.map(|moved| (name.to_owned(), moved)));
        zone
    }
}

impl Move {
    pub(crate) fn between(from: Option<&str>, to: Option<&str>) -> Option<Self> {
        match (from, to) {
            (None, Some(to)) => Some(Self::Joined(to.to_owned())),
            (Some(from), None) => Some(Self::Left(from.to_owned())),
            (Some(from), Some(to)) if from != to => {
                Some(Self::Changed { from: from.to_owned(), to: to.to_owned() })
            }
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests;
