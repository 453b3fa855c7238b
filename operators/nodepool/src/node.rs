//! What a NodePool reads of a Node, and nothing more of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ledger::Record;

/// A Node as the caches keep it: decoded straight from the API server's JSON, a few hundred bytes.
///
/// Two that are equal give the same decisions. The resource version is not part of it: the cache holds
/// it beside the object, and a patch is pinned to it when it is sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "Wire")]
pub struct Node {
    name: Box<str>,
    labels: Labels,
    ledger: Option<Box<str>>,
    ready: bool,
    unschedulable: bool,
}

/// Labels in one allocation, as Kubernetes prints them: `key=value,key=value`. Neither sign can occur in
/// a key or value. A map of the same labels takes several times the room.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Labels(Box<str>);

impl Node {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }

    /// Whether its condition Ready is True.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it is cordoned.
    pub fn is_unschedulable(&self) -> bool {
        self.unschedulable
    }

    /// What pools have written on it.
    pub(crate) fn record(&self) -> Record {
        Record::read(self.ledger.as_deref())
    }

    /// Whether it has a ledger, readable or not.
    pub(crate) fn has_ledger(&self) -> bool {
        self.ledger.is_some()
    }
}

impl Labels {
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .split(',')
            .filter_map(|label| label.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        let labels: Vec<String> = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        Self(labels.join(",").into())
    }
}

/// A Node as the API server spells it; whatever is not named here is skipped while reading.
#[derive(Deserialize)]
struct Wire {
    metadata: WireMetadata,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Deserialize)]
struct WireMetadata {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<WireAnnotations>,
}

#[derive(Deserialize)]
struct WireAnnotations {
    #[serde(rename = "stowage.dev/nodepool-ledger")]
    ledger: Option<String>,
}

#[derive(Default, Deserialize)]
struct WireSpec {
    unschedulable: Option<bool>,
}

#[derive(Default, Deserialize)]
struct WireStatus {
    conditions: Option<Vec<WireCondition>>,
}

#[derive(Deserialize)]
struct WireCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl From<Wire> for Node {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, spec, status } = wire;
        let WireMetadata { name, labels, annotations } = metadata;
        let conditions = status.conditions.unwrap_or_default();
        Self {
            name: name.into(),
            labels: labels.unwrap_or_default().into_iter().collect(),
            ledger: annotations.and_then(|annotations| annotations.ledger).map(Into::into),
            ready: conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            unschedulable: spec.unschedulable.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
