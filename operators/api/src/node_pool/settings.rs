//! What a node of the pool reads at its start: published for it, never carried to it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// Most bytes of `spec.bootstrap.script`; clouds take no more as user data.
pub const SCRIPT_LIMIT: usize = 16 * 1024;
/// Most entries in `spec.kubelet.allowedUnsafeSysctls`.
pub const SYSCTLS_LIMIT: usize = 32;

/// The percentages above and down to which the kubelet removes images where nothing else is set
/// (`SetDefaults_KubeletConfiguration` in Kubernetes).
pub const IMAGE_GC_DEFAULTS: (i32, i32) = (85, 80);

/// The names that the kubelet knows in `systemReserved` and `kubeReserved`, with what they mean.
pub const RESERVABLE: [(&str, &str); 4] = [
    ("cpu", "CPU, such as 100m or 2."),
    ("memory", "Memory, such as 512Mi."),
    ("ephemeral-storage", "Space on the root disk, such as 1Gi."),
    ("pid", "Number of process ids, such as 1000."),
];

/// The signals that the kubelet knows in `evictionHard`, with what they mean.
pub const EVICTION_SIGNALS: [(&str, &str); 6] = [
    ("memory.available", "Free memory, such as 200Mi or 5%."),
    ("nodefs.available", "Free space on the disk of the kubelet, such as 10Gi or 10%."),
    ("nodefs.inodesFree", "Free inodes on the disk of the kubelet, such as 5%."),
    ("imagefs.available", "Free space on the disk of the images, such as 10Gi or 15%."),
    ("imagefs.inodesFree", "Free inodes on the disk of the images, such as 5%."),
    ("pid.available", "Free process ids, such as 1000 or 10%."),
];

/// Settings of the kubelet, under the names of `KubeletConfiguration`. What is not set stays as the
/// node has it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::kubelet()))]
pub struct KubeletSettings {
    /// Most pods on the node. At least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1))]
    pub max_pods: Option<i32>,

    /// Most process ids in one pod. At least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64", range(min = 1))]
    pub pod_pids_limit: Option<i64>,

    /// How CPUs are given to containers. none: shared. static: a Guaranteed pod with whole CPUs gets
    /// them for itself; the kubelet then needs a CPU in `systemReserved` or `kubeReserved`, and a
    /// node that ran with the other policy needs its state file removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CpuManagerPolicy")]
    pub cpu_manager_policy: Option<CpuManagerPolicy>,

    /// How CPUs, memory and devices of a pod are brought onto the same NUMA node. none: not at all.
    /// best-effort: where possible. restricted and single-numa-node: a pod that cannot have it is
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TopologyManagerPolicy")]
    pub topology_manager_policy: Option<TopologyManagerPolicy>,

    /// Requests of the kubelet to the API server per second. At least 1.
    #[serde(default, rename = "kubeAPIQPS", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1))]
    pub kube_api_qps: Option<i32>,

    /// Requests of the kubelet to the API server at once. At least 1.
    #[serde(default, rename = "kubeAPIBurst", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1))]
    pub kube_api_burst: Option<i32>,

    /// Image pulls per second; 0 is without a limit.
    #[serde(default, rename = "registryPullQPS", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 0))]
    pub registry_pull_qps: Option<i32>,

    /// Image pulls at once while `registryPullQPS` is not 0. At least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1))]
    pub registry_burst: Option<i32>,

    /// Whether images are pulled one after another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub serialize_image_pulls: Option<bool>,

    /// Most images that are pulled at the same time. More than 1 needs `serializeImagePulls: false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 1))]
    pub max_parallel_image_pulls: Option<i32>,

    /// Unsafe sysctls that pods may set, such as `net.core.somaxconn` or `net.ipv4.*`; only those
    /// under kernel.sem, kernel.shm, kernel.msg, fs.mqueue. and net., because others are not a
    /// pod's own. At most 32, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::sysctls")]
    pub allowed_unsafe_sysctls: Vec<String>,

    /// Size in whole bytes at which the log of a container is rotated, such as 10Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::container_log_max_size")]
    pub container_log_max_size: Option<String>,

    /// Files kept of the log of a container. At least 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 2))]
    pub container_log_max_files: Option<i32>,

    /// Percentage of the disk in use above which images are removed. 0 to 100, and more than
    /// `imageGCLowThresholdPercent`, which is 80 for the kubelet where it is not set.
    #[serde(default, rename = "imageGCHighThresholdPercent", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 0, max = 100))]
    pub image_gc_high_threshold_percent: Option<i32>,

    /// Percentage of the disk in use down to which images are removed. 0 to 100, and less than
    /// `imageGCHighThresholdPercent`, which is 85 for the kubelet where it is not set.
    #[serde(default, rename = "imageGCLowThresholdPercent", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 0, max = 100))]
    pub image_gc_low_threshold_percent: Option<i32>,

    /// What is kept back for the operating system.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::system_reserved")]
    pub system_reserved: BTreeMap<String, String>,

    /// What is kept back for the kubelet and the container runtime.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::kube_reserved")]
    pub kube_reserved: BTreeMap<String, String>,

    /// What must stay free; below it pods are evicted at once. A quantity of more than 0 or a
    /// percentage; 0% switches off. Once one is set the kubelet drops its defaults for the others: set
    /// all that you want.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::eviction_hard")]
    pub eviction_hard: BTreeMap<String, String>,

    /// How long a shutdown of the node waits for its pods to end, such as 60s. At least 1s; 0s does not
    /// wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::shutdown_grace_period")]
    pub shutdown_grace_period: Option<String>,

    /// The part of `shutdownGracePeriod` that is left to critical pods, at its end. At least 1s; 0s
    /// leaves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::shutdown_grace_period_critical_pods")]
    pub shutdown_grace_period_critical_pods: Option<String>,
}

/// How CPUs are given to containers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuManagerPolicy {
    /// Shared.
    None,
    /// Whole CPUs for themselves where a pod asks for it.
    Static,
}

/// How resources of a pod are brought onto the same NUMA node.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyManagerPolicy {
    /// Not at all.
    None,
    /// Where possible.
    BestEffort,
    /// Or the pod is refused.
    Restricted,
    /// All on one, or the pod is refused.
    SingleNumaNode,
}

/// Settings of kube-proxy, under the names of `KubeProxyConfiguration`. What is not set stays as the
/// node has it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeProxySettings {
    /// The kernel's table of connections.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub conntrack: ConntrackSettings,
}

/// Settings of the kernel's table of connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConntrackSettings {
    /// Most connections for each CPU; 0 leaves the limit of the node as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 0))]
    pub max_per_core: Option<i32>,

    /// Least number of connections that are tracked, whatever `maxPerCore` says; 0 is no least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i32", range(min = 0))]
    pub min: Option<i32>,

    /// How long an idle TCP connection is kept, such as 24h; 0s leaves the value of the node as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tcp_established_timeout")]
    pub tcp_established_timeout: Option<String>,

    /// How long a TCP connection in state `CLOSE_WAIT` is kept, such as 1h; 0s leaves the value of the
    /// node as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tcp_close_wait_timeout")]
    pub tcp_close_wait_timeout: Option<String>,
}

/// What a node runs when it starts for the first time.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// Start script, at most 16384 bytes. It is published as `bootstrap.sh` in the ConfigMap
    /// `nodepool-NAME`. No machine template is written yet, which the condition `BootstrapRendered`
    /// says. Do not put secrets here. Default: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::script")]
    pub script: String,
}
