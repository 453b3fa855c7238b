//! The ledger: one annotation on a node that says what its pool has set there, and what that replaced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stowage_api::{LabelKey, LabelValue, keys::ZONE_LABEL, node_pool::ConflictPolicy, reserved};

use crate::taints;

/// The version of a ledger that holds labels and nothing that its readers would lose.
const LABELS_ONLY: u32 = 1;
/// The version that holds everything.
const WHOLE: u32 = 2;

/// What a node says about its ledger.
#[derive(Debug)]
pub(crate) enum Record {
    /// No ledger: the live values are the base.
    Absent,
    /// A ledger that this version reads whole.
    Kept(Box<Ledger>),
    /// No ledger of any version. Nothing can be restored from it, so it counts as absent.
    Unreadable,
    /// A newer version wrote it. What it owns is unknown here, so the node must not be touched.
    TooNew {
        /// The pool. Every version says it in the same place.
        pool: Option<String>,
    },
}

/// What one pool has set on one node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// Given by [`Ledger::sealed`].
    pub(crate) version: u32,
    /// The pool that the node belongs to.
    pub(crate) pool: String,
    /// The node that joined: one that comes back under the name of another is a new one. Absent in ledgers of
    /// the first version, which fit any node of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    /// The policy under which the entries were written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) policy: ConflictPolicy,
    /// Whether the node belongs to the pool no longer, and only what cannot go yet is left.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) left: bool,
    /// Each label that the pool has set. The pool label is not among them: it is Stowage's alone.
    pub(crate) labels: Entries,
    /// Each annotation that the pool has set.
    #[serde(default, skip_serializing_if = "Entries::is_empty")]
    pub(crate) annotations: Entries,
    /// Each taint that the pool has set, by `KEY:EFFECT`.
    #[serde(default, skip_serializing_if = "Entries::is_empty")]
    pub(crate) taints: Entries,
    /// The cordon, if the pool has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cordon: Option<Entry>,
    /// The cordon from the join, while the pool has set another over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cordon_beneath: Option<Entry>,
}

/// The entries of one section, by their keys.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// What the ledger says about one key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub(crate) enum Entry {
    /// The pool has set it.
    Owned(Owned),
    /// The pool had set it, and has left it to a hand.
    Yielded,
}

/// One value that a pool has set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Owned {
    /// The value set.
    pub(crate) set: String,
    /// The value that was there before; absent where there was none.
    pub(crate) replaced: Option<String>,
    /// When it is put.
    pub(crate) placing: Placing,
}

/// When a pool puts a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Placing {
    /// Whenever it is missing or changed.
    #[default]
    Always,
    /// When the node joins, and not again.
    Once,
    /// Where nothing is.
    IfAbsent,
}

/// An entry as JSON. The first version knows `set` and `replaced`.
#[derive(Default, Deserialize, Serialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    placing: Placing,
    #[serde(default, skip_serializing_if = "is_default")]
    yielded: bool,
}

/// An entry that says neither that it is owned nor that it is yielded, or both.
#[derive(Debug, thiserror::Error)]
#[error("must have either set or yielded")]
struct Ambiguous;

/// What every version of the ledger begins with.
#[derive(Deserialize)]
struct Header {
    version: u32,
    pool: Option<String>,
}

impl Record {
    /// Reads the annotation.
    pub(crate) fn read(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Absent };
        let Ok(Header { version, pool }) = serde_json::from_str(text) else { return Self::Unreadable };
        if version > WHOLE {
            return Self::TooNew { pool };
        }
        serde_json::from_str(text)
            .ok()
            .filter(|_| version >= LABELS_ONLY)
            .map_or(Self::Unreadable, |ledger: Ledger| Self::Kept(Box::new(ledger.without_forgeries())))
    }

    /// The readable ledger.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Kept(ledger) => Some(ledger),
            Self::Absent | Self::Unreadable | Self::TooNew { .. } => None,
        }
    }
}

impl Ledger {
    /// With the lowest version that can hold it: an older reader takes as much as it can.
    pub(crate) fn sealed(self) -> Self {
        let Self {
            version: _,
            pool: _,
            uid: _,
            policy,
            left,
            labels,
            annotations,
            taints,
            cordon,
            cordon_beneath,
        } = &self;
        let is_plain = |entry: &Entry| matches!(entry, Entry::Owned(Owned { placing: Placing::Always, .. }));
        let holds_labels_only = *policy == ConflictPolicy::Enforce
            && !left
            && labels.values().all(is_plain)
            && annotations.is_empty()
            && taints.is_empty()
            && cordon.is_none()
            && cordon_beneath.is_none();
        Self { version: if holds_labels_only { LABELS_ONLY } else { WHOLE }, ..self }
    }

    /// A kubelet may write annotations of its node, and must not have us change what it may not. So an entry is
    /// ignored that no pool can have written, and one that no node can be given back.
    fn without_forgeries(mut self) -> Self {
        self.labels.retain(|key, entry| match key.as_str() {
            ZONE_LABEL => is_of_a_zone(entry),
            key => is_settable(key) && has_label_value(entry),
        });
        self.annotations.retain(|key, _| is_settable(key));
        self.taints.retain(|id, entry| taints::key_of(id).is_some_and(is_settable) && has_label_value(entry));
        self
    }
}

fn is_settable(key: &str) -> bool {
    LabelKey::try_new(key).is_ok() && !reserved::is_reserved(key)
}

fn has_label_value(entry: &Entry) -> bool {
    match entry {
        Entry::Owned(Owned { replaced: Some(value), .. }) => LabelValue::try_new(value.as_str()).is_ok(),
        Entry::Owned(Owned { replaced: None, .. }) | Entry::Yielded => true,
    }
}

/// The zone is put only where there is none, so it has replaced nothing.
fn is_of_a_zone(entry: &Entry) -> bool {
    match entry {
        Entry::Owned(Owned { set: _, replaced, placing }) => {
            replaced.is_none() && *placing == Placing::IfAbsent
        }
        Entry::Yielded => true,
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl TryFrom<Wire> for Entry {
    type Error = Ambiguous;

    fn try_from(wire: Wire) -> Result<Self, Ambiguous> {
        let Wire { set, replaced, placing, yielded } = wire;
        match (set, yielded) {
            (Some(set), false) => Ok(Self::Owned(Owned { set, replaced, placing })),
            (None, true) => Ok(Self::Yielded),
            (Some(_), true) | (None, false) => Err(Ambiguous),
        }
    }
}

impl From<Entry> for Wire {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Owned(Owned { set, replaced, placing }) => {
                Self { set: Some(set), replaced, placing, yielded: false }
            }
            Entry::Yielded => Self { yielded: true, ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests;
