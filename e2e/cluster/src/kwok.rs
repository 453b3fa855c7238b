//! Fake nodes beside the real ones: kwok answers for every node that carries its annotation, and for no other.

use std::{fmt::Write as _, fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    error::{Doing, Result},
    host::{Daemon, Host},
    kubectl::Kubectl,
    network::FAKE_PODS,
    program::wait_for,
    state::Folder,
    tools::{Built, KWOK},
};

/// The label of fake nodes.
const TYPE: &str = "type=kwok";

/// 1,000 were Ready after 6 s.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// How many nodes go into one request to kubectl.
const BATCH: u32 = 500;

/// Starts kwok on the control plane's machine and makes `count` fake nodes, named kwok-1 and so on.
pub(crate) fn start(
    host: &Host,
    folder: &Folder,
    built: &Built,
    kubectl: &Kubectl,
    count: u32,
) -> Result<()> {
    let config = write_config(folder, built)?;
    let kubeconfig = folder.pki().join("kwok.kubeconfig");
    host.daemon(&Daemon {
        program: built.program("kwok"),
        arguments: vec![
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
        ],
    })?;
    for first in (1..=count).step_by(BATCH as usize) {
        let last = count.min(first.saturating_add(BATCH - 1));
        let nodes: Vec<Value> = (first..=last).map(node).collect();
        kubectl.send("create", &json!({"apiVersion": "v1", "kind": "List", "items": nodes}))?;
    }
    let what = format!("{count} ready fake nodes");
    host.wait_for_daemon("kwok", &what, READY_LIMIT, || {
        let ready = ready(kubectl).map_err(|error| error.to_string())?;
        if ready >= count as usize { Ok(()) } else { Err(format!("{ready} are ready")) }
    })
}

/// Deletes all fake nodes: their leases alone take most of a processor, which no measurement wants beside it.
pub(crate) fn stop(host: &Host, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["delete", "nodes", "--selector", TYPE, "--wait=false"])?;
    host.stop_daemon("kwok")?;
    wait_for("the end of the fake nodes", READY_LIMIT, || {
        let left = kubectl
            .run(&["get", "nodes", "--selector", TYPE, "-o", "name"])
            .map_err(|error| error.to_string())?;
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.lines().count())) }
    })
}

fn ready(kubectl: &Kubectl) -> Result<usize> {
    let path = r#"{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
    let statuses = kubectl.run(&["get", "nodes", "--selector", TYPE, "-o", &format!("jsonpath={path}")])?;
    Ok(statuses.lines().filter(|status| *status == "True").count())
}

/// The taint keeps pods away that do not ask for it.
fn node(number: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": format!("kwok-{number}"),
            "labels": {"type": "kwok"},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
    })
}

/// kwok does nothing without stages: what a node or pod goes through. They come with its module.
fn write_config(folder: &Folder, built: &Built) -> Result<PathBuf> {
    let options = json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "manageAllNodes": false,
            "manageNodesWithAnnotationSelector": "kwok.x-k8s.io/node=fake",
            "cidr": FAKE_PODS,
            "serverAddress": "127.0.0.1:10247",
            "enableCRDs": [],
            // A lease that is renewed after 30 s, against the 10 s after which a silent node counts as dead, would make
            // node events without end.
            "nodeLeaseDurationSeconds": 20,
            "nodeLeaseParallelism": 4,
            "nodePlayStageParallelism": 4,
            "podPlayStageParallelism": 4,
        },
    });
    let mut text = format!("{options:#}\n");
    for stage in KWOK.data_files(built) {
        let stage = fs::read_to_string(&stage).doing(|| format!("read {}", stage.display()))?;
        // Writing to a String cannot fail.
        _ = write!(text, "---\n{stage}\n");
    }
    let path = folder.disk(crate::control_plane::HOST).join("kwok.yaml");
    fs::write(&path, text).doing(|| format!("write {}", path.display()))?;
    Ok(path)
}
