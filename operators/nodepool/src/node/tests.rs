use serde_json::{Value, json};

use super::Node;

/// The labels of a node of a managed cluster, and a few that its administrator has added.
const LABELS: [(&str, &str); 30] = [
    ("beta.kubernetes.io/arch", "amd64"),
    ("beta.kubernetes.io/instance-type", "e2-standard-8"),
    ("beta.kubernetes.io/os", "linux"),
    ("cloud.google.com/gke-boot-disk", "pd-balanced"),
    ("cloud.google.com/gke-container-runtime", "containerd"),
    ("cloud.google.com/gke-cpu-scaling-level", "8"),
    ("cloud.google.com/gke-logging-variant", "DEFAULT"),
    ("cloud.google.com/gke-max-pods-per-node", "110"),
    ("cloud.google.com/gke-memory-gb-scaling-level", "32"),
    ("cloud.google.com/gke-nodepool", "production-pool-2"),
    ("cloud.google.com/gke-os-distribution", "cos"),
    ("cloud.google.com/gke-provisioning", "standard"),
    ("cloud.google.com/gke-stack-type", "IPV4"),
    ("cloud.google.com/machine-family", "e2"),
    ("cloud.google.com/private-node", "false"),
    ("failure-domain.beta.kubernetes.io/region", "europe-west1"),
    ("failure-domain.beta.kubernetes.io/zone", "europe-west1-b"),
    ("kubernetes.io/arch", "amd64"),
    ("kubernetes.io/hostname", "gke-production-pool-2-7f6c1d0a-x8k2"),
    ("kubernetes.io/os", "linux"),
    ("node.kubernetes.io/instance-type", "e2-standard-8"),
    ("topology.gke.io/zone", "europe-west1-b"),
    ("topology.kubernetes.io/region", "europe-west1"),
    ("topology.kubernetes.io/zone", "europe-west1-b"),
    ("example.com/cost-centre", "4711"),
    ("example.com/disk", "nvme"),
    ("example.com/team", "platform"),
    ("stowage.dev/nodepool", "high-io"),
    ("tier", "1"),
    ("workload", "io"),
];

/// A node as a cloud registers it, with its managed fields and images.
fn from_a_cloud() -> Value {
    let labels: serde_json::Map<String, Value> =
        LABELS.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "gke-production-pool-2-7f6c1d0a-x8k2",
            "uid": "0d7f6c1d-0000-4000-8000-000000000000",
            "resourceVersion": "123456789",
            "labels": labels,
            "annotations": {
                "stowage.dev/nodepool-ledger": "{\"labels\":{\"workload\":{\"set\":\"io\"}},\"pool\":\"high-io\",\"version\":1}",
                "csi.volume.kubernetes.io/nodeid": "x".repeat(4000),
                "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(4000),
                "container.example.com/instance-id": "5283412340123456789",
                "example.com/note": "",
            },
            "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:status": "x".repeat(4000) } }],
        },
        "spec": { "podCIDR": "10.0.0.0/24", "unschedulable": true, "taints": [{ "key": "a", "effect": "NoSchedule" }] },
        "status": {
            "conditions": [
                { "type": "MemoryPressure", "status": "True" },
                { "type": "Ready", "status": "False", "lastHeartbeatTime": "2026-01-01T00:00:00Z" },
            ],
            "images": [{ "names": ["x".repeat(4000)] }],
            "capacity": resources("8"),
            "allocatable": resources("7910m"),
        },
    })
}

fn resources(cpu: &str) -> Value {
    json!({
        "cpu": cpu, "memory": "32864556Ki", "pods": "110", "ephemeral-storage": "98831908Ki",
        "hugepages-1Gi": "0", "hugepages-2Mi": "0", "attachable-volumes-example-disk": "127",
    })
}

fn read(node: &Value) -> Node {
    serde_json::from_value(node.clone()).unwrap()
}

// Rule nodepool-23.
#[test]
fn a_node_keeps_less_than_2_kb() {
    let Node {
        name,
        uid,
        labels,
        annotations,
        ledger,
        taints,
        capacity,
        allocatable,
        ready: _,
        unschedulable: _,
    } = read(&from_a_cloud());
    let heap = name.len()
        + uid.unwrap().len()
        + labels.len()
        + annotations.len()
        + ledger.unwrap().len()
        + taints.len()
        + capacity.len()
        + allocatable.len();
    let kept = size_of::<Node>() + heap;
    assert!(kept < 2_000, "{kept} bytes");
}

// Rule nodepool-23.
#[test]
fn what_is_not_read_makes_no_difference() {
    let before = read(&from_a_cloud());
    for path in [
        "/metadata/resourceVersion",
        "/metadata/managedFields",
        "/metadata/annotations/csi.volume.kubernetes.io~1nodeid",
        "/status/images",
        "/spec/podCIDR",
    ] {
        let mut node = from_a_cloud();
        *node.pointer_mut(path).unwrap() = json!("changed");
        assert_eq!(read(&node), before, "{path}");
    }
    for path in [
        "/metadata/uid",
        "/metadata/labels/topology.kubernetes.io~1zone",
        "/metadata/annotations/example.com~1note",
        "/metadata/annotations/stowage.dev~1nodepool-ledger",
        "/spec/taints/0/key",
        "/status/allocatable/cpu",
        "/status/capacity/cpu",
        "/status/conditions/1/status",
    ] {
        let mut node = from_a_cloud();
        *node.pointer_mut(path).unwrap() = json!("True");
        assert_ne!(read(&node), before, "{path}");
    }
}

#[test]
fn fields_are_read_where_the_api_server_puts_them() {
    let node = read(&from_a_cloud());
    assert_eq!(node.name(), "gke-production-pool-2-7f6c1d0a-x8k2");
    assert_eq!((node.is_ready(), node.is_unschedulable(), node.has_ledger()), (false, true, true));
    assert_eq!(node.label("topology.kubernetes.io/zone"), Some("europe-west1-b"));
    assert_eq!(node.label("beta.kubernetes.io/o"), None, "not the beginning of a key");
    assert_eq!(node.label("zone"), None, "not the end of a key");
    assert_eq!(node.uid(), Some("0d7f6c1d-0000-4000-8000-000000000000"));
    assert_eq!(node.annotation("example.com/note"), Some(""));
    assert_eq!(node.annotation("csi.volume.kubernetes.io/nodeid"), None, "no pool may set it");
    assert_eq!(node.annotation("stowage.dev/nodepool-ledger"), None, "it is the ledger");
    assert_eq!(node.taints().values(), [("a:NoSchedule".to_owned(), String::new())].into());
    let cpu = [node.capacity(), node.allocatable()].map(|resources| resources.get("cpu"));
    assert_eq!((cpu, node.cordon()), ([Some("8"), Some("7910m")], Some("true")));
}

#[test]
fn a_bare_node_is_a_node() {
    for node in [
        json!({ "metadata": { "name": "quay-1" } }),
        json!({ "metadata": { "name": "quay-1", "labels": null }, "status": {} }),
    ] {
        let node = read(&node);
        assert_eq!((node.is_ready(), node.is_unschedulable(), node.has_ledger()), (false, false, false));
        assert_eq!((node.label("a"), node.uid(), node.cordon()), (None, None, None));
        assert_eq!(node.taints().values(), [].into());
    }
}

#[test]
fn an_empty_value_is_a_value() {
    let node = read(&json!({ "metadata": { "name": "quay-1", "labels": { "a": "", "b": "c" } } }));
    assert_eq!((node.label("a"), node.label("b"), node.label("")), (Some(""), Some("c"), None));
}
