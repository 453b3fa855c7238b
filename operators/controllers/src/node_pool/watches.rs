//! What is watched, and whom a change concerns.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1;
use serde_json::{Map, Value};
use stowage_api::NodePool;
use stowage_nodepool::{Node, Observed, Roster, competes_alike};
use stowage_runtime::{Cache, Change, Controller, Decided, Held, Key, Projected, Queue, Runtime, Whole};

use super::Context;

/// Of each node only what the decisions read.
pub(super) type Nodes = Projected<v1::Node, Node>;

/// One look at the caches: what is decided on, and the states that its writes are pinned to.
pub(super) struct Observation {
    pub(super) observed: Observed,
    pub(super) nodes: BTreeMap<String, Held<Node>>,
}

/// The roster of all pools, compiled at most once between two changes of a pool.
pub(super) struct Rosters {
    pools: Arc<Cache<Whole<NodePool>>>,
    compiled: Mutex<Option<Arc<Roster>>>,
}

impl Observation {
    pub(super) fn new(roster: Arc<Roster>, nodes: &Cache<Nodes>) -> Self {
        let nodes: BTreeMap<_, _> = nodes.all().into_iter().map(|(key, held)| (key.name, held)).collect();
        let observed = Observed::new(roster, nodes.values().map(|held| Arc::clone(&held.object)).collect());
        Self { observed, nodes }
    }

    /// The patches, each with the state of the node that was looked at.
    pub(super) fn pin(&self, patches: &BTreeMap<String, Map<String, Value>>) -> Vec<Decided<Node>> {
        let pin = |(name, patch): (&String, &Map<String, Value>)| {
            Some(Decided { key: Key::cluster(name), on: self.nodes.get(name)?.clone(), patch: patch.clone() })
        };
        patches.iter().filter_map(pin).collect()
    }
}

impl Rosters {
    pub(super) fn new(pools: Arc<Cache<Whole<NodePool>>>) -> Self {
        Self { pools, compiled: Mutex::default() }
    }

    /// The roster as of now.
    pub(super) fn get(&self) -> Arc<Roster> {
        // Compiled under the lock: a change that comes meanwhile waits, and then throws the result away.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(compiled.get_or_insert_with(|| Arc::new(self.compile())))
    }

    fn forget(&self) {
        *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn compile(&self) -> Roster {
        let unreadable = self.pools.unreadable();
        let pools = self.pools.all();
        // A pool that cannot be read now keeps what it has and gets nothing, unless it is being deleted.
        let counted = pools.iter().filter(|(key, held)| {
            !unreadable.contains(key) || held.object.metadata.deletion_timestamp.is_some()
        });
        Roster::new(counted.map(|(_, held)| &*held.object), unreadable.iter().map(|key| key.name.clone()))
    }
}

impl Context {
    pub(super) fn observe(&self) -> Observation {
        Observation::new(self.rosters.get(), &self.nodes)
    }
}

/// Starts the watches of nodes and pools, and the loop over pools.
pub(super) fn start(runtime: &Runtime) {
    let pools = runtime.cache();
    let nodes = runtime.cache();
    let context = Arc::new(Context {
        rosters: Rosters::new(Arc::clone(&pools)),
        pools: Arc::clone(&pools),
        nodes: Arc::clone(&nodes),
        applier: runtime.applier(Context::NAME),
        clock: runtime.clock(),
    });
    let queue = Arc::new(Queue::default());

    let (of_pools, waking) = (Arc::clone(&context), Arc::clone(&queue));
    pools.subscribe(move |change| of_pools.pool_changed(change, &waking));
    let (of_nodes, waking) = (Arc::clone(&context), Arc::clone(&queue));
    nodes.subscribe(move |change| of_nodes.node_changed(change, &waking));

    runtime.follow(&pools);
    runtime.follow(&nodes);
    let needs = vec![pools.synced(), nodes.synced()];
    runtime.run(context, &pools, &queue, needs);
}

impl Context {
    /// What one pool asks for decides what the others get, so all look again; a change that decides nothing for
    /// them wakes only the pool itself, which `run` does.
    fn pool_changed(&self, change: &Change<'_, NodePool>, queue: &Queue) {
        self.rosters.forget();
        // It has come, or gone, without ever having been readable.
        let unreadable = change.old.is_none() && change.new.is_none();
        if unreadable || !competes_alike(change.old, change.new) {
            for (key, _) in self.pools.all() {
                queue.add(key);
            }
        }
    }

    /// The pools that the node as it was or is can matter to.
    fn node_changed(&self, change: &Change<'_, Node>, queue: &Queue) {
        let roster = self.rosters.get();
        for node in change.old.into_iter().chain(change.new) {
            for pool in roster.concerned(node) {
                queue.add(Key::cluster(pool));
            }
        }
    }
}
