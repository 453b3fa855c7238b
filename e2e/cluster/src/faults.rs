//! What may happen to a node: power-off, a freeze, a partition, a kubelet restart; and its return.

use std::time::Duration;

use crate::{
    cgroup::Freeze,
    cluster::{Cluster, SWITCH, group},
    error::{Error, Result},
    host::{self, Host},
    network::{Cable, Switch, pod_range},
    node::Node,
    program::wait_for,
    state::Lock,
    up::wait_until_ready,
    virtual_node::{self, VirtualNode},
};

/// The freezer of cgroup v1 passes through a state of its own.
const FREEZE_LIMIT: Duration = Duration::from_secs(10);

/// A kubelet renews its lease every 5 s, and a returned node was ready after 1 s.
const RETURN_LIMIT: Duration = Duration::from_secs(60);

/// How a node is at the moment, as far as this crate can tell without asking the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Running,
    /// It has no processes.
    Killed,
    /// Its processes stand still.
    Frozen,
    /// Its processes run, and no packet reaches them.
    Partitioned,
}

/// A node that things may happen to.
enum Member {
    Real(Node),
    Virtual(VirtualNode),
}

impl Member {
    fn name(&self) -> &str {
        match self {
            Self::Real(node) => &node.name,
            Self::Virtual(node) => &node.name,
        }
    }

    /// All that a whole node runs.
    fn daemons(&self) -> &'static [&'static str] {
        match self {
            Self::Real(_) => &["containerd", "kubelet", "kube-proxy"],
            Self::Virtual(_) => &[virtual_node::PROGRAM],
        }
    }

    /// The daemon that answers for the node.
    fn kubelet(&self) -> &'static str {
        match self {
            Self::Real(_) => "kubelet",
            Self::Virtual(_) => virtual_node::PROGRAM,
        }
    }
}

impl Cluster {
    /// How the node is.
    pub fn fate(&self, node: &str) -> Result<Fate> {
        self.member(node)?;
        let Some(host) = self.find(node)? else { return Ok(Fate::Killed) };
        if host.group().is_frozen() {
            return Ok(Fate::Frozen);
        }
        match Switch(&self.host(SWITCH)?).cable(node)? {
            Cable::In => Ok(Fate::Running),
            Cable::Out => Ok(Fate::Partitioned),
        }
    }

    /// Switches a node off: all of its processes die at once, its disk stays.
    pub fn kill_node(&self, node: &str) -> Result<()> {
        self.member(node)?;
        let _lock = Lock::acquire()?;
        host::kill(&self.folder, &[(node.to_owned(), group(&self.folder, &self.state, node))])
    }

    /// Stops a node's processes where they stand, as a hang of the machine would.
    pub fn freeze_node(&self, node: &str) -> Result<()> {
        self.member(node)?;
        let _lock = Lock::acquire()?;
        self.set_freeze(&self.host(node)?, Freeze::Frozen)
    }

    /// Cuts a node off from the network, in both directions and in silence.
    pub fn partition_node(&self, node: &str) -> Result<()> {
        self.member(node)?;
        let _lock = Lock::acquire()?;
        self.host(node)?;
        Switch(&self.host(SWITCH)?).plug(node, Cable::Out)
    }

    /// Undoes kill, freeze and partition, and waits until the node is Ready and has shown a sign of life since.
    ///
    /// Ready alone could still be the state from before, of a node that was away too shortly to be missed.
    pub fn return_node(&self, node: &str) -> Result<()> {
        let node = self.member(node)?;
        let _lock = Lock::acquire()?;
        let switch = self.host(SWITCH)?;
        let before = self.last_sign_of_life(&node)?;
        match self.find(node.name())? {
            // A machine that lacks a daemon is what an interrupted return leaves: it is started over.
            Some(host) if node.daemons().iter().all(|name| host.daemon_named(name).is_some()) => {
                self.set_freeze(&host, Freeze::Thawed)?;
                Switch(&switch).plug(node.name(), Cable::In)?;
            }
            Some(_) | None => self.start_again(&node, &switch)?,
        }
        self.wait_for_life(&node, &before)?;
        wait_until_ready(&self.kubectl(), &[node.name()])
    }

    /// Stops the kubelet, starts it again and waits for its sign of life; pods go on running.
    pub fn restart_kubelet(&self, node: &str) -> Result<()> {
        let node = self.member(node)?;
        let _lock = Lock::acquire()?;
        let host = self.host(node.name())?;
        let before = self.last_sign_of_life(&node)?;
        host.stop_daemon(node.kubelet())?;
        match &node {
            Member::Real(node) => self.machine(node, &host).start_kubelet()?,
            Member::Virtual(node) => self.start_virtual_kubelet(node, &host)?,
        }
        self.wait_for_life(&node, &before)
    }

    fn member(&self, name: &str) -> Result<Member> {
        let spec = &self.state.spec;
        let members = || spec.nodes().map(Member::Real).chain(spec.virtual_nodes().map(Member::Virtual));
        members().find(|member| member.name() == name).ok_or_else(|| {
            let names: Vec<_> = members().map(|member| member.name().to_owned()).collect();
            Error::refused(format!("there is no node {name:?}"), format!("name one of {}", names.join(", ")))
        })
    }

    /// Waits for a sign of life that is not the one from `before`.
    fn wait_for_life(&self, node: &Member, before: &str) -> Result<()> {
        wait_for(&format!("a sign of life of {}", node.name()), RETURN_LIMIT, || {
            let now = self.last_sign_of_life(node).map_err(|error| error.to_string())?;
            if now == before { Err(format!("the last was at {now}")) } else { Ok(()) }
        })
    }

    /// When its kubelet last renewed the node's lease.
    fn last_sign_of_life(&self, node: &Member) -> Result<String> {
        let lease = [
            "get",
            "lease",
            "--namespace",
            "kube-node-lease",
            node.name(),
            "-o",
            "jsonpath={.spec.renewTime}",
        ];
        self.kubectl().run(&lease)
    }

    fn start_again(&self, node: &Member, switch: &Host) -> Result<()> {
        let group = group(&self.folder, &self.state, node.name());
        host::kill(&self.folder, &[(node.name().to_owned(), group.clone())])?;
        let node = match node {
            Member::Real(node) => node,
            Member::Virtual(node) => return self.start_virtual_node(node),
        };
        let host = Host::start(&self.folder, &node.name, &group)?;
        Switch(switch).connect(&host, node.address())?;
        Switch(switch).route(&pod_range(node.number), node.address())?;
        let machine = self.machine(node, &host);
        machine.boot()?;
        for archive in self.images()? {
            machine.load_image(&archive).map_err(|error| {
                Error::refused(
                    format!("{} cannot be loaded on {}", archive.display(), node.name),
                    format!("remove it, then return the node again; {error}"),
                )
            })?;
        }
        machine.join()
    }

    fn set_freeze(&self, host: &Host, state: Freeze) -> Result<()> {
        if state == Freeze::Thawed && !host.group().is_frozen() {
            return Ok(());
        }
        host.group().freeze(state)?;
        let frozen = state == Freeze::Frozen;
        wait_for(&format!("{} to be {state:?}", host.name), FREEZE_LIMIT, || {
            if host.group().is_frozen() == frozen { Ok(()) } else { Err(self.name().as_str().to_owned()) }
        })
    }
}
