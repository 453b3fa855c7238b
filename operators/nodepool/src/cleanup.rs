//! The way out of a pool that is being deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use stowage_api::{NodePool, node_pool::DeletionPolicy};

use crate::{
    build::{Desired, Observed, abandon, held},
    node::Node,
    roster::Candidate,
    standing::Wait,
    validate::{Precedence, Valid},
};

/// How far nodes of a pool are with being emptied, by name. Those that it does not name are under way.
pub type Evacuations = BTreeMap<String, Evacuation>;

/// How far one node is with being emptied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Evacuation {
    /// Nothing is left that has to go, or the time for it is over.
    Done,
    /// A pod must not go yet.
    Blocked(String),
}

/// The writes for a pool that is being deleted, by its policy; `standing.wait` says what else has to come before it
/// may go. Bears that nothing was ever done.
///
/// - Refuse: its nodes stay members for as long as it asks for them.
/// - Release: each node goes back to what it was, or on to the pool that asks for it.
/// - Drain: its nodes stay members, cordoned, until `evacuations` calls them done; then they are released.
///
/// `valid` is what [`validate`](crate::validate) makes of `pool`. One that is not accepted keeps its nodes as they are,
/// unless it is to release them.
pub fn cleanup(
    pool: &NodePool,
    valid: Option<&Valid>,
    observed: &Observed,
    evacuations: &Evacuations,
) -> Desired {
    let name = Precedence::of(pool).name;
    match (pool.spec.deletion_policy, valid) {
        (DeletionPolicy::Release, _) => waiting(abandon(&name, observed), Wait::Nothing),
        (DeletionPolicy::Refuse, Some(valid)) => {
            let (desired, members) = keep(valid, observed, |_| false);
            waiting(desired, if members.is_empty() { Wait::Nothing } else { Wait::Members })
        }
        (DeletionPolicy::Drain, Some(valid)) => {
            let is_empty = |node: &str| evacuations.get(node) == Some(&Evacuation::Done);
            let (mut desired, nodes) = keep(&valid.clone().cordoning(), observed, is_empty);
            desired.standing.nodes.draining = desired.standing.nodes.total;
            let blocked = blocked(&nodes, evacuations);
            waiting(desired, if nodes.is_empty() { Wait::Nothing } else { Wait::Drain { nodes, blocked } })
        }
        (DeletionPolicy::Refuse | DeletionPolicy::Drain, None) => match held(&name, observed) {
            standing if standing.nodes.total == 0 => waiting(abandon(&name, observed), Wait::Nothing),
            standing => waiting(Desired { standing, ..Desired::default() }, Wait::Members),
        },
    }
}

/// What has to go before the zones that are still held.
fn waiting(mut desired: Desired, wait: Wait) -> Desired {
    let is_pinned = wait == Wait::Nothing && !desired.standing.pinned.is_empty();
    desired.standing.wait = if is_pinned { Wait::Pins } else { wait };
    desired
}

/// The first of what does not let a pod go: one at a time is enough to act on.
fn blocked(nodes: &BTreeSet<String>, evacuations: &Evacuations) -> Option<String> {
    nodes.iter().find_map(|node| match evacuations.get(node)? {
        Evacuation::Blocked(why) => Some(format!("{node}: {why}")),
        Evacuation::Done => None,
    })
}

/// The nodes that a pool on its way out keeps until they are empty.
pub fn members(pool: &Valid, observed: &Observed) -> BTreeSet<String> {
    let keys = pool.selector_keys();
    let is_kept = |node: &&Arc<Node>| is_kept(pool, &observed.roster.candidate(node, &keys));
    observed.nodes.iter().filter(is_kept).map(|node| node.name().to_owned()).collect()
}

/// Whether a node that belongs to a pool which gets no new ones is still asked for.
fn is_kept(pool: &Valid, candidate: &Candidate<'_>) -> bool {
    candidate.is_member_of(pool.name()) && candidate.is_claimed_by(pool)
}

/// The writes that keep the members of `pool` members, and let those go that it does not ask for or that are
/// empty; and the members.
fn keep(pool: &Valid, observed: &Observed, is_empty: impl Fn(&str) -> bool) -> (Desired, BTreeSet<String>) {
    let Observed { roster, nodes, pins } = observed;
    let keys = pool.selector_keys();
    let (mut desired, mut members) = (Desired::default(), BTreeSet::new());
    for node in nodes {
        let candidate = roster.candidate(node, &keys);
        if !candidate.is_held_by(pool.name()) {
            continue;
        }
        if candidate.is_member_of(pool.name()) {
            desired.standing.count(node);
        }
        let heir = roster.heir(&candidate, pool.name());
        if !is_kept(pool, &candidate) {
            // Where another pool asks for it, that pool writes.
            if heir.is_none() {
                desired.write(&candidate, None, pins);
            }
        } else if is_empty(node.name()) {
            desired.hand_over(&candidate, heir, pins);
        } else {
            members.insert(node.name().to_owned());
            desired.write(&candidate, Some(pool), pins);
        }
    }
    (desired, members)
}

#[cfg(test)]
mod tests;
