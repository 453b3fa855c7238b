//! Server-side apply, as far as one applier and writers of other kinds make of it.
//!
//! Without schemas: each list is one value, but owner references are told apart by their UID. Who else writes a field
//! does not take it from its applier.

use serde_json::{Map, Value, json};

use super::store::{Refusal, Store};

/// An apply that names one is for this state of the object only.
const VERSION: &str = "/metadata/resourceVersion";

impl Store {
    /// Brings the object to `body` by force: fields that `manager` has applied before and names no longer go.
    pub(super) fn apply(
        &mut self,
        collection: &str,
        (namespace, name): (Option<&str>, &str),
        manager: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let owned = owned_of(body);
        let entry = json!({
            "manager": manager,
            "operation": "Apply",
            "apiVersion": body.get("apiVersion"),
            "fieldsType": "FieldsV1",
            "fieldsV1": owned,
        });
        let Some(mut object) = self.get(collection, name) else {
            let mut object = body.clone();
            json_patch::merge(
                &mut object,
                &json!({"metadata": {"namespace": namespace, "managedFields": [entry]}}),
            );
            return self.create(collection, object);
        };
        if body.pointer(VERSION).is_some_and(|version| Some(version) != object.pointer(VERSION)) {
            return Err(Refusal { code: 409, message: "the object has been modified".to_owned() });
        }
        let mut entries =
            object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        let ours = |entry: &Value| entry.get("manager").and_then(Value::as_str) == Some(manager);
        if let Some(before) = entries.iter().find(|entry| ours(entry)).and_then(|entry| entry.get("fieldsV1"))
        {
            remove_dropped(&mut object, before, &owned);
        }
        entries.retain(|entry| !ours(entry));
        entries.push(entry);
        json_patch::merge(&mut object, body);
        json_patch::merge(&mut object, &json!({"metadata": {"managedFields": entries}}));
        self.change(collection, name, object)
    }
}

/// The fields of an object, as `managedFields` writes them.
fn owned_of(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(body) = body.as_object_mut() {
        body.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !["name", "namespace", "resourceVersion"].contains(&name.as_str()));
    }
    fields(&body)
}

fn fields(value: &Value) -> Value {
    let mut owned = Map::new();
    match value {
        Value::Object(map) => {
            owned.extend(map.iter().map(|(name, value)| (format!("f:{name}"), fields(value))));
        }
        Value::Array(list) => {
            let uids = list.iter().filter_map(|element| element.get("uid"));
            owned.extend(uids.map(|uid| (format!("k:{}", json!({"uid": uid})), json!({}))));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Value::Object(owned)
}

fn remove_dropped(object: &mut Value, before: &Value, now: &Value) {
    let Some(object) = object.as_object_mut() else { return };
    for (member, before) in before.as_object().into_iter().flatten() {
        let Some(name) = member.strip_prefix("f:") else { continue };
        match (now.get(member), object.get_mut(name)) {
            (None, _) => {
                object.remove(name);
            }
            (Some(now), Some(value)) => remove_dropped(value, before, now),
            (Some(_), None) => {}
        }
    }
}
