//! Three nodes that serve, are lost in every way, and come back.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::{Value, json};
use stowage_cluster::{Cluster, Fate, Image, Progress, wait_for};

use crate::given::{Outcome, binaries, cluster};

const IMAGE: &str = "stowage.invalid/web:1";

/// A dead node is `NotReady` after about 10 s; a busy machine takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// A web server on every node behind one Service, reached under a fixed address.
fn application(namespace: &str) -> Value {
    let labels = json!({"app": "web"});
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let container = json!({
        "name": "web", "image": IMAGE, "imagePullPolicy": "Never", "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "env": [field("NODE", "spec.nodeName"), field("POD", "metadata.name")],
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
    });
    let pod = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    });
    let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": restricted}},
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web", "namespace": namespace}, "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": {
            "selector": labels, "ports": [{"port": 80, "targetPort": 8080}],
        }},
    ]})
}

/// Deploys the application and returns the address of its Service once a pod is ready on each of `nodes`.
fn deploy(cluster: &Cluster, namespace: &str, nodes: usize) -> Outcome<String> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("web.tar");
    Image { reference: IMAGE, program: &binaries()?.join("web"), labels: &[] }.write(&archive)?;
    cluster.load_image(&archive, &Progress::new())?;
    cluster.kubectl().send("apply", &application(namespace))?;
    wait_for("ready pods", LIMIT, || {
        let status = daemon_set(cluster, namespace).map_err(|error| error.to_string())?;
        if status == nodes.to_string() { Ok(()) } else { Err(format!("{status} ready")) }
    })?;
    let service = ["get", "service", "web", "--namespace", namespace, "-o", "jsonpath={.spec.clusterIP}"];
    Ok(cluster.kubectl().run(&service)?)
}

fn daemon_set(cluster: &Cluster, namespace: &str) -> stowage_cluster::Result<String> {
    cluster.kubectl().run(&[
        "get",
        "daemonset",
        "web",
        "--namespace",
        namespace,
        "-o",
        "jsonpath={.status.numberReady}",
    ])
}

/// Asks from `node` `count` times; which nodes answered, how often. Errors are counted under `ERROR`.
fn answers(cluster: &Cluster, node: &str, address: &str, count: u32) -> Outcome<BTreeMap<String, u32>> {
    let mut ask = cluster.command_on(node, &binaries()?.join("web"))?;
    let output = ask.args(["get", &format!("http://{address}/"), &count.to_string()]).output()?;
    let mut seen = BTreeMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let node = line.split_ascii_whitespace().next().unwrap_or_default();
        *seen.entry(node.to_owned()).or_default() += 1;
    }
    Ok(seen)
}

/// Waits until requests from `node` are answered by exactly these nodes, and none fails.
fn wait_for_answers(cluster: &Cluster, node: &str, address: &str, expected: &[&str]) -> Outcome {
    let found = wait_for(&format!("answers of {expected:?} to {node}"), LIMIT, || {
        let seen = answers(cluster, node, address, 24).map_err(|error| error.to_string())?;
        if seen.keys().map(String::as_str).eq(expected.iter().copied()) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
    Ok(found?)
}

fn wait_for_ready(cluster: &Cluster, node: &str, status: &str) -> Outcome {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    let found = wait_for(&format!("Ready={status} of {node}"), LIMIT, || {
        let seen =
            cluster.kubectl().run(&["get", "node", node, "-o", path]).map_err(|error| error.to_string())?;
        if seen == status { Ok(()) } else { Err(seen) }
    });
    Ok(found?)
}

fn delete(cluster: &Cluster, namespace: &str) -> Outcome {
    Ok(cluster.kubectl().run(&["delete", "namespace", namespace]).map(drop)?)
}

// Rule cluster-8.
#[test]
fn a_service_is_answered_by_every_node_and_from_every_node() {
    let cluster = cluster().unwrap();
    let address = deploy(&cluster, "traffic", 3).unwrap();
    for node in ["n1", "n2", "n3"] {
        wait_for_answers(&cluster, node, &address, &["n1", "n2", "n3"]).unwrap();
    }
    delete(&cluster, "traffic").unwrap();
}

// Rule cluster-9.
#[test]
fn each_loss_of_a_node_is_seen_and_undone() {
    type Loss = fn(&Cluster, &str) -> stowage_cluster::Result<()>;
    let cluster = cluster().unwrap();
    let address = deploy(&cluster, "losses", 3).unwrap();
    let losses: [(Fate, Loss); 3] = [
        (Fate::Killed, Cluster::kill_node),
        (Fate::Frozen, Cluster::freeze_node),
        (Fate::Partitioned, Cluster::partition_node),
    ];
    for (fate, lose) in losses {
        assert_eq!(cluster.fate("n3").unwrap(), Fate::Running);
        lose(&cluster, "n3").unwrap();
        assert_eq!(cluster.fate("n3").unwrap(), fate);
        wait_for_ready(&cluster, "n3", "Unknown").unwrap();
        wait_for_answers(&cluster, "n1", &address, &["n1", "n2"]).unwrap();
        cluster.return_node("n3").unwrap();
        wait_for_answers(&cluster, "n1", &address, &["n1", "n2", "n3"]).unwrap();
        wait_for_answers(&cluster, "n3", &address, &["n1", "n2", "n3"]).unwrap();
    }
    delete(&cluster, "losses").unwrap();
}

// Rule cluster-9.
#[test]
fn a_node_that_returns_before_it_is_missed_is_alive_when_return_says_so() {
    let cluster = cluster().unwrap();
    cluster.kill_node("n2").unwrap();
    cluster.return_node("n2").unwrap();
    // Its kubelet answers: a node that only looks Ready would refuse.
    let path = "/api/v1/nodes/n2/proxy/healthz";
    assert_eq!(cluster.kubectl().run(&["get", "--raw", path]).unwrap(), "ok");
}

// Rule cluster-10.
#[test]
fn pods_survive_a_restart_of_their_kubelet() {
    let cluster = cluster().unwrap();
    let address = deploy(&cluster, "kubelet", 3).unwrap();
    let pods = |cluster: &Cluster| {
        let path = "jsonpath={.items[*].status.containerStatuses[*].containerID}";
        cluster.kubectl().run(&["get", "pods", "--namespace", "kubelet", "-o", path])
    };
    let before = pods(&cluster).unwrap();
    cluster.restart_kubelet("n1").unwrap();
    wait_for("the kubelet's answer", LIMIT, || {
        let path = "/api/v1/nodes/n1/proxy/healthz";
        cluster.kubectl().run(&["get", "--raw", path]).map(drop).map_err(|error| error.to_string())
    })
    .unwrap();
    wait_for_answers(&cluster, "n2", &address, &["n1", "n2", "n3"]).unwrap();
    assert_eq!(pods(&cluster).unwrap(), before);
    delete(&cluster, "kubelet").unwrap();
}

/// Ends a daemon of a node, as an interrupted return would leave it: not there.
fn end_daemon(cluster: &Cluster, node: &str, daemon: &str) -> Outcome {
    let script = r#"for process in /proc/[0-9]*; do
        test "$(cat "$process/comm")" = "$0" && kill -9 "${process#/proc/}"
    done; exit 0"#;
    let status = cluster.command_on(node, Path::new("sh"))?.args(["-c", script, daemon]).status()?;
    assert!(status.success(), "{daemon} on {node}: {status}");
    let gone = wait_for(&format!("the end of {daemon}"), LIMIT, || {
        let machines = cluster.status().map_err(|error| error.to_string())?;
        let daemons =
            machines.into_iter().find(|machine| machine.name == node).map(|machine| machine.daemons);
        let daemons = daemons.unwrap_or_default();
        if daemons.iter().any(|name| name == daemon) { Err(format!("{daemons:?}")) } else { Ok(()) }
    });
    Ok(gone?)
}

// Rule cluster-62.
#[test]
fn a_return_that_failed_half_way_is_finished_by_the_next() {
    let cluster = cluster().unwrap();
    let address = deploy(&cluster, "halfway", 3).unwrap();
    let broken = cluster.folder().path().join("images/broken.tar");
    fs::write(&broken, "no archive").unwrap();
    cluster.kill_node("n3").unwrap();
    let error = cluster.return_node("n3").unwrap_err().to_string();
    for part in ["images/broken.tar cannot be loaded on n3", "return the node again"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    fs::remove_file(&broken).unwrap();
    cluster.return_node("n3").unwrap();
    wait_for_answers(&cluster, "n3", &address, &["n1", "n2", "n3"]).unwrap();

    // Without its proxy the node is Ready, and lost to Services.
    end_daemon(&cluster, "n3", "kube-proxy").unwrap();
    cluster.return_node("n3").unwrap();
    let machines = cluster.status().unwrap();
    let daemons = machines.into_iter().find(|machine| machine.name == "n3").map(|machine| machine.daemons);
    assert_eq!(daemons.unwrap_or_default(), ["containerd", "kube-proxy", "kubelet"]);
    wait_for_answers(&cluster, "n3", &address, &["n1", "n2", "n3"]).unwrap();
    delete(&cluster, "halfway").unwrap();
}

// Rule cluster-62.
#[test]
fn an_image_that_no_node_can_read_is_not_kept_for_those_that_return() {
    let cluster = cluster().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("unreadable.tar");
    fs::write(&archive, "no archive").unwrap();
    let error = cluster.load_image(&archive, &Progress::new()).unwrap_err().to_string();
    assert!(error.contains("images import"), "{error}");
    assert!(!cluster.folder().path().join("images/unreadable.tar").exists(), "it was kept");
}

#[test]
fn a_node_that_does_not_exist_is_refused_with_those_that_do() {
    let error = cluster().unwrap().kill_node("n9").unwrap_err().to_string();
    assert!(error.contains("\"n9\"") && error.contains("n1, n2, n3"), "{error}");
}

#[test]
fn an_image_that_is_none_is_refused_by_name() {
    let error = cluster().unwrap().load_image(Path::new("/no/such.tar"), &Progress::new()).unwrap_err();
    assert!(error.to_string().contains("/no/such.tar"), "{error}");
}

// Rule cluster-14.
#[test]
fn fake_nodes_stand_beside_the_real_ones_and_go() {
    let cluster = cluster().unwrap();
    let count = |cluster: &Cluster| -> Outcome<usize> {
        Ok(cluster.kubectl().run(&["get", "nodes", "-l", "type=kwok", "-o", "name"])?.lines().count())
    };
    assert_eq!(count(&cluster).unwrap(), 5, "the run's cluster has five fake nodes");
    cluster.remove_fake_nodes().unwrap();
    assert_eq!(count(&cluster).unwrap(), 0);
    wait_for_ready(&cluster, "n1", "True").unwrap();
}
