//! What is worth an event: what has happened, and only when something has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use stowage_api::{
    NodePool, NodePoolStatus,
    condition::{ConditionType, Reason},
    node_pool::SAMPLE_LIMIT,
};

use crate::{
    build::{Desired, Move},
    names::{Names, counted},
    standing::Standing,
    status::Written,
};

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// The object that it is about.
    pub about: About,
    /// Whether somebody should look.
    pub severity: Severity,
    /// What has happened, as a word.
    pub reason: &'static str,
    /// What has happened, as a sentence.
    pub note: String,
}

/// The object that an event is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum About {
    /// The pool.
    Pool,
    /// The node of this name.
    Node(String),
}

/// Whether somebody should look at an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// All is as it should be.
    Normal,
    /// Something is not.
    Warning,
}

/// What has come of one pass over `pool`, whose status becomes `status`: of the nodes that came and went the first
/// ten, and the sums and the news of the pool.
pub fn notices(
    pool: &NodePool,
    status: &NodePoolStatus,
    desired: &Desired,
    written: &Written,
) -> Vec<Notice> {
    let moves = desired.moves.iter().filter(|(node, _)| written.done.contains(*node));
    let mut notices: Vec<_> = moves.clone().take(SAMPLE_LIMIT).map(told_to_node).collect();
    if !written.done.is_empty() {
        notices.push(of_pool(Severity::Normal, "NodesUpdated", sums(written, moves.map(|(_, to)| to))));
    }
    let rebased: Names =
        desired.rebased.iter().filter(|node| written.done.contains(*node)).map(String::as_str).collect();
    if !rebased.is_empty() {
        let note = format!("The ledger was unreadable and what the nodes carried became the base: {rebased}");
        notices.push(of_pool(Severity::Warning, "LedgerRebuilt", note));
    }
    notices.extend(news(pool.status.as_ref(), status, &desired.standing, written));
    notices
}

pub(crate) fn of_pool(severity: Severity, reason: &'static str, note: String) -> Notice {
    Notice { about: About::Pool, severity, reason, note }
}

fn told_to_node((name, moved): (&String, &Move)) -> Notice {
    let (reason, sentence) = match moved {
        Move::Joined(to) => ("NodePoolJoined", format!("Joined the NodePool {to}")),
        Move::Left(from) => {
            ("NodePoolLeft", format!("Left the NodePool {from} and got back what it had before"))
        }
        Move::Changed { from, to } => {
            ("NodePoolChanged", format!("Moved from the NodePool {from} to the NodePool {to}"))
        }
    };
    Notice { about: About::Node(name.clone()), severity: Severity::Normal, reason, note: sentence }
}

fn sums<'a>(written: &Written, moves: impl Iterator<Item = &'a Move>) -> String {
    let (mut joins, mut leaves, mut changes) = (0, 0, 0);
    for node in moves {
        match node {
            Move::Joined(_) => joins += 1,
            Move::Left(_) => leaves += 1,
            Move::Changed { .. } => changes += 1,
        }
    }
    let parts: Vec<_> = [(joins, "joined"), (leaves, "left"), (changes, "moved")]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let updated = format!("Updated {}", counted(written.done.len(), "node"));
    if parts.is_empty() { updated } else { format!("{updated}: {}", parts.join(", ")) }
}

/// What a status can say newly: under this condition and reason, as an event with this word and this note.
struct News {
    type_: ConditionType,
    reason: Reason,
    severity: Severity,
    word: &'static str,
    note: fn(&Standing, &Written) -> String,
}

impl News {
    const ALL: [Self; 6] = [
        Self {
            type_: ConditionType::Ready,
            reason: Reason::DeletionRefused,
            severity: Severity::Warning,
            word: "DeletionRefused",
            note: |standing, _| {
                let nodes = counted(standing.nodes.total, "node");
                format!("Refused the deletion, because the pool had {nodes}: see the condition Ready")
            },
        },
        Self {
            type_: ConditionType::MembershipConflict,
            reason: Reason::HeldByOtherPools,
            severity: Severity::Warning,
            word: "NodesContested",
            note: |Standing { contested, .. }, _| {
                let nodes = counted(contested.count(), "node");
                format!("Asked for {nodes} that other pools had: {contested}")
            },
        },
        Self {
            type_: ConditionType::RejectedByProvider,
            reason: Reason::RejectedByProvider,
            severity: Severity::Warning,
            word: "NodesRejected",
            note: |_, written| {
                let (names, answer) = (written.denied(), written.denied.values().next());
                let answer = answer.map_or("", String::as_str);
                let nodes = counted(names.count(), "node");
                format!("An admission plugin refused the change of {nodes} ({names}): {answer}")
            },
        },
        Self {
            type_: ConditionType::ZonePinned,
            reason: Reason::PinnedByVolumes,
            severity: Severity::Warning,
            word: "ZoneKept",
            note: |Standing { pinned, .. }, _| {
                let nodes = counted(pinned.count(), "node");
                format!("Kept the zone of {nodes} to which PersistentVolumes were bound: {pinned}")
            },
        },
        Self {
            type_: ConditionType::Draining,
            reason: Reason::Draining,
            severity: Severity::Normal,
            word: "DrainStarted",
            note: |standing, _| {
                let nodes = standing.drain().into_iter().flat_map(|(nodes, _)| nodes);
                let names: Names = nodes.map(String::as_str).collect();
                format!("Began to empty {}: {names}", counted(names.count(), "node"))
            },
        },
        Self {
            type_: ConditionType::Draining,
            reason: Reason::EvictionBlocked,
            severity: Severity::Warning,
            word: "EvictionBlocked",
            note: |standing, _| {
                let blocked = standing.drain().and_then(|(_, blocked)| blocked);
                format!("Could not evict pods yet: {}", blocked.unwrap_or_default())
            },
        },
    ];

    fn is_said_in(&self, conditions: &[Condition]) -> bool {
        let says_it =
            |known: &Condition| known.type_ == self.type_.as_str() && known.reason == self.reason.as_str();
        conditions.iter().any(says_it)
    }
}

/// What the status says and did not say before.
fn news(
    before: Option<&NodePoolStatus>,
    status: &NodePoolStatus,
    standing: &Standing,
    written: &Written,
) -> Vec<Notice> {
    let before = before.map_or(&[][..], |before| &before.conditions);
    // A drain goes on when nothing blocks it any more, and does not start again.
    let has_begun = before.iter().any(|known| known.type_ == ConditionType::Draining.as_str());
    News::ALL
        .iter()
        .filter(|news| news.is_said_in(&status.conditions) && !news.is_said_in(before))
        .filter(|news| news.reason != Reason::Draining || !has_begun)
        .map(|news| of_pool(news.severity, news.word, (news.note)(standing, written)))
        .collect()
}

#[cfg(test)]
mod tests;
