//! The product goes, and nothing of it stays.

use std::{collections::BTreeSet, time::Instant};

use serde_json::json;
use stowage_cluster::wait_for;
use stowage_e2e::{LIMIT, Lab, NAMESPACE, Outcome, RELEASE, pool};

/// Kinds of which an install makes objects, by their names in all namespaces.
const KINDS: &str = "clusterroles,clusterrolebindings,roles,rolebindings,customresourcedefinitions,\
    validatingadmissionpolicies,validatingadmissionpolicybindings,serviceaccounts,namespaces";

/// The objects that are ours by their names.
fn ours(lab: &Lab) -> Outcome<BTreeSet<String>> {
    let path = r#"jsonpath={range .items[*]}{.kind} {.metadata.namespace} {.metadata.name}{"\n"}{end}"#;
    let names = lab.kubectl.run(&["get", KINDS, "--all-namespaces", "-o", path])?;
    Ok(names.lines().filter(|line| line.contains("stowage")).map(str::to_owned).collect())
}

// Rule e2e-8.
#[test]
fn nothing_is_left_on_any_node_nor_in_the_api_within_a_minute() {
    let lab = Lab::open().unwrap();
    let [one, two, _] = &lab.nodes().unwrap();
    lab.set_label(one, "leaving.example/kind", Some("by-hand")).unwrap();
    let before = [one, two].map(|node| lab.node(node).unwrap());
    let labels = json!({"leaving.example/kind": "pool", "leaving.example/more": "yes"});
    lab.settle(&pool("leaving", &[one, two], &labels)).unwrap();
    assert!(ours(&lab).unwrap().len() > 5, "the witness is blind");
    let start = Instant::now();

    lab.helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]).unwrap();
    assert_eq!([one, two].map(|node| lab.node(node).unwrap()), before);
    // The pool itself is the user's: it stays, and nothing holds it.
    let pool = lab.find("nodepools.stowage.dev", "leaving").unwrap().unwrap();
    assert_eq!(pool["metadata"].get("finalizers"), None);

    // Removing the chart of the kinds keeps them; they go when they are deleted.
    lab.helm.run(&["uninstall", "stowage-crds", "--namespace", NAMESPACE, "--wait"]).unwrap();
    assert!(lab.find("crd", "nodepools.stowage.dev").unwrap().is_some());
    let limit = format!("--timeout={}s", LIMIT.as_secs());
    lab.kubectl.run(&["delete", "crd", "nodepools.stowage.dev", &limit]).unwrap();
    lab.kubectl.run(&["delete", "namespace", NAMESPACE, &limit]).unwrap();

    wait_for("a cluster without us", LIMIT.saturating_sub(start.elapsed()), || {
        let left = ours(&lab).map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .unwrap();
    lab.set_label(one, "leaving.example/kind", None).unwrap();
}

// Rule e2e-2.
#[test]
fn the_kinds_can_be_applied_by_hand_twice() {
    let lab = Lab::open().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
    lab.kubectl.run(&["apply", "-f", folder]).unwrap();
    let again = lab.kubectl.run(&["apply", "-f", folder]).unwrap();
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    lab.kubectl.run(&["delete", "-f", folder]).unwrap();
}
