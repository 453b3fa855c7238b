//! The values of the chart `stowage`, as types: its schema, its values.yaml and its README follow from them.
//!
//! Templates read values and never guard against one that is missing: the schema has every value of ours required, since
//! Helm lays what a user gives over the defaults. An unknown key is refused at every depth.

pub(crate) mod configuration;
mod readme;
mod schema;
mod walk;
mod yaml;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{
        Affinity, Capabilities, LocalObjectReference, PodSecurityContext, ResourceRequirements,
        SeccompProfile, SecurityContext, Toleration,
    },
    networking::v1::NetworkPolicyPeer,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::{
    configuration::Configuration, readme::readme, schema::schema, walk::groups, yaml::yaml,
};

/// Names and their texts.
type Strings = BTreeMap<String, String>;

/// Every value.
#[derive(Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Values {
    /// The image that every pod of the chart runs.
    image: Image,
    /// The manager's `OperatorConfiguration`, without `apiVersion` and `kind`. A change reaches the manager within about a
    /// minute, and no pod is replaced for it: the manager reads the file again, and keeps the old one if the new one is bad.
    #[schemars(schema_with = "schema::anything")]
    config: Value,
    /// The account of the manager.
    service_account: ServiceAccount,
    /// How many managers run, and where.
    #[serde(flatten)]
    managers: Managers,
    /// Where pods of the chart may run, and what they get.
    #[serde(flatten)]
    pods: Pods,
    /// What Prometheus and Grafana are told. The Service for `/metrics` is always there.
    metrics: Monitoring,
    /// Whom the pods may talk to, for clusters whose network enforces it.
    network_policy: NetworkPolicy,
    /// How the API server ranks the manager's requests.
    flow_schema: FlowSchema,
    /// The run before `helm uninstall`, which gives nodes back what pools replaced.
    release: Release,
    /// Labels of every object of the chart and of its pods. The chart's own win.
    #[schemars(extend("propertyNames" = {"not": {"enum": SELECTOR}}))]
    common_labels: Strings,
    /// Objects beside those of the chart: each is an object, or a text that is one. Both are read as templates.
    #[schemars(schema_with = "schema::objects")]
    extra_objects: Vec<Value>,
}

/// The labels by which the Deployment finds its pods.
const SELECTOR: [&str; 2] = ["app.kubernetes.io/name", "app.kubernetes.io/instance"];

#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    /// Registry and name. There is no public registry yet: build the image with `cargo xtask image`, push it, and name it
    /// here.
    #[schemars(length(min = 1))]
    repository: String,
    /// Tag. Where it is empty: the version of the chart.
    tag: String,
    /// Digest, as `sha256:…`; goes before the tag.
    #[schemars(regex(pattern = r"^(sha256:[0-9a-f]{64})?$"))]
    digest: String,
    /// When nodes pull the image.
    pull_policy: PullPolicy,
    /// Secrets for the registry, as `name: NAME`, in the namespace of the release.
    pull_secrets: Vec<LocalObjectReference>,
}

#[derive(Debug, JsonSchema, Serialize)]
#[expect(dead_code, reason = "only its schema is read: the names are Kubernetes' own")]
enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

#[derive(Debug, Default, JsonSchema, Serialize)]
struct ServiceAccount {
    /// Name. Where it is empty: the name of the release.
    #[schemars(length(max = 63))]
    name: String,
    /// Annotations of the account.
    annotations: Strings,
}

#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Managers {
    /// How many managers run. One works, the others stand by and take over: within 20 s after a crash, 2 s after a
    /// stop. Without an election, `config.leaderElection.mode: Disabled`, it can be 1 at most.
    #[schemars(range(min = 0, max = 9))]
    replicas: u32,
    /// What happens to a manager for which no node is left that has none yet. `ScheduleAnyway`: it runs beside another
    /// one. `DoNotSchedule`: it waits.
    spread: Spread,
    /// How many managers a drain of nodes may take away at once.
    pod_disruption_budget: Budget,
}

#[derive(Debug, JsonSchema, Serialize)]
#[expect(dead_code, reason = "only its schema is read: the names are Kubernetes' own")]
enum Spread {
    DoNotSchedule,
    ScheduleAnyway,
}

#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Budget {
    /// At least 1: none at all would hold up every drain of a node that a manager runs on.
    #[schemars(range(min = 1, max = 9))]
    max_unavailable: u32,
}

#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pods {
    /// Labels of the manager's pods, besides the chart's own.
    #[schemars(extend("propertyNames" = {"not": {"enum": SELECTOR}}))]
    pod_labels: Strings,
    /// Annotations of the manager's pods.
    pod_annotations: Strings,
    /// What each pod asks for and may use.
    resources: ResourceRequirements,
    /// Security context of the pods. The default is what Pod Security `restricted` admits; set a key to `null` where the
    /// cluster chooses it, as some do with `runAsUser` and `runAsGroup`.
    pod_security_context: PodSecurityContext,
    /// Security context of the containers. Nothing writes to the root file system.
    security_context: SecurityContext,
    /// Labels that a node must have.
    node_selector: Strings,
    /// Further rules for the choice of a node.
    affinity: Affinity,
    /// Taints that the pods bear. By default those of control planes, so that the manager can run beside one.
    tolerations: Vec<Toleration>,
    /// Name of a `PriorityClass`; `system-cluster-critical` keeps the manager when nodes run short.
    priority_class_name: String,
}

#[derive(Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Monitoring {
    /// A `ServiceMonitor` for the Prometheus operator, whose kinds must be there.
    service_monitor: ServiceMonitor,
    /// A `PrometheusRule` with an alert for each page of docs/runbooks. It needs series with `job="stowage"`, as the
    /// `ServiceMonitor` makes them.
    rules: Rules,
    /// A `ConfigMap` with a dashboard for Grafana's sidecar.
    dashboard: Dashboard,
}

#[derive(Debug, JsonSchema, Serialize)]
struct ServiceMonitor {
    /// Whether it is installed.
    enabled: bool,
    /// Time between two scrapes.
    #[schemars(regex(pattern = r"^[1-9][0-9]*(s|m)$"))]
    interval: String,
    /// Labels by which your Prometheus selects it.
    labels: Strings,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Rules {
    /// Whether it is installed.
    enabled: bool,
    /// Labels by which your Prometheus selects it.
    labels: Strings,
    /// Where the pages of docs/runbooks are served: an alert links to `RUNBOOKS/NAME-OF-THE-ALERT.md`. Nothing is served
    /// at the default yet, so name a copy of yours.
    #[schemars(regex(pattern = r"^https?://.*[^/]$"))]
    runbooks: String,
}

#[derive(Debug, JsonSchema, Serialize)]
struct Dashboard {
    /// Whether it is installed.
    enabled: bool,
    /// Labels by which the sidecar finds it.
    labels: Strings,
    /// Annotations, for example the folder that the sidecar puts it in.
    annotations: Strings,
}

#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkPolicy {
    /// Whether it is installed: in go probes and scrapes, out go requests to the API server and to DNS.
    enabled: bool,
    /// Ports at which API servers are reached, behind their Service as well: networks decide after its address is
    /// replaced. 443 and 6443 nearly everywhere, 8443 in minikube, 16443 in `MicroK8s`.
    #[schemars(length(min = 1), inner(range(min = 1, max = 65535)))]
    api_server_ports: Vec<u16>,
    /// Who may read `/metrics`; everybody where it is empty. The kubelet's probes need no leave: a node reaches its pods.
    metrics_from: Vec<NetworkPolicyPeer>,
}

#[derive(Debug, JsonSchema, Serialize)]
struct FlowSchema {
    /// Whether two are installed: the manager's Leases go the way of other elections, all else the way of the cluster's
    /// own controllers, and neither waits behind the pods of tenants.
    enabled: bool,
}

#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Release {
    /// How long `helm uninstall` waits, in seconds.
    #[schemars(range(min = 10, max = 3600))]
    timeout_seconds: u32,
}

impl Default for Image {
    fn default() -> Self {
        Self {
            repository: "stowage.invalid/stowage".to_owned(),
            tag: String::new(),
            digest: String::new(),
            pull_policy: PullPolicy::IfNotPresent,
            pull_secrets: Vec::new(),
        }
    }
}

impl Default for Managers {
    fn default() -> Self {
        Self {
            replicas: 2,
            spread: Spread::ScheduleAnyway,
            pod_disruption_budget: Budget { max_unavailable: 1 },
        }
    }
}

impl Default for Pods {
    fn default() -> Self {
        let quantity = |name: &str, amount: &str| (name.to_owned(), Quantity(amount.to_owned()));
        Self {
            pod_labels: Strings::new(),
            pod_annotations: Strings::new(),
            resources: ResourceRequirements {
                requests: Some([quantity("cpu", "10m"), quantity("memory", "64Mi")].into()),
                limits: Some([quantity("memory", "256Mi")].into()),
                ..ResourceRequirements::default()
            },
            pod_security_context: PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(65532),
                run_as_group: Some(65532),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            },
            security_context: SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    ..Capabilities::default()
                }),
                read_only_root_filesystem: Some(true),
                ..SecurityContext::default()
            },
            node_selector: Strings::new(),
            affinity: Affinity::default(),
            tolerations: vec![Toleration {
                effect: Some("NoSchedule".to_owned()),
                key: Some("node-role.kubernetes.io/control-plane".to_owned()),
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            }],
            priority_class_name: String::new(),
        }
    }
}

impl Default for ServiceMonitor {
    fn default() -> Self {
        Self { enabled: false, interval: "30s".to_owned(), labels: Strings::new() }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            enabled: false,
            labels: Strings::new(),
            runbooks: "https://stowage.dev/docs/runbooks".to_owned(),
        }
    }
}

impl Default for Dashboard {
    fn default() -> Self {
        let labels = [("grafana_dashboard".to_owned(), "1".to_owned())].into();
        Self { enabled: false, labels, annotations: Strings::new() }
    }
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self { enabled: true, api_server_ports: vec![443, 6443, 8443, 16443], metrics_from: Vec::new() }
    }
}

impl Default for FlowSchema {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Release {
    fn default() -> Self {
        Self { timeout_seconds: 120 }
    }
}
