//! What a pool puts on its nodes beside labels, and how it behaves towards other hands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// A taint that each node of the pool carries. Its identity is key and effect together.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::taint()))]
pub struct NodePoolTaint {
    /// Key of the taint: an optional DNS prefix and a slash, then at most 63 letters, digits, -, _
    /// or . with a letter or digit at both ends. Keys of Kubernetes, clouds and Stowage are refused
    /// as in `labels`, and so are the taints of control planes.
    #[schemars(schema_with = "schema::key")]
    pub key: String,

    /// Value of the taint: at most 63 letters, digits, -, _ or . with a letter or digit at both
    /// ends. Default: empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::value")]
    pub value: String,

    /// What happens to pods that do not tolerate the taint. `NoSchedule`: no new ones. `PreferNoSchedule`:
    /// new ones only where nothing else is left. `NoExecute`: no new ones, and those that run are evicted.
    pub effect: TaintEffect,

    /// Always: set again whenever it is missing or changed. `OnInitialization`: put once, when a node
    /// joins the pool, and not again when somebody removes it; a node that has joined before the
    /// taint was added does not get it, nor does one that is born with the label
    /// stowage.dev/nodepool=POOL, which counts as one that has joined before. Default: Always.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    #[schemars(extend("default" = "Always"))]
    pub propagation: Propagation,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TaintEffect {
    /// No new pods.
    #[default]
    NoSchedule,
    /// New pods only where nothing else is left.
    PreferNoSchedule,
    /// No new pods, and those that run are evicted.
    NoExecute,
}

/// When a taint is put on a node.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Propagation {
    /// Whenever it is missing or changed.
    #[default]
    Always,
    /// Once, when the node joins the pool.
    OnInitialization,
}

/// What becomes of an owned key that somebody else changes or removes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConflictPolicy {
    /// It is set again.
    #[default]
    Enforce,
    /// The other hand keeps it.
    Yield,
}

/// What becomes of the nodes of a pool that is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DeletionPolicy {
    /// A pool with nodes cannot be deleted.
    #[default]
    Refuse,
    /// Each node gets back what it had before it joined.
    Release,
    /// The nodes are cordoned and emptied first, then released.
    Drain,
}

/// Whether the pool gives its nodes a zone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TopologyZone {
    /// Never.
    #[default]
    Never,
    /// Where a node has none.
    IfAbsent,
}

impl TaintEffect {
    /// The effect as it stands in a Node.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}
