//! The zones that volumes are bound to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use stowage_api::keys::ZONE_LABEL;

/// What stands between several zones in the label of a volume.
const ZONE_SEPARATOR: &str = "__";

/// A `PersistentVolume` as the caches keep it: only the zones that a pod which uses it must run in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "Wire")]
pub struct Volume {
    zones: Box<[String]>,
}

/// The zones that any volume is bound to. A node that leaves one of them takes its data out of reach, so a zone
/// of ours that is among them stays.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pins(BTreeSet<String>);

impl Volume {
    /// The zones that it is bound to.
    pub fn zones(&self) -> &[String] {
        &self.zones
    }
}

impl Pins {
    /// Whether a volume is bound to `zone`.
    pub(crate) fn hold(&self, zone: &str) -> bool {
        self.0.contains(zone)
    }
}

impl<'a> FromIterator<&'a Volume> for Pins {
    fn from_iter<T: IntoIterator<Item = &'a Volume>>(volumes: T) -> Self {
        let mut zones = BTreeSet::new();
        for zone in volumes.into_iter().flat_map(Volume::zones) {
            // Of thousands of volumes there are a few zones: each is copied once.
            if !zones.contains(zone) {
                zones.insert(zone.clone());
            }
        }
        Self(zones)
    }
}

/// A `PersistentVolume` as the API server spells it. The scheduler asks for its label and for its affinity.
#[derive(Deserialize)]
struct Wire {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_affinity: Option<Affinity>,
}

#[derive(Deserialize)]
struct Affinity {
    required: Option<Selector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    node_selector_terms: Vec<Term>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Vec<String>,
}

impl From<Wire> for Volume {
    fn from(wire: Wire) -> Self {
        let label = wire.metadata.labels.and_then(|mut labels| labels.remove(ZONE_LABEL));
        let by_label =
            label.iter().flat_map(|zones| zones.split(ZONE_SEPARATOR)).map(str::to_owned).collect::<Vec<_>>();
        let affinity = wire.spec.node_affinity.and_then(|affinity| affinity.required);
        let expressions = affinity
            .into_iter()
            .flat_map(|selector| selector.node_selector_terms)
            .flat_map(|term| term.match_expressions);
        let by_affinity = expressions
            .filter(|expression| expression.key == ZONE_LABEL && expression.operator == "In")
            .flat_map(|expression| expression.values);
        Self { zones: by_label.into_iter().chain(by_affinity).collect() }
    }
}

#[cfg(test)]
mod tests;
