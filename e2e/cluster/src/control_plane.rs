//! etcd, API server, controller-manager and scheduler: four processes on a machine of their own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    cgroup::Group,
    error::{Doing, Result},
    host::{Daemon, Host, detached, network_of, open_log},
    kubectl::Kubectl,
    network::{CONTROL_PLANE, PODS, SERVICES},
    program::run_logged,
    spec::{DiskWrites, NodeLifecycle, Spec},
    state::{Folder, create_dir},
};

/// The name of its machine.
pub(crate) const HOST: &str = "control-plane";

/// The process on the machine's own side that hands connections in.
pub(crate) const RELAY: &str = "relay";

/// The API server was ready after 2.5 to 3.6 s; a busy machine may take many times that.
const API_LIMIT: Duration = Duration::from_secs(120);

/// What is recorded of requests: bodies of writes, no leases and events, nothing of the API server itself or of kwok.
const AUDIT_POLICY: &str = include_str!("audit-policy.yaml");

/// The control plane's machine and what its programs need to know.
pub(crate) struct ControlPlane<'a> {
    pub(crate) host: &'a Host,
    pub(crate) folder: &'a Folder,
    pub(crate) programs: &'a Path,
    pub(crate) etcd: &'a Path,
    pub(crate) spec: &'a Spec,
}

impl ControlPlane<'_> {
    /// Starts etcd and the API server; they find each other.
    pub(crate) fn start_api(&self) -> Result<()> {
        let data = self.folder.disk(HOST).join("etcd");
        create_dir(&data)?;
        let policy = self.audit_policy();
        fs::write(&policy, AUDIT_POLICY).doing(|| format!("write {}", policy.display()))?;
        self.host.daemon(&Daemon { program: self.etcd.to_owned(), arguments: self.etcd_arguments(&data) })?;
        self.start("kube-apiserver", self.api_arguments())
    }

    /// Waits until the API server is ready, as seen by an administrator from the machine's own side.
    pub(crate) fn wait_until_ready(&self, kubectl: &Kubectl) -> Result<()> {
        self.host.wait_for_daemon("kube-apiserver", "a ready API server", API_LIMIT, || {
            kubectl.run(&["get", "--raw", "/readyz"]).map(drop).map_err(|error| error.to_string())
        })
    }

    /// Starts what works through the API.
    pub(crate) fn start_controllers(&self) -> Result<()> {
        self.start("kube-controller-manager", self.controller_arguments())?;
        self.start("kube-scheduler", self.scheduler_arguments())
    }

    fn start(&self, program: &str, arguments: Vec<String>) -> Result<()> {
        self.host.daemon(&Daemon { program: self.programs.join(program), arguments })
    }

    fn audit_policy(&self) -> PathBuf {
        self.folder.disk(HOST).join("audit-policy.yaml")
    }

    fn pki(&self, file: &str) -> String {
        self.folder.pki().join(file).to_string_lossy().into_owned()
    }

    fn etcd_arguments(&self, data: &Path) -> Vec<String> {
        let (client, peer) = ("https://127.0.0.1:2379", "http://127.0.0.1:2380");
        let mut arguments = flags([
            ("name", "stowage".to_owned()),
            ("data-dir", data.to_string_lossy().into_owned()),
            ("listen-client-urls", client.to_owned()),
            ("advertise-client-urls", client.to_owned()),
            ("listen-peer-urls", peer.to_owned()),
            ("initial-advertise-peer-urls", peer.to_owned()),
            ("initial-cluster", format!("stowage={peer}")),
            ("cert-file", self.pki("etcd.crt")),
            ("key-file", self.pki("etcd.key")),
            ("client-cert-auth", "true".to_owned()),
            ("trusted-ca-file", self.pki("etcd-ca.crt")),
            ("quota-backend-bytes", "2147483648".to_owned()),
            ("auto-compaction-retention", "5m".to_owned()),
            ("log-level", "warn".to_owned()),
        ]);
        if self.spec.disk_writes == DiskWrites::Trusted {
            arguments.push("--unsafe-no-fsync".to_owned());
        }
        arguments
    }

    fn api_arguments(&self) -> Vec<String> {
        let text = str::to_owned;
        let mut arguments = flags([
            ("etcd-servers", text("https://127.0.0.1:2379")),
            ("etcd-cafile", self.pki("etcd-ca.crt")),
            ("etcd-certfile", self.pki("apiserver-etcd.crt")),
            ("etcd-keyfile", self.pki("apiserver-etcd.key")),
            ("advertise-address", CONTROL_PLANE.to_string()),
            ("bind-address", text("0.0.0.0")),
            ("secure-port", text("6443")),
            ("tls-cert-file", self.pki("apiserver.crt")),
            ("tls-private-key-file", self.pki("apiserver.key")),
            ("client-ca-file", self.pki("ca.crt")),
            ("authorization-mode", text("Node,RBAC")),
            ("enable-admission-plugins", text("NodeRestriction")),
            ("service-cluster-ip-range", text(SERVICES)),
            ("service-account-issuer", text("https://kubernetes.default.svc.cluster.local")),
            ("service-account-key-file", self.pki("service-accounts.pub")),
            ("service-account-signing-key-file", self.pki("service-accounts.key")),
            ("allow-privileged", text("true")),
            ("profiling", text("false")),
            // Pods leave a dead node after seconds, not after the five minutes that a person would wait.
            ("default-unreachable-toleration-seconds", text("5")),
            ("default-not-ready-toleration-seconds", text("5")),
        ]);
        arguments.extend(self.kubelet_arguments());
        arguments.extend(self.aggregation_arguments());
        arguments.extend(flags([
            ("audit-policy-file", self.audit_policy().to_string_lossy().into_owned()),
            ("audit-log-path", audit_log(self.folder).to_string_lossy().into_owned()),
            ("audit-log-maxsize", text("512")),
        ]));
        arguments
    }

    fn kubelet_arguments(&self) -> Vec<String> {
        flags([
            ("kubelet-client-certificate", self.pki("apiserver-kubelet.crt")),
            ("kubelet-client-key", self.pki("apiserver-kubelet.key")),
            ("kubelet-certificate-authority", self.pki("ca.crt")),
            ("kubelet-preferred-address-types", "InternalIP,Hostname".to_owned()),
        ])
    }

    fn aggregation_arguments(&self) -> Vec<String> {
        let text = str::to_owned;
        flags([
            ("requestheader-client-ca-file", self.pki("front-proxy-ca.crt")),
            ("requestheader-allowed-names", text("front-proxy-client")),
            ("requestheader-extra-headers-prefix", text("X-Remote-Extra-")),
            ("requestheader-group-headers", text("X-Remote-Group")),
            ("requestheader-username-headers", text("X-Remote-User")),
            ("proxy-client-cert-file", self.pki("front-proxy-client.crt")),
            ("proxy-client-key-file", self.pki("front-proxy-client.key")),
            // There is no kube-proxy beside the API server: it dials the endpoints of webhooks' Services itself.
            ("enable-aggregator-routing", text("true")),
        ])
    }

    fn controller_arguments(&self) -> Vec<String> {
        let text = str::to_owned;
        let mut arguments = self.client_arguments("controller-manager");
        arguments.extend(flags([
            // The audit log then names the controller that wrote.
            ("use-service-account-credentials", text("true")),
            ("service-account-private-key-file", self.pki("service-accounts.key")),
            ("root-ca-file", self.pki("ca.crt")),
            ("client-ca-file", self.pki("ca.crt")),
            ("requestheader-client-ca-file", self.pki("front-proxy-ca.crt")),
            ("cluster-signing-cert-file", self.pki("ca.crt")),
            ("cluster-signing-key-file", self.pki("ca.key")),
            // Each node has the range that its route leads to.
            ("allocate-node-cidrs", text("false")),
            ("cluster-cidr", text(PODS)),
            ("service-cluster-ip-range", text(SERVICES)),
            ("controllers", text(controllers(self.spec))),
            ("node-monitor-period", text("1s")),
            ("node-monitor-grace-period", text(grace_period(self.spec))),
        ]));
        arguments
    }

    fn scheduler_arguments(&self) -> Vec<String> {
        self.client_arguments("scheduler")
    }

    fn client_arguments(&self, user: &str) -> Vec<String> {
        let kubeconfig = self.pki(&format!("{user}.kubeconfig"));
        flags([
            ("kubeconfig", kubeconfig.clone()),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig),
            ("bind-address", "127.0.0.1".to_owned()),
            ("leader-elect", "false".to_owned()),
        ])
    }
}

/// How long after its last sign of life a node counts as dead. A virtual-kubelet renews its lease every 10 s, which nothing
/// can change: with the shorter limit its node would be lost for the least delay, and then for up to a minute.
fn grace_period(spec: &Spec) -> &'static str {
    if spec.virtual_nodes == 0 { "10s" } else { "25s" }
}

/// Who works. A name with a minus is taken out of all.
fn controllers(spec: &Spec) -> &'static str {
    match spec.node_lifecycle {
        NodeLifecycle::Watched => "*,bootstrapsigner,tokencleaner",
        NodeLifecycle::Unwatched => {
            "*,bootstrapsigner,tokencleaner,-node-lifecycle-controller,-ttl-controller"
        }
    }
}

/// Where the API server writes what was asked of it, a JSON object a line.
pub(crate) fn audit_log(folder: &Folder) -> PathBuf {
    folder.log(HOST, "audit")
}

/// Starts the relay: it accepts on the machine's own side and connects on the control plane's side.
///
/// A socket stays in the network namespace that it was made in, so one process can stand on both sides.
pub(crate) fn start_relay(
    folder: &Folder,
    group: &Group,
    control_plane: &Host,
    listener: TcpListener,
) -> Result<()> {
    group.create()?;
    group.settle()?;
    let mut inside = Command::new("nsenter");
    inside.arg(format!("--net={}", network_of(control_plane.init))).arg("--");
    inside.arg(folder.program(RELAY)).arg("127.0.0.1:6443");
    let log = open_log(&folder.log(RELAY, RELAY))?;
    let again = log.try_clone().doing(|| "hand the log to the relay".to_owned())?;
    let mut starting = detached(&folder.record(RELAY), &group.entrances(), &inside);
    starting.stdin(Stdio::from(std::os::fd::OwnedFd::from(listener))).stdout(log).stderr(again);
    run_logged(&mut starting)
}

/// `--name=value` for each pair.
fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule cluster-17.
    #[test]
    fn a_virtual_node_may_miss_a_renewal_of_its_lease_and_a_real_one_is_missed_early() {
        assert_eq!(grace_period(&Spec::default()), "10s");
        assert_eq!(grace_period(&Spec { virtual_nodes: 1, ..Spec::default() }), "25s");
    }

    #[test]
    fn nodes_count_as_lost_unless_nobody_is_to_watch_them() {
        let unwatched = Spec { node_lifecycle: NodeLifecycle::Unwatched, ..Spec::default() };
        let is_out =
            |spec: &Spec| controllers(spec).split(',').any(|name| name == "-node-lifecycle-controller");
        assert_eq!((is_out(&Spec::default()), is_out(&unwatched)), (false, true));
    }
}
