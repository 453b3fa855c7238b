//! The objects, their versions, and what each write makes of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::filter::Filter;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) message: String,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Happened {
    pub(super) version: u64,
    pub(super) kind: &'static str,
    pub(super) collection: String,
    pub(super) object: Value,
    /// As it was before; absent for a new one.
    pub(super) old: Option<Value>,
}

#[derive(Default)]
pub(super) struct Store {
    version: u64,
    kinds: BTreeMap<String, String>,
    objects: BTreeMap<(String, String), Value>,
    history: Vec<Happened>,
}

impl Store {
    pub(super) fn add_resource(&mut self, collection: String, kind: String) {
        self.kinds.insert(collection, kind);
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.objects.get(&(collection.to_owned(), name.to_owned())).cloned()
    }

    pub(super) fn list(&self, collection: &str) -> Vec<Value> {
        self.objects
            .iter()
            .filter(|((of, _), _)| of == collection)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// The first thing that happened in `collection` after `version`, as a watch of the part that `filter` selects is
    /// told: an object that leaves the part is deleted for it.
    pub(super) fn after(&self, collection: &str, version: u64, filter: &Filter) -> Option<Happened> {
        // Versions grow: what is known is skipped at once, however long the history.
        let known = self.history.partition_point(|happened| happened.version <= version);
        let mut news = self.history.iter().skip(known).filter(|happened| happened.collection == collection);
        let told = |happened: &Happened| {
            let was = happened.old.as_ref().is_some_and(|old| filter.matches(old));
            match (was, filter.matches(&happened.object)) {
                (false, false) => None,
                (true, false) => Some("DELETED"),
                (false, true) => Some("ADDED"),
                (true, true) => Some(happened.kind),
            }
        };
        news.find_map(|happened| Some(Happened { kind: told(happened)?, ..happened.clone() }))
    }

    pub(super) fn check(&self, collection: &str) -> Result<(), Refusal> {
        if self.kinds.contains_key(collection) {
            return Ok(());
        }
        Err(Refusal { code: 404, message: "the server could not find the requested resource".to_owned() })
    }

    /// One page of a list; the token of the next is the name that it begins after.
    pub(super) fn page(
        &self,
        collection: &str,
        filter: &Filter,
        limit: Option<usize>,
        after: Option<&str>,
    ) -> Result<Value, Refusal> {
        self.check(collection)?;
        let mut rest = self.list(collection);
        rest.retain(|object| after.is_none_or(|after| name(object) > after));
        rest.retain(|object| filter.matches(object));
        let mut page = rest;
        let left = page.split_off(limit.unwrap_or(usize::MAX).min(page.len()));
        let next = page.last().filter(|_| !left.is_empty()).map(|object| name(object).to_owned());
        let metadata = json!({"resourceVersion": self.version.to_string(), "continue": next});
        Ok(json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page}))
    }

    pub(super) fn create(&mut self, collection: &str, mut object: Value) -> Result<Value, Refusal> {
        self.check(collection)?;
        let key = (collection.to_owned(), name(&object).to_owned());
        if self.objects.contains_key(&key) {
            return Err(Refusal { code: 409, message: format!("{} already exists", key.1) });
        }
        let version = self.version + 1;
        let created =
            format!("2001-01-01T{:02}:{:02}:{:02}Z", version / 3600 % 24, version / 60 % 60, version % 60);
        let given = json!({"metadata": {"uid": format!("uid-{version}"), "generation": 1, "creationTimestamp": created}});
        // What the test gives wins: it may need an older object.
        let mut whole = given;
        json_patch::merge(&mut whole, &object);
        object = whole;
        Ok(self.store(key, object, "ADDED"))
    }

    pub(super) fn read(&self, collection: &str, name: &str) -> Result<Value, Refusal> {
        self.existing(collection, name)
    }

    /// An update as the real server does it for a Lease: it must name the version, and an equal object is no new one.
    pub(super) fn replace(&mut self, collection: &str, name: &str, object: &Value) -> Result<Value, Refusal> {
        let old = self.existing(collection, name)?;
        let Some(version) = version_of(object) else {
            let message =
                "metadata.resourceVersion: Invalid value: must be specified for an update".to_owned();
            return Err(Refusal { code: 422, message });
        };
        if Some(version) != version_of(&old)
            || object.pointer("/metadata/uid") != old.pointer("/metadata/uid")
        {
            return Err(Refusal { code: 409, message: "the object has been modified".to_owned() });
        }
        if *object == old {
            return Ok(old);
        }
        Ok(self.store((collection.to_owned(), name.to_owned()), object.clone(), "MODIFIED"))
    }

    /// A merge patch on the object, or on its status alone.
    pub(super) fn patch(
        &mut self,
        collection: &str,
        name: &str,
        subresource: Option<&str>,
        patch: &Value,
    ) -> Result<Value, Refusal> {
        let old = self.existing(collection, name)?;
        let precondition = patch.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        if precondition.is_some_and(|version| Some(version) != version_of(&old)) {
            return Err(Refusal { code: 409, message: "the object has been modified".to_owned() });
        }
        let mut new = old.clone();
        match subresource {
            None => json_patch::merge(&mut new, patch),
            Some(part) => json_patch::merge(&mut new, &json!({part: patch.get(part)})),
        }
        self.change(collection, name, new)
    }

    /// Puts a changed object in its place.
    pub(super) fn change(&mut self, collection: &str, name: &str, mut new: Value) -> Result<Value, Refusal> {
        let old = self.existing(collection, name)?;
        if new == old {
            return Ok(old);
        }
        if new.get("spec") != old.get("spec") {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or_default();
            json_patch::merge(&mut new, &json!({"metadata": {"generation": generation + 1}}));
        }
        let key = (collection.to_owned(), name.to_owned());
        if new.pointer("/metadata/deletionTimestamp").is_some() && finalizers(&new) == 0 {
            return Ok(self.remove(&key, new));
        }
        Ok(self.store(key, new, "MODIFIED"))
    }

    /// A merge patch on the scale of an object; the answer is the scale.
    pub(super) fn scale(&mut self, collection: &str, name: &str, patch: &Value) -> Result<Value, Refusal> {
        let replicas = patch.pointer("/spec/replicas").cloned().unwrap_or_default();
        let object = self.patch(collection, name, None, &json!({"spec": {"replicas": replicas}}))?;
        let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let pairs = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        let selector = pairs.collect::<Vec<_>>().join(",");
        Ok(json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": object.get("metadata"),
            "spec": {"replicas": replicas},
            "status": {"replicas": 0, "selector": selector},
        }))
    }

    pub(super) fn delete(
        &mut self,
        collection: &str,
        name: &str,
        uid: Option<&str>,
        version: Option<&str>,
    ) -> Result<Value, Refusal> {
        let mut object = self.existing(collection, name)?;
        if uid.is_some() && uid != object.pointer("/metadata/uid").and_then(Value::as_str) {
            let message = "Precondition failed: UID in precondition: another, UID in object meta: this";
            return Err(Refusal { code: 409, message: message.to_owned() });
        }
        if version.is_some() && version != version_of(&object) {
            return Err(Refusal {
                code: 409,
                message: "the version in the precondition is another".to_owned(),
            });
        }
        let key = (collection.to_owned(), name.to_owned());
        if finalizers(&object) == 0 {
            return Ok(self.remove(&key, object));
        }
        json_patch::merge(&mut object, &json!({"metadata": {"deletionTimestamp": "2001-01-02T00:00:00Z"}}));
        Ok(self.store(key, object, "MODIFIED"))
    }

    fn existing(&self, collection: &str, name: &str) -> Result<Value, Refusal> {
        self.check(collection)?;
        self.get(collection, name).ok_or_else(|| Refusal { code: 404, message: format!("{name} not found") })
    }

    fn store(&mut self, key: (String, String), object: Value, kind: &'static str) -> Value {
        let old = self.objects.get(&key).cloned();
        let object = self.happen(&key.0, old, object, kind);
        self.objects.insert(key, object.clone());
        object
    }

    fn remove(&mut self, key: &(String, String), object: Value) -> Value {
        let old = self.objects.remove(key);
        self.happen(&key.0, old, object, "DELETED")
    }

    fn happen(
        &mut self,
        collection: &str,
        old: Option<Value>,
        mut object: Value,
        kind: &'static str,
    ) -> Value {
        self.version += 1;
        json_patch::merge(&mut object, &json!({"metadata": {"resourceVersion": self.version.to_string()}}));
        let happened = Happened {
            version: self.version,
            kind,
            collection: collection.to_owned(),
            object: object.clone(),
            old,
        };
        self.history.push(happened);
        object
    }
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn version_of(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str)
}

fn finalizers(object: &Value) -> usize {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).map_or(0, Vec::len)
}
