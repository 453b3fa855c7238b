//! Virtual nodes: burst nodes that register themselves, take the pods that tolerate them, and are lost as others are.

use std::time::Duration;

use serde_json::{Value, json};
use stowage_cluster::{Binaries, Cluster, Fate, Name, Progress, Size, Spec, wait_for};

use crate::{
    given::{Outcome, binaries},
    leftovers::Leftovers,
};

/// A dead virtual node is seen after 25 s; a busy machine takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// A cluster without real nodes, which is taken down when a test ends, also by a failed assertion.
struct Burst(Cluster);

impl Drop for Burst {
    fn drop(&mut self) {
        // A failure here would hide the assertion; the last test's look at the machine tells.
        drop(Cluster::down(self.0.name().clone(), &Progress::silent()));
    }
}

fn name() -> Outcome<Name> {
    Ok(Name::try_new("burst")?)
}

fn spec() -> Spec {
    let virtual_size = Size { cpu_millis: Some(1500), memory_mib: Some(512), pods: Some(3) };
    Spec { nodes: 0, virtual_nodes: 2, virtual_size, ..Spec::default() }
}

fn up() -> Outcome<Cluster> {
    let binaries = Binaries::in_folder(&binaries()?);
    Ok(Cluster::up(name()?, &spec(), &binaries, &Progress::new())?)
}

/// A pod that tolerates the taint of the virtual node `node`, and no other.
fn pod_for(node: &str) -> Value {
    let tolerated = json!({"key": "virtual-kubelet.io/provider", "value": node, "effect": "NoSchedule"});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("for-{node}")}, "spec": {
        "nodeSelector": {"type": "virtual-kubelet"},
        "tolerations": [tolerated],
        "containers": [{"name": "none", "image": "stowage.invalid/none:1"}],
    }})
}

fn field(cluster: &Cluster, object: [&str; 2], path: &str) -> Result<String, String> {
    let [kind, name] = object;
    let request = format!("jsonpath={path}");
    cluster.kubectl().run(&["get", kind, name, "-o", &request]).map_err(|error| error.to_string())
}

fn wait_for_field(cluster: &Cluster, object: [&str; 2], path: &str, expected: &str) -> Outcome {
    let found = wait_for(&format!("{path} of {object:?} = {expected:?}"), LIMIT, || {
        let seen = field(cluster, object, path)?;
        if seen == expected { Ok(()) } else { Err(seen) }
    });
    Ok(found?)
}

const READY: &str = r#"{.status.conditions[?(@.type=="Ready")].status}"#;

// Rule cluster-17.
#[test]
fn a_pod_runs_on_the_virtual_node_that_it_tolerates_and_on_no_other() {
    let Burst(cluster) = &Burst(up().unwrap());
    let nodes = ["virtual-1", "virtual-2"];
    for node in nodes.into_iter().chain(["another"]) {
        cluster.kubectl().send("create", &pod_for(node)).unwrap();
    }
    for node in nodes {
        let name = format!("for-{node}");
        wait_for_field(
            cluster,
            ["pod", &name],
            "{.status.phase} {.spec.nodeName}",
            &format!("Running {node}"),
        )
        .unwrap();
        let size = "{.status.allocatable.cpu} {.status.allocatable.memory} {.status.allocatable.pods}";
        assert_eq!(field(cluster, ["node", node], size).unwrap(), "1500m 512Mi 3");
        // The API server asks the virtual-kubelet, which knows who asks: the pod is none that printed anything.
        assert_eq!(cluster.kubectl().run(&["logs", &name]).unwrap(), "");
    }
    let why = r#"{.status.conditions[?(@.type=="PodScheduled")].reason}"#;
    wait_for_field(cluster, ["pod", "for-another"], why, "Unschedulable").unwrap();
}

// Rule cluster-17.
#[test]
fn the_loss_of_a_virtual_node_and_a_restart_of_its_kubelet_are_seen_and_undone() {
    let Burst(cluster) = &Burst(up().unwrap());
    let (lost, kept) = (["node", "virtual-1"], ["node", "virtual-2"]);
    let (pod, start) = (["pod", "for-virtual-2"], "{.status.startTime}");
    cluster.kubectl().send("create", &pod_for("virtual-2")).unwrap();
    wait_for_field(cluster, pod, "{.status.phase}", "Running").unwrap();
    let before = field(cluster, pod, start).unwrap();

    cluster.kill_node("virtual-1").unwrap();
    assert_eq!(cluster.fate("virtual-1").unwrap(), Fate::Killed);
    wait_for_field(cluster, lost, READY, "Unknown").unwrap();
    assert_eq!(field(cluster, kept, READY).unwrap(), "True");
    cluster.return_node("virtual-1").unwrap();
    assert_eq!(cluster.fate("virtual-1").unwrap(), Fate::Running);
    assert_eq!(field(cluster, lost, READY).unwrap(), "True");

    cluster.restart_kubelet("virtual-2").unwrap();
    // Another process starts its pods anew: it has nothing but its memory.
    wait_for("another start of the pod", LIMIT, || {
        let now = field(cluster, pod, start)?;
        if now == before { Err(now) } else { Ok(()) }
    })
    .unwrap();
}

// Rule cluster-4. Rule cluster-5. Rule cluster-17.
#[test]
fn virtual_nodes_are_machines_of_the_cluster_and_go_with_it() {
    let before = Leftovers::of(&name().unwrap()).unwrap();
    let cluster = Burst(up().unwrap());
    assert_eq!(up().unwrap().state(), cluster.0.state());
    let machines = cluster.0.status().unwrap();
    let seen: Vec<_> = machines
        .iter()
        .filter_map(|machine| {
            Some((machine.name.as_str(), machine.node.as_deref()?, machine.daemons.as_slice()))
        })
        .collect();
    let daemons = ["virtual-kubelet".to_owned()];
    assert_eq!(seen, ["virtual-1", "virtual-2"].map(|name| (name, "Ready", daemons.as_slice())));
    drop(cluster);
    before.wait_until_again().unwrap();
}
