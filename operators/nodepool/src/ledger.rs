//! The ledger: one annotation on a node that says what its pool has set there, and what that replaced.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stowage_api::reserved;

/// The version that this code writes. A change that an older reader would lose raises it.
const VERSION: u32 = 1;

/// What a node says about its ledger.
#[derive(Debug)]
pub(crate) enum Record {
    /// No ledger: the live values are the base.
    Absent,
    /// A ledger that this version reads whole.
    Kept(Ledger),
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
pub(crate) struct Ledger {
    version: u32,
    /// The pool that the node belongs to.
    pub(crate) pool: String,
    /// Each key that the pool has set. The pool label is not among them: it is Stowage's alone.
    pub(crate) labels: BTreeMap<String, Owned>,
}

/// One value that a pool has set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Owned {
    /// The value set.
    pub(crate) set: String,
    /// The value that was there before; absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replaced: Option<String>,
}

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
        if version > VERSION {
            return Self::TooNew { pool };
        }
        serde_json::from_str(text).ok().filter(|_| version == VERSION).map_or(
            Self::Unreadable,
            |mut ledger: Ledger| {
                // No pool may set these, so no pool has: a kubelet may write annotations of its node, and must not
                // have us change labels that it may not.
                ledger.labels.retain(|key, _| !reserved::is_reserved(key));
                Self::Kept(ledger)
            },
        )
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
    /// A ledger of this version.
    pub(crate) fn new(pool: String, labels: BTreeMap<String, Owned>) -> Self {
        Self { version: VERSION, pool, labels }
    }
}
