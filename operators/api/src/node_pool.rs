//! `NodePool`: a named set of nodes with one configuration.

mod attributes;
mod settings;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{
    api::resource::Quantity,
    apis::meta::v1::{Condition, LabelSelector},
};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    attributes::{ConflictPolicy, DeletionPolicy, NodePoolTaint, Propagation, TaintEffect, TopologyZone},
    settings::{
        Bootstrap, ConntrackSettings, CpuManagerPolicy, EVICTION_SIGNALS, IMAGE_GC_DEFAULTS,
        KubeProxySettings, KubeletSettings, RESERVABLE, SCRIPT_LIMIT, SYSCTLS_LIMIT, TopologyManagerPolicy,
    },
};
use crate::{rules, schema};

/// Most entries in `spec.labels`; keeps the cost of the CEL rules within the API server's budget.
pub const LABELS_LIMIT: usize = 32;
/// Most entries in `spec.annotations`, for the same reason.
pub const ANNOTATIONS_LIMIT: usize = 32;
/// Most bytes of a value in `spec.annotations`: all nodes are kept in memory.
pub const ANNOTATION_LENGTH: usize = 1024;
/// Most entries in `spec.taints`.
pub const TAINTS_LIMIT: usize = 10;
/// Shortest and longest `spec.drainTimeout`, as a user writes them.
pub const DRAIN_TIMEOUT_RANGE: (&str, &str) = ("1s", "24h");
/// `spec.drainTimeout` where none is set.
pub const DRAIN_TIMEOUT_DEFAULT: &str = "15m";
/// Most names of resources in `status.capacity` and `status.allocatable`.
pub const RESOURCES_LIMIT: usize = 16;
/// Most entries in `spec.nodeNames`; a pool with more is selected by a label.
pub const NODE_NAMES_LIMIT: usize = 512;
/// Most entries in `spec.selector.matchLabels`, and in `spec.selector.matchExpressions`.
pub const SELECTOR_TERMS_LIMIT: usize = 16;
/// Most values in one of `spec.selector.matchExpressions`.
pub const SELECTOR_VALUES_LIMIT: usize = 32;
/// Most names in each list of `status.samples`, and in a message.
pub const SAMPLE_LIMIT: usize = 10;

/// What the nodes of a pool are and what they carry.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "stowage.dev",
    version = "v1alpha1",
    kind = "NodePool",
    plural = "nodepools",
    shortname = "spool",
    category = "stowage",
    status = "NodePoolStatus",
    doc = "A named set of nodes with one configuration. A node belongs to at most one pool: of two that match it the older wins.",
    derive = "PartialEq",
    crates(kube_core = "kube_core"),
    printcolumn = r#"{"name":"Accepted", "type":"string", "description":"Whether the spec can be carried out", "jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Ready", "type":"string", "description":"Whether every node of the pool carries its configuration", "jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Nodes", "type":"integer", "description":"Nodes in the pool", "jsonPath":".status.nodes.total"}"#,
    printcolumn = r#"{"name":"NodesReady", "type":"integer", "description":"Nodes in the pool whose condition Ready is True", "jsonPath":".status.nodes.ready"}"#,
    printcolumn = r#"{"name":"NodesNotReady", "type":"integer", "description":"Nodes in the pool whose condition Ready is False, Unknown or missing", "jsonPath":".status.nodes.notReady"}"#,
    printcolumn = r#"{"name":"Age", "type":"date", "jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Unschedulable", "type":"integer", "description":"Nodes in the pool that are cordoned", "jsonPath":".status.nodes.unschedulable", "priority":1}"#,
    printcolumn = r#"{"name":"Reason", "type":"string", "description":"Why Ready has its status", "jsonPath":".status.conditions[?(@.type==\"Ready\")].reason", "priority":1}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::pool_spec()))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches that users set one by one, not the states of a machine"
)]
pub struct NodePoolSpec {
    /// Label selector for the nodes of the pool, added to those in `nodeNames`. It sees the labels
    /// that a node has apart from those that pools set. Must not be empty: `{}` would match every
    /// node. Keys that `labels` sets cannot be used, nor `topology.kubernetes.io/zone` while
    /// `topologyZone` is `IfAbsent`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub selector: Option<LabelSelector>,

    /// Names of nodes of the pool, added to those that `selector` matches. A name without a node
    /// waits for it. At most 512, each once. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::node_names")]
    pub node_names: Vec<String>,

    /// Labels that each node of the pool carries. A value that was there before is kept aside and
    /// put back when the key leaves this list, the node leaves the pool, or the pool is deleted. A
    /// label changed by hand is set again, unless `conflictPolicy` is Yield. At most 32. Keys under
    /// kubernetes.io, k8s.io and the prefixes of clouds are refused, except
    /// `node-role.kubernetes.io/ROLE` (not control-plane or master),
    /// `node-restriction.kubernetes.io/NAME` and
    /// `node.kubernetes.io/exclude-from-external-load-balancers`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations that each node of the pool carries, kept and given back like `labels`. At most 32,
    /// with keys as in `labels` and values of at most 1024 bytes. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::annotations")]
    pub annotations: BTreeMap<String, String>,

    /// Taints that each node of the pool carries, kept and given back like `labels`. Taints that
    /// others put are not touched, not even those with the same key and another effect. At most 10,
    /// each key and effect once. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = TAINTS_LIMIT),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["key", "effect"],
        )
    )]
    pub taints: Vec<NodePoolTaint>,

    /// Whether every node of the pool is cordoned. A node that was cordoned before stays so when
    /// this ends. Default: false.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub unschedulable: bool,

    /// Whether a node is cordoned when it joins the pool, until somebody uncordons it. Nodes that
    /// have joined before are left alone, and one that is born with the label
    /// stowage.dev/nodepool=POOL counts as such. Default: false.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub cordon_on_join: bool,

    /// What happens when somebody changes or removes what the pool has set. Enforce: it is set again.
    /// Yield: theirs stays, until the key leaves the spec, the node leaves the pool or this becomes
    /// Enforce. Default: Enforce.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    #[schemars(extend("default" = "Enforce"))]
    pub conflict_policy: ConflictPolicy,

    /// What a deletion of the pool does with its nodes. Refuse: a pool with nodes cannot be deleted.
    /// Release: each node gets back what it had. Drain: the nodes are cordoned and their pods evicted
    /// first, as far as `PodDisruptionBudgets` allow and for at most `drainTimeout`; then they are
    /// released. It can be changed while a deletion waits. Default: Refuse.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    #[schemars(extend("default" = "Refuse"))]
    pub deletion_policy: DeletionPolicy,

    /// How long a deletion with `deletionPolicy: Drain` waits for pods to go before it releases the
    /// nodes all the same: 1s to 24h, in h, m, s and ms, such as 1h30m. Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::drain_timeout")]
    pub drain_timeout: Option<String>,

    /// Whether a node without the label `topology.kubernetes.io/zone` gets the name of the pool as
    /// its zone. A zone that somebody else has set is never changed. Ours stays while a
    /// `PersistentVolume` is bound to it. Never or `IfAbsent`. Default: Never.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    #[schemars(extend("default" = "Never"))]
    pub topology_zone: TopologyZone,

    /// Settings of the kubelet on the nodes of the pool, under the names of `KubeletConfiguration`. They
    /// are published as `kubelet.conf` in the ConfigMap `nodepool-NAME`, for the drop-in directory of
    /// the kubelet (`--config-dir`); Stowage does not touch hosts. Default: none.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub kubelet: KubeletSettings,

    /// Settings of kube-proxy on the nodes of the pool, under the names of `KubeProxyConfiguration`,
    /// published as `kube-proxy.yaml` like `kubelet`. Default: none.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub kube_proxy: KubeProxySettings,

    /// What a new node of the pool runs first. Default: nothing.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub bootstrap: Bootstrap,

    /// Whether a DNS cache that somebody else runs on each node of the pool serves its pods. The
    /// published `kubelet.conf` then names the address of the cache as clusterDNS. Default: false.
    #[serde(default, rename = "localDNS", skip_serializing_if = "schema::is_default")]
    pub local_dns: bool,
}

/// What Stowage found and did. Written by the controller only.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePoolStatus {
    /// Generation of the spec that this status is about; -1 until the controller has seen the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// How many nodes the pool has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,

    /// What the nodes of the pool have together, by resource. At most 16 resources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = RESOURCES_LIMIT))]
    pub capacity: BTreeMap<String, Quantity>,

    /// What the nodes of the pool have for pods together, by resource. At most 16 resources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = RESOURCES_LIMIT))]
    pub allocatable: BTreeMap<String, Quantity>,

    /// A few names of nodes for each problem, never the full list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<NodeSamples>,

    /// Accepted: the spec can be carried out. Ready: every node of the pool carries its
    /// configuration. Present only while True: `MembershipConflict` (other pools hold nodes that
    /// this pool asks for), `RejectedByProvider` (an admission plugin refuses writes to nodes),
    /// `ZonePinned` (a `PersistentVolume` holds the zone of a node), Draining (a deletion waits for
    /// pods), Reconciling (work goes on), Stalled (somebody must act). Present only while False:
    /// `BootstrapRendered` (the start script is published, but in no machine template).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Counts of nodes in the pool.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes in the pool.
    pub total: i32,
    /// Nodes whose condition Ready is True.
    pub ready: i32,
    /// Nodes whose condition Ready is False, Unknown or missing.
    pub not_ready: i32,
    /// Nodes that are cordoned, ready or not.
    pub unschedulable: i32,
    /// Nodes that a deletion with `deletionPolicy: Drain` still has to empty.
    #[serde(default)]
    pub draining: i32,
}

/// Names of nodes with a problem.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSamples {
    /// Names of nodes that are not ready, in the order of the alphabet. At most 10, fewer when they
    /// are long.
    #[schemars(length(max = SAMPLE_LIMIT), extend("x-kubernetes-list-type" = "atomic"))]
    pub not_ready: Vec<String>,

    /// Names of nodes whose change an admission plugin refuses, in the order of the alphabet. At most
    /// 10, fewer when they are long.
    #[serde(default)]
    #[schemars(length(max = SAMPLE_LIMIT), extend("x-kubernetes-list-type" = "atomic"))]
    pub rejected: Vec<String>,
}

#[cfg(test)]
mod tests;
