//! Objects that are wholly ours: server-side apply, and only where something would change.
//!
//! The API server keeps with each object which fields we have applied. If these are the fields of the wish, and they
//! still have its values, then nothing would change. So a field that has left the wish is noticed without a note of our
//! own, and what the API server or somebody else has added to the object is none of our business.

use kube::{Resource, api::Patch, core::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Applier, Audience, Fingerprint, Target, Write, Written, objects, pinned};
use crate::{Cache, Child, Error, Key, Operation, Verb, View};

impl Applier {
    /// Brings the fields that `wish` names to what it says, by force, and lets go of those that it named before and
    /// names no longer. Sends nothing where `cache` shows that all is so already, and a conflict is the answer where the
    /// object is no longer as `cache` has it. [`Written::Gone`] means that the namespace is no longer there.
    ///
    /// A wish spells each value as the API server stores it (`1`, not `1000m`), names no empty map or list, and within
    /// a field that is one value for the API server also what it would fill in; else there is a write each time.
    pub async fn apply<K>(&self, cache: &Cache<Child<K>>, wish: &K) -> Result<Written, Error>
    where
        Child<K>: View<Kind = K, Object = K>,
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let key = Key::of(wish.meta());
        let operation = Operation::one::<K>(Verb::Patch, key.clone());
        let body = json(&operation, wish)?;
        let held = cache.get(&key);
        if let Some(held) = &held
            && cache.undecodable(&key).is_none()
            && stands(self.owned(held.object.meta()), &wished(&body), &json(&operation, &*held.object)?)
        {
            return Ok(Written::Unchanged);
        }
        let written = Fingerprint::of(&body);
        let uid = held.as_ref().map(|held| held.uid.to_string()).unwrap_or_default();
        let target = Target { operation, uid };
        let body = match (body, held) {
            (Value::Object(body), Some(held)) => pinned(body, &held.version),
            (body, _) => body,
        };
        let parameters = self.parameters().force();
        let request = objects::<K>(&key).patch(&key.name, &parameters, &Patch::Apply(&body));
        let write = Write { target, written, request };
        self.write(cache, write, Audience::Readers).await
    }

    /// The fields that we have applied to the object, as the API server notes them.
    fn owned<'a>(&self, metadata: &'a ObjectMeta) -> &'a Value {
        let manager = self.field_manager();
        let mut entries = metadata.managed_fields.iter().flatten();
        let ours = entries.find(|entry| {
            entry.manager.as_ref() == Some(&manager)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.is_none()
        });
        ours.and_then(|entry| entry.fields_v1.as_ref()).map_or(&Value::Null, |fields| &fields.0)
    }
}

fn json<K: Serialize>(operation: &Operation, object: &K) -> Result<Value, Error> {
    serde_json::to_value(object)
        .map_err(|error| Error::new(operation.clone(), kube::Error::SerdeError(error)))
}

/// The part of an object that can be owned: not what names it.
fn wished(body: &Value) -> Value {
    let mut fields = body.as_object().cloned().unwrap_or_default();
    fields.retain(|name, _| name != "apiVersion" && name != "kind");
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|name, _| name != "name" && name != "namespace");
        if metadata.is_empty() {
            fields.remove("metadata");
        }
    }
    Value::Object(fields)
}

/// Whether the fields that are `owned` are those of `wish`, and `held` has the same values there.
fn stands(owned: &Value, wish: &Value, held: &Value) -> bool {
    let members: Vec<(&String, &Value)> =
        owned.as_object().into_iter().flatten().filter(|(name, _)| *name != ".").collect();
    match (wish, members.as_slice()) {
        // One value for the API server, whatever is in it.
        (_, []) => owned.is_object() && wish == held,
        (Value::Object(wish), members) => fields_stand(members, wish, held),
        (Value::Array(wish), members) => elements_stand(members, wish, held),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => false,
    }
}

fn fields_stand(members: &[(&String, &Value)], wish: &Map<String, Value>, held: &Value) -> bool {
    let wished = wish.iter().filter(|(_, value)| !value.is_null()).count();
    wished == members.len()
        && members.iter().all(|(name, owned)| {
            let name = name.strip_prefix("f:").unwrap_or_default();
            match (wish.get(name), held.get(name)) {
                (Some(wish), Some(held)) => stands(owned, wish, held),
                (None, _) | (_, None) => false,
            }
        })
}

fn elements_stand(members: &[(&String, &Value)], wish: &[Value], held: &Value) -> bool {
    wish.len() == members.len()
        && members.iter().all(|(name, owned)| {
            let Some((kind, Ok(id))) =
                name.split_once(':').map(|(kind, id)| (kind, serde_json::from_str::<Value>(id)))
            else {
                return false;
            };
            let element = |list: &[Value]| list.iter().find(|element| is(kind, &id, element)).cloned();
            match (element(wish), held.as_array().and_then(|held| element(held))) {
                (Some(wish), Some(held)) if kind == "k" => stands(owned, &wish, &held),
                (wish, held) => wish.is_some() && held.is_some(),
            }
        })
}

/// Whether this is the element that the API server calls `id`: by its key fields, or by its value. A key field that the
/// element does not name was filled in.
fn is(kind: &str, id: &Value, element: &Value) -> bool {
    match id.as_object().filter(|_| kind == "k") {
        Some(keys) => {
            keys.iter().all(|(name, value)| element.get(name).is_none_or(|element| element == value))
        }
        None => id == element,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As the API server notes it after an apply of `object`.
    fn owned() -> Value {
        json!({
            "f:metadata": {
                "f:labels": {"f:sea": {}},
                "f:ownerReferences": {r#"k:{"uid":"7"}"#: {}},
            },
            "f:data": {".": {}, "f:tide.conf": {}},
            "f:spec": {
                "f:ports": {
                    ".": {},
                    r#"k:{"port":80,"protocol":"TCP"}"#: {".": {}, "f:port": {}},
                },
                "f:finalizers": {".": {}, r#"v:"a""#: {}},
                "f:selector": {},
            },
        })
    }

    fn object() -> Value {
        json!({
            "metadata": {"labels": {"sea": "north"}, "ownerReferences": [{"uid": "7", "name": "q"}]},
            "data": {"tide.conf": "high"},
            "spec": {"ports": [{"port": 80}], "finalizers": ["a"], "selector": {"deck": "upper"}},
        })
    }

    // Rule runtime-21.
    #[test]
    fn an_object_stands_if_our_fields_are_those_of_the_wish_and_have_its_values() {
        let (owned, object) = (owned(), object());
        let changed = |pointer: &str, value: Value| {
            let mut changed = object.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed
        };
        let (same, more) = (&object, changed("/spec/ports", json!([{"port": 80}, {"port": 443}])));
        let cases = [
            (same, same, true, "nothing differs"),
            (
                same,
                &changed("/spec/ports", json!([{"port": 443}, {"port": 80, "protocol": "TCP"}])),
                true,
                "a default and a foreign element are not ours",
            ),
            (
                same,
                &changed("/metadata/labels", json!({"sea": "north", "by": "hand"})),
                true,
                "a foreign label",
            ),
            (same, &changed("/spec/finalizers", json!(["b", "a"])), true, "a foreign element of a set"),
            (same, &changed("/data/tide.conf", json!("low")), false, "somebody changed a value"),
            (same, &changed("/data", json!({})), false, "somebody removed a field"),
            (same, &changed("/spec/ports", json!([])), false, "somebody removed an element"),
            (same, &changed("/spec/finalizers", json!([])), false, "somebody removed an element of a set"),
            (
                same,
                &changed("/spec/selector", json!({"deck": "upper", "a": "b"})),
                false,
                "a map that is one value",
            ),
            (&changed("/data/tide.conf", json!("low")), same, false, "another value is wished for"),
            (&changed("/data", json!({"tide.conf": "high", "b": ""})), same, false, "one more field is"),
            (&more, &more, false, "one more element is, and somebody else has put it there"),
            (&changed("/metadata/labels", Value::Null), same, false, "one field less is"),
            (&changed("/spec/finalizers", json!([])), same, false, "one element of a set less is"),
            (&changed("/metadata/ownerReferences/0/name", json!("r")), same, false, "another owner is"),
        ];
        for (wish, held, expected, because) in cases {
            assert_eq!(stands(&owned, wish, held), expected, "{because}");
        }
        assert!(!stands(&Value::Null, &object, &object), "we have never applied it");
    }
}
