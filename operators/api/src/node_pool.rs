//! `NodePool`: a named set of nodes with one configuration.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// Most entries in `spec.labels`; keeps the cost of the CEL rules within the API server's budget.
pub const LABELS_LIMIT: usize = 32;
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
pub struct NodePoolSpec {
    /// Label selector for the nodes of the pool, added to those in `nodeNames`. It sees the labels
    /// that a node has apart from those that pools set. Must not be empty: `{}` would match every
    /// node. Keys that `labels` sets cannot be used. Default: none.
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
    /// label changed by hand is set again. At most 32. Keys under kubernetes.io, k8s.io and the
    /// prefixes of clouds are refused, except `node-role.kubernetes.io/ROLE` (not control-plane),
    /// `node-restriction.kubernetes.io/NAME` and
    /// `node.kubernetes.io/exclude-from-external-load-balancers`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
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

    /// A few names of nodes for each problem, never the full list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<NodeSamples>,

    /// Accepted: the spec can be carried out. Ready: every node of the pool carries its
    /// configuration. Present only while True: `MembershipConflict` (other pools hold nodes that
    /// this pool asks for), Reconciling (work goes on), Stalled (somebody must act).
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
}

/// Names of nodes with a problem.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSamples {
    /// Names of nodes that are not ready, in the order of the alphabet. At most 10, fewer when they
    /// are long.
    #[schemars(length(max = SAMPLE_LIMIT), extend("x-kubernetes-list-type" = "atomic"))]
    pub not_ready: Vec<String>,
}

#[cfg(test)]
mod tests;
