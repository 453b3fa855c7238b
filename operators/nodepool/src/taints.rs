//! The taints of a node: one list that many write, in which a taint is known by its key and effect.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stowage_api::node_pool::TaintEffect;

/// Every effect there is.
const EFFECTS: [TaintEffect; 3] =
    [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];

/// The list as it is on the node, with every field of every taint: what is not ours is sent back as it came.
#[derive(Debug)]
pub(crate) struct Taints(Vec<Map<String, Value>>);

/// The identity of a taint as text: `KEY:EFFECT`.
pub(crate) fn id(key: &str, effect: TaintEffect) -> String {
    format!("{key}:{}", effect.as_str())
}

/// The key in such an identity; nothing if it is none.
pub(crate) fn key_of(id: &str) -> Option<&str> {
    let (key, effect) = id.rsplit_once(':')?;
    EFFECTS.iter().any(|known| known.as_str() == effect).then_some(key)
}

impl Taints {
    /// Reads the list, which is JSON, or empty.
    pub(crate) fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// The value of each taint by its identity. One without a value has the empty one.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|taint| (id_of(taint), text(taint, "value").to_owned())).collect()
    }

    /// The list after `changes`, null where none is left. What changes is put anew, so that nothing of what was
    /// there counts for it: the time in `timeAdded` is that of another taint.
    pub(crate) fn changed(self, mut changes: BTreeMap<String, Option<String>>) -> Value {
        let mut list = Vec::new();
        for taint in self.0 {
            let id = id_of(&taint);
            match changes.remove(&id) {
                None => list.push(Value::Object(taint)),
                Some(value) => list.extend(value.and_then(|value| taint_of(&id, &value))),
            }
        }
        list.extend(changes.iter().filter_map(|(id, value)| taint_of(id, value.as_deref()?)));
        if list.is_empty() { Value::Null } else { Value::Array(list) }
    }
}

fn text<'a>(taint: &'a Map<String, Value>, field: &str) -> &'a str {
    taint.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn id_of(taint: &Map<String, Value>) -> String {
    format!("{}:{}", text(taint, "key"), text(taint, "effect"))
}

/// As the API server keeps it: an empty value is left out.
fn taint_of(id: &str, value: &str) -> Option<Value> {
    let (key, effect) = id.rsplit_once(':')?;
    Some(match value {
        "" => json!({ "key": key, "effect": effect }),
        value => json!({ "key": key, "value": value, "effect": effect }),
    })
}

#[cfg(test)]
mod tests;
