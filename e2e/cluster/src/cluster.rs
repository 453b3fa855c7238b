//! A cluster as a whole: up, down, and what is in between.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    cgroup::{self, Group},
    control_plane::{self, ControlPlane, DiskWrites, RELAY, audit_log, listen, start_relay},
    error::{Doing, Error, Result},
    host::{self, Host, PAUSE},
    image::Image,
    kubectl::{Access, Kubectl},
    kwok,
    network::{CONTROL_PLANE, NODES_LIMIT, Switch, pod_range},
    node::{Machine, Node, PAUSE_IMAGE, Size},
    packages,
    pki::Pki,
    preflight::{self, Findings},
    process::Process,
    program::wait_for,
    progress::Progress,
    state::{Folder, Lock, Name, Phase, State, this_boot},
    tools::{Built, ETCD, KUBERNETES, KWOK},
};

/// The machine that is the switch.
pub(crate) const SWITCH: &str = "switch";

/// Three nodes were ready 2 s after their start; a busy machine may take many times that.
const NODES_LIMIT_TIME: Duration = Duration::from_secs(120);

/// What kind of cluster is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Real nodes, at most 64; none is a control plane alone.
    pub nodes: u8,
    /// Zones that the nodes are spread over, in turn.
    pub zones: u8,
    /// Fake nodes.
    pub kwok: u32,
    /// The port of the API on 127.0.0.1; the first free one from 16443 on where it is not set.
    pub port: Option<u16>,
    /// How large each real node says it is.
    pub size: Size,
    /// Whether etcd waits for the disk.
    pub disk_writes: DiskWrites,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            nodes: 3,
            zones: 3,
            kwok: 0,
            port: None,
            size: Size::default(),
            disk_writes: DiskWrites::default(),
        }
    }
}

/// The crate's own programs, built static.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// `pause`: the first process of every machine and pod.
    pub pause: PathBuf,
    /// `relay`: hands connections to the API in.
    pub relay: PathBuf,
}

impl Binaries {
    /// The programs in a folder that cargo built them in.
    pub fn in_folder(folder: &Path) -> Self {
        Self { pause: folder.join(PAUSE), relay: folder.join(RELAY) }
    }

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

/// A cluster that is up.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) folder: Folder,
    pub(crate) state: State,
}

impl Spec {
    fn validate(&self) -> Result<()> {
        if self.nodes > NODES_LIMIT {
            return Err(Error::refused(
                format!("{} nodes are too many", self.nodes),
                format!("ask for at most {NODES_LIMIT}"),
            ));
        }
        if self.zones == 0 {
            return Err(Error::refused("a cluster has at least one zone", "ask for --zones 1 or more"));
        }
        Ok(())
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        (1..=self.nodes).map(|number| Node::new(number, self.zones))
    }
}

impl Cluster {
    /// Starts a cluster, or returns the one that is up already with the same spec.
    ///
    /// What a crashed `up` of the same name left is cleaned first. Missing Debian packages are installed. On an error
    /// what was started goes on running, for a look at its logs, until `down` or the next `up`.
    pub fn up(name: Name, spec: &Spec, binaries: &Binaries, progress: &Progress) -> Result<Self> {
        for finding in Self::check(spec)?.0 {
            progress.note(&format!("{}: {}", finding.what, finding.cure));
        }
        let folder = Folder::of(name)?;
        packages::ensure(progress)?;
        let etcd = ETCD.ensure(progress)?;
        let kubernetes = KUBERNETES.ensure(progress)?;
        let fakes = if spec.kwok > 0 { Some(KWOK.ensure(progress)?) } else { None };

        let _lock = Lock::acquire()?;
        if let Some(running) = Self::already_up(&folder, spec, progress)? {
            return Ok(running);
        }
        let tools = Tools { kubernetes, etcd, fakes };
        Self::start(folder, spec, binaries, &tools, progress)
    }

    /// Checks that this machine can run a cluster of `spec`, as [`Self::up`] does first; returns what can be borne.
    pub fn check(spec: &Spec) -> Result<Findings> {
        spec.validate()?;
        let findings = preflight::check(spec, KUBERNETES.is_built())?;
        if findings.stop() {
            return Err(Error::Preflight(findings));
        }
        Ok(findings)
    }

    /// The cluster of this name, which must be up.
    pub fn open(name: Name) -> Result<Self> {
        let folder = Folder::of(name)?;
        let name = folder.name().as_str().to_owned();
        let cure = |verb: &str| format!("start it with `cluster up --name {name}`{verb}");
        let Some(state) = folder.state()? else {
            return Err(Error::refused(format!("there is no cluster {name:?}"), cure("")));
        };
        if state.phase != Phase::Up || state.boot != this_boot()? {
            return Err(Error::refused(format!("cluster {name:?} is half up"), cure(", which cleans first")));
        }
        Ok(Self { folder, state })
    }

    /// Stops a cluster and removes all that it left: processes, namespaces, mounts, control groups and files.
    ///
    /// A cluster that is half up, or half down, is removed as well; one that does not exist is success.
    pub fn down(name: Name, progress: &Progress) -> Result<()> {
        let folder = Folder::of(name)?;
        let _lock = Lock::acquire()?;
        progress.stage("stop the cluster", |_| remove(&folder))
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        self.folder.name()
    }

    /// The folder of its keys, logs and disks.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// How it was started.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its kubectl, as administrator.
    pub fn kubectl(&self) -> Kubectl {
        kubectl(&self.folder, &self.state)
    }

    /// Its administrator's kubeconfig: JSON, which every reader of YAML takes, with all keys inside.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.folder)
    }

    /// The API server's audit log, a JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(&self.folder)
    }

    /// The log of a program on one of its machines (`n1`, `control-plane`, …).
    pub fn log(&self, host: &str, program: &str) -> PathBuf {
        self.folder.log(host, program)
    }

    /// A command that will run on the machine `host` with all of its namespaces.
    pub fn command_on(&self, host: &str, program: &Path) -> Result<Command> {
        Ok(self.host(host)?.command(program))
    }

    /// Imports an image archive on all nodes that run.
    pub fn load_image(&self, archive: &Path, progress: &Progress) -> Result<()> {
        let nodes: Vec<Node> = self.state.spec.nodes().collect();
        progress.stage("load the image", |_| {
            each(&nodes, |node| match self.find(&node.name)? {
                Some(host) => self.machine(node, &host).load_image(archive),
                None => Ok(()),
            })
        })
    }

    /// Deletes all fake nodes and stops kwok.
    pub fn remove_fake_nodes(&self) -> Result<()> {
        kwok::stop(&self.host(control_plane::HOST)?, &self.kubectl())
    }

    pub(crate) fn find(&self, name: &str) -> Result<Option<Host>> {
        Host::find(&self.folder, name, group(&self.folder, &self.state, name))
    }

    pub(crate) fn host(&self, name: &str) -> Result<Host> {
        self.find(name)?.ok_or_else(|| {
            Error::refused(
                format!("{name} does not run in cluster {:?}", self.name().as_str()),
                "see `cluster status`; a node that was killed comes back with `cluster node return`",
            )
        })
    }

    pub(crate) fn machine<'a>(&'a self, node: &'a Node, host: &'a Host) -> Machine<'a> {
        Machine {
            node,
            host,
            folder: &self.folder,
            programs: &self.state.programs,
            size: &self.state.spec.size,
        }
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
        let relay = Process::from_record(&self.folder.record(RELAY));
        runs(SWITCH) && runs(control_plane::HOST) && matches!(relay, Ok(Some(process)) if process.is_alive())
    }

    fn start(
        folder: Folder,
        spec: &Spec,
        binaries: &Binaries,
        tools: &Tools,
        progress: &Progress,
    ) -> Result<Self> {
        folder.create()?;
        let listener = listen(spec.port)?;
        let port = listener.local_addr().map_or(control_plane::PORT, |address| address.port());
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
        nodes.iter().try_for_each(|node| pki.node(&node.name, node.address()))
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
        wait_until_ready(&self.kubectl(), nodes)
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
pub(crate) fn wait_until_ready(kubectl: &Kubectl, nodes: &[Node]) -> Result<()> {
    let limit = format!("--timeout={}s", NODES_LIMIT_TIME.as_secs());
    if !nodes.is_empty() {
        let mut arguments = vec!["wait", "--for=condition=Ready", limit.as_str(), "node"];
        arguments.extend(nodes.iter().map(|node| node.name.as_str()));
        kubectl.run(&arguments)?;
    }
    wait_for("the default ServiceAccount", NODES_LIMIT_TIME, || {
        kubectl.run(&["get", "serviceaccount", "default"]).map(drop).map_err(|error| error.to_string())
    })
}

fn kubeconfig(folder: &Folder) -> PathBuf {
    folder.pki().join("admin.kubeconfig")
}

fn kubectl(folder: &Folder, state: &State) -> Kubectl {
    Kubectl::new(&Built::at(state.programs.clone()), Access::Kubeconfig(kubeconfig(folder)))
}

/// The control groups of one machine of a cluster.
pub(crate) fn group(folder: &Folder, state: &State, host: &str) -> Group {
    Group::new(&state.hierarchies, &folder.cgroup(), host)
}

/// Does the same for each, all at once, and returns the first error.
pub(crate) fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let running: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        let ended = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::refused("a thread panicked", "see its message above")))
        });
        // All are waited for before the first error is handed on.
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Kills what is recorded, removes its control groups, and then the folder: as long as that is there, `down` can be
/// tried again.
fn remove(folder: &Folder) -> Result<()> {
    // Where the file is damaged the records still say what runs; only the control groups are unknown.
    let state = folder.state().unwrap_or_default();
    let hierarchies = state.as_ref().map(|state| state.hierarchies.clone()).unwrap_or_default();
    let of_this_boot = state.as_ref().is_none_or(|state| this_boot().is_ok_and(|boot| boot == state.boot));
    if of_this_boot {
        let hosts: Vec<_> = folder
            .records()
            .into_iter()
            .map(|name| (name.clone(), Group::new(&hierarchies, &folder.cgroup(), &name)))
            .collect();
        host::kill(folder, &hosts)?;
        for hierarchy in &hierarchies {
            cgroup::remove_tree(&hierarchy.dir.join(folder.cgroup()))?;
        }
    }
    folder.remove()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_cannot_be_is_refused_with_the_cure() {
        let cases = [
            (Spec { nodes: 65, ..Spec::default() }, "at most 64"),
            (Spec { zones: 0, ..Spec::default() }, "--zones 1"),
        ];
        for (spec, cure) in cases {
            let error = spec.validate().unwrap_err().to_string();
            assert!(error.contains(cure), "{error}");
        }
        Spec::default().validate().unwrap();
    }

    #[test]
    fn each_waits_for_all_and_hands_the_first_error_on() {
        let seen = std::sync::Mutex::new(Vec::new());
        let error = each(&[1, 2, 3], |number| {
            seen.lock().unwrap().push(*number);
            if *number == 3 { Ok(()) } else { Err(Error::refused(format!("{number}"), "none")) }
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "1: none");
        assert_eq!(seen.into_inner().unwrap().len(), 3);
    }
}
