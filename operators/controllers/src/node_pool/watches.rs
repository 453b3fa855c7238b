//! What is watched, and whom a change concerns.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1;
use stowage_api::{
    NodePool,
    keys::{MANAGED_BY_LABEL, MANAGER, NODEPOOL_LABEL},
};
use stowage_nodepool::{Node, Observed, Patch, Pins, Roster, Volume, competes_alike, settings::Site};
use stowage_runtime::{
    Cache, Change, Child, Controller, Decided, Held, Key, Projected, Queue, Runtime, Selection, Whole,
};

use super::Context;
use crate::Settings;

/// Of each node only what the decisions read.
pub(super) type Nodes = Projected<v1::Node, Node>;

/// Of each volume only the zones that it is bound to.
pub(super) type Volumes = Projected<v1::PersistentVolume, Volume>;

/// What is published for new nodes.
pub(super) type SettingsMaps = Child<v1::ConfigMap>;

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
    pub(super) fn new(roster: Arc<Roster>, nodes: &Cache<Nodes>, pins: Pins) -> Self {
        let nodes: BTreeMap<_, _> = nodes.all().into_iter().map(|(key, held)| (key.name, held)).collect();
        let objects = nodes.values().map(|held| Arc::clone(&held.object)).collect();
        Self { observed: Observed::new(roster, objects, pins), nodes }
    }

    /// The patches, each with the state of the node that was looked at.
    pub(super) fn pin<'a>(
        &'a self,
        patches: &'a BTreeMap<String, Patch>,
    ) -> impl Iterator<Item = Decided<Node>> + 'a {
        patches.iter().filter_map(|(name, patch)| {
            Some(Decided {
                key: Key::cluster(name),
                on: self.nodes.get(name)?.clone(),
                patch: patch.object(),
            })
        })
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
        let volumes = self.volumes.all();
        let pins = volumes.iter().map(|(_, held)| &*held.object).collect();
        Observation::new(self.rosters.get(), &self.nodes, pins)
    }
}

/// The settings of all pools, in whatever namespace.
pub(super) fn published() -> Selection {
    Selection::default().with_labels(format!("{MANAGED_BY_LABEL}={MANAGER},{NODEPOOL_LABEL}"))
}

/// Starts the watches of pools, nodes, volumes and published settings, and the loop over pools.
pub(super) fn start(runtime: &Runtime, settings: &Settings) {
    let site = Site { namespace: runtime.namespace().to_owned(), local_dns: settings.local_dns };
    let pools = runtime.cache();
    let context = Arc::new(Context {
        rosters: Rosters::new(Arc::clone(&pools)),
        pools,
        nodes: runtime.cache(),
        volumes: runtime.cache(),
        settings: runtime.cache_in(&site.namespace, published()),
        applier: runtime.applier(Context::NAME),
        clock: runtime.clock(),
        site,
    });
    let queue = Arc::new(Queue::default());
    context.wake_on_changes(&queue);
    let Context { pools, nodes, volumes, settings, .. } = &*context;
    runtime.follow(pools);
    runtime.follow(nodes);
    runtime.follow(volumes);
    runtime.follow(settings);
    let needs = vec![pools.synced(), nodes.synced(), volumes.synced(), settings.synced()];
    runtime.run(Arc::clone(&context), pools, &queue, needs);
}

impl Context {
    fn wake_on_changes(self: &Arc<Self>, queue: &Arc<Queue>) {
        let (context, waking) = (Arc::clone(self), Arc::clone(queue));
        self.pools.subscribe(move |change| context.pool_changed(change, &waking));
        let (context, waking) = (Arc::clone(self), Arc::clone(queue));
        self.nodes.subscribe(move |change| context.node_changed(change, &waking));
        let waking = Arc::clone(queue);
        self.volumes.subscribe(move |change| volume_changed(change, &waking));
        let waking = Arc::clone(queue);
        self.settings.subscribe(move |change| settings_changed(change, &waking));
    }

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

/// A zone that we gave has the name of a pool.
fn volume_changed(change: &Change<'_, Volume>, queue: &Queue) {
    for zone in change.old.into_iter().chain(change.new).flat_map(Volume::zones) {
        queue.add(Key::cluster(zone));
    }
}

fn settings_changed(change: &Change<'_, v1::ConfigMap>, queue: &Queue) {
    let labels = change.old.into_iter().chain(change.new).filter_map(|map| map.metadata.labels.as_ref());
    for pool in labels.filter_map(|labels| labels.get(NODEPOOL_LABEL)) {
        queue.add(Key::cluster(pool));
    }
}
