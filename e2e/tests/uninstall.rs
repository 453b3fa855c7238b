//! The product goes, and nothing of it stays.

use std::{collections::BTreeSet, time::Instant};

use serde_json::json;
use stowage_cluster::{Helm, wait_for};
use stowage_e2e::{LIMIT, Lab, NAMESPACE, Outcome, RELEASE, RESOURCE, pool};

/// Kinds of which an install makes objects, by their names in all namespaces.
const KINDS: &str = "clusterroles,clusterrolebindings,roles,rolebindings,customresourcedefinitions,\
    validatingadmissionpolicies,validatingadmissionpolicybindings,serviceaccounts,namespaces";

/// The objects that are ours by their names.
fn ours(lab: &Lab) -> Outcome<BTreeSet<String>> {
    let path = r#"jsonpath={range .items[*]}{.kind} {.metadata.namespace} {.metadata.name}{"\n"}{end}"#;
    let names = lab.kubectl.run(&["get", KINDS, "--all-namespaces", "-o", path])?;
    Ok(names.lines().filter(|line| line.contains("stowage")).map(str::to_owned).collect())
}

/// Installs both charts with these values into a namespace that admits restricted pods only, and tests the result.
fn install(lab: &Lab, helm: &Helm, values: &str) -> Outcome {
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    lab.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}))?;
    let place = ["--namespace", NAMESPACE, "--wait"];
    let [crds, stowage] =
        ["stowage-crds", RELEASE].map(|chart| Lab::chart(chart).to_string_lossy().into_owned());
    helm.run(&[&["install", "stowage-crds", &crds], place.as_slice()].concat())?;
    helm.run(&[&["install", RELEASE, &stowage, "--values", values], place.as_slice()].concat())?;
    // Without --logs: Helm 3 looks for them when the pod of a test that succeeded is gone.
    helm.run(&["test", RELEASE, "--namespace", NAMESPACE])?;
    Ok(())
}

/// Uninstalls with a pool in place, and sees that nothing stays.
fn uninstall(lab: &Lab, helm: &Helm) -> Outcome {
    let [one, two, _] = &lab.nodes()?;
    lab.set_label(one, "leaving.example/kind", Some("by-hand"))?;
    let before = [lab.node(one)?, lab.node(two)?];
    let labels = json!({"leaving.example/kind": "pool", "leaving.example/more": "yes"});
    lab.settle(&pool("leaving", &[one, two], &labels))?;
    assert!(ours(lab)?.len() > 5, "the witness is blind");
    let start = Instant::now();

    helm.run(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"])?;
    assert_eq!([lab.node(one)?, lab.node(two)?], before);
    // The pool itself is the user's: it stays, and nothing holds it.
    let pool = lab.find(RESOURCE, "leaving")?.ok_or("the pool is gone")?;
    assert_eq!(pool.pointer("/metadata/finalizers"), None);

    // Removing the chart of the kinds keeps them; they go when they are deleted.
    helm.run(&["uninstall", "stowage-crds", "--namespace", NAMESPACE, "--wait"])?;
    assert!(lab.find("crd", RESOURCE)?.is_some());
    let limit = format!("--timeout={}s", LIMIT.as_secs());
    lab.kubectl.run(&["delete", "crd", RESOURCE, &limit])?;
    lab.kubectl.run(&["delete", "namespace", NAMESPACE, &limit])?;

    wait_for("a cluster without us", LIMIT.saturating_sub(start.elapsed()), || {
        let left = ours(lab).map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })?;
    lab.set_label(one, "leaving.example/kind", None)
}

// Rules e2e-8 and e2e-9.
#[test]
fn nothing_is_left_on_any_node_nor_in_the_api_within_a_minute_with_either_helm() {
    let lab = Lab::open().unwrap();
    let values = lab.helm.run(&["get", "values", RELEASE, "--namespace", NAMESPACE, "-o", "yaml"]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, values).unwrap();
    uninstall(&lab, &lab.helm).unwrap();
    install(&lab, &lab.helm3, file.path().to_str().unwrap()).unwrap();
    uninstall(&lab, &lab.helm3).unwrap();
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
