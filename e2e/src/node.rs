//! Nodes as a test sees them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Lab, Outcome};

/// What of a node a pool can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations of ours.
    pub annotations: BTreeMap<String, String>,
}

impl Node {
    /// Reads it from the API's form.
    pub fn of(object: &Value) -> Self {
        let ours = |(key, _): &(String, String)| key.contains("stowage");
        let annotations = strings(object, "/metadata/annotations").into_iter().filter(ours).collect();
        Self { labels: strings(object, "/metadata/labels").into_iter().collect(), annotations }
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

fn strings(object: &Value, path: &str) -> Vec<(String, String)> {
    let map = object.pointer(path).and_then(Value::as_object);
    let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    map.into_iter().flatten().filter_map(pair).collect()
}

/// A node that is nothing but an object: no kubelet answers for it, so only we and the node controller write it.
pub fn plain_node(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
}

impl Lab {
    /// The node as it is now.
    pub fn node(&self, name: &str) -> Outcome<Node> {
        let object = self.find("node", name)?.ok_or_else(|| format!("there is no node {name}"))?;
        Ok(Node::of(&object))
    }

    /// Waits until a node has a label with this value, or has it no more.
    pub fn wait_for_label(&self, node: &str, key: &str, value: Option<&str>) -> Outcome {
        let what = format!("label {key} = {value:?} on {node}");
        self.wait_for(&what, "node", node, |object| (Node::of(object).label(key) == value).then_some(()))
    }

    /// Sets a label by hand; nothing removes it.
    pub fn set_label(&self, node: &str, key: &str, value: Option<&str>) -> Outcome {
        let change = value.map_or_else(|| format!("{key}-"), |value| format!("{key}={value}"));
        Ok(self.kubectl.run(&["label", "node", node, &change, "--overwrite"]).map(drop)?)
    }
}
