//! The one patch that takes a node from what it carries to what it should carry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use stowage_api::keys::{NODEPOOL_LABEL, NODEPOOL_LEDGER_ANNOTATION};

use crate::{
    ledger::{Ledger, Owned},
    node::Node,
    roster::Candidate,
    validate::Valid,
};

/// A JSON merge patch for `candidate`, so that it belongs to `pool`, or to none; absent where it already does.
///
/// Of what another pool has set before, only what `pool` does not set again is restored: a move is one patch.
pub(crate) fn patch(candidate: &Candidate<'_>, pool: Option<&Valid>) -> Option<Map<String, Value>> {
    let node = candidate.node;
    let nothing = BTreeMap::new();
    let owned = candidate.record.ledger().map_or(&nothing, |ledger| &ledger.labels);
    let wanted: BTreeMap<&str, &str> = pool
        .iter()
        .flat_map(|pool| &pool.labels)
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();

    let mut labels = Map::new();
    let mut entries = BTreeMap::new();
    for key in owned.keys().map(String::as_str).chain(wanted.keys().copied()).collect::<BTreeSet<_>>() {
        let base = owned.get(key).map_or_else(|| node.label(key), |owned| owned.replaced.as_deref());
        let value = wanted.get(key).copied();
        set(&mut labels, node, key, value.or(base));
        if let Some(value) = value {
            entries
                .insert(key.to_owned(), Owned { set: value.to_owned(), replaced: base.map(str::to_owned) });
        }
    }
    set(&mut labels, node, NODEPOOL_LABEL, pool.map(Valid::name));

    let ledger = pool.map(|pool| Ledger::new(pool.name().to_owned(), entries));
    let annotation = ledger_patch(candidate, ledger.as_ref());
    if labels.is_empty() && annotation.is_none() {
        return None;
    }
    let mut metadata = Map::new();
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), Value::Object(labels));
    }
    if let Some(annotation) = annotation {
        metadata.insert("annotations".to_owned(), json!({ NODEPOOL_LEDGER_ANNOTATION: annotation }));
    }
    Some(Map::from_iter([("metadata".to_owned(), Value::Object(metadata))]))
}

/// Gives the label `key` the value `value` where the node does not have it.
fn set(labels: &mut Map<String, Value>, node: &Node, key: &str, value: Option<&str>) {
    if node.label(key) != value {
        labels.insert(key.to_owned(), json!(value));
    }
}

/// The annotation as it should be; null takes it away, absent leaves it.
fn ledger_patch(candidate: &Candidate<'_>, wanted: Option<&Ledger>) -> Option<Value> {
    match wanted {
        Some(ledger) if candidate.record.ledger() == Some(ledger) => None,
        Some(ledger) => Some(Value::String(json!(ledger).to_string())),
        None => candidate.node.has_ledger().then_some(Value::Null),
    }
}
