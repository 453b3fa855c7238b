use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Site, config_map_name, render};
use crate::fixtures::pool;

fn site() -> Site {
    Site { namespace: "harbour".to_owned(), local_dns: "169.254.20.10".parse().unwrap() }
}

fn files(fields: &Value) -> Option<BTreeMap<String, String>> {
    render(&pool("high-io", 1, fields), &site())?.data
}

fn file(fields: &Value, name: &str) -> Value {
    serde_json::from_str(&files(fields).unwrap()[name]).unwrap()
}

// Rule nodepool-42.
#[test]
fn a_pool_that_sets_nothing_has_no_config_map() {
    for fields in [
        json!({ "nodeNames": ["quay-1"], "labels": { "workload": "io" } }),
        json!({ "kubelet": {}, "kubeProxy": { "conntrack": {} }, "bootstrap": { "script": "" }, "localDNS": false }),
    ] {
        assert_eq!(render(&pool("high-io", 1, &fields), &site()), None, "{fields}");
    }
}

// Rule nodepool-42.
#[test]
fn the_whole_config_map() {
    let mut high_io = pool(
        "high-io",
        1,
        &json!({
            "kubelet": { "maxPods": 60, "kubeAPIQPS": 100, "systemReserved": { "cpu": "1" } },
            "kubeProxy": { "conntrack": { "min": 131_072, "tcpCloseWaitTimeout": "1h" } },
            "bootstrap": { "script": "#!/bin/sh\nsysctl -w net.core.somaxconn=1024\n" },
        }),
    );
    high_io.metadata.uid = Some("0d7f6c1d".to_owned());
    let kubelet = r#"{
  "apiVersion": "kubelet.config.k8s.io/v1beta1",
  "kind": "KubeletConfiguration",
  "kubeAPIQPS": 100,
  "maxPods": 60,
  "systemReserved": {
    "cpu": "1"
  }
}
"#;
    let kube_proxy = r#"{
  "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
  "conntrack": {
    "min": 131072,
    "tcpCloseWaitTimeout": "1h"
  },
  "kind": "KubeProxyConfiguration"
}
"#;
    let expected = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "nodepool-high-io",
            "namespace": "harbour",
            "labels": { "app.kubernetes.io/managed-by": "stowage", "stowage.dev/nodepool": "high-io" },
            "ownerReferences": [{
                "apiVersion": "stowage.dev/v1alpha1",
                "kind": "NodePool",
                "name": "high-io",
                "uid": "0d7f6c1d",
                "controller": true,
            }],
        },
        "data": {
            "kubelet.conf": kubelet,
            "kube-proxy.yaml": kube_proxy,
            "bootstrap.sh": "#!/bin/sh\nsysctl -w net.core.somaxconn=1024\n",
        },
    });
    assert_eq!(serde_json::to_value(render(&high_io, &site())).unwrap(), expected);
    assert_eq!(config_map_name("high-io"), "nodepool-high-io");
}

// Rule nodepool-43.
#[test]
fn every_setting_reaches_the_kubelet_under_its_own_name() {
    let all = json!({
        "allowedUnsafeSysctls": ["net.*"],
        "containerLogMaxFiles": 3,
        "containerLogMaxSize": "10Mi",
        "cpuManagerPolicy": "static",
        "evictionHard": { "memory.available": "5%" },
        "imageGCHighThresholdPercent": 80,
        "imageGCLowThresholdPercent": 70,
        "kubeAPIBurst": 101,
        "kubeAPIQPS": 100,
        "kubeReserved": { "ephemeral-storage": "1Gi" },
        "maxParallelImagePulls": 4,
        "maxPods": 60,
        "podPidsLimit": 4096,
        "registryBurst": 11,
        "registryPullQPS": 6,
        "serializeImagePulls": false,
        "shutdownGracePeriod": "30s",
        "shutdownGracePeriodCriticalPods": "10s",
        "systemReserved": { "cpu": "1" },
        "topologyManagerPolicy": "single-numa-node",
    });
    let mut expected = all.clone();
    expected["apiVersion"] = json!("kubelet.config.k8s.io/v1beta1");
    expected["kind"] = json!("KubeletConfiguration");
    assert_eq!(file(&json!({ "kubelet": all }), "kubelet.conf"), expected);
}

// Rule nodepool-43.
#[test]
fn every_setting_reaches_kube_proxy_under_its_own_name() {
    let conntrack = json!({
        "maxPerCore": 1, "min": 2, "tcpEstablishedTimeout": "24h", "tcpCloseWaitTimeout": "1h",
    });
    let expected = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "conntrack": conntrack,
    });
    assert_eq!(file(&json!({ "kubeProxy": { "conntrack": conntrack } }), "kube-proxy.yaml"), expected);
}

// Rule nodepool-44.
#[test]
fn a_local_dns_cache_is_the_dns_server_of_the_nodes() {
    let alone = file(&json!({ "localDNS": true }), "kubelet.conf");
    let expected = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "clusterDNS": ["169.254.20.10"],
    });
    assert_eq!(alone, expected);
    let without = file(&json!({ "localDNS": false, "kubelet": { "maxPods": 9 } }), "kubelet.conf");
    assert_eq!(without.get("clusterDNS"), None, "the node keeps its own");
}
