use serde_json::{Value, json};
use stowage_api::{NodePool, node_pool::DeletionPolicy};

use super::{Roster, competes_alike};
use crate::{
    Node,
    fixtures::{Cluster, going, leaving, node, pool},
};

fn concerned(roster: &Roster, node: &Value) -> Vec<String> {
    let node: Node = serde_json::from_value(node.clone()).unwrap();
    roster.concerned(&node).into_iter().collect()
}

// Rule nodepool-24.
#[test]
fn a_node_concerns_the_pools_that_ask_for_it_and_the_one_that_holds_it() {
    let by_name = pool("by-name", 1, &json!({ "nodeNames": ["quay-1"] }));
    let by_label = pool("by-label", 2, &json!({ "selector": { "matchLabels": { "disk": "nvme" } } }));
    let invalid = pool("invalid", 3, &json!({}));
    let mut cluster =
        Cluster::new(&[by_name, by_label, invalid], &[node("quay-2", &json!({ "disk": "nvme" }))]);
    let roster = Roster::new(&cluster.pools, []);
    let cases = [
        (node("quay-1", &json!({})), vec!["by-name"], "asked for by name"),
        (node("quay-9", &json!({})), vec![], "nobody's"),
        (node("quay-1", &json!({ "disk": "nvme" })), vec!["by-label", "by-name"], "the loser counts it too"),
        (node("quay-9", &json!({ "stowage.dev/nodepool": "invalid" })), vec!["invalid"], "held"),
    ];
    for (node, expected, because) in cases {
        assert_eq!(concerned(&roster, &node), expected, "{because}");
    }
    cluster.reconcile("by-label");
    cluster.edit("quay-2", "disk", None);
    assert_eq!(
        concerned(&roster, &cluster.nodes["quay-2"]),
        ["by-label"],
        "it holds what it no longer asks for"
    );
}

// Rule nodepool-24.
#[test]
fn a_node_concerns_the_pool_that_is_going_and_holds_it() {
    let by_name = |name, age| pool(name, age, &json!({ "nodeNames": ["quay-1"] }));
    for policy in [DeletionPolicy::Refuse, DeletionPolicy::Release, DeletionPolicy::Drain] {
        let pools = [going(by_name("old", 1), policy), by_name("new", 2)];
        let roster = Roster::new(&pools, []);
        let held = node("quay-1", &json!({ "stowage.dev/nodepool": "old" }));
        assert_eq!(concerned(&roster, &held), ["new", "old"]);
        assert_eq!(concerned(&roster, &node("quay-1", &json!({}))), ["new"], "it gets nothing new");
    }
}

// Rule nodepool-34.
#[test]
fn a_selector_of_a_pool_that_is_going_still_sees_base_labels() {
    let by_label = json!({ "selector": { "matchLabels": { "disk": "nvme" } } });
    let mut cluster =
        Cluster::new(&[pool("old", 1, &by_label)], &[node("quay-1", &json!({ "disk": "nvme" }))]);
    cluster.reconcile("old");
    cluster.pools = vec![
        going(cluster.pools.remove(0), DeletionPolicy::Refuse),
        pool("new", 2, &json!({ "nodeNames": ["quay-1"] })),
    ];
    assert_eq!(cluster.desired("new").standing.contested.count(), 1);
    cluster.edit("quay-1", "disk", None);
    assert_eq!(cluster.desired("new").standing.contested.count(), 0, "it does not ask for it any more");
}

// Rule nodepool-24.
#[test]
fn only_what_moves_nodes_is_news_for_other_pools() {
    let pool = pool("high-io", 1, &json!({ "nodeNames": ["quay-1"] }));
    let changed = |change: fn(&mut NodePool)| {
        let mut changed = pool.clone();
        change(&mut changed);
        changed
    };
    let cases = [
        (Some(pool.clone()), true, "nothing"),
        (Some(changed(|pool| pool.metadata.resource_version = Some("2".to_owned()))), true, "a version"),
        (Some(changed(|pool| pool.status = Some(stowage_api::NodePoolStatus::default()))), true, "a status"),
        (Some(changed(|pool| pool.metadata.finalizers = Some(vec!["x".to_owned()]))), true, "a finalizer"),
        (Some(changed(|pool| pool.spec.node_names.clear())), false, "the spec"),
        (Some(leaving(pool.clone())), false, "a deletion"),
        (None, false, "it is gone"),
    ];
    for (new, expected, because) in cases {
        assert_eq!(competes_alike(Some(&pool), new.as_ref()), expected, "{because}");
        assert_eq!(competes_alike(new.as_ref(), Some(&pool)), expected, "{because}");
    }
}
