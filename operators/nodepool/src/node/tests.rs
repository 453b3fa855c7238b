use serde_json::{Value, json};

use super::Node;

/// A node as a cloud registers it: 30 labels, managed fields, images.
fn from_a_cloud() -> Value {
    let labels: serde_json::Map<String, Value> = (0..30)
        .map(|index| (format!("topology.example.com/a-long-key-{index}"), json!("europe-west1-b")))
        .collect();
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
        },
    })
}

fn read(node: &Value) -> Node {
    serde_json::from_value(node.clone()).unwrap()
}

// Rule nodepool-23.
#[test]
fn a_node_keeps_less_than_2_kb() {
    let Node { name, labels, ledger, ready: _, unschedulable: _ } = read(&from_a_cloud());
    let heap = name.len() + labels.0.len() + ledger.unwrap().len();
    let kept = size_of::<Node>() + heap;
    assert!(kept < 2_000, "{kept} bytes");
}

// Rule nodepool-23.
#[test]
fn what_is_not_read_makes_no_difference() {
    let before = read(&from_a_cloud());
    for path in ["/metadata/resourceVersion", "/metadata/managedFields", "/status/images", "/spec/podCIDR"] {
        let mut node = from_a_cloud();
        *node.pointer_mut(path).unwrap() = json!("changed");
        assert_eq!(read(&node), before, "{path}");
    }
    for path in ["/metadata/labels/topology.example.com~1a-long-key-7", "/status/conditions/1/status"] {
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
    assert_eq!(node.label("topology.example.com/a-long-key-29"), Some("europe-west1-b"));
    assert_eq!(
        node.label("topology.example.com/a-long-key-2"),
        Some("europe-west1-b"),
        "not the beginning of a key"
    );
    assert_eq!(node.label("a-long-key-29"), None, "not the end of a key");
}

#[test]
fn a_bare_node_is_a_node() {
    for node in [
        json!({ "metadata": { "name": "quay-1" } }),
        json!({ "metadata": { "name": "quay-1", "labels": null }, "status": {} }),
    ] {
        let node = read(&node);
        assert_eq!((node.is_ready(), node.is_unschedulable(), node.has_ledger()), (false, false, false));
        assert_eq!(node.label("a"), None);
    }
}

#[test]
fn an_empty_value_is_a_value() {
    let node = read(&json!({ "metadata": { "name": "quay-1", "labels": { "a": "", "b": "c" } } }));
    assert_eq!((node.label("a"), node.label("b"), node.label("")), (Some(""), Some("c"), None));
}
