//! The manager as a pod: its rights, its silence, its absence and return.

use serde_json::json;
use stowage_e2e::{Lab, NAMESPACE, RELEASE, pool};

// Rule manager-5.
#[test]
fn the_chart_tests_itself() {
    let output = Lab::open().unwrap().helm_test().unwrap();
    assert!(output.contains("Succeeded") && output.contains("nodepools.stowage.dev"), "{output}");
}

// Rule e2e-9.
#[test]
fn what_the_chart_makes_of_every_value_is_valid_for_the_api_server() {
    let lab = Lab::open().unwrap();
    let chart = Lab::chart(RELEASE);
    let (folder, values) = (chart.to_str().unwrap(), chart.join("ci/full-values.yaml"));
    // The pod of the chart's test would need its account.
    let template = ["template", RELEASE, folder, "--namespace", NAMESPACE, "--skip-tests"];
    // The kinds of the Prometheus operator are not there.
    let values = ["--values", values.to_str().unwrap()];
    let fewer = ["--set", "metrics.serviceMonitor.enabled=false,metrics.rules.enabled=false"];
    let rendered = lab.helm.run(&[template.as_slice(), &values, &fewer].concat()).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, rendered).unwrap();
    let apply = ["apply", "--dry-run=server", "--validate=strict", "-f", file.path().to_str().unwrap()];
    let applied = lab.kubectl.run(&apply).unwrap();
    assert!(applied.contains("deployment.apps/stowage") && applied.contains("job.batch/"), "{applied}");
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
    use stowage_e2e::{Audit, LIMIT, Lab, MANAGERS, Outcome, RESOURCE, SERVICE_ACCOUNT, is_settled, pool};

    /// How long a settled manager is watched for writes.
    const QUIET: Duration = Duration::from_secs(60);

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
        let object = lab.find(RESOURCE, "patient").unwrap().unwrap();
        assert_eq!(object["status"], json!({"observedGeneration": -1}));
        lab.scale_manager(MANAGERS).unwrap();
        let object = lab.wait_for_pool("patient", "a settled pool", is_settled).unwrap();
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);

        // What is in place already is not written again by a manager that starts.
        let audit = lab.audit().unwrap();
        lab.scale_manager(0).unwrap();
        lab.scale_manager(MANAGERS).unwrap();
        provoke(&lab, &audit, node, "patient.example/a").unwrap();
        lab.delete_pool("patient").unwrap();
    }

    // Rule e2e-4.
    #[test]
    fn no_request_was_forbidden() {
        let lab = Lab::open().unwrap();
        let audit = Audit::whole(lab.own().unwrap().audit_log());
        assert_eq!(audit.forbidden().unwrap(), []);
    }
}
