//! Virtual nodes: a virtual-kubelet on a machine of its own each, with the mock provider that comes with it.
//!
//! To the cluster such a node is what a burst to elsewhere looks like: it registers itself, bears a taint, renews its lease
//! and answers the API server as a kubelet does. Its pods are only said to run: no container is started, and the addresses
//! that it reports for them lead nowhere.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, time::Duration};

use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, SWITCH, each, group},
    error::{Doing, Result},
    host::{Daemon, Host},
    network::{Switch, virtual_address},
    pki::VIRTUAL_KUBELETS,
    spec::{Size, Spec},
    state::create_dir,
    tools::{Built, VIRTUAL_KUBELET},
};

/// The daemon of a virtual node.
pub(crate) const PROGRAM: &str = VIRTUAL_KUBELET.name;

/// The key of every virtual node's taint, as virtual-kubelet has it; the value is the node's own name.
const TAINT: &str = "virtual-kubelet.io/provider";

/// One was ready after 1 s; a busy machine may take many times that.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// A virtual node's place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VirtualNode {
    pub(crate) name: String,
    number: u8,
}

impl Spec {
    /// The virtual nodes.
    pub(crate) fn virtual_nodes(&self) -> impl Iterator<Item = VirtualNode> + '_ {
        (1..=self.virtual_nodes).map(VirtualNode::new)
    }
}

impl VirtualNode {
    /// Virtual node `number`, counted from 1.
    fn new(number: u8) -> Self {
        Self { name: format!("virtual-{number}"), number }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        virtual_address(self.number)
    }

    /// What the mock provider is to say of the node's size. Without an entry it fails, so there is always one.
    fn config(&self, size: &Size) -> Value {
        let capacity = [
            ("cpu", size.cpu_millis.map(|millis| format!("{millis}m"))),
            ("memory", size.memory_mib.map(|mib| format!("{mib}Mi"))),
            ("pods", size.pods.map(|pods| pods.to_string())),
        ];
        let set: BTreeMap<_, _> =
            capacity.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        json!({&self.name: set})
    }

    /// A taint that differs from node to node, so that a pod can tolerate one of them and not the other.
    fn taint(&self) -> [(&'static str, String); 3] {
        [
            ("VKUBELET_TAINT_KEY", TAINT.to_owned()),
            ("VKUBELET_TAINT_VALUE", self.name.clone()),
            ("VKUBELET_TAINT_EFFECT", "NoSchedule".to_owned()),
        ]
    }
}

impl Cluster {
    /// Starts all virtual nodes and waits until they are ready.
    pub(crate) fn start_virtual_nodes(&self, built: &Built) -> Result<()> {
        let (from, to) = (built.program(PROGRAM), self.folder.program(PROGRAM));
        fs::copy(&from, &to).doing(|| format!("copy {} to {}", from.display(), to.display()))?;
        self.kubectl().send("create", &rights())?;
        let nodes: Vec<_> = self.state.spec.virtual_nodes().collect();
        each(&nodes, |node| self.start_virtual_node(node))?;
        each(&nodes, |node| self.wait_until_registered(node))
    }

    /// Waits until a virtual node has made its own object, and is ready.
    fn wait_until_registered(&self, node: &VirtualNode) -> Result<()> {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        let ready = ["get", "node", &node.name, "-o", path];
        let what = format!("a ready {}", node.name);
        self.host(&node.name)?.wait_for_daemon(PROGRAM, &what, READY_LIMIT, || {
            let status = self.kubectl().run(&ready).map_err(|error| error.to_string())?;
            if status == "True" { Ok(()) } else { Err(format!("Ready={status}")) }
        })
    }

    /// Starts a virtual node's machine and its virtual-kubelet.
    pub(crate) fn start_virtual_node(&self, node: &VirtualNode) -> Result<()> {
        let host = Host::start(&self.folder, &node.name, &group(&self.folder, &self.state, &node.name))?;
        Switch(&self.host(SWITCH)?).connect(&host, node.address())?;
        self.start_virtual_kubelet(node, &host)
    }

    /// Starts the virtual-kubelet of a machine that runs.
    pub(crate) fn start_virtual_kubelet(&self, node: &VirtualNode, host: &Host) -> Result<()> {
        let disk = self.folder.disk(&node.name);
        create_dir(&disk)?;
        let config = disk.join("capacity.json");
        fs::write(&config, format!("{:#}\n", node.config(&self.state.spec.virtual_size)))
            .doing(|| format!("write {}", config.display()))?;
        let pki = |file: String| self.folder.pki().join(file).to_string_lossy().into_owned();
        let name = &node.name;
        let arguments = vec![
            format!("--nodename={name}"),
            "--provider=mock".to_owned(),
            format!("--provider-config={}", config.display()),
            format!("--kubeconfig={}", pki(format!("node-{name}.kubeconfig"))),
            // The mock provider keeps its pods in a map that only one worker at a time may write.
            "--pod-sync-workers=1".to_owned(),
        ];
        let mut environment = vec![
            ("VKUBELET_POD_IP", node.address().to_string()),
            ("KUBELET_PORT", "10250".to_owned()),
            ("APISERVER_CERT_LOCATION", pki(format!("kubelet-{name}.crt"))),
            ("APISERVER_KEY_LOCATION", pki(format!("kubelet-{name}.key"))),
            // Without it everybody could ask for logs.
            ("APISERVER_CA_CERT_LOCATION", pki("ca.crt".to_owned())),
        ];
        environment.extend(node.taint());
        host.daemon_with(&Daemon { program: self.folder.program(PROGRAM), arguments }, &environment)
    }
}

/// What a virtual-kubelet may do, as its own deployment has it, and asking who may ask it.
fn rights() -> Value {
    let binding = |name: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": VIRTUAL_KUBELETS},
            ],
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": PROGRAM},
            "rules": [
                rule("", &["configmaps", "secrets", "services"], &["get", "list", "watch"]),
                rule("", &["pods"], &["delete", "get", "list", "patch", "watch"]),
                rule("", &["nodes"], &["create", "get"]),
                rule("", &["nodes/status", "pods/status"], &["patch", "update"]),
                rule("", &["events"], &["create", "patch"]),
                rule("coordination.k8s.io", &["leases"], &["create", "get", "update"]),
            ],
        },
        binding(PROGRAM, PROGRAM),
        binding("virtual-kubelet-delegates", "system:auth-delegator"),
    ]})
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::spec::NODES_LIMIT;

    // Rule cluster-17.
    #[test]
    fn every_virtual_node_has_a_name_and_a_taint_of_its_own() {
        let spec = Spec { virtual_nodes: NODES_LIMIT, ..Spec::default() };
        let names: BTreeSet<_> = spec.virtual_nodes().map(|node| node.name).collect();
        let taints: BTreeSet<_> = spec.virtual_nodes().map(|node| node.taint()).collect();
        assert_eq!((names.len(), taints.len()), (64, 64));
    }

    // Rule cluster-17.
    #[test]
    fn a_virtual_node_is_as_large_as_was_asked_for() {
        let node = VirtualNode::new(2);
        let size = Size { cpu_millis: Some(1500), memory_mib: Some(512), pods: Some(3) };
        assert_eq!(
            node.config(&size),
            json!({"virtual-2": {"cpu": "1500m", "memory": "512Mi", "pods": "3"}})
        );
        assert_eq!(node.config(&Size::default()), json!({"virtual-2": {}}), "it would not start");
    }
}
