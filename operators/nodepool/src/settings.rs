//! What nodes of a pool read at their start, as files in one ConfigMap. Stowage touches no host: what carries the
//! files there is the cluster's own (a machine template, a DaemonSet, cloud-init).

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::ConfigMap;
use kube_core::{ObjectMeta, Resource};
use serde::Serialize;
use serde_json::json;
use stowage_api::{
    NodePool, NodePoolSpec,
    keys::{MANAGED_BY_LABEL, MANAGER, NODEPOOL_LABEL},
    node_pool::{Bootstrap, KubeProxySettings, KubeletSettings},
};

/// The file for the drop-in directory of the kubelet, which reads what ends so.
const KUBELET_FILE: &str = "kubelet.conf";
/// The file for kube-proxy.
const KUBE_PROXY_FILE: &str = "kube-proxy.yaml";
/// The start script.
const BOOTSTRAP_FILE: &str = "bootstrap.sh";

/// What the installation says about every pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    /// Namespace of the `ConfigMap`s.
    pub namespace: String,
    /// Address of the DNS cache on each node that has one.
    pub local_dns: IpAddr,
}

/// A drop-in for the kubelet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfiguration<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    settings: &'a KubeletSettings,
    #[serde(rename = "clusterDNS", skip_serializing_if = "Option::is_none")]
    cluster_dns: Option<[IpAddr; 1]>,
}

/// What is to be merged into the configuration of kube-proxy.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeProxyConfiguration<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    settings: &'a KubeProxySettings,
}

/// The name of the ConfigMap of the pool of this name.
pub fn config_map_name(pool: &str) -> String {
    format!("nodepool-{pool}")
}

/// The ConfigMap with the files of `pool`, which is valid; none where it sets nothing. The same pool gives the same
/// bytes.
pub fn render(pool: &NodePool, site: &Site) -> Option<ConfigMap> {
    let data = files(&pool.spec, site.local_dns);
    if data.is_empty() {
        return None;
    }
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    let labels = [(MANAGED_BY_LABEL, MANAGER), (NODEPOOL_LABEL, name)];
    Some(ConfigMap {
        metadata: ObjectMeta {
            name: Some(config_map_name(name)),
            namespace: Some(site.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            owner_references: Some(pool.controller_owner_ref(&()).into_iter().collect()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    })
}

fn files(spec: &NodePoolSpec, local_dns: IpAddr) -> BTreeMap<String, String> {
    let NodePoolSpec {
        kubelet, kube_proxy, bootstrap: Bootstrap { script }, local_dns: has_local_dns, ..
    } = spec;
    let mut files = BTreeMap::new();
    if *kubelet != KubeletSettings::default() || *has_local_dns {
        let file = KubeletConfiguration {
            api_version: "kubelet.config.k8s.io/v1beta1",
            kind: "KubeletConfiguration",
            settings: kubelet,
            cluster_dns: has_local_dns.then_some([local_dns]),
        };
        files.insert(KUBELET_FILE.to_owned(), text(&file));
    }
    if *kube_proxy != KubeProxySettings::default() {
        let file = KubeProxyConfiguration {
            api_version: "kubeproxy.config.k8s.io/v1alpha1",
            kind: "KubeProxyConfiguration",
            settings: kube_proxy,
        };
        files.insert(KUBE_PROXY_FILE.to_owned(), text(&file));
    }
    if !script.is_empty() {
        files.insert(BOOTSTRAP_FILE.to_owned(), script.clone());
    }
    files
}

/// As JSON, which every reader of YAML takes, and in which a text cannot be mistaken for a number.
fn text(file: &impl Serialize) -> String {
    let mut file = json!(file);
    // Whatever map another crate of the build has chosen for JSON, the bytes are the same.
    file.sort_all_objects();
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests;
