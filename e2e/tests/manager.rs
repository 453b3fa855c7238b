//! The manager as a pod: its rights, its silence, its absence and return.

use std::time::Duration;

use serde_json::{Value, json};
use stowage_cluster::{Error, wait_for};
use stowage_e2e::{
    Audit, LIMIT, Lab, NAMESPACE, Outcome, RELEASE, SERVICE_ACCOUNT, condition, is_settled, pool,
};

/// How long a settled manager is watched for writes.
const QUIET: Duration = Duration::from_secs(60);

fn forbidden(audit: &Audit) -> Outcome<Vec<String>> {
    let requests = audit.requests()?.into_iter();
    let ours = requests.filter(|request| request.user.starts_with("system:serviceaccount:stowage-system:"));
    let denied = ours.filter(|request| request.code == 403);
    Ok(denied.map(|request| format!("{} {} {}", request.user, request.verb, request.resource)).collect())
}

fn restarts(lab: &Lab) -> Outcome<Vec<Value>> {
    let pods = lab.manager_pods()?;
    Ok(pods
        .iter()
        .filter_map(|pod| pod.pointer("/status/containerStatuses/0/restartCount").cloned())
        .collect())
}

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

#[test]
fn a_quiet_minute_has_no_write_of_ours() {
    let lab = Lab::open().unwrap();
    lab.settle(&pool("calm", &["n1", "n2"], &json!({"calm.example/sea": "flat"}))).unwrap();
    let before = restarts(&lab).unwrap();
    let audit = lab.audit().unwrap();
    let written = wait_for("a write of ours", QUIET, || {
        let writes = audit.writes_of(SERVICE_ACCOUNT).map_err(|error| error.to_string())?;
        writes.into_iter().next().ok_or_else(|| "none".to_owned())
    });
    assert!(matches!(written, Err(Error::Timeout { .. })), "{written:?}");
    assert_eq!(restarts(&lab).unwrap(), before, "the manager was not there all the time");

    // The same witness sees a write when there is cause for one.
    lab.set_label("n1", "calm.example/sea", Some("rough")).unwrap();
    lab.wait_for_label("n1", "calm.example/sea", Some("flat")).unwrap();
    assert_eq!(audit.writes_of(SERVICE_ACCOUNT).unwrap().len(), 1);
    lab.delete_pool("calm").unwrap();
}

#[test]
fn while_nobody_works_the_generation_reads_minus_one() {
    let lab = Lab::open().unwrap();
    lab.scale_manager(0).unwrap();
    lab.apply(&pool("patient", &["n1"], &json!({"patient.example/a": "1"}))).unwrap();
    let object = lab.find("nodepools.stowage.dev", "patient").unwrap().unwrap();
    assert_eq!(object["status"], json!({"observedGeneration": -1}));
    lab.scale_manager(1).unwrap();
    let object = lab.wait_for_pool("patient", "a settled pool", is_settled).unwrap();
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);

    // What is in place already is not written again by a manager that starts.
    let audit = lab.audit().unwrap();
    lab.scale_manager(0).unwrap();
    lab.scale_manager(1).unwrap();
    lab.set_label("n1", "patient.example/a", Some("2")).unwrap();
    lab.wait_for_label("n1", "patient.example/a", Some("1")).unwrap();
    assert_eq!(audit.writes_of(SERVICE_ACCOUNT).unwrap().len(), 1);
    lab.delete_pool("patient").unwrap();
}

#[test]
fn no_request_was_forbidden_and_one_that_is_is_seen_and_said() {
    let lab = Lab::open().unwrap();
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
    let audit = lab.audit().unwrap();
    lab.apply(&pool("barred", &["n2"], &json!({"barred.example/a": "1"}))).unwrap();
    let says_so =
        |object: &Value| condition(object, "Ready").is_some_and(|ready| ready["reason"] == "Forbidden");
    let barred = lab.wait_for_pool("barred", "the missing right in the status of", says_so).unwrap();
    let message = condition(&barred, "Ready").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("patch") && message.contains("nodes"), "{message}");
    assert!(!forbidden(&audit).unwrap().is_empty());
    let tested = helm_test(&lab).unwrap_err().to_string();
    assert!(tested.contains("Failed"), "{tested}");

    lab.kubectl.send("replace", &without_version(&role)).unwrap();
    // A change wakes the pool, which would otherwise look again after minutes.
    lab.apply(&pool("barred", &["n2"], &json!({"barred.example/a": "2"}))).unwrap();
    wait_for("the label", LIMIT, || {
        let node = lab.node("n2").map_err(|error| error.to_string())?;
        if node.label("barred.example/a") == Some("2") { Ok(()) } else { Err(format!("{node:?}")) }
    })
    .unwrap();
    lab.delete_pool("barred").unwrap();
}

fn without_version(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    object
}
