//! Whatever happens in whatever order: once the pools have had their turn, a node is what it was without them,
//! overlaid by the pool that wins it.

mod world;

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use serde_json::json;
use stowage_api::node_pool::DeletionPolicy::{self, Drain, Refuse, Release};

use self::world::{Attributes, KEYS, NODES, POOLS, Selection, Step, When, Wish, World};

/// Keys that decide about membership, and that pools set.
const SELECTING: [&str; 2] = ["label/disk", "label/a"];

fn value() -> impl Strategy<Value = &'static str> {
    select(vec!["0", "1", "2"])
}

fn key() -> impl Strategy<Value = &'static str> {
    select(KEYS.to_vec())
}

fn deletion() -> impl Strategy<Value = DeletionPolicy> {
    select(vec![Refuse, Release, Drain])
}

fn base() -> impl Strategy<Value = Vec<Attributes>> {
    vec(btree_map(key().prop_map(str::to_owned), value().prop_map(str::to_owned), 0..5), NODES.len())
}

fn wish() -> impl Strategy<Value = Wish> {
    let selected = option::of((select(SELECTING.to_vec()), value()));
    let selection = (selected, btree_set(select(NODES.to_vec()), 0..3))
        .prop_filter("selects something", |(selected, names)| selected.is_some() || !names.is_empty())
        .prop_map(|(selected, names)| Selection { selected, names });
    let settable: Vec<_> = KEYS.into_iter().filter(|key| *key != "label/disk").collect();
    let sets =
        btree_map(select(settable), (value(), select(vec![When::Always, When::Once, When::Both])), 1..8);
    let policies = (select(vec!["Enforce", "Yield"]), deletion());
    (selection, sets, policies).prop_map(|(selection, mut sets, (conflict, deletion))| {
        // A pool must not change what selects its nodes.
        sets.retain(|key, _| selection.selected.is_none_or(|(selecting, _)| selecting != *key));
        Wish { selection, sets, conflict, deletion }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let (pool, node) = (select(POOLS.to_vec()), select(NODES.to_vec()));
    let zones: Vec<&str> = POOLS.into_iter().chain(["0"]).collect();
    prop_oneof![
        5 => (pool.clone(), wish()).prop_map(|(pool, wish)| Step::Spec(pool, wish)),
        1 => pool.clone().prop_map(Step::Break),
        2 => (pool.clone(), deletion()).prop_map(|(pool, policy)| Step::Delete(pool, policy)),
        16 => (node.clone(), key(), option::of(value())).prop_map(|(node, key, value)| Step::Edit(node, key, value)),
        1 => node.clone().prop_map(Step::EditPoolLabel),
        1 => node.clone().prop_map(Step::DropLedger),
        1 => node.clone().prop_map(Step::Recreate),
        2 => node.prop_map(Step::Empty),
        3 => btree_set(select(zones), 0..4).prop_map(Step::Pin),
        4 => pool.prop_map(Step::Reconcile),
        8 => Just(POOLS.to_vec()).prop_shuffle().prop_map(Step::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Rules nodepool-4, nodepool-8, nodepool-9, nodepool-10, nodepool-11 and nodepool-25.
    #[test]
    fn a_settled_node_is_its_base_overlaid_by_the_pool_that_wins_it(
        base in base(),
        steps in vec(step(), 1..60),
        last in Just(POOLS.to_vec()).prop_shuffle(),
    ) {
        let mut world = World::new(&base);
        for step in steps {
            world.take(step);
        }
        world.settle(&last);
        // When the last pool is gone nothing of ours is left.
        world.take(Step::Pin([].into()));
        for name in POOLS {
            world.take(Step::Delete(name, Release));
        }
        world.settle(&last);
        prop_assert!(world.cluster.pools.is_empty());
        for node in NODES {
            prop_assert_eq!(&world.carried(node), &world.base[node], "{}", node);
            prop_assert_eq!(world.cluster.ledger(node), None);
            let label = &world.cluster.labels(node)["stowage.dev/nodepool"];
            prop_assert_eq!(label, &json!(null));
        }
    }
}
