//! What a pool says about itself. The same facts give the same bytes, so that an unchanged status is no write.

mod room;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use stowage_api::{
    NodePool, NodePoolStatus, NodeSamples,
    condition::{self, ConditionStatus, ConditionType, Reason, Trouble, Verdict},
    keys::NODEPOOL_LEDGER_ANNOTATION,
    node_pool::{DeletionPolicy, RESOURCES_LIMIT},
};

use self::room::fitted;
use crate::{
    drain::begun,
    names::{Names, counted},
    standing::{Standing, Wait},
    validate::Rejection,
};

/// Why a pool with a valid spec and nodes is not deleted.
const REFUSED: &str =
    "spec.deletionPolicy is Refuse: set it to Release or Drain, or have the pool select no node";
/// Why one without is not.
const INVALID: &str = "its spec is invalid: set spec.deletionPolicy to Release, or correct the spec";

/// What came of the writes: of the patches by the names of the nodes, and of the settings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Those that are written.
    pub done: BTreeSet<String>,
    /// Those that are still to be written.
    pub pending: BTreeSet<String>,
    /// Those that an admission plugin refuses, with what it says.
    pub denied: BTreeMap<String, String>,
    /// What nodes read at their start.
    pub settings: Publication,
}

/// Whether the settings of a pool stand where its nodes read them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Publication {
    /// They do, or there was nothing to do about them.
    #[default]
    Done,
    /// They are still to be written, or taken away.
    Pending,
}

impl Written {
    /// Whether something is still to be tried.
    fn is_unfinished(&self) -> bool {
        !self.pending.is_empty() || self.settings == Publication::Pending
    }

    /// The nodes that are not as they should be.
    fn unwritten(&self) -> Names {
        let nodes: BTreeSet<&str> =
            self.pending.iter().chain(self.denied.keys()).map(String::as_str).collect();
        nodes.into_iter().collect()
    }

    /// Those that an admission plugin keeps so.
    pub(crate) fn denied(&self) -> Names {
        self.denied.keys().map(String::as_str).collect()
    }
}

/// The status of a pool whose spec was accepted.
pub fn accepted(pool: &NodePool, standing: &Standing, written: &Written, now: Timestamp) -> NodePoolStatus {
    let mut verdicts = vec![is_true(ConditionType::Accepted, Reason::Valid, "The spec is valid")];
    verdicts.extend(abnormalities(pool, standing, written));
    verdicts.extend(bootstrap(pool));
    verdicts.extend(outstanding(pool, standing, written, REFUSED).unwrap_or_else(|| {
        let message = match standing.nodes.total {
            0 => "No node belongs to the pool",
            _ => "Every node of the pool carries its configuration",
        };
        vec![is_true(ConditionType::Ready, Reason::Applied, message)]
    }));
    status(pool, standing, written, verdicts, now)
}

/// The status of a pool whose spec was not accepted. Its nodes keep what the last accepted spec gave them.
pub fn rejected(
    pool: &NodePool,
    rejection: &Rejection,
    standing: &Standing,
    written: &Written,
    now: Timestamp,
) -> NodePoolStatus {
    let message = format!("Invalid: {rejection}");
    let mut verdicts = vec![is_false(ConditionType::Accepted, rejection.reason, &message)];
    verdicts.extend(abnormalities(pool, standing, written));
    verdicts.extend(outstanding(pool, standing, written, INVALID).unwrap_or_else(|| {
        unready(Reason::NotAccepted, ConditionType::Stalled, "See the condition Accepted")
    }));
    status(pool, standing, written, verdicts, now)
}

/// The status of a pool with which something went wrong that is worth telling. Everything else that was known
/// about it stays.
pub fn troubled(pool: &NodePool, trouble: Trouble, message: &str, now: Timestamp) -> NodePoolStatus {
    let before = pool.status.clone().unwrap_or_default();
    let generation = pool.metadata.generation;
    let kept = [
        ConditionType::Accepted,
        ConditionType::MembershipConflict,
        ConditionType::RejectedByProvider,
        ConditionType::ZonePinned,
        ConditionType::Draining,
        ConditionType::BootstrapRendered,
    ];
    let verdicts = unready(trouble.reason(), trouble.outlook(), message);
    let conditions = condition::merge(&before.conditions, &kept, verdicts, generation, now);
    fitted(NodePoolStatus { observed_generation: generation, conditions, ..before })
}

/// What is out of the ordinary, each present only while it is.
fn abnormalities(pool: &NodePool, standing: &Standing, written: &Written) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let Standing { contested, pinned, .. } = standing;
    if !contested.is_empty() {
        let nodes = counted(contested.count(), "node");
        let message = format!(
            "Other pools have {nodes} that this pool asks for, narrow one of the two selections: {contested}"
        );
        verdicts.push(is_true(ConditionType::MembershipConflict, Reason::HeldByOtherPools, &message));
    }
    if let Some(message) = denial(written) {
        verdicts.push(is_true(ConditionType::RejectedByProvider, Reason::RejectedByProvider, &message));
    }
    if !pinned.is_empty() {
        let nodes = counted(pinned.count(), "node");
        let message =
            format!("PersistentVolumes are bound to the zone of {nodes}, which therefore stays: {pinned}");
        verdicts.push(is_true(ConditionType::ZonePinned, Reason::PinnedByVolumes, &message));
    }
    verdicts.extend(drain(pool, standing, written));
    verdicts
}

/// A drain goes on until its nodes are let go: its beginning is known from this condition alone.
fn drain(pool: &NodePool, standing: &Standing, written: &Written) -> Option<Verdict> {
    let (reason, message) = match &standing.wait {
        Wait::Drain { nodes, blocked } => draining(nodes, blocked.as_deref()),
        Wait::Nothing | Wait::Pins if has_drained(pool) && !written.unwritten().is_empty() => {
            (Reason::Draining, still_held(written))
        }
        Wait::Nothing | Wait::Pins | Wait::Members => return None,
    };
    Some(is_true(ConditionType::Draining, reason, &message))
}

fn has_drained(pool: &NodePool) -> bool {
    is_leaving(pool) && pool.spec.deletion_policy == DeletionPolicy::Drain && begun(pool).is_some()
}

fn is_leaving(pool: &NodePool) -> bool {
    pool.metadata.deletion_timestamp.is_some()
}

/// The start script is published, and nothing takes it to a machine.
fn bootstrap(pool: &NodePool) -> Option<Verdict> {
    let message =
        "No machine template has the script yet: have your nodes read it from the ConfigMap of the pool";
    (!pool.spec.bootstrap.script.is_empty())
        .then(|| is_false(ConditionType::BootstrapRendered, Reason::Unsupported, message))
}

/// What keeps the pool from being ready; `refusal` is why it would not be deleted with nodes.
fn outstanding(
    pool: &NodePool,
    standing: &Standing,
    written: &Written,
    refusal: &str,
) -> Option<Vec<Verdict>> {
    let is_unfinished = written.is_unfinished() || !standing.awaited.is_empty();
    let known = is_unfinished.then(|| known_trouble(pool)).flatten();
    let verdicts = known.or_else(|| departure(standing, refusal));
    if verdicts.is_some() {
        return verdicts;
    }
    if is_unfinished {
        let message = progress(pool, standing, written);
        return Some(unready(Reason::Progressing, ConditionType::Reconciling, &message));
    }
    if let Some(message) = denial(written) {
        return Some(unready(Reason::RejectedByProvider, ConditionType::Stalled, &message));
    }
    if standing.blocked.is_empty() {
        return None;
    }
    let message = format!(
        "A newer Stowage wrote the annotation {NODEPOOL_LEDGER_ANNOTATION} of {}, upgrade or delete it: {}",
        counted(standing.blocked.count(), "node"),
        standing.blocked
    );
    Some(unready(Reason::LedgerTooNew, ConditionType::Stalled, &message))
}

/// What holds up a deletion. It comes first: the user waits for nothing else.
fn departure(standing: &Standing, refusal: &str) -> Option<Vec<Verdict>> {
    Some(match &standing.wait {
        Wait::Nothing => return None,
        Wait::Members => {
            let nodes = counted(standing.nodes.total, "node");
            let message = format!("The deletion waits, because the pool has {nodes} and {refusal}");
            unready(Reason::DeletionRefused, ConditionType::Stalled, &message)
        }
        Wait::Drain { nodes, blocked } => {
            let (reason, message) = draining(nodes, blocked.as_deref());
            unready(reason, ConditionType::Reconciling, &message)
        }
        Wait::Pins => {
            let message =
                "The deletion waits for PersistentVolumes, see the condition ZonePinned: delete or move them";
            unready(Reason::PinnedByVolumes, ConditionType::Stalled, message)
        }
    })
}

/// What is still to be done, by us or by other pools.
fn progress(pool: &NodePool, standing: &Standing, written: &Written) -> String {
    if !standing.awaited.is_empty() {
        let nodes = counted(standing.awaited.values().sum::<usize>(), "node");
        let givers: Names = standing.awaited.keys().map(String::as_str).collect();
        return format!("Waits for {nodes} that pools which are being deleted still hand over: {givers}");
    }
    if written.pending.is_empty() {
        return "The settings of the pool are still to be published".to_owned();
    }
    if is_leaving(pool) {
        return still_held(written);
    }
    "Nodes of the pool still wait for its configuration".to_owned()
}

fn still_held(written: &Written) -> String {
    let nodes = written.unwritten();
    format!("The pool has still to let go of {}: {nodes}", counted(nodes.count(), "node"))
}

fn draining(nodes: &BTreeSet<String>, blocked: Option<&str>) -> (Reason, String) {
    let count = counted(nodes.len(), "node");
    if let Some(blocked) = blocked {
        let message = format!("Pods are still to leave {count}, and some may not yet: {blocked}");
        return (Reason::EvictionBlocked, message);
    }
    let names: Names = nodes.iter().map(String::as_str).collect();
    (Reason::Draining, format!("Pods are still to leave {count}: {names}"))
}

/// What admission plugins say about the writes that they refuse: all of the names, and the first answer.
fn denial(written: &Written) -> Option<String> {
    let (_, answer) = written.denied.first_key_value()?;
    let names = written.denied();
    Some(format!("The change of {} is refused ({names}): {answer}", counted(names.count(), "node")))
}

/// Ready is False, and `outlook` says what to expect.
fn unready(reason: Reason, outlook: ConditionType, message: &str) -> Vec<Verdict> {
    let ready = is_false(ConditionType::Ready, reason, message);
    vec![ready, is_true(outlook, reason, message)]
}

/// The trouble that the status tells of already. It stays until this generation succeeds: each new attempt would
/// otherwise take it back, only to tell it again.
fn known_trouble(pool: &NodePool) -> Option<Vec<Verdict>> {
    let conditions = &pool.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|known| known.type_ == ConditionType::Ready.as_str())?;
    let trouble = Trouble::ALL.into_iter().find(|trouble| trouble.reason().as_str() == ready.reason)?;
    (ready.observed_generation == pool.metadata.generation)
        .then(|| unready(trouble.reason(), trouble.outlook(), &ready.message))
}

fn status(
    pool: &NodePool,
    standing: &Standing,
    written: &Written,
    verdicts: Vec<Verdict>,
    now: Timestamp,
) -> NodePoolStatus {
    let before = pool.status.as_ref().map_or(&[][..], |before| &before.conditions);
    let generation = pool.metadata.generation;
    let samples = NodeSamples {
        not_ready: standing.not_ready.first().to_vec(),
        rejected: written.denied().first().to_vec(),
    };
    fitted(NodePoolStatus {
        observed_generation: generation,
        nodes: Some(standing.nodes),
        capacity: standing.capacity.first(RESOURCES_LIMIT),
        allocatable: standing.allocatable.first(RESOURCES_LIMIT),
        samples: Some(samples),
        conditions: condition::merge(before, &[], verdicts, generation, now),
    })
}

fn is_true(type_: ConditionType, reason: Reason, message: &str) -> Verdict {
    Verdict { type_, status: ConditionStatus::True, reason, message: message.to_owned() }
}

fn is_false(type_: ConditionType, reason: Reason, message: &str) -> Verdict {
    Verdict { type_, status: ConditionStatus::False, reason, message: message.to_owned() }
}

#[cfg(test)]
mod tests;
