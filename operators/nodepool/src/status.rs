//! What a pool says about itself. The same facts give the same bytes, so that an unchanged status is no write.

use jiff::Timestamp;
use stowage_api::{
    NodePool, NodePoolStatus, NodeSamples,
    condition::{self, ConditionStatus, ConditionType, Reason, Trouble, Verdict},
    keys::NODEPOOL_LEDGER_ANNOTATION,
};

use crate::{
    build::{Observed, Standing, held},
    validate::Rejection,
};

/// Most bytes of a message: with this the whole status stays under 2 KiB.
const MESSAGE_LIMIT: usize = 280;

/// What came of the patches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All are written.
    Applied,
    /// Not all are written yet.
    Pending,
}

/// The status of a pool whose spec was accepted.
pub fn accepted(pool: &NodePool, standing: &Standing, outcome: Outcome, now: Timestamp) -> NodePoolStatus {
    let mut verdicts = vec![is_true(ConditionType::Accepted, Reason::Valid, "The spec is valid")];
    if !standing.contested.is_empty() {
        let message = format!(
            "Other pools have {} nodes that this pool asks for: {}",
            standing.contested.count(),
            standing.contested
        );
        verdicts.push(is_true(ConditionType::MembershipConflict, Reason::HeldByOtherPools, &message));
    }
    verdicts.extend(readiness(pool, standing, outcome));
    status(pool, standing, verdicts, now)
}

/// The status of a pool whose spec was not accepted. Its nodes keep what the last accepted spec gave them.
pub fn rejected(
    pool: &NodePool,
    rejection: &Rejection,
    observed: &Observed,
    now: Timestamp,
) -> NodePoolStatus {
    let standing = held(pool.metadata.name.as_deref().unwrap_or_default(), observed);
    let message = format!("Invalid: {rejection}");
    let mut verdicts = vec![is_false(ConditionType::Accepted, rejection.reason, &message)];
    verdicts.extend(unready(Reason::NotAccepted, ConditionType::Stalled, "See the condition Accepted"));
    status(pool, &standing, verdicts, now)
}

/// The status of a pool with which something went wrong that is worth telling. Everything else that was known
/// about it stays.
pub fn troubled(pool: &NodePool, trouble: Trouble, message: &str, now: Timestamp) -> NodePoolStatus {
    let before = pool.status.clone().unwrap_or_default();
    let generation = pool.metadata.generation;
    let kept = [ConditionType::Accepted, ConditionType::MembershipConflict];
    let verdicts = unready(trouble.reason(), trouble.outlook(), message);
    let conditions = condition::merge(&before.conditions, &kept, verdicts, generation, now);
    NodePoolStatus { observed_generation: generation, conditions, ..before }
}

fn readiness(pool: &NodePool, standing: &Standing, outcome: Outcome) -> Vec<Verdict> {
    if outcome == Outcome::Pending || !standing.awaited.is_empty() {
        return known_trouble(pool).unwrap_or_else(|| {
            let message = "Nodes of the pool still wait for its configuration";
            unready(Reason::Progressing, ConditionType::Reconciling, message)
        });
    }
    if !standing.blocked.is_empty() {
        let message = format!(
            "A newer Stowage wrote the annotation {NODEPOOL_LEDGER_ANNOTATION} of {} nodes, upgrade or delete it: {}",
            standing.blocked.count(),
            standing.blocked
        );
        return unready(Reason::LedgerTooNew, ConditionType::Stalled, &message);
    }
    let message = match standing.nodes.total {
        0 => "No node belongs to the pool",
        _ => "Every node of the pool carries its configuration",
    };
    vec![is_true(ConditionType::Ready, Reason::Applied, message)]
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

fn status(pool: &NodePool, standing: &Standing, verdicts: Vec<Verdict>, now: Timestamp) -> NodePoolStatus {
    let before = pool.status.as_ref().map_or(&[][..], |before| &before.conditions);
    let generation = pool.metadata.generation;
    NodePoolStatus {
        observed_generation: generation,
        nodes: Some(standing.nodes),
        samples: Some(NodeSamples { not_ready: standing.not_ready.first().to_vec() }),
        conditions: condition::merge(before, &[], verdicts, generation, now),
    }
}

fn is_true(type_: ConditionType, reason: Reason, message: &str) -> Verdict {
    Verdict { type_, status: ConditionStatus::True, reason, message: shortened(message) }
}

fn is_false(type_: ConditionType, reason: Reason, message: &str) -> Verdict {
    Verdict { type_, status: ConditionStatus::False, reason, message: shortened(message) }
}

fn shortened(message: &str) -> String {
    const MORE: &str = "...";
    if message.len() <= MESSAGE_LIMIT {
        return message.to_owned();
    }
    let fits = |(start, c): &(usize, char)| start + c.len_utf8() + MORE.len() <= MESSAGE_LIMIT;
    message.char_indices().take_while(fits).map(|(_, c)| c).chain(MORE.chars()).collect()
}

#[cfg(test)]
mod tests;
