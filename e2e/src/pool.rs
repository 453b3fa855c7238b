//! `NodePools` as a test sees them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Lab, Outcome};

/// The resource, by its whole name: other products have a `NodePool` too.
pub const RESOURCE: &str = "nodepools.stowage.dev";

/// A pool with these nodes and labels, which can be deleted although it has nodes.
pub fn pool(name: &str, nodes: &[&str], labels: &Value) -> Value {
    json!({
        "apiVersion": "stowage.dev/v1alpha1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {"nodeNames": nodes, "labels": labels, "deletionPolicy": "Release"},
    })
}

/// The same with these fields of the spec, which take the place of what is there; null takes one away.
pub fn pool_with(name: &str, nodes: &[&str], fields: &Value) -> Value {
    let mut object = pool(name, nodes, &json!({}));
    json_patch::merge(&mut object, &json!({"spec": fields}));
    object
}

/// The same for the nodes that have this label.
pub fn pool_selecting(name: &str, (key, value): (&str, &str), fields: &Value) -> Value {
    let mut object = pool_with(name, &[], fields);
    let choice = json!({"nodeNames": null, "selector": {"matchLabels": {key: value}}});
    json_patch::merge(&mut object, &json!({"spec": choice}));
    object
}

/// The condition of this type.
pub fn condition(object: &Value, type_: &str) -> Option<Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").is_some_and(|found| found == type_)).cloned()
}

/// Whether the generation that is there has been carried out whole.
pub fn is_settled(object: &Value) -> bool {
    let generation = object.pointer("/metadata/generation");
    let ready = condition(object, "Ready").unwrap_or_default();
    generation.is_some()
        && object.pointer("/status/observedGeneration") == generation
        && ready.get("observedGeneration") == generation
        && ready.get("status").is_some_and(|status| status == "True")
}

impl Lab {
    /// Applies a pool and waits until it is carried out; returns it.
    pub fn settle(&self, pool: &Value) -> Outcome<Value> {
        self.apply(pool)?;
        let name = pool.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        self.wait_for_pool(name, "a settled pool", is_settled)
    }

    /// Waits until a pool is as `look` wants it; returns it.
    pub fn wait_for_pool(&self, name: &str, what: &str, look: impl Fn(&Value) -> bool) -> Outcome<Value> {
        self.wait_for(&format!("{what} {name}"), RESOURCE, name, |object| {
            look(object).then(|| object.clone())
        })
    }

    /// Whether the clock has moved on since the second in which a pool was created.
    pub fn is_older_than_a_second(&self, name: &str) -> Result<(), String> {
        let object = self.find(RESOURCE, name).map_err(|error| error.to_string())?.unwrap_or_default();
        let created =
            object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
        let created: Timestamp = created.parse().map_err(|error| format!("{created:?}: {error}"))?;
        let age = Timestamp::now().duration_since(created);
        if age.as_secs() > 1 { Ok(()) } else { Err(format!("created {age:?} ago")) }
    }

    /// Deletes a pool, whatever its policy, and waits until it has released its nodes; one that is not there is success.
    pub fn delete_pool(&self, name: &str) -> Outcome {
        if self.find(RESOURCE, name)?.is_some() {
            let leave = r#"{"spec": {"deletionPolicy": "Release"}}"#;
            self.kubectl.run(&["patch", RESOURCE, name, "--type=merge", "-p", leave])?;
        }
        self.delete(RESOURCE, name)
    }
}
