//! A Node as the API server spells it; whatever is not named here is skipped while reading.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use stowage_api::{keys::NODEPOOL_LEDGER_ANNOTATION, reserved};

use super::Node;

#[derive(Deserialize)]
pub(super) struct Wire {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    uid: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct Spec {
    unschedulable: Option<bool>,
    taints: Option<Vec<Map<String, Value>>>,
}

#[derive(Default, Deserialize)]
struct Status {
    conditions: Option<Vec<Condition>>,
    capacity: Option<BTreeMap<String, String>>,
    allocatable: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl From<Wire> for Node {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, spec, status } = wire;
        let Metadata { name, uid, labels, annotations } = metadata;
        let Spec { unschedulable, taints } = spec;
        let Status { conditions, capacity, allocatable } = status;
        let mut annotations = annotations.unwrap_or_default();
        let ledger = annotations.remove(NODEPOOL_LEDGER_ANNOTATION);
        let taints = taints.filter(|taints| !taints.is_empty());
        Self {
            name: name.into(),
            uid: uid.map(Into::into),
            labels: labels.unwrap_or_default().into_iter().collect(),
            annotations: annotations.into_iter().filter(|(key, _)| !reserved::is_reserved(key)).collect(),
            ledger: ledger.map(Into::into),
            taints: taints.map(|taints| serde_json::json!(taints).to_string()).unwrap_or_default().into(),
            capacity: capacity.unwrap_or_default().into_iter().collect(),
            allocatable: allocatable.unwrap_or_default().into_iter().collect(),
            ready: conditions
                .unwrap_or_default()
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            unschedulable: unschedulable.unwrap_or_default(),
        }
    }
}
