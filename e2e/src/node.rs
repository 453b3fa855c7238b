//! Nodes as a test sees them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_cluster::wait_for;

use crate::{Audit, LIMIT, Lab, Outcome, Request, SERVICE_ACCOUNT};

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

    /// Sets an annotation by hand; nothing removes it.
    pub fn annotate(&self, node: &str, key: &str, value: Option<&str>) -> Outcome {
        let change = value.map_or_else(|| format!("{key}-"), |value| format!("{key}={value}"));
        Ok(self.kubectl.run(&["annotate", "node", node, &change, "--overwrite"]).map(drop)?)
    }

    /// Our patches of a node that were carried out. One may be refused for each write of somebody else that came between,
    /// as the node controller's on a new node; any other refusal is an error. What they did may be seen a moment before the
    /// log has the request, so the first is waited for.
    pub fn node_writes(&self, audit: &Audit, node: &str) -> Outcome<Vec<Request>> {
        let of_node = |request: &Request| {
            request.is_write() && request.resource.starts_with("nodes") && request.name == node
        };
        let done = wait_for(&format!("a patch of {node} in the audit log"), LIMIT, || {
            let mut writes = audit.writes_of(SERVICE_ACCOUNT).map_err(|error| error.to_string())?;
            writes.retain(of_node);
            if writes.is_empty() { Err("none".to_owned()) } else { Ok(writes) }
        })?;
        let requests = audit.requests()?.into_iter().filter(of_node);
        let (ours, others): (Vec<_>, Vec<_>) = requests.partition(|request| request.user == SERVICE_ACCOUNT);
        let refused: Vec<_> = ours.into_iter().filter(|request| !request.was_carried_out()).collect();
        let explained = refused.len() <= others.len() && refused.iter().all(|request| request.code == 409);
        if explained { Ok(done) } else { Err(format!("refused: {refused:?}").into()) }
    }
}
