//! The manager as a pod: its rights, its silence, its absence and return.

use serde_json::json;
use stowage_e2e::{Lab, NAMESPACE, RELEASE, pool};

/// Runs the chart's own test.
fn helm_test(lab: &Lab) -> stowage_cluster::Result<String> {
    lab.helm.run(&["test", RELEASE, "--namespace", NAMESPACE, "--logs"])
}

// Rule manager-5.
#[test]
fn the_chart_tests_itself() {
    let output = helm_test(&Lab::open().unwrap()).unwrap();
    assert!(output.contains("Succeeded"), "{output}");
}

// Rule e2e-7.
#[test]
fn a_node_cannot_forge_the_ledger_and_still_writes_what_is_its_own() {
    let lab = Lab::open().unwrap();
    let [node, ..] = &lab.nodes().unwrap();
    lab.settle(&pool("sealed", &[node], &json!({"sealed.example/a": "1"}))).unwrap();
    let user = format!("--as=system:node:{node}");
    let as_node = |change: &str| {
        let node = [node, "--overwrite", &user, "--as-group=system:nodes", "--as-group=system:authenticated"];
        lab.kubectl.run(&[&["annotate", "node"], node.as_slice(), &[change]].concat())
    };
    let before = lab.node(node).unwrap();
    for forged in ["stowage.dev/nodepool-ledger={}", "stowage.dev/nodepool-ledger-"] {
        let error = as_node(forged).expect_err(forged).to_string();
        assert!(error.contains("never by a node"), "{error}");
    }
    as_node("sealed.example/own=yes").unwrap();
    as_node("sealed.example/own-").unwrap();
    assert_eq!(lab.node(node).unwrap(), before);
    lab.delete_pool("sealed").unwrap();
}

/// With the audit log of the project's own cluster as the witness.
mod audited {
    use std::time::Duration;

    use serde_json::{Value, json};
    use stowage_cluster::{Error, wait_for};
    use stowage_e2e::{Audit, LIMIT, Lab, Outcome, RELEASE, SERVICE_ACCOUNT, condition, is_settled, pool};

    use super::helm_test;

    /// How long a settled manager is watched for writes.
    const QUIET: Duration = Duration::from_secs(60);

    fn forbidden(audit: &Audit) -> Outcome<Vec<String>> {
        let requests = audit.requests()?.into_iter();
        let ours =
            requests.filter(|request| request.user.starts_with("system:serviceaccount:stowage-system:"));
        let denied = ours.filter(|request| request.code == 403);
        Ok(denied.map(|request| format!("{} {} {}", request.user, request.verb, request.resource)).collect())
    }

    /// Which pods the managers are, and how often each was started.
    fn incarnations(lab: &Lab) -> Outcome<Vec<Value>> {
        let pods = lab.manager_pods()?;
        let of = |path: &'static str| move |pod: &Value| pod.pointer(path).cloned().unwrap_or_default();
        let uids = pods.iter().map(of("/metadata/uid"));
        Ok(uids.chain(pods.iter().map(of("/status/containerStatuses/0/restartCount"))).collect())
    }

    /// Has somebody change what a pool set, and waits until it is back: one write, and a witness that sees writes.
    fn provoke(lab: &Lab, audit: &Audit, node: &str, key: &str) -> Outcome {
        lab.set_label(node, key, Some("by-hand"))?;
        lab.wait_for_label(node, key, Some("1"))?;
        let found = wait_for("the one write in the audit log", LIMIT, || {
            let mut writes = audit.writes_of(SERVICE_ACCOUNT).map_err(|error| error.to_string())?;
            writes.retain(|request| request.resource != "events");
            if writes.len() == 1 { Ok(()) } else { Err(format!("{writes:?}")) }
        });
        Ok(found?)
    }

    // Rule e2e-3.
    #[test]
    fn a_quiet_minute_has_no_write_of_ours() {
        let lab = Lab::open().unwrap();
        let [one, two, _] = &lab.nodes().unwrap();
        let audit = lab.audit().unwrap();
        lab.settle(&pool("calm", &[one, two], &json!({"calm.example/sea": "1"}))).unwrap();
        // The event about it is the last write, and comes after the status.
        wait_for("the event about the pool", LIMIT, || {
            let writes = audit.writes_of(SERVICE_ACCOUNT).map_err(|error| error.to_string())?;
            if writes.iter().any(|request| request.resource == "events") {
                Ok(())
            } else {
                Err(format!("{writes:?}"))
            }
        })
        .unwrap();
        let before = incarnations(&lab).unwrap();
        let audit = lab.audit().unwrap();
        let written = wait_for("a write of ours", QUIET, || {
            let writes = audit.attempts_of(SERVICE_ACCOUNT).map_err(|error| error.to_string())?;
            writes.into_iter().next().ok_or_else(|| "none".to_owned())
        });
        assert!(matches!(written, Err(Error::Timeout { .. })), "{written:?}");
        assert_eq!(incarnations(&lab).unwrap(), before, "the manager was not there all the time");
        provoke(&lab, &audit, one, "calm.example/sea").unwrap();
        lab.delete_pool("calm").unwrap();
    }

    // Rule e2e-5.
    #[test]
    fn while_nobody_works_the_generation_reads_minus_one() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        lab.scale_manager(0).unwrap();
        lab.apply(&pool("patient", &[node], &json!({"patient.example/a": "1"}))).unwrap();
        let object = lab.find("nodepools.stowage.dev", "patient").unwrap().unwrap();
        assert_eq!(object["status"], json!({"observedGeneration": -1}));
        lab.scale_manager(1).unwrap();
        let object = lab.wait_for_pool("patient", "a settled pool", is_settled).unwrap();
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);

        // What is in place already is not written again by a manager that starts.
        let audit = lab.audit().unwrap();
        lab.scale_manager(0).unwrap();
        lab.scale_manager(1).unwrap();
        provoke(&lab, &audit, node, "patient.example/a").unwrap();
        lab.delete_pool("patient").unwrap();
    }

    // Rule e2e-4.
    #[test]
    fn no_request_was_forbidden_and_one_that_is_is_seen_and_said() {
        let lab = Lab::open().unwrap();
        let [node, ..] = &lab.nodes().unwrap();
        let log = lab.own().unwrap().audit_log();
        assert_eq!(forbidden(&Audit::whole(log)).unwrap(), Vec::<String>::new());

        let role = lab.find("clusterrole", RELEASE).unwrap().unwrap();
        let mut poorer = role.clone();
        let rules = poorer["rules"].as_array_mut().unwrap();
        for rule in rules.iter_mut().filter(|rule| rule["resources"] == json!(["nodes"])) {
            rule["verbs"].as_array_mut().unwrap().retain(|verb| verb != "patch");
        }
        assert_ne!(poorer, role, "no rule lets nodes be patched");
        lab.kubectl.send("replace", &without_version(&poorer)).unwrap();
        wait_for_right(&lab, false).unwrap();
        let audit = lab.audit().unwrap();
        lab.apply(&pool("barred", &[node], &json!({"barred.example/a": "1"}))).unwrap();
        let says_so =
            |object: &Value| condition(object, "Ready").is_some_and(|ready| ready["reason"] == "Forbidden");
        let barred = lab.wait_for_pool("barred", "the missing right in the status of", says_so).unwrap();
        let message = condition(&barred, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("patch") && message.contains("nodes"), "{message}");
        assert!(!forbidden(&audit).unwrap().is_empty());
        let tested = helm_test(&lab).unwrap_err().to_string();
        assert!(tested.contains("Failed"), "{tested}");

        lab.kubectl.send("replace", &without_version(&role)).unwrap();
        wait_for_right(&lab, true).unwrap();
        // A change wakes the pool, which would otherwise look again after minutes.
        lab.apply(&pool("barred", &[node], &json!({"barred.example/a": "2"}))).unwrap();
        lab.wait_for_label(node, "barred.example/a", Some("2")).unwrap();
        lab.delete_pool("barred").unwrap();
    }

    /// The API server learns of a changed role a moment after it has stored it.
    fn wait_for_right(lab: &Lab, wanted: bool) -> Outcome {
        let user = format!("--as={SERVICE_ACCOUNT}");
        let found = wait_for(&format!("the right to patch nodes to be {wanted}"), LIMIT, || {
            let answer = lab.kubectl.run(&["auth", "can-i", "patch", "nodes", &user]);
            if answer.is_ok() == wanted { Ok(()) } else { Err(format!("{answer:?}")) }
        });
        Ok(found?)
    }

    fn without_version(object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        object
    }
}
