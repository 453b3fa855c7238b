//! From nothing, or from what a crash left, to a cluster with ready nodes.

use std::{fs, time::Duration};

use serde_json::json;

use crate::{
    cgroup,
    cluster::{Binaries, Cluster, SWITCH, each, group, remove},
    control_plane::{self, ControlPlane, RELAY, start_relay},
    error::{Doing, Error, Result},
    host::{Host, PAUSE},
    image::Image,
    kubectl::Kubectl,
    kwok,
    network::{CONTROL_PLANE, Switch, pod_range},
    node::{Node, PAUSE_IMAGE},
    packages,
    pki::Pki,
    port::{PORT, listen},
    process::Process,
    program::wait_for,
    progress::Progress,
    spec::Spec,
    state::{Folder, Lock, Name, Phase, State, this_boot},
    tools::{Built, ETCD, KUBERNETES, KWOK, VIRTUAL_KUBELET},
};

/// Three nodes were ready 2 s after their start; a busy machine may take many times that.
const READY_LIMIT: Duration = Duration::from_secs(120);

impl Cluster {
    /// Starts a cluster, or returns the one that is up already with the same spec.
    ///
    /// What a crashed `up` of the same name left is cleaned first. Missing Debian packages are installed. On an error
    /// what was started goes on running, for a look at its logs, until `down` or the next `up`.
    pub fn up(name: Name, spec: &Spec, binaries: &Binaries, progress: &Progress) -> Result<Self> {
        for finding in Self::check(&name, spec)?.0 {
            progress.note(&format!("{}: {}", finding.what, finding.cure));
        }
        let folder = Folder::of(name)?;
        packages::ensure(progress)?;
        let etcd = ETCD.ensure(progress)?;
        let kubernetes = KUBERNETES.ensure(progress)?;
        let fakes = if spec.kwok > 0 { Some(KWOK.ensure(progress)?) } else { None };
        let virtual_kubelet =
            if spec.virtual_nodes > 0 { Some(VIRTUAL_KUBELET.ensure(progress)?) } else { None };

        let _lock = Lock::acquire()?;
        if let Some(running) = Self::already_up(&folder, spec, progress)? {
            return Ok(running);
        }
        let tools = Tools { kubernetes, etcd, fakes, virtual_kubelet };
        Self::start(folder, spec, binaries, &tools, progress)
    }

    /// A cluster that is whole and as wanted is kept; one that is not whole is removed.
    fn already_up(folder: &Folder, spec: &Spec, progress: &Progress) -> Result<Option<Self>> {
        if !folder.path().exists() {
            return Ok(None);
        }
        let running = match folder.state() {
            Ok(Some(state)) if state.phase == Phase::Up && state.boot == this_boot()? => {
                Some(Self { folder: folder.clone(), state })
            }
            Ok(_) | Err(_) => None,
        };
        let Some(running) = running.filter(Self::is_whole) else {
            progress.stage("clean what an interrupted run left", |_| remove(folder))?;
            return Ok(None);
        };
        if running.state.spec == *spec {
            progress.note("it is up already");
            return Ok(Some(running));
        }
        Err(Error::refused(
            format!("cluster {:?} is up with other nodes or settings", folder.name().as_str()),
            "take it down first, or name another with --name",
        ))
    }

    /// Whether the machines that must run do; nodes may have been killed on purpose.
    fn is_whole(&self) -> bool {
        let runs = |name: &str| matches!(self.find(name), Ok(Some(_)));
        let api = match self.find(control_plane::HOST) {
            Ok(Some(host)) => ["etcd", "kube-apiserver"].iter().all(|name| host.daemon_named(name).is_some()),
            Ok(None) | Err(_) => false,
        };
        let relay = Process::from_record(&self.folder.record(RELAY));
        runs(SWITCH) && api && matches!(relay, Ok(Some(process)) if process.is_alive())
    }

    fn start(
        folder: Folder,
        spec: &Spec,
        binaries: &Binaries,
        tools: &Tools,
        progress: &Progress,
    ) -> Result<Self> {
        let listener = listen(spec.port)?;
        folder.create()?;
        let port = listener.local_addr().map_or(PORT, |address| address.port());
        let programs = tools.kubernetes.folder().to_owned();
        let state = State::starting(spec.clone(), port, cgroup::of_caller()?, programs)?;
        // From here on `down` knows where everything is.
        folder.write(&state)?;
        let mut cluster = Self { folder, state };
        let nodes: Vec<Node> = spec.nodes().collect();
        progress.stage("keys and certificates", |_| cluster.make_keys(&nodes))?;
        binaries.install(&cluster.folder)?;

        let hosts = progress.stage("machines and network", |_| cluster.make_machines(&nodes))?;
        let group = group(&cluster.folder, &cluster.state, RELAY);
        start_relay(&cluster.folder, &group, &hosts.control_plane, listener)?;
        progress.stage("API server", |_| cluster.start_api(&hosts, &nodes, tools))?;
        progress.stage("nodes", |_| cluster.start_nodes(&hosts, &nodes))?;
        if let Some(built) = &tools.virtual_kubelet {
            let what = format!("{} virtual nodes", spec.virtual_nodes);
            progress.stage(&what, |_| cluster.start_virtual_nodes(built))?;
        }
        if let Some(fakes) = &tools.fakes {
            let (host, kubectl) = (&hosts.control_plane, cluster.kubectl());
            progress.stage(&format!("{} fake nodes", spec.kwok), |_| {
                kwok::start(host, &cluster.folder, fakes, &kubectl, spec.kwok)
            })?;
        }
        cluster.state.phase = Phase::Up;
        cluster.folder.write(&cluster.state)?;
        Ok(cluster)
    }

    fn make_keys(&self, nodes: &[Node]) -> Result<()> {
        let context = format!("stowage-{}", self.name().as_str());
        let pki = Pki::create(&self.folder.pki(), &context, self.state.port)?;
        nodes.iter().try_for_each(|node| pki.node(&node.name, node.address()))?;
        let virtual_nodes = self.state.spec.virtual_nodes();
        virtual_nodes.into_iter().try_for_each(|node| pki.virtual_node(&node.name, node.address()))
    }

    fn make_machines(&self, nodes: &[Node]) -> Result<Hosts> {
        let start = |name: &str| Host::start(&self.folder, name, &group(&self.folder, &self.state, name));
        let switch = start(SWITCH)?;
        Switch(&switch).set_up()?;
        let control_plane = start(control_plane::HOST)?;
        Switch(&switch).connect(&control_plane, CONTROL_PLANE)?;
        let nodes = nodes
            .iter()
            .map(|node| {
                let host = start(&node.name)?;
                Switch(&switch).connect(&host, node.address())?;
                Switch(&switch).route(&pod_range(node.number), node.address())?;
                Ok(host)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Hosts { control_plane, nodes })
    }

    /// Starts the control plane, and meanwhile boots the nodes as far as they come without it.
    fn start_api(&self, hosts: &Hosts, nodes: &[Node], tools: &Tools) -> Result<()> {
        let control_plane = ControlPlane {
            host: &hosts.control_plane,
            folder: &self.folder,
            programs: &self.state.programs,
            etcd: &tools.etcd.program("etcd"),
            spec: &self.state.spec,
        };
        control_plane.start_api()?;
        let pairs: Vec<_> = nodes.iter().zip(&hosts.nodes).collect();
        each(&pairs, |(node, host)| self.machine(node, host).boot())?;
        control_plane.wait_until_ready(&self.kubectl())?;
        control_plane.start_controllers()?;
        self.kubectl().send("create", &first_objects(nodes)).map(drop)
    }

    fn start_nodes(&self, hosts: &Hosts, nodes: &[Node]) -> Result<()> {
        let pairs: Vec<_> = nodes.iter().zip(&hosts.nodes).collect();
        each(&pairs, |(node, host)| self.machine(node, host).join())?;
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        wait_until_ready(&self.kubectl(), &names)
    }
}

impl Binaries {
    /// Copies them beside the state, where a rebuild or a clean does not touch what a running cluster uses, and makes the
    /// image that every pod starts from.
    fn install(&self, folder: &Folder) -> Result<()> {
        for (from, name) in [(&self.pause, PAUSE), (&self.relay, RELAY)] {
            let to = folder.program(name);
            fs::copy(from, &to).doing(|| format!("copy {} to {}", from.display(), to.display()))?;
        }
        let image = Image { reference: PAUSE_IMAGE, program: &folder.program(PAUSE), labels: &[] };
        image.write(&folder.pause_image()).map(drop)
    }
}

/// The machines that `up` started.
struct Hosts {
    control_plane: Host,
    nodes: Vec<Host>,
}

/// The programs that `up` needs.
struct Tools {
    kubernetes: Built,
    etcd: Built,
    fakes: Option<Built>,
    virtual_kubelet: Option<Built>,
}

/// The nodes, and the right of every kube-proxy that kubeadm would have given.
fn first_objects(nodes: &[Node]) -> serde_json::Value {
    let mut items: Vec<_> = nodes.iter().map(Node::object).collect();
    items.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "node-proxier"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:kube-proxy"}],
    }));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Waits until these nodes, and the default `ServiceAccount` that every pod needs, are there.
pub(crate) fn wait_until_ready(kubectl: &Kubectl, nodes: &[&str]) -> Result<()> {
    let limit = format!("--timeout={}s", READY_LIMIT.as_secs());
    if !nodes.is_empty() {
        let mut arguments = vec!["wait", "--for=condition=Ready", limit.as_str(), "node"];
        arguments.extend(nodes);
        kubectl.run(&arguments)?;
    }
    wait_for("the default ServiceAccount", READY_LIMIT, || {
        kubectl.run(&["get", "serviceaccount", "default"]).map(drop).map_err(|error| error.to_string())
    })
}
