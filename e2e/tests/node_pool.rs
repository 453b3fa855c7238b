//! `NodePool` on real nodes, through the charts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_api::keys::NODEPOOL_LEDGER_ANNOTATION;
use stowage_e2e::{Lab, RESOURCE, pool};

#[test]
fn what_a_pool_replaced_comes_back_key_by_key_and_at_the_end() {
    let lab = Lab::open().unwrap();
    let [node, ..] = &lab.nodes().unwrap();
    let (kept, given) = ("berth.example/kind", "berth.example/crane");
    lab.set_label(node, kept, Some("by-hand")).unwrap();
    let before = lab.node(node).unwrap();

    lab.settle(&pool("berths", &[node], &json!({kept: "container", given: "yes"}))).unwrap();
    let during = lab.node(node).unwrap();
    assert_eq!((during.label(kept), during.label(given)), (Some("container"), Some("yes")));
    assert!(during.annotations.contains_key(NODEPOOL_LEDGER_ANNOTATION));

    // A key that leaves the spec is given back while the pool stays.
    lab.settle(&pool("berths", &[node], &json!({given: "yes"}))).unwrap();
    lab.wait_for_label(node, kept, Some("by-hand")).unwrap();
    lab.delete_pool("berths").unwrap();
    assert_eq!(lab.node(node).unwrap(), before);
    lab.set_label(node, kept, None).unwrap();
}

// Rule e2e-1.
#[test]
fn a_bad_pool_is_refused_with_the_path_and_the_cure() {
    let lab = Lab::open().unwrap();
    let many: BTreeMap<_, _> = (0..33).map(|number| (format!("example.com/k{number}"), "v")).collect();
    let with = |labels: Value| json!({"nodeNames": ["x"], "labels": labels});
    let cases = [
        ("an empty selector", json!({"selector": {}}), "spec.selector", "add matchLabels"),
        ("no selection", json!({"labels": {"a": "b"}}), "spec", "set spec.selector"),
        ("a reserved key", with(json!({"kubernetes.io/os": "plan9"})), "spec.labels", "prefix of your own"),
        ("a cloud's key", with(json!({"cloud.google.com/x": "y"})), "spec.labels", "prefix of your own"),
        ("a key that is none", with(json!({"-bad": "y"})), "spec.labels", "-bad"),
        ("a value that is none", with(json!({"good": "not good"})), "spec.labels", "under the key good"),
        ("too many labels", with(json!(many)), "spec.labels", "32"),
        ("an unknown field", json!({"nodeNames": ["x"], "colour": "red"}), "spec.colour", "unknown field"),
    ];
    for (because, spec, path, cure) in cases {
        let mut bad = pool("bad", &[], &json!({}));
        bad["spec"] = spec;
        let error = lab.kubectl.send("create", &bad).expect_err(because).to_string();
        assert!(error.contains(path) && error.contains(cure), "{because}: {error}");
    }
    assert_eq!(lab.find(RESOURCE, "bad").unwrap(), None);
}

// Rule e2e-2.
#[test]
fn every_sample_in_the_docs_is_accepted_and_carried_out() {
    let lab = Lab::open().unwrap();
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples");
    let files: Vec<_> = std::fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        let file = file.to_str().unwrap();
        let name = lab.kubectl.run(&["apply", "-f", file, "-o", "jsonpath={.metadata.name}"]).unwrap();
        lab.wait_for_pool(&name, "a settled pool", stowage_e2e::is_settled).unwrap();
        lab.delete_pool(&name).unwrap();
    }
}

/// With the audit log of the project's own cluster as the witness, and with nodes that may be made and cordoned.
mod audited {
    use std::time::Duration;

    use serde_json::{Value, json};
    use stowage_api::keys::NODEPOOL_LABEL;
    use stowage_cluster::wait_for;
    use stowage_e2e::{LIMIT, Lab, RESOURCE, Request, condition, plain_node, pool};

    /// Within this a node carries its pool's labels.
    const PROMPT: Duration = Duration::from_secs(1);

    // Rule controllers-1.
    #[test]
    fn a_new_node_has_its_pools_labels_within_a_second_and_after_one_patch() {
        let lab = Lab::open().unwrap();
        lab.settle(&pool("prompt", &["prompt-1"], &json!({"lane.example/speed": "fast"}))).unwrap();
        let audit = lab.audit().unwrap();
        lab.kubectl.send("create", &plain_node("prompt-1", &json!({}))).unwrap();
        lab.wait_for_label("prompt-1", "lane.example/speed", Some("fast")).unwrap();

        let created = |request: &&Request| request.verb == "create" && request.resource == "nodes";
        let requests = audit.requests().unwrap();
        let created = requests.iter().find(created).unwrap().at;
        let patches = lab.node_writes(&audit, "prompt-1").unwrap();
        assert_eq!(patches.len(), 1, "{patches:?}");
        let took = patches[0].at.duration_since(created);
        assert!(took.unsigned_abs() < PROMPT, "{took:?}");
        assert_eq!(lab.node("prompt-1").unwrap().label(NODEPOOL_LABEL), Some("prompt"));

        lab.delete_pool("prompt").unwrap();
        lab.delete("node", "prompt-1").unwrap();
    }

    // Rule controllers-4.
    #[test]
    fn drift_is_repaired_with_one_write_and_foreign_keys_are_left_alone() {
        let lab = Lab::open().unwrap();
        let [_, node, _] = &lab.nodes().unwrap();
        let key = "cargo.example/class";
        lab.settle(&pool("drift", &[node], &json!({key: "bulk"}))).unwrap();
        for change in [Some("general"), None] {
            let audit = lab.audit().unwrap();
            lab.set_label(node, key, change).unwrap();
            lab.wait_for_label(node, key, Some("bulk")).unwrap();
            assert_eq!(lab.node_writes(&audit, node).unwrap().len(), 1, "after {change:?}");
        }
        lab.set_label(node, "foreign.example/key", Some("mine")).unwrap();
        lab.settle(&pool("drift", &[node], &json!({key: "liquid"}))).unwrap();
        assert_eq!(lab.node(node).unwrap().label("foreign.example/key"), Some("mine"));
        lab.delete_pool("drift").unwrap();
        let after = lab.node(node).unwrap();
        assert_eq!((after.label(key), after.label("foreign.example/key")), (None, Some("mine")));
        lab.set_label(node, "foreign.example/key", None).unwrap();
    }

    // Rule controllers-3.
    #[test]
    fn a_contested_node_stays_with_the_older_pool_and_the_younger_says_so() {
        let lab = Lab::open().unwrap();
        let [_, _, node] = &lab.nodes().unwrap();
        let key = "quay.example/owner";
        // The name decides only between two of one second, the unit of ages: here it would decide wrongly.
        lab.settle(&pool("z-older", &[node], &json!({key: "older"}))).unwrap();
        wait_for("the next second", LIMIT, || lab.is_older_than_a_second("z-older")).unwrap();
        lab.apply(&pool("b-younger", &[node], &json!({key: "younger"}))).unwrap();
        let conflict = |object: &Value| condition(object, "MembershipConflict").is_some();
        let younger = lab.wait_for_pool("b-younger", "the loser's word", conflict).unwrap();
        let message = condition(&younger, "MembershipConflict").unwrap()["message"].clone();
        assert!(message.as_str().unwrap().contains(node), "{message}");
        assert_eq!(lab.node(node).unwrap().label(key), Some("older"));

        // The node moves, in one patch, as soon as the older pool goes; the conflict is over.
        let audit = lab.audit().unwrap();
        lab.delete_pool("z-older").unwrap();
        lab.wait_for_label(node, key, Some("younger")).unwrap();
        lab.wait_for_pool("b-younger", "an end of the conflict for", |object| !conflict(object)).unwrap();
        assert_eq!(lab.node_writes(&audit, node).unwrap().len(), 1);
        lab.delete_pool("b-younger").unwrap();
        assert_eq!(lab.node(node).unwrap().label(key), None);
    }

    // Rule controllers-2.
    #[test]
    fn a_change_of_a_pool_writes_each_of_its_nodes_once() {
        let lab = Lab::open().unwrap();
        let nodes = lab.nodes().unwrap();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        lab.settle(&pool("fleet", &nodes, &json!({"fleet.example/a": "1"}))).unwrap();
        let audit = lab.audit().unwrap();
        lab.settle(&pool("fleet", &nodes, &json!({"fleet.example/b": "2"}))).unwrap();
        for node in &nodes {
            assert_eq!(lab.node_writes(&audit, node).unwrap().len(), 1, "{node}");
            let seen = lab.node(node).unwrap();
            assert_eq!((seen.label("fleet.example/a"), seen.label("fleet.example/b")), (None, Some("2")));
        }
        // One more change, seen by the same witness, so that silence could be told from blindness.
        lab.set_label(nodes[0], "fleet.example/b", Some("3")).unwrap();
        wait_for("a second patch", LIMIT, || {
            let seen = lab.node_writes(&audit, nodes[0]).map_err(|error| error.to_string())?;
            if seen.len() == 2 { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .unwrap();
        lab.delete_pool("fleet").unwrap();
    }

    #[test]
    fn the_status_counts_and_the_columns_show_it() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        let mut chosen = pool("chosen", &[], &json!({}));
        chosen["spec"] = json!({
            "selector": {"matchLabels": {"kubernetes.io/hostname": node}},
            "labels": {"chosen.example/seen": "yes"},
        });
        let settled = lab.settle(&chosen).unwrap();
        assert_eq!(
            settled["status"]["nodes"],
            json!({"total": 1, "ready": 1, "notReady": 0, "unschedulable": 0, "draining": 0})
        );
        lab.kubectl.run(&["cordon", node]).unwrap();
        let cordoned = |object: &Value| object["status"]["nodes"]["unschedulable"] == 1;
        lab.wait_for_pool("chosen", "a cordoned node in", cordoned).unwrap();
        lab.kubectl.run(&["uncordon", node]).unwrap();
        let table = lab.kubectl.run(&["get", RESOURCE, "chosen"]).unwrap();
        assert!(table.contains("True"), "{table}");
        assert!(lab.kubectl.run(&["get", "spool", "chosen", "-o", "name"]).unwrap().contains("chosen"));
        assert!(lab.kubectl.run(&["get", "stowage", "-o", "name"]).unwrap().contains("chosen"));
        lab.delete_pool("chosen").unwrap();
    }

    #[test]
    fn a_node_that_is_deleted_and_comes_back_is_labelled_again() {
        let lab = Lab::open().unwrap();
        let labels = json!({"tide.example/mark": "high"});
        lab.settle(&pool("tide", &["tide-1"], &labels)).unwrap();
        for _ in 0..2 {
            lab.kubectl.send("create", &plain_node("tide-1", &json!({}))).unwrap();
            lab.wait_for_label("tide-1", "tide.example/mark", Some("high")).unwrap();
            lab.delete("node", "tide-1").unwrap();
        }
        let empty = |object: &Value| object["status"]["nodes"]["total"] == 0;
        lab.wait_for_pool("tide", "an empty pool", empty).unwrap();
        lab.delete_pool("tide").unwrap();
    }
}
