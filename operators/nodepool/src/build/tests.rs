mod attributes;
mod properties;

use serde_json::json;

use crate::{
    Desired, Patch, abandon, build, cleanup,
    fixtures::{Cluster, leaving, node, pool, with_ledger},
    release, validate,
};

fn high_io() -> Cluster {
    let spec = json!({ "selector": { "matchLabels": { "disk": "nvme" } }, "labels": { "workload": "io", "tier": "1" } });
    let labels = json!({ "disk": "nvme", "workload": "web" });
    Cluster::new(&[pool("high-io", 1, &spec)], &[node("quay-1", &labels), node("quay-2", &json!({}))])
}

/// What a node looks like as `high-io` leaves it.
fn member() -> serde_json::Value {
    json!({ "disk": "nvme", "workload": "io", "tier": "1", "stowage.dev/nodepool": "high-io" })
}

// Rules nodepool-1 and nodepool-7.
#[test]
fn joining_is_one_patch_of_labels_and_ledger() {
    let desired = high_io().desired("high-io");
    let ledger = r#"{"labels":{"tier":{"set":"1"},"workload":{"replaced":"web","set":"io"}},"pool":"high-io","version":1}"#;
    let patch = json!({ "metadata": {
        "labels": { "workload": "io", "tier": "1", "stowage.dev/nodepool": "high-io" },
        "annotations": { "stowage.dev/nodepool-ledger": ledger },
    } });
    assert_eq!(
        desired.patches,
        [("quay-1".to_owned(), Patch::from(patch.as_object().unwrap().clone()))].into()
    );
}

// Rule nodepool-8.
#[test]
fn what_is_right_is_not_written() {
    let mut cluster = high_io();
    cluster.reconcile("high-io");
    assert_eq!(cluster.labels("quay-1"), member());
    assert!(cluster.desired("high-io").patches.is_empty());
}

// Rule nodepool-1.
#[test]
fn members_are_the_union_of_selector_and_names() {
    let spec =
        json!({ "selector": { "matchLabels": { "disk": "nvme" } }, "nodeNames": ["quay-2", "quay-4"] });
    let nodes = [
        node("quay-1", &json!({ "disk": "nvme" })),
        node("quay-2", &json!({ "disk": "hdd" })),
        node("quay-3", &json!({ "disk": "hdd" })),
    ];
    let desired = Cluster::new(&[pool("high-io", 1, &spec)], &nodes).desired("high-io");
    assert_eq!(desired.patches.keys().collect::<Vec<_>>(), ["quay-1", "quay-2"]);
}

// Rules nodepool-9 and nodepool-10.
#[test]
fn a_key_that_leaves_gives_back_what_it_replaced() {
    let mut cluster = high_io();
    let selector = json!({ "matchLabels": { "disk": "nvme" } });
    let steps = [
        (json!({ "workload": "io", "tier": "1" }), member(), "both are set"),
        (
            json!({ "workload": "batch" }),
            json!({ "disk": "nvme", "workload": "batch", "stowage.dev/nodepool": "high-io" }),
            "tier goes; workload changes",
        ),
        (
            json!({}),
            json!({ "disk": "nvme", "workload": "web", "stowage.dev/nodepool": "high-io" }),
            "the first replaced value returns, not the one before",
        ),
    ];
    for (labels, expected, because) in steps {
        cluster.set_spec("high-io", &json!({ "selector": selector, "labels": labels }));
        cluster.reconcile("high-io");
        assert_eq!(cluster.labels("quay-1"), expected, "{because}");
    }
}

// Rules nodepool-10 and nodepool-11.
#[test]
fn what_hands_do_to_owned_keys_is_undone_and_forgotten() {
    let edits = [
        ("workload", Some("hand"), "a changed value"),
        ("workload", None, "a removed key"),
        ("tier", Some("9"), "a key that was not there before"),
        ("stowage.dev/nodepool", Some("mine"), "the pool label"),
        ("stowage.dev/nodepool", None, "the pool label gone"),
    ];
    for (key, value, because) in edits {
        let mut cluster = high_io();
        let before = cluster.labels("quay-1");
        cluster.reconcile("high-io");
        cluster.edit("quay-1", key, value);
        let repair = cluster.reconcile("high-io");
        assert_eq!(cluster.labels("quay-1"), member(), "{because}");
        let patch = repair.patches["quay-1"].object();
        let touched = patch["metadata"].as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(touched, ["labels"], "{because}: the ledger stays");

        cluster.edit("quay-1", key, value);
        cluster.pools = cluster.pools.into_iter().map(leaving).collect();
        cluster.reconcile("high-io");
        assert_eq!(cluster.labels("quay-1"), before, "{because}: a release restores all the same");
    }
}

// Rule nodepool-11.
#[test]
fn keys_not_owned_are_never_touched() {
    let mut cluster = high_io();
    cluster.reconcile("high-io");
    cluster.edit("quay-1", "example.com/owner", Some("ops"));
    assert!(cluster.desired("high-io").patches.is_empty());
    cluster.pools = cluster.pools.into_iter().map(leaving).collect();
    cluster.reconcile("high-io");
    assert_eq!(
        cluster.labels("quay-1"),
        json!({ "disk": "nvme", "workload": "web", "example.com/owner": "ops" })
    );
    assert_eq!(cluster.nodes["quay-1"]["metadata"]["annotations"], json!({ "example.com/note": "kept" }));
}

// Rule nodepool-9.
#[test]
fn a_node_that_leaves_is_as_it_was() {
    let mut cluster = high_io();
    cluster.reconcile("high-io");
    cluster.edit("quay-1", "disk", Some("hdd"));
    cluster.reconcile("high-io");
    assert_eq!(cluster.labels("quay-1"), json!({ "disk": "hdd", "workload": "web" }));
    assert_eq!(cluster.ledger("quay-1"), None);
}

fn two_pools() -> Cluster {
    let spec = |labels| json!({ "nodeNames": ["quay-1", "quay-2"], "labels": labels });
    let pools = [
        pool("elder", 1, &spec(json!({ "workload": "io", "tier": "1" }))),
        pool("younger", 2, &spec(json!({ "workload": "batch", "zone-hint": "b" }))),
    ];
    let nodes = [node("quay-1", &json!({ "workload": "web" })), node("quay-2", &json!({}))];
    Cluster::new(&pools, &nodes)
}

// Rule nodepool-2.
#[test]
fn the_older_pool_wins_and_the_loser_knows() {
    let mut cluster = two_pools();
    cluster.reconcile("elder");
    let lost = cluster.desired("younger");
    assert!(lost.patches.is_empty());
    assert_eq!(
        (lost.standing.nodes.total, lost.standing.contested.to_string()),
        (0, "quay-1, quay-2".to_owned())
    );
}

// Rule nodepool-2.
#[test]
fn of_two_equally_old_the_first_name_wins() {
    let spec = json!({ "nodeNames": ["quay-1"] });
    let cluster = Cluster::new(&[pool("b", 7, &spec), pool("a", 7, &spec)], &[node("quay-1", &json!({}))]);
    assert_eq!(cluster.desired("a").standing.nodes.total, 1);
    assert_eq!(cluster.desired("b").standing.contested.count(), 1);
}

// Rules nodepool-2 and nodepool-8.
#[test]
fn two_pools_a_hundred_times_write_a_contested_node_once() {
    let mut cluster = two_pools();
    let writes: usize =
        (0..100).flat_map(|_| ["younger", "elder"]).map(|name| cluster.reconcile(name).patches.len()).sum();
    assert_eq!(writes, 2, "one for each of the two nodes");
}

// Rules nodepool-4 and nodepool-10.
#[test]
fn a_move_is_one_patch_by_the_pool_that_gets_the_node() {
    let mut cluster = two_pools();
    cluster.reconcile("elder");
    cluster.set_spec("elder", &json!({ "nodeNames": ["quay-2"], "labels": { "workload": "io" } }));
    assert_eq!(
        cluster.desired("elder").patches.keys().collect::<Vec<_>>(),
        ["quay-2"],
        "it leaves quay-1 alone"
    );
    let moved = cluster.reconcile("younger");
    assert_eq!(
        moved.patches["quay-1"].object()["metadata"]["labels"],
        json!({ "workload": "batch", "zone-hint": "b", "tier": null, "stowage.dev/nodepool": "younger" }),
    );
    let labels = json!({ "workload": { "set": "batch", "replaced": "web" }, "zone-hint": { "set": "b" } });
    assert_eq!(
        cluster.ledger("quay-1").unwrap(),
        json!({ "version": 1, "pool": "younger", "labels": labels })
    );
}

// Rules nodepool-5 and nodepool-4.
#[test]
fn a_deleted_pool_hands_its_nodes_over_itself() {
    let mut cluster = two_pools();
    cluster.reconcile("elder");
    cluster.pools[0] = leaving(cluster.pools[0].clone());
    let heir = cluster.desired("younger");
    assert!(heir.patches.is_empty(), "one writer");
    assert_eq!((heir.standing.nodes.total, heir.standing.awaited), (2, [("elder".to_owned(), 2)].into()));
    cluster.reconcile("elder");
    assert_eq!(
        cluster.labels("quay-1"),
        json!({ "workload": "batch", "zone-hint": "b", "stowage.dev/nodepool": "younger" })
    );
    let done = cluster.desired("younger");
    assert!(done.patches.is_empty() && done.standing.awaited.is_empty());
}

// Rule nodepool-5.
#[test]
fn cleanup_bears_that_nothing_was_done() {
    let mut cluster = two_pools();
    cluster.pools[0] = leaving(cluster.pools[0].clone());
    assert_eq!(cluster.desired("elder"), Desired::default());
    assert_eq!(abandon("elder", &cluster.observed()), Desired::default());
}

// Rule nodepool-5.
#[test]
fn cleanup_does_not_trust_a_roster_that_has_not_heard_of_the_deletion() {
    let mut cluster = high_io();
    cluster.reconcile("high-io");
    let pool = leaving(cluster.pools[0].clone());
    let valid = validate(&pool).ok();
    let desired = cleanup(&pool, valid.as_ref(), &cluster.observed(), &cluster.evacuations);
    cluster.apply(&desired);
    assert_eq!(cluster.labels("quay-1"), json!({ "disk": "nvme", "workload": "web" }));
}

// Rule nodepool-6.
#[test]
fn a_pool_that_is_no_longer_accepted_keeps_its_nodes_as_they_are() {
    let mut cluster = two_pools();
    cluster.set_spec("elder", &json!({ "nodeNames": ["quay-2"] }));
    cluster.reconcile("younger");
    let before = cluster.nodes.clone();
    cluster.set_spec("younger", &json!({ "selector": {} }));
    cluster.set_spec("elder", &json!({ "nodeNames": ["quay-1", "quay-2"] }));
    let elder = cluster.reconcile("elder");
    assert_eq!(
        elder.standing.contested.to_string(),
        "quay-1",
        "nobody takes it meanwhile, not even an older pool"
    );
    assert_eq!(cluster.nodes["quay-1"], before["quay-1"]);
}

// Rule nodepool-6.
#[test]
fn a_pool_that_is_not_accepted_gets_nothing() {
    let mut cluster = two_pools();
    cluster.set_spec("elder", &json!({ "nodeNames": ["quay-1"], "labels": { "os.name": "plan9" } }));
    assert_eq!(cluster.desired("younger").standing.nodes.total, 2);
}

// Rule nodepool-3.
#[test]
fn what_pools_set_does_not_decide_membership() {
    let chained =
        json!({ "selector": { "matchLabels": { "workload": "io" } }, "labels": { "chained": "yes" } });
    let mut cluster = high_io();
    cluster.pools.push(pool("chained", 0, &chained));
    cluster.reconcile("high-io");
    assert_eq!(cluster.desired("chained"), Desired::default(), "the older pool does not see the label");
    let by_base = json!({ "selector": { "matchLabels": { "workload": "web" } } });
    cluster.set_spec("chained", &by_base);
    assert_eq!(cluster.desired("chained").standing.nodes.total, 1, "it sees the value underneath");
}

// Rule nodepool-12.
#[test]
fn without_a_ledger_the_live_values_are_the_base() {
    for (ledger, rebased, because) in [
        (None, 0, "deleted by hand"),
        (Some("{"), 1, "no JSON"),
        (Some(r#"{"pool":"high-io"}"#), 1, "no version"),
        (Some(r#"{"version":0,"pool":"high-io","labels":{}}"#), 1, "no version that ever was"),
        (Some(r#"{"version":1,"labels":{}}"#), 1, "no pool"),
    ] {
        let mut cluster = high_io();
        cluster.reconcile("high-io");
        let annotations = &mut cluster.nodes.get_mut("quay-1").unwrap()["metadata"]["annotations"];
        match ledger {
            None => drop(annotations.as_object_mut().unwrap().remove("stowage.dev/nodepool-ledger")),
            Some(text) => annotations["stowage.dev/nodepool-ledger"] = json!(text),
        }
        let desired = cluster.reconcile("high-io");
        assert_eq!(desired.rebased.len(), rebased, "{because}");
        let patch = desired.patches["quay-1"].object();
        let touched = patch["metadata"].as_object().unwrap().keys().collect::<Vec<_>>();
        assert_eq!(touched, ["annotations"], "{because}: the labels are right");
        assert_eq!(cluster.ledger("quay-1").unwrap()["labels"]["workload"]["replaced"], "io", "{because}");
        cluster.pools = cluster.pools.into_iter().map(leaving).collect();
        cluster.reconcile("high-io");
        let left = json!({ "disk": "nvme", "workload": "io", "tier": "1" });
        assert_eq!(cluster.labels("quay-1"), left, "{because}: but the pool label is ours alone");
        assert_eq!(cluster.ledger("quay-1"), None, "{because}");
    }
}

// Rule nodepool-12.
#[test]
fn a_node_whose_ledger_was_deleted_still_belongs_to_the_pool_on_its_label() {
    let mut cluster = high_io();
    cluster.nodes =
        [("quay-9".to_owned(), node("quay-9", &json!({ "stowage.dev/nodepool": "high-io" })))].into();
    cluster.reconcile("high-io");
    assert_eq!(cluster.labels("quay-9"), json!({}));
}

// Rule nodepool-13.
#[test]
fn a_newer_ledger_is_not_touched() {
    let newer = r#"{"version":4,"pool":"high-io","labels":[],"taints":[]}"#;
    let mut cluster = high_io();
    let labels = json!({ "disk": "nvme", "stowage.dev/nodepool": "high-io" });
    cluster.nodes.insert("quay-1".to_owned(), with_ledger(node("quay-1", &labels), newer));
    let desired = cluster.desired("high-io");
    assert!(desired.patches.is_empty());
    assert_eq!(
        (desired.standing.nodes.total, desired.standing.blocked.to_string()),
        (1, "quay-1".to_owned())
    );
    for way_back in [abandon("high-io", &cluster.observed()), release(&cluster.observed())] {
        assert!(way_back.patches.is_empty());
        assert_eq!(way_back.standing.blocked.to_string(), "quay-1");
    }
}

// Rule nodepool-14.
#[test]
fn a_forged_ledger_changes_no_key_that_pools_may_not_set() {
    let forged = r#"{"version":1,"pool":"high-io","labels":{
        "kubernetes.io/hostname":{"set":"quay-1","replaced":"quay-7"},
        "node-role.kubernetes.io/control-plane":{"set":"x","replaced":""},
        "workload":{"set":"io","replaced":"web"}}}"#;
    let labels = json!({ "kubernetes.io/hostname": "quay-1", "workload": "io" });
    let mut cluster = high_io();
    cluster.nodes = [("quay-1".to_owned(), with_ledger(node("quay-1", &labels), forged))].into();
    cluster.reconcile("high-io");
    assert_eq!(cluster.labels("quay-1"), json!({ "kubernetes.io/hostname": "quay-1", "workload": "web" }));
}

// Rule nodepool-15.
#[test]
fn release_frees_every_node_whatever_pools_there_are() {
    let mut cluster = two_pools();
    cluster.reconcile("elder");
    let stray = node("quay-3", &json!({ "stowage.dev/nodepool": "long-gone", "workload": "web" }));
    cluster.nodes.insert("quay-3".to_owned(), stray);
    cluster.nodes.insert("quay-4".to_owned(), with_ledger(node("quay-4", &json!({ "a": "b" })), "{"));
    cluster.pools.clear();
    let desired = release(&cluster.observed());
    cluster.apply(&desired);
    let left = ["quay-1", "quay-2", "quay-3", "quay-4"].map(|node| cluster.labels(node));
    assert_eq!(
        left,
        [json!({ "workload": "web" }), json!({}), json!({ "workload": "web" }), json!({ "a": "b" })]
    );
    assert_eq!(release(&cluster.observed()), Desired::default());
    let ledgers: Vec<_> = cluster.nodes.keys().filter_map(|node| cluster.ledger(node)).collect();
    assert!(ledgers.is_empty());
}

// Rule nodepool-16.
#[test]
fn members_are_counted_by_health_and_cordon() {
    let mut cluster = two_pools();
    cluster.nodes.get_mut("quay-1").unwrap()["status"]["conditions"][0]["status"] = json!("Unknown");
    for node in cluster.nodes.values_mut() {
        node["spec"] = json!({ "unschedulable": true });
    }
    let standing = cluster.desired("elder").standing;
    let counts = serde_json::to_value(standing.nodes).unwrap();
    assert_eq!(counts, json!({ "total": 2, "ready": 1, "notReady": 1, "unschedulable": 2, "draining": 0 }));
    assert_eq!(standing.not_ready.to_string(), "quay-1");
}

// Rule nodepool-1.
#[test]
fn a_pool_that_is_accepted_again_does_not_wait_for_the_roster() {
    let mut cluster = high_io();
    cluster.reconcile("high-io");
    let accepted = validate(&cluster.pools[0]).unwrap();
    cluster.set_spec("high-io", &json!({}));
    let desired = build(&accepted, &cluster.observed());
    assert_eq!((desired.standing.nodes.total, desired.standing.contested.count()), (1, 0));
}

// Rule nodepool-6.
#[test]
fn a_pool_that_does_not_decode_keeps_its_nodes() {
    let mut cluster = two_pools();
    cluster.reconcile("elder");
    let nodes = cluster
        .nodes
        .values()
        .map(|node| serde_json::from_value::<crate::Node>(node.clone()).unwrap().into());
    let roster = crate::Roster::new(&cluster.pools[1..], ["elder".to_owned()]);
    let observed = crate::Observed::new(roster.into(), nodes.collect(), crate::Pins::default());
    let younger = build(&validate(&cluster.pools[1]).unwrap(), &observed);
    assert_eq!((younger.patches.len(), younger.standing.contested.count()), (0, 2));
}
