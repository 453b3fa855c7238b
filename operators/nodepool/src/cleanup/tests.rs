use serde_json::{Value, json};
use stowage_api::node_pool::DeletionPolicy::{self, Drain, Refuse, Release};

use crate::{
    Evacuation, Wait,
    fixtures::{Cluster, going, node, pinned, pool},
};

fn spec() -> Value {
    json!({ "nodeNames": ["quay-1", "quay-2"], "labels": { "workload": "io" }, "topologyZone": "IfAbsent" })
}

/// Two members of `gantry`, which is going; `jib` would have them too.
fn cluster(policy: DeletionPolicy) -> Cluster {
    let nodes = [node("quay-1", &json!({ "workload": "web" })), node("quay-2", &json!({}))];
    let mut cluster = Cluster::new(&[pool("gantry", 1, &spec())], &nodes);
    cluster.reconcile("gantry");
    cluster.pools[0] = going(cluster.pools[0].clone(), policy);
    cluster.pools.push(pool("jib", 2, &json!({ "nodeNames": ["quay-1", "quay-2", "quay-3"] })));
    cluster
}

fn pool_of(cluster: &Cluster, node: &str) -> Value {
    cluster.labels(node)["stowage.dev/nodepool"].clone()
}

fn is_cordoned(cluster: &Cluster, node: &str) -> bool {
    cluster.nodes[node]["spec"]["unschedulable"] == true
}

fn names(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

// Rule nodepool-34.
#[test]
fn a_pool_that_refuses_keeps_its_nodes_and_gets_no_new_ones() {
    let mut cluster = cluster(Refuse);
    cluster.nodes.insert("quay-3".to_owned(), node("quay-3", &json!({})));
    cluster.set_spec(
        "gantry",
        &json!({ "nodeNames": ["quay-1", "quay-2", "quay-3"], "labels": { "workload": "batch" } }),
    );
    let desired = cluster.reconcile("gantry");
    assert_eq!((desired.standing.nodes.total, &desired.standing.wait), (2, &Wait::Members));
    assert_eq!(cluster.labels("quay-1")["workload"], "batch", "it still repairs and configures them");
    let heir = cluster.reconcile("jib");
    assert_eq!(heir.standing.contested.to_string(), "quay-1, quay-2");
    assert_eq!(pool_of(&cluster, "quay-3"), "jib", "a new one is the next pool's");
}

// Rule nodepool-34.
#[test]
fn a_pool_that_refuses_goes_when_it_asks_for_no_node_any_more() {
    let mut cluster = cluster(Refuse);
    cluster.set_spec("gantry", &json!({ "nodeNames": ["quay-9"] }));
    let desired = cluster.reconcile("gantry");
    assert_eq!((desired.patches.len(), desired.standing.wait), (0, Wait::Nothing), "jib takes them");
    cluster.reconcile("jib");
    assert_eq!(
        (pool_of(&cluster, "quay-1"), cluster.labels("quay-1")["workload"].clone()),
        (json!("jib"), json!("web"))
    );

    let mut alone = self::cluster(Refuse);
    alone.pools.pop();
    alone.set_spec("gantry", &json!({ "nodeNames": ["quay-9"] }));
    assert_eq!(alone.reconcile("gantry").patches.len(), 2, "without an heir it frees them itself");
    assert_eq!(alone.labels("quay-1"), json!({ "workload": "web" }));
}

// Rule nodepool-34.
#[test]
fn a_policy_that_is_changed_while_a_deletion_waits_is_honoured() {
    let mut cluster = cluster(Refuse);
    assert_eq!(cluster.reconcile("gantry").standing.wait, Wait::Members);
    cluster.pools[0] = going(cluster.pools[0].clone(), Release);
    let desired = cluster.reconcile("gantry");
    assert_eq!(desired.standing.wait, Wait::Nothing);
    assert_eq!(pool_of(&cluster, "quay-1"), "jib");
}

// Rule nodepool-34.
#[test]
fn a_pool_that_is_not_accepted_keeps_its_nodes_unless_it_releases_them() {
    for policy in [Refuse, Drain] {
        let mut cluster = cluster(policy);
        let mut broken = cluster.pools[0].clone();
        broken.spec.node_names.clear();
        cluster.pools[0] = broken;
        let before = cluster.nodes.clone();
        let desired = cluster.reconcile("gantry");
        assert_eq!((desired.standing.nodes.total, desired.standing.wait), (2, Wait::Members));
        assert_eq!(cluster.nodes, before);
        assert_eq!(cluster.desired("jib").standing.contested.count(), 2);
        cluster.pools[0] = going(cluster.pools[0].clone(), Release);
        assert_eq!(cluster.reconcile("gantry").standing.wait, Wait::Nothing);
        assert_eq!(pool_of(&cluster, "quay-1"), "jib");
    }
}

// Rules nodepool-33 and nodepool-34.
#[test]
fn a_pool_that_is_not_accepted_and_has_no_nodes_goes() {
    for policy in [Refuse, Drain] {
        let mut cluster = cluster(policy);
        cluster.pools.pop();
        cluster.set_spec("gantry", &json!({ "nodeNames": ["quay-9"] }));
        cluster.pins = pinned("gantry");
        cluster.reconcile("gantry");
        cluster.pools[0].spec.node_names.clear();
        cluster.pools[0] = going(cluster.pools[0].clone(), policy);
        let waits = cluster.reconcile("gantry").standing;
        assert_eq!((waits.pinned.count(), waits.wait), (2, Wait::Pins), "what it could not give back yet");
        cluster.pins = [].into_iter().collect();
        assert_eq!(cluster.reconcile("gantry").standing.wait, Wait::Nothing);
        assert_eq!(cluster.labels("quay-2"), json!({}));
    }
}

// Rule nodepool-35.
#[test]
fn a_drain_cordons_first_and_releases_each_node_when_it_is_empty() {
    let mut cluster = cluster(Drain);
    cluster.pools.pop();
    cluster.patch("quay-2", &json!({ "spec": { "unschedulable": true } }));
    let desired = cluster.reconcile("gantry");
    let wait = Wait::Drain { nodes: names(&["quay-1", "quay-2"]), blocked: None };
    assert_eq!(desired.standing.wait, wait);
    assert_eq!(desired.standing.nodes.draining, 2);
    assert!(is_cordoned(&cluster, "quay-1") && is_cordoned(&cluster, "quay-2"));
    assert_eq!(cluster.labels("quay-1")["workload"], "io", "the configuration stays until the end");

    cluster.evacuations = [
        ("quay-1".to_owned(), Evacuation::Blocked("the budget web allows none".to_owned())),
        ("quay-2".to_owned(), Evacuation::Done),
    ]
    .into();
    let desired = cluster.reconcile("gantry");
    let blocked = Some("quay-1: the budget web allows none".to_owned());
    assert_eq!(desired.standing.wait, Wait::Drain { nodes: names(&["quay-1"]), blocked });
    let after = cluster.desired("gantry").standing.nodes;
    assert_eq!((desired.standing.nodes.total, after.total), (2, 1), "it counts until it is written");
    assert_eq!(cluster.ledger("quay-2"), None);
    assert!(is_cordoned(&cluster, "quay-2"), "it was cordoned before");

    cluster.evacuations = [("quay-1".to_owned(), Evacuation::Done)].into();
    assert_eq!(cluster.reconcile("gantry").standing.wait, Wait::Nothing);
    assert_eq!(cluster.labels("quay-1"), json!({ "workload": "web" }));
    assert!(!is_cordoned(&cluster, "quay-1"));
}

// Rule nodepool-35.
#[test]
fn a_drain_cordons_also_where_a_pool_yields_to_hands() {
    let yielding = json!({
        "nodeNames": ["quay-1"], "labels": { "workload": "io" }, "unschedulable": true, "conflictPolicy": "Yield",
    });
    let mut cluster =
        Cluster::new(&[pool("gantry", 1, &yielding)], &[node("quay-1", &json!({ "workload": "web" }))]);
    cluster.reconcile("gantry");
    let by_hand =
        json!({ "metadata": { "labels": { "workload": "hand" } }, "spec": { "unschedulable": null } });
    cluster.patch("quay-1", &by_hand);
    cluster.reconcile("gantry");
    assert!(!is_cordoned(&cluster, "quay-1"), "it yields");
    cluster.pools[0] = going(cluster.pools[0].clone(), Drain);
    for _ in 0..2 {
        cluster.reconcile("gantry");
        assert!(is_cordoned(&cluster, "quay-1") && cluster.desired("gantry").patches.is_empty());
        assert_eq!(cluster.labels("quay-1")["workload"], "hand", "all else is still the hand's");
        cluster.patch("quay-1", &json!({ "spec": { "unschedulable": null } }));
    }
    cluster.evacuations = [("quay-1".to_owned(), Evacuation::Done)].into();
    cluster.reconcile("gantry");
    assert!(!is_cordoned(&cluster, "quay-1"), "the hand's value became the base");
}

// Rules nodepool-30 and nodepool-35.
#[test]
fn a_drain_that_is_called_off_leaves_the_cordons_as_they_were() {
    let on_join = json!({ "nodeNames": ["quay-1"], "cordonOnJoin": true });
    for lifted in [false, true] {
        let mut cluster = Cluster::new(&[pool("gantry", 1, &on_join)], &[node("quay-1", &json!({}))]);
        cluster.reconcile("gantry");
        if lifted {
            cluster.patch("quay-1", &json!({ "spec": { "unschedulable": null } }));
        }
        for policy in [Drain, Refuse, Drain] {
            cluster.pools[0] = going(cluster.pools[0].clone(), policy);
            cluster.reconcile("gantry");
            assert_eq!(
                is_cordoned(&cluster, "quay-1"),
                policy == Drain || !lifted,
                "{policy:?}, lifted: {lifted}"
            );
            assert!(cluster.desired("gantry").patches.is_empty());
        }
        cluster.evacuations = [("quay-1".to_owned(), Evacuation::Done)].into();
        cluster.reconcile("gantry");
        assert!(!is_cordoned(&cluster, "quay-1"), "and gives all back");
    }
}

// Rule nodepool-35.
#[test]
fn a_node_that_is_drained_goes_to_the_pool_that_asks_for_it() {
    let mut cluster = cluster(Drain);
    cluster.reconcile("gantry");
    assert_eq!(cluster.desired("jib").standing.contested.count(), 2, "not before it is empty");
    cluster.evacuations = [("quay-1".to_owned(), Evacuation::Done)].into();
    let desired = cluster.reconcile("gantry");
    assert_eq!(desired.patches.keys().collect::<Vec<_>>(), ["quay-1"]);
    assert_eq!((pool_of(&cluster, "quay-1"), pool_of(&cluster, "quay-2")), (json!("jib"), json!("gantry")));
    assert!(cluster.desired("jib").patches.is_empty(), "one writer");
    assert_eq!(cluster.nodes["quay-1"]["spec"]["unschedulable"], json!(null));
}

// Rule nodepool-33.
#[test]
fn a_zone_that_volumes_are_bound_to_outlives_everything_else() {
    for policy in [Refuse, Release] {
        let mut cluster = cluster(policy);
        cluster.pools.pop();
        if policy == Refuse {
            cluster.set_spec("gantry", &json!({ "nodeNames": ["quay-9"] }));
        }
        cluster.pins = pinned("gantry");
        let desired = cluster.reconcile("gantry");
        assert_eq!(desired.standing.wait, Wait::Pins);
        let (nodes, pinned) = (desired.standing.nodes.total, desired.standing.pinned.to_string());
        assert_eq!((nodes, pinned.as_str()), (2, "quay-1, quay-2"), "they count until they are written");
        let zone = json!({ "topology.kubernetes.io/zone": "gantry" });
        assert_eq!(cluster.labels("quay-2"), zone);
        let labels = json!({ "topology.kubernetes.io/zone": { "set": "gantry", "placing": "IfAbsent" } });
        let ledger = json!({ "version": 2, "pool": "gantry", "left": true, "labels": labels });
        assert_eq!(cluster.ledger("quay-2"), Some(ledger));
        let again = cluster.desired("gantry");
        let (nodes, wait) = (again.standing.nodes.total, again.standing.wait);
        assert_eq!((again.patches.len(), nodes, wait), (0, 0, Wait::Pins));

        cluster.pins = [].into_iter().collect();
        assert_eq!(cluster.reconcile("gantry").standing.wait, Wait::Nothing);
        assert_eq!(cluster.labels("quay-2"), json!({}));
        assert_eq!(cluster.ledger("quay-2"), None);
    }
}

// Rule nodepool-33.
#[test]
fn the_next_pool_inherits_a_zone_that_cannot_go_yet() {
    let mut cluster = cluster(Release);
    cluster.pins = pinned("gantry");
    let desired = cluster.reconcile("gantry");
    assert_eq!((desired.standing.wait, desired.standing.pinned.count()), (Wait::Nothing, 0), "it may go");
    cluster.pools.remove(0);
    let heir = cluster.desired("jib");
    assert_eq!((heir.patches.len(), heir.standing.pinned.to_string()), (0, "quay-1, quay-2".to_owned()));
    assert_eq!(cluster.labels("quay-2")["topology.kubernetes.io/zone"], "gantry");
    let released = crate::release(&cluster.observed());
    cluster.apply(&released);
    assert_eq!(cluster.labels("quay-2"), json!({}), "an uninstall leaves nothing");
}
