//! Conditions of every kind: their types, their reasons, and how a new list follows an old one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition is about. The order is the order in `status.conditions`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ConditionType {
    /// The spec can be carried out.
    Accepted,
    /// What the spec asks for is in place.
    Ready,
    /// Other pools hold nodes that this pool asks for. Present only while True.
    MembershipConflict,
    /// An admission plugin refuses writes to nodes of the pool. Present only while True.
    RejectedByProvider,
    /// `PersistentVolumes` hold the zone that the pool gave to nodes. Present only while True.
    ZonePinned,
    /// A deletion waits until the nodes of the pool are empty. Present only while True.
    Draining,
    /// The start script stands in the machine templates of the pool. Present only while False.
    BootstrapRendered,
    /// kstatus: work goes on, wait. Present only while True.
    Reconciling,
    /// kstatus: nothing will change until somebody acts. Present only while True.
    Stalled,
}

/// Whether the condition holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
}

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The spec passed every check.
    Valid,
    /// `metadata.name` cannot be the name of a pool.
    InvalidName,
    /// `spec.selector` and `spec.nodeNames` cannot select nodes.
    InvalidSelection,
    /// `spec.labels` holds what cannot be a label, or too much.
    InvalidLabels,
    /// `spec.annotations` holds what cannot be an annotation, or too much.
    InvalidAnnotations,
    /// `spec.taints` holds what cannot be a taint, or too much.
    InvalidTaints,
    /// What nodes read at their start, or the time for a drain, cannot be as the spec says.
    InvalidSettings,
    /// The spec has a key that a pool must not set.
    ReservedKey,
    /// The spec is not accepted, so nothing of it is carried out.
    NotAccepted,
    /// What the spec asks for is in place.
    Applied,
    /// Writes are still to come.
    Progressing,
    /// A write fails and is tried again.
    ProgressingWithRetry,
    /// A permission is missing.
    Forbidden,
    /// An admission plugin refuses a write that is not to a node.
    Denied,
    /// The API server calls a write invalid.
    WriteRejected,
    /// This version cannot read the object; its last readable state stays in force.
    Undecodable,
    /// The code failed on this object; the log has the details.
    InternalError,
    /// A newer Stowage wrote the ledger of a node, and this one must not touch it.
    LedgerTooNew,
    /// Other pools hold nodes that this pool asks for.
    HeldByOtherPools,
    /// An admission plugin refuses writes to nodes.
    RejectedByProvider,
    /// `PersistentVolumes` hold the zone of nodes.
    PinnedByVolumes,
    /// The pool is to be deleted, has nodes, and its policy is Refuse.
    DeletionRefused,
    /// Pods are still to leave the nodes.
    Draining,
    /// A `PodDisruptionBudget` does not let pods go yet.
    EvictionBlocked,
    /// Nothing in this version carries it out.
    Unsupported,
}

/// What can go wrong with any object whatever its spec: the reasons that only a success ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// A write fails and is tried again.
    Failing,
    /// A permission is missing.
    Forbidden,
    /// An admission plugin refuses a write.
    Denied,
    /// The API server calls a write invalid.
    Rejected,
    /// This version cannot read the object.
    Undecodable,
    /// The code failed on it.
    Panicked,
}

/// One condition as decided now, without its history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// What it is about.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: Reason,
    /// One sentence for people, without a final stop; the same bytes for the same facts.
    pub message: String,
}

impl ConditionType {
    /// The type as it stands in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Ready => "Ready",
            Self::MembershipConflict => "MembershipConflict",
            Self::RejectedByProvider => "RejectedByProvider",
            Self::ZonePinned => "ZonePinned",
            Self::Draining => "Draining",
            Self::BootstrapRendered => "BootstrapRendered",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

impl ConditionStatus {
    /// The status as it stands in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
        }
    }
}

impl Reason {
    /// The reason as it stands in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "Valid",
            Self::InvalidName => "InvalidName",
            Self::InvalidSelection => "InvalidSelection",
            Self::InvalidLabels => "InvalidLabels",
            Self::InvalidAnnotations => "InvalidAnnotations",
            Self::InvalidTaints => "InvalidTaints",
            Self::InvalidSettings => "InvalidSettings",
            Self::ReservedKey => "ReservedKey",
            Self::NotAccepted => "NotAccepted",
            Self::Applied => "Applied",
            Self::Progressing => "Progressing",
            Self::ProgressingWithRetry => "ProgressingWithRetry",
            Self::Forbidden => "Forbidden",
            Self::Denied => "Denied",
            Self::WriteRejected => "WriteRejected",
            Self::Undecodable => "Undecodable",
            Self::InternalError => "InternalError",
            Self::LedgerTooNew => "LedgerTooNew",
            Self::HeldByOtherPools => "HeldByOtherPools",
            Self::RejectedByProvider => "RejectedByProvider",
            Self::PinnedByVolumes => "PinnedByVolumes",
            Self::DeletionRefused => "DeletionRefused",
            Self::Draining => "Draining",
            Self::EvictionBlocked => "EvictionBlocked",
            Self::Unsupported => "Unsupported",
        }
    }
}

impl Trouble {
    /// Every trouble.
    pub const ALL: [Self; 6] =
        [Self::Failing, Self::Forbidden, Self::Denied, Self::Rejected, Self::Undecodable, Self::Panicked];

    /// The reason that says so.
    pub fn reason(self) -> Reason {
        match self {
            Self::Failing => Reason::ProgressingWithRetry,
            Self::Forbidden => Reason::Forbidden,
            Self::Denied => Reason::Denied,
            Self::Rejected => Reason::WriteRejected,
            Self::Undecodable => Reason::Undecodable,
            Self::Panicked => Reason::InternalError,
        }
    }

    /// The kstatus condition that goes with it: only what is tried again soon may end by itself.
    pub fn outlook(self) -> ConditionType {
        match self {
            Self::Failing => ConditionType::Reconciling,
            Self::Forbidden | Self::Denied | Self::Rejected | Self::Undecodable | Self::Panicked => {
                ConditionType::Stalled
            }
        }
    }
}

/// The list of conditions that follows `previous` when `verdicts` hold at `now`.
///
/// Types in `kept` stay as they were unless there is a verdict; any other type without a verdict leaves the list.
/// `lastTransitionTime` moves only when the status of a type changes; no other code may set it. The result is
/// sorted by type.
pub fn merge(
    previous: &[Condition],
    kept: &[ConditionType],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let last = |type_: ConditionType| previous.iter().find(|old| old.type_ == type_.as_str());
    let kept = kept.iter().filter_map(|type_| Some((*type_, last(*type_)?.clone())));
    let mut next: BTreeMap<ConditionType, Condition> = kept.collect();
    for verdict in verdicts {
        next.insert(verdict.type_, follow(last(verdict.type_), verdict, generation, now));
    }
    next.into_values().collect()
}

fn follow(last: Option<&Condition>, verdict: Verdict, generation: Option<i64>, now: Timestamp) -> Condition {
    let Verdict { type_, status, reason, message } = verdict;
    let since =
        last.filter(|last| last.status == status.as_str()).map(|last| last.last_transition_time.clone());
    Condition {
        type_: type_.as_str().to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or_else(|| Time(to_the_second(now))),
    }
}

/// The API server keeps whole seconds: a finer time would differ from its own answer for ever.
fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
