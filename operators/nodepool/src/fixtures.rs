//! Pools, nodes and a small cluster for the tests of this room.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use stowage_api::{
    NodePool,
    keys::{NODEPOOL_LEDGER_ANNOTATION, ZONE_LABEL},
    node_pool::DeletionPolicy,
};

use crate::{
    Desired, Evacuation, Evacuations, Move, Node, Observed, Pins, Roster, Volume, Wait, build, cleanup,
    members, validate,
};

/// A pool created `age` seconds after the epoch.
pub(crate) fn pool(name: &str, age: i64, spec: &Value) -> NodePool {
    let mut pool: NodePool = serde_json::from_value(json!({
        "apiVersion": "stowage.dev/v1alpha1",
        "kind": "NodePool",
        "metadata": { "name": name, "generation": 1 },
        "spec": spec,
    }))
    .unwrap();
    pool.metadata.creation_timestamp = Some(Time(Timestamp::from_second(age).unwrap()));
    pool
}

/// A volume that is bound to `zone`.
pub(crate) fn pinned(zone: &str) -> Pins {
    let labels = json!({ ZONE_LABEL: zone });
    let volume: Volume = serde_json::from_value(json!({ "metadata": { "labels": labels } })).unwrap();
    [&volume].into_iter().collect()
}

/// The same pool on its way out, letting its nodes go.
pub(crate) fn leaving(pool: NodePool) -> NodePool {
    going(pool, DeletionPolicy::Release)
}

/// The same pool on its way out by this policy.
pub(crate) fn going(mut pool: NodePool, policy: DeletionPolicy) -> NodePool {
    pool.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(1_000_000).unwrap()));
    pool.spec.deletion_policy = policy;
    pool
}

/// Where a node comes from and goes to.
pub(crate) fn ends(moved: &Move) -> (Option<&str>, Option<&str>) {
    match moved {
        Move::Joined(to) => (None, Some(to)),
        Move::Left(from) => (Some(from), None),
        Move::Changed { from, to } => (Some(from), Some(to)),
    }
}

/// A ready node as the API server spells it.
pub(crate) fn node(name: &str, labels: &Value) -> Value {
    json!({
        "metadata": { "name": name, "labels": labels, "annotations": { "example.com/note": "kept" } },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

/// The same node with this text as its ledger.
pub(crate) fn with_ledger(mut node: Value, ledger: &str) -> Value {
    node["metadata"]["annotations"][NODEPOOL_LEDGER_ANNOTATION] = json!(ledger);
    node
}

/// Pools and nodes whose patches are carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) pools: Vec<NodePool>,
    pub(crate) pins: Pins,
    pub(crate) evacuations: Evacuations,
    pub(crate) nodes: BTreeMap<String, Value>,
}

impl Cluster {
    pub(crate) fn new(pools: &[NodePool], nodes: &[Value]) -> Self {
        let named = |node: &Value| (node["metadata"]["name"].as_str().unwrap().to_owned(), node.clone());
        Self { pools: pools.to_vec(), nodes: nodes.iter().map(named).collect(), ..Self::default() }
    }

    pub(crate) fn observed(&self) -> Observed {
        // In the wrong order, as a cache might.
        let node = |node: &Value| Arc::new(serde_json::from_value::<Node>(node.clone()).unwrap());
        let nodes = self.nodes.values().rev().map(node).collect();
        Observed::new(Arc::new(Roster::new(&self.pools, [])), nodes, self.pins.clone())
    }

    /// What the pool of this name asks for; nothing where its spec is not accepted.
    pub(crate) fn desired(&self, name: &str) -> Desired {
        let pool = self.pools.iter().find(|pool| pool.metadata.name.as_deref() == Some(name)).unwrap();
        if pool.metadata.deletion_timestamp.is_some() {
            let (valid, observed) = (validate(pool).ok(), self.observed());
            let desired = cleanup(pool, valid.as_ref(), &observed, &self.evacuations);
            if let (Wait::Drain { nodes, .. }, Some(valid)) = (&desired.standing.wait, &valid) {
                let mut under_way = members(valid, &observed);
                under_way.retain(|node| self.evacuations.get(node) != Some(&Evacuation::Done));
                assert_eq!(under_way, *nodes, "what is to be emptied is what is waited for");
            }
            return desired;
        }
        validate(pool).map_or_else(|_| Desired::default(), |valid| build(&valid, &self.observed()))
    }

    /// Carries out what the pool of this name asks for.
    pub(crate) fn reconcile(&mut self, name: &str) -> Desired {
        let desired = self.desired(name);
        self.apply(&desired);
        desired
    }

    pub(crate) fn apply(&mut self, desired: &Desired) {
        for (name, patch) in &desired.patches {
            json_patch::merge(self.nodes.get_mut(name).unwrap(), &Value::Object(patch.object()));
        }
    }

    pub(crate) fn set_spec(&mut self, name: &str, spec: &Value) {
        let pool = self.pools.iter_mut().find(|pool| pool.metadata.name.as_deref() == Some(name)).unwrap();
        pool.spec = serde_json::from_value(spec.clone()).unwrap();
    }

    /// Sets a label by hand, or takes it away.
    pub(crate) fn edit(&mut self, node: &str, key: &str, value: Option<&str>) {
        self.patch(node, &json!({ "metadata": { "labels": { key: value } } }));
    }

    /// Changes a node by hand.
    pub(crate) fn patch(&mut self, node: &str, patch: &Value) {
        json_patch::merge(self.nodes.get_mut(node).unwrap(), patch);
    }

    pub(crate) fn labels(&self, node: &str) -> Value {
        self.nodes[node]["metadata"]["labels"].clone()
    }

    pub(crate) fn ledger(&self, node: &str) -> Option<Value> {
        let text = self.nodes[node]["metadata"]["annotations"].get(NODEPOOL_LEDGER_ANNOTATION)?;
        Some(serde_json::from_str(text.as_str().unwrap()).unwrap())
    }
}
