//! What a pool puts on its nodes beside labels.

use serde_json::{Value, json};

use crate::{
    Patch,
    fixtures::{Cluster, ends, node, pinned, pool, with_ledger},
};

/// A node with a taint of somebody else's, and a UID.
fn quay(attributes: &Value) -> Value {
    let mut quay = node("quay-1", &json!({}));
    quay["metadata"]["uid"] = json!("uid-1");
    quay["spec"] = json!({ "taints": [foreign()] });
    json_patch::merge(&mut quay, attributes);
    quay
}

fn foreign() -> Value {
    json!({ "key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z", "future": [1] })
}

fn cluster(spec: &Value, attributes: &Value) -> Cluster {
    let mut cluster = Cluster::new(&[pool("gantry", 1, &with_names(spec))], &[quay(attributes)]);
    cluster.reconcile("gantry");
    cluster
}

fn with_names(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["nodeNames"] = json!(["quay-1"]);
    spec
}

fn taints(cluster: &Cluster) -> Value {
    cluster.nodes["quay-1"]["spec"]["taints"].clone()
}

fn is_cordoned(cluster: &Cluster) -> bool {
    cluster.nodes["quay-1"]["spec"]["unschedulable"] == true
}

fn taint(value: &str) -> Value {
    json!({ "key": "a", "value": value, "effect": "NoSchedule" })
}

// Rules nodepool-7, nodepool-25 and nodepool-26.
#[test]
fn joining_is_one_patch_of_everything() {
    let spec = json!({
        "nodeNames": ["quay-1"],
        "labels": { "workload": "io" },
        "annotations": { "example.com/note": "ours" },
        "taints": [{ "key": "a", "value": "1", "effect": "NoExecute", "propagation": "OnInitialization" }],
        "unschedulable": true,
        "topologyZone": "IfAbsent",
        "conflictPolicy": "Yield",
    });
    let cluster = Cluster::new(&[pool("gantry", 1, &spec)], &[quay(&json!({}))]);
    let ledger = concat!(
        r#"{"annotations":{"example.com/note":{"replaced":"kept","set":"ours"}},"cordon":{"set":"true"},"#,
        r#""labels":{"topology.kubernetes.io/zone":{"placing":"IfAbsent","set":"gantry"},"workload":{"set":"io"}},"#,
        r#""policy":"Yield","pool":"gantry","taints":{"a:NoExecute":{"placing":"Once","set":"1"}},"#,
        r#""uid":"uid-1","version":2}"#,
    );
    let patch = json!({
        "metadata": {
            "labels": {
                "workload": "io",
                "topology.kubernetes.io/zone": "gantry",
                "stowage.dev/nodepool": "gantry",
            },
            "annotations": { "example.com/note": "ours", "stowage.dev/nodepool-ledger": ledger },
        },
        "spec": {
            "taints": [foreign(), { "key": "a", "value": "1", "effect": "NoExecute" }],
            "unschedulable": true,
        },
    });
    let desired = cluster.desired("gantry");
    assert_eq!(
        desired.patches,
        [("quay-1".to_owned(), Patch::from(patch.as_object().unwrap().clone()))].into()
    );
    assert_eq!(ends(&desired.moves["quay-1"]), (None, Some("gantry")));
}

// Rules nodepool-25 and nodepool-9.
#[test]
fn each_attribute_is_given_back() {
    let cases = [
        (json!({ "annotations": { "example.com/note": "ours" } }), json!({}), "an annotation"),
        (json!({ "taints": [taint("1")] }), json!({}), "a taint"),
        (json!({ "taints": [taint("1")] }), json!({ "spec": { "taints": [taint("0")] } }), "a taint's value"),
        (json!({ "taints": [taint("1")] }), json!({ "spec": { "taints": null } }), "the only taint"),
        (json!({ "unschedulable": true }), json!({}), "the cordon"),
        (json!({ "unschedulable": true }), json!({ "spec": { "unschedulable": true } }), "a cordon by hand"),
        (json!({ "cordonOnJoin": true }), json!({}), "a cordon at the start"),
        (json!({ "topologyZone": "IfAbsent" }), json!({}), "the zone"),
        (
            json!({ "topologyZone": "IfAbsent" }),
            json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": "eu-1" } } }),
            "a zone that was there",
        ),
    ];
    for (spec, attributes, because) in cases {
        let before = quay(&attributes);
        let mut cluster = cluster(&spec, &attributes);
        assert_ne!(cluster.nodes["quay-1"], before, "{because}");
        assert!(cluster.desired("gantry").patches.is_empty(), "{because}: written once");
        cluster.set_spec("gantry", &json!({ "nodeNames": ["quay-2"] }));
        cluster.reconcile("gantry");
        assert_eq!(cluster.nodes["quay-1"], before, "{because}");
    }
}

// Rules nodepool-26 and nodepool-11.
#[test]
fn a_taint_of_ours_that_a_hand_removes_returns_beside_those_of_others() {
    let mut cluster = cluster(&json!({ "taints": [taint("1")] }), &json!({}));
    let others = json!({ "key": "a", "value": "9", "effect": "NoExecute" });
    cluster.patch("quay-1", &json!({ "spec": { "taints": [others, foreign()] } }));
    let desired = cluster.reconcile("gantry");
    assert_eq!(taints(&cluster), json!([others, foreign(), taint("1")]));
    assert_eq!(
        desired.patches["quay-1"].object().keys().collect::<Vec<_>>(),
        ["spec"],
        "and nothing else is written"
    );
    assert!(desired.moves.is_empty(), "it has not moved: {:?}", desired.moves);
}

// Rule nodepool-29.
#[test]
fn what_is_put_once_is_for_nodes_that_join() {
    let once = json!({
        "taints": [{ "key": "a", "value": "1", "effect": "NoSchedule", "propagation": "OnInitialization" }],
        "cordonOnJoin": true,
    });
    let mut late = cluster(&json!({}), &json!({}));
    late.set_spec("gantry", &with_names(&once));
    late.reconcile("gantry");
    assert_eq!((taints(&late), is_cordoned(&late)), (json!([foreign()]), false), "it has joined before");

    let mut cluster = cluster(&once, &json!({}));
    assert_eq!((taints(&cluster), is_cordoned(&cluster)), (json!([foreign(), taint("1")]), true));
    cluster.patch("quay-1", &json!({ "spec": { "taints": [foreign()], "unschedulable": null } }));
    cluster.reconcile("gantry");
    assert_eq!((taints(&cluster), is_cordoned(&cluster)), (json!([foreign()]), false), "not a second time");

    let ways = [
        (json!({ "stowage.dev/nodepool-ledger": null }), false, "the label says that it has joined"),
        (json!({ "stowage.dev/nodepool-ledger": "{" }), false, "the label says that it has joined"),
    ];
    for (annotations, comes_again, because) in ways {
        let mut cluster = cluster.clone();
        cluster.patch("quay-1", &json!({ "metadata": { "annotations": annotations } }));
        cluster.reconcile("gantry");
        assert_eq!(is_cordoned(&cluster), comes_again, "{because}");
    }
    let mut again = cluster.clone();
    again.nodes.insert("quay-1".to_owned(), quay(&json!({})));
    again.reconcile("gantry");
    assert!(is_cordoned(&again), "it has left the cluster and comes back");
    let mut restored = cluster.clone();
    restored.patch("quay-1", &json!({ "metadata": { "uid": "uid-2" } }));
    restored.reconcile("gantry");
    assert!(is_cordoned(&restored), "another node with the annotations of the first");
    assert_eq!(restored.ledger("quay-1").unwrap()["uid"], "uid-2");
    assert!(restored.desired("gantry").patches.is_empty());
    cluster.set_spec("gantry", &json!({ "nodeNames": ["quay-2"] }));
    cluster.reconcile("gantry");
    cluster.set_spec("gantry", &with_names(&once));
    cluster.reconcile("gantry");
    assert!(is_cordoned(&cluster), "it has left the pool and comes back");
}

// Rule nodepool-30.
#[test]
fn a_cordon_of_the_pool_holds_and_gives_back_the_cordon_of_a_hand() {
    let mut cluster = cluster(&json!({ "unschedulable": true }), &json!({}));
    cluster.patch("quay-1", &json!({ "spec": { "unschedulable": null } }));
    cluster.reconcile("gantry");
    assert!(is_cordoned(&cluster), "uncordoned by hand");
    cluster.set_spec("gantry", &with_names(&json!({ "unschedulable": true, "cordonOnJoin": true })));
    cluster.patch("quay-1", &json!({ "spec": { "unschedulable": null } }));
    cluster.reconcile("gantry");
    assert!(is_cordoned(&cluster), "a cordon of all is more than one at the start");
    cluster.set_spec("gantry", &with_names(&json!({})));
    cluster.reconcile("gantry");
    assert!(!is_cordoned(&cluster), "the end of it");
}

// Rule nodepool-30.
#[test]
fn the_cordon_of_a_join_outlives_that_of_the_pool_and_no_other_does() {
    let both = |unschedulable: bool, on_join: bool| {
        with_names(&json!({ "unschedulable": unschedulable, "cordonOnJoin": on_join }))
    };
    let by_hand = json!({ "spec": { "unschedulable": true } });
    let uncordoned = json!({ "spec": { "unschedulable": null } });
    // Each step is what the spec says of both, or what a hand does.
    let cases = [
        (json!({}), vec![both(true, false), both(false, true)], false, "it was not cordoned when it joined"),
        (by_hand.clone(), vec![both(true, false), both(false, true)], true, "a hand had cordoned it before"),
        (
            json!({}),
            vec![both(false, true), both(true, true), both(false, true)],
            true,
            "nobody has lifted it",
        ),
        (json!({}), vec![both(true, true), both(false, true)], true, "it joined under both"),
        (
            json!({}),
            vec![both(false, true), uncordoned.clone(), both(true, true), both(false, true)],
            false,
            "a hand had lifted it",
        ),
        (json!({}), vec![both(true, true), uncordoned, both(false, true)], true, "a hand counts for nothing"),
        (
            json!({}),
            vec![both(false, true), both(true, false), both(false, true)],
            false,
            "it has left the spec meanwhile",
        ),
        (
            json!({}),
            vec![both(true, true), both(true, false), both(false, false)],
            false,
            "one after the other",
        ),
        (json!({}), vec![both(true, true), both(false, false)], false, "both at once"),
        (by_hand, vec![both(true, true), both(false, false)], true, "it is as it was"),
    ];
    for (attributes, steps, expected, because) in cases {
        let mut cluster = cluster(&steps[0], &attributes);
        for step in &steps[1..] {
            if step.get("spec").is_some() {
                cluster.patch("quay-1", step);
            } else {
                cluster.set_spec("gantry", step);
            }
            cluster.reconcile("gantry");
            assert!(cluster.desired("gantry").patches.is_empty(), "{because}");
        }
        assert_eq!(is_cordoned(&cluster), expected, "{because}");
    }
}

// Rule nodepool-28.
#[test]
fn a_pool_that_yields_leaves_to_hands_what_they_take() {
    let spec =
        |policy: &str, labels: Value| with_names(&json!({ "labels": labels, "conflictPolicy": policy }));
    let ours = json!({ "workload": "io", "tier": "1" });
    let mut cluster = cluster(&spec("Yield", ours.clone()), &json!({}));
    cluster.edit("quay-1", "workload", Some("hand"));
    cluster.edit("quay-1", "tier", None);
    cluster.reconcile("gantry");
    let labels = json!({ "workload": "hand", "stowage.dev/nodepool": "gantry" });
    assert_eq!(cluster.labels("quay-1"), labels);
    let entries = json!({ "workload": { "yielded": true }, "tier": { "yielded": true } });
    assert_eq!(cluster.ledger("quay-1").unwrap()["labels"], entries);
    assert!(cluster.desired("gantry").patches.is_empty());

    let mut enforced = cluster.clone();
    enforced.set_spec("gantry", &spec("Enforce", ours.clone()));
    enforced.reconcile("gantry");
    assert_eq!(enforced.labels("quay-1")["workload"], "io");
    assert!(enforced.desired("gantry").patches.is_empty());
    enforced.set_spec("gantry", &json!({ "nodeNames": ["quay-2"] }));
    enforced.reconcile("gantry");
    assert_eq!(enforced.labels("quay-1"), json!({ "workload": "hand" }), "the hand's value became the base");

    cluster.set_spec("gantry", &spec("Yield", json!({})));
    cluster.reconcile("gantry");
    cluster.set_spec("gantry", &spec("Yield", ours));
    cluster.reconcile("gantry");
    assert_eq!(cluster.labels("quay-1")["workload"], "io", "a key that comes anew is ours anew");
}

// Rule nodepool-28.
#[test]
fn what_a_hand_takes_decides_membership_again() {
    let spec = json!({ "nodeNames": ["quay-1"], "labels": { "disk": "nvme" }, "conflictPolicy": "Yield" });
    let mut cluster = Cluster::new(&[pool("gantry", 1, &spec)], &[quay(&json!({}))]);
    cluster.pools.push(pool("jib", 2, &json!({ "selector": { "matchLabels": { "disk": "hdd" } } })));
    cluster.reconcile("gantry");
    assert_eq!(cluster.desired("jib").standing.contested.count(), 0, "no base label");
    cluster.edit("quay-1", "disk", Some("hdd"));
    assert_eq!(cluster.desired("jib").standing.contested.count(), 1, "the hand's is one, before any pass");
}

// Rule nodepool-32.
#[test]
fn the_zone_is_given_where_there_is_none_and_moves_with_the_node() {
    let zone = |cluster: &Cluster| cluster.labels("quay-1")["topology.kubernetes.io/zone"].clone();
    let mut cluster = cluster(&json!({ "topologyZone": "IfAbsent" }), &json!({}));
    assert_eq!(zone(&cluster), "gantry");
    cluster.edit("quay-1", "topology.kubernetes.io/zone", None);
    cluster.reconcile("gantry");
    assert_eq!(zone(&cluster), "gantry", "a hand took it");
    cluster.pools.insert(0, pool("jib", 0, &with_names(&json!({ "topologyZone": "IfAbsent" }))));
    cluster.reconcile("jib");
    assert_eq!(zone(&cluster), "jib");
    cluster.edit("quay-1", "topology.kubernetes.io/zone", Some("eu-1"));
    cluster.reconcile("jib");
    cluster.set_spec("jib", &json!({ "nodeNames": ["quay-2"] }));
    cluster.reconcile("gantry");
    assert_eq!(zone(&cluster), "eu-1", "a cloud knows better");
}

// Rule nodepool-33.
#[test]
fn a_zone_that_volumes_are_bound_to_stays() {
    let mut cluster = cluster(&json!({ "topologyZone": "IfAbsent", "labels": { "a": "b" } }), &json!({}));
    cluster.pins = pinned("gantry");
    assert_eq!(cluster.desired("gantry"), cluster.desired("gantry"));
    assert!(cluster.desired("gantry").standing.pinned.is_empty(), "it is as it should be");
    cluster.set_spec("gantry", &with_names(&json!({ "labels": { "a": "c" } })));
    let desired = cluster.reconcile("gantry");
    let expected =
        json!({ "a": "c", "topology.kubernetes.io/zone": "gantry", "stowage.dev/nodepool": "gantry" });
    assert_eq!((cluster.labels("quay-1"), desired.standing.pinned.count()), (expected, 1));
    assert_eq!(cluster.desired("gantry").patches.len(), 0);
    cluster.edit("quay-1", "topology.kubernetes.io/zone", None);
    cluster.reconcile("gantry");
    let entries = json!({ "a": { "set": "c" } });
    assert_eq!(cluster.ledger("quay-1").unwrap()["labels"], entries, "a hand may take what is bound");
}

// Rule nodepool-33.
#[test]
fn a_node_that_keeps_only_its_zone_belongs_to_no_pool() {
    let mut cluster = cluster(&json!({ "topologyZone": "IfAbsent", "cordonOnJoin": true }), &json!({}));
    cluster.pins = pinned("gantry");
    cluster.set_spec("gantry", &json!({ "nodeNames": ["quay-2"] }));
    let desired = cluster.reconcile("gantry");
    assert_eq!((desired.standing.nodes.total, desired.standing.pinned.count()), (0, 1));
    assert_eq!(ends(&desired.moves["quay-1"]), (Some("gantry"), None));
    assert_eq!(cluster.labels("quay-1"), json!({ "topology.kubernetes.io/zone": "gantry" }));
    let again = cluster.desired("gantry");
    assert_eq!((again.patches.len(), again.standing.pinned.count()), (0, 1));

    let mut broken = cluster.clone();
    broken.set_spec("gantry", &json!({ "selector": {} }));
    broken.pools.push(pool("jib", 2, &with_names(&json!({}))));
    let jib = broken.reconcile("jib");
    assert_eq!((jib.standing.nodes.total, jib.standing.contested.count()), (1, 0), "no pool keeps it");

    cluster.set_spec("gantry", &with_names(&json!({ "topologyZone": "IfAbsent", "cordonOnJoin": true })));
    cluster.reconcile("gantry");
    assert!(is_cordoned(&cluster), "it comes back as a new member");
    assert_eq!(cluster.ledger("quay-1").unwrap().get("left"), None);
}

// Rule nodepool-27.
#[test]
fn an_upgrade_writes_no_node_that_needs_no_change() {
    let first = r#"{"labels":{"workload":{"set":"io"}},"pool":"gantry","version":1}"#;
    let labels = json!({ "metadata": { "labels": { "workload": "io", "stowage.dev/nodepool": "gantry" } } });
    let spec = with_names(&json!({ "labels": { "workload": "io" } }));
    let mut cluster = Cluster::new(&[pool("gantry", 1, &spec)], &[with_ledger(quay(&labels), first)]);
    assert!(cluster.desired("gantry").patches.is_empty());
    let more = json!({ "labels": { "workload": "io" }, "cordonOnJoin": true, "unschedulable": true });
    cluster.set_spec("gantry", &with_names(&more));
    cluster.reconcile("gantry");
    let ledger = cluster.ledger("quay-1").unwrap();
    assert_eq!((&ledger["version"], ledger.get("uid")), (&json!(2), None), "it fits any node of the name");
    cluster.set_spec("gantry", &spec);
    cluster.reconcile("gantry");
    assert_eq!(cluster.nodes["quay-1"]["metadata"]["annotations"]["stowage.dev/nodepool-ledger"], first);
}

// Rule nodepool-25.
#[test]
fn two_pools_move_every_attribute_in_one_patch() {
    let all = |value: &str| {
        with_names(&json!({
            "labels": { "l": value }, "annotations": { "n": value }, "taints": [taint(value)],
            "unschedulable": value == "1",
        }))
    };
    let mut cluster = cluster(&all("1"), &json!({}));
    cluster.pools.insert(0, pool("jib", 0, &all("2")));
    let desired = cluster.reconcile("jib");
    let patch = Value::Object(desired.patches["quay-1"].object());
    assert_eq!(patch["spec"], json!({ "taints": [foreign(), taint("2")], "unschedulable": null }));
    assert_eq!(patch["metadata"]["annotations"]["n"], "2");
    assert_eq!(ends(&desired.moves["quay-1"]), (Some("gantry"), Some("jib")));
    assert!(cluster.desired("gantry").patches.is_empty() && cluster.desired("jib").patches.is_empty());
}

// Rule nodepool-38.
#[test]
fn resources_of_members_are_summed() {
    let with = |name: &str, capacity: &str, allocatable: &str| {
        let mut node = node(name, &json!({}));
        node["status"]["capacity"] = json!({ "cpu": capacity });
        node["status"]["allocatable"] = json!({ "cpu": allocatable });
        node
    };
    let nodes = [with("quay-1", "8", "7500m"), with("quay-2", "4", "3500m"), with("quay-3", "99", "99")];
    let spec = json!({ "nodeNames": ["quay-1", "quay-2"] });
    let standing = Cluster::new(&[pool("gantry", 1, &spec)], &nodes).desired("gantry").standing;
    let cpu = |sums: &crate::Sums| sums.first(1)["cpu"].0.clone();
    assert_eq!((cpu(&standing.capacity), cpu(&standing.allocatable)), ("12".to_owned(), "11".to_owned()));
}
