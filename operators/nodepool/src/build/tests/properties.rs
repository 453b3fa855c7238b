//! Whatever happens in whatever order: once the pools have had their turn, a node is what it was without them,
//! overlaid by the pool that wins it.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use stowage_api::NodePool;

use crate::{
    fixtures::{Cluster, leaving, node, pool},
    validate,
};

const POOLS: [&str; 3] = ["amber", "birch", "cedar"];
const NODES: [&str; 3] = ["quay-1", "quay-2", "quay-3"];
const KEYS: [&str; 4] = ["disk", "a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    /// Creates a pool or changes it.
    Spec(&'static str, Wish),
    /// Has a pool fail validation.
    Break(&'static str),
    Delete(&'static str),
    /// A hand sets a label or takes it away.
    Edit(&'static str, &'static str, Option<&'static str>),
    /// A hand writes our own label on a node of ours.
    EditPoolLabel(&'static str),
    DropLedger(&'static str),
    Reconcile(&'static str),
    Settle(Vec<&'static str>),
}

#[derive(Clone, Debug)]
struct Wish {
    disk: Option<&'static str>,
    names: Vec<&'static str>,
    labels: BTreeMap<&'static str, &'static str>,
}

impl Wish {
    fn spec(&self) -> Value {
        let selector = self.disk.map(|disk| json!({ "matchLabels": { "disk": disk } }));
        let mut spec = json!({ "nodeNames": self.names, "labels": self.labels });
        if let Some(selector) = selector {
            spec["selector"] = selector;
        }
        spec
    }

    fn asks_for(&self, name: &str, base: &BTreeMap<String, String>) -> bool {
        self.names.contains(&name)
            || self.disk.is_some_and(|disk| base.get("disk").is_some_and(|value| value == disk))
    }
}

fn value() -> impl Strategy<Value = &'static str> {
    select(vec!["0", "1", "2"])
}

fn wish() -> impl Strategy<Value = Wish> {
    let labels = proptest::collection::btree_map(select(KEYS[1..].to_vec()), value(), 0..3);
    let names = proptest::collection::btree_set(select(NODES.to_vec()), 0..3);
    (proptest::option::of(value()), names, labels)
        .prop_filter("selects something", |(disk, names, _)| disk.is_some() || !names.is_empty())
        .prop_map(|(disk, names, labels)| Wish { disk, names: names.into_iter().collect(), labels })
}

fn step() -> impl Strategy<Value = Step> {
    let (pool, node) = (select(POOLS.to_vec()), select(NODES.to_vec()));
    prop_oneof![
        4 => (pool.clone(), wish()).prop_map(|(pool, wish)| Step::Spec(pool, wish)),
        1 => pool.clone().prop_map(Step::Break),
        1 => pool.clone().prop_map(Step::Delete),
        4 => (node.clone(), select(KEYS.to_vec()), proptest::option::of(value()))
            .prop_map(|(node, key, value)| Step::Edit(node, key, value)),
        1 => node.clone().prop_map(Step::EditPoolLabel),
        1 => node.prop_map(Step::DropLedger),
        3 => pool.prop_map(Step::Reconcile),
        3 => Just(POOLS.to_vec()).prop_shuffle().prop_map(Step::Settle),
    ]
}

/// The cluster beside what should be true of it.
struct World {
    cluster: Cluster,
    wishes: BTreeMap<&'static str, Wish>,
    /// The labels of each node without any pool.
    base: BTreeMap<&'static str, BTreeMap<String, String>>,
    births: i64,
}

impl World {
    fn new(labels: &[BTreeMap<&'static str, &'static str>]) -> Self {
        let nodes: Vec<Value> =
            NODES.iter().zip(labels).map(|(name, labels)| node(name, &json!(labels))).collect();
        let owned = |labels: &BTreeMap<&str, &str>| {
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let base = NODES.into_iter().zip(labels.iter().map(owned)).collect();
        Self { cluster: Cluster::new(&[], &nodes), wishes: BTreeMap::new(), base, births: 0 }
    }

    fn pool(&self, name: &str) -> Option<&NodePool> {
        self.cluster.pools.iter().find(|pool| pool.metadata.name.as_deref() == Some(name))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Spec(name, wish) => self.set(name, wish),
            Step::Break(name) if self.pool(name).is_some() => {
                self.wishes.remove(name);
                self.cluster.set_spec(name, &json!({ "selector": {} }));
            }
            Step::Delete(name) => self.delete(name),
            Step::Edit(node, key, value) => self.edit(node, key, value),
            Step::EditPoolLabel(node) if self.cluster.ledger(node).is_some() => {
                self.cluster.edit(node, "stowage.dev/nodepool", Some("by-hand"));
            }
            Step::DropLedger(node) => self.drop_ledger(node),
            Step::Reconcile(name) if self.pool(name).is_some() => self.turn(name, &mut BTreeMap::new()),
            Step::Settle(order) => self.settle(&order),
            Step::Break(_) | Step::EditPoolLabel(_) | Step::Reconcile(_) => {}
        }
    }

    fn set(&mut self, name: &'static str, wish: Wish) {
        let deleting = self.pool(name).is_some_and(|pool| pool.metadata.deletion_timestamp.is_some());
        if self.pool(name).is_none() {
            self.births += 1;
            self.cluster.pools.push(pool(name, self.births, &wish.spec()));
        } else {
            self.cluster.set_spec(name, &wish.spec());
        }
        if !deleting {
            self.wishes.insert(name, wish);
        }
    }

    fn delete(&mut self, name: &str) {
        self.wishes.remove(name);
        let named = |pool: &&mut NodePool| pool.metadata.name.as_deref() == Some(name);
        if let Some(pool) = self.cluster.pools.iter_mut().find(named) {
            *pool = leaving(pool.clone());
        }
    }

    fn edit(&mut self, node: &'static str, key: &str, value: Option<&str>) {
        self.cluster.edit(node, key, value);
        let owned = self.cluster.ledger(node).is_some_and(|ledger| ledger["labels"].get(key).is_some());
        if !owned {
            let base = self.base.get_mut(node).unwrap();
            match value {
                Some(value) => drop(base.insert(key.to_owned(), value.to_owned())),
                None => drop(base.remove(key)),
            }
        }
    }

    fn drop_ledger(&mut self, node: &'static str) {
        let annotations = &mut self.cluster.nodes.get_mut(node).unwrap()["metadata"]["annotations"];
        annotations.as_object_mut().unwrap().remove("stowage.dev/nodepool-ledger");
        let live: BTreeMap<String, String> = serde_json::from_value(self.cluster.labels(node)).unwrap();
        let base = live.into_iter().filter(|(key, _)| key != "stowage.dev/nodepool").collect();
        self.base.insert(node, base);
        // Without ledger and label nothing would say whose it was; hands that take both are asked to wait.
        if self.cluster.labels(node)["stowage.dev/nodepool"] == "by-hand" {
            self.cluster.edit(node, "stowage.dev/nodepool", None);
        }
    }

    /// One reconcile, and the end of a pool that was being deleted. `writes` counts for each node.
    fn turn(&mut self, name: &str, writes: &mut BTreeMap<String, usize>) {
        for node in self.cluster.reconcile(name).patches.into_keys() {
            *writes.entry(node).or_default() += 1;
        }
        assert!(self.cluster.desired(name).patches.is_empty(), "the second time in a row writes nothing");
        self.cluster.pools.retain(|pool| {
            pool.metadata.deletion_timestamp.is_none() || pool.metadata.name.as_deref() != Some(name)
        });
    }

    fn settle(&mut self, order: &[&'static str]) {
        let mut writes = BTreeMap::new();
        for name in order.iter().chain(order) {
            if self.pool(name).is_some() {
                self.turn(name, &mut writes);
            }
        }
        assert!(writes.values().all(|count| *count == 1), "a node is written once: {writes:?}");
        for node in NODES {
            self.check(node);
        }
    }

    fn holder(&self, node: &str) -> Option<String> {
        let ledger = self.cluster.ledger(node).map(|ledger| ledger["pool"].clone());
        let holder = ledger.unwrap_or_else(|| self.cluster.labels(node)["stowage.dev/nodepool"].clone());
        holder.as_str().map(str::to_owned)
    }

    fn check(&self, node: &str) {
        let labels: BTreeMap<String, String> = serde_json::from_value(self.cluster.labels(node)).unwrap();
        if self.holder(node).and_then(|holder| self.pool(&holder)).is_some_and(|pool| validate(pool).is_err())
        {
            return;
        }
        let mut expected = self.base[node].clone();
        // In the order of their birth.
        let winner = self.cluster.pools.iter().find_map(|pool| {
            let name = pool.metadata.name.as_deref()?;
            self.wishes
                .get(name)
                .filter(|wish| wish.asks_for(node, &self.base[node]))
                .map(|wish| (name, wish))
        });
        if let Some((name, wish)) = winner {
            expected.extend(wish.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            expected.insert("stowage.dev/nodepool".to_owned(), name.to_owned());
        }
        assert_eq!(labels, expected, "{node}");
        let owned = self.cluster.ledger(node).map(|ledger| ledger["labels"].as_object().unwrap().len());
        assert_eq!(owned, winner.map(|(_, wish)| wish.labels.len()), "the ledger of {node}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Rules nodepool-4, nodepool-8, nodepool-10 and nodepool-11.
    #[test]
    fn a_settled_node_is_its_base_overlaid_by_the_pool_that_wins_it(
        labels in vec(proptest::collection::btree_map(select(KEYS.to_vec()), value(), 0..4), NODES.len()),
        steps in vec(step(), 1..40),
        last in Just(POOLS.to_vec()).prop_shuffle(),
    ) {
        let mut world = World::new(&labels);
        for step in steps {
            world.take(step);
        }
        world.settle(&last);
    }

    // Rules nodepool-9 and nodepool-5.
    #[test]
    fn when_the_last_pool_is_gone_nothing_of_ours_is_left(
        labels in vec(proptest::collection::btree_map(select(KEYS.to_vec()), value(), 0..4), NODES.len()),
        steps in vec(step(), 1..40),
        last in Just(POOLS.to_vec()).prop_shuffle(),
    ) {
        let mut world = World::new(&labels);
        for step in steps {
            world.take(step);
        }
        for name in POOLS {
            world.take(Step::Delete(name));
        }
        world.settle(&last);
        for node in NODES {
            prop_assert_eq!(world.cluster.labels(node), json!(world.base[node]));
            prop_assert_eq!(world.cluster.ledger(node), None);
        }
    }
}
