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

impl Cluster {
    /// How the node is.
    pub fn fate(&self, node: &str) -> Result<Fate> {
        self.node(node)?;
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
        self.node(node)?;
        let _lock = Lock::acquire()?;
        host::kill(&self.folder, &[(node.to_owned(), group(&self.folder, &self.state, node))])
    }

    /// Stops a node's processes where they stand, as a hang of the machine would.
    pub fn freeze_node(&self, node: &str) -> Result<()> {
        self.node(node)?;
        let _lock = Lock::acquire()?;
        self.set_freeze(&self.host(node)?, Freeze::Frozen)
    }

    /// Cuts a node off from the network, in both directions and in silence.
    pub fn partition_node(&self, node: &str) -> Result<()> {
        self.node(node)?;
        let _lock = Lock::acquire()?;
        self.host(node)?;
        Switch(&self.host(SWITCH)?).plug(node, Cable::Out)
    }

    /// Undoes kill, freeze and partition, and waits until the node is Ready and has shown a sign of life since.
    ///
    /// Ready alone could still be the state from before, of a node that was away too shortly to be missed.
    pub fn return_node(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        let _lock = Lock::acquire()?;
        let switch = self.host(SWITCH)?;
        let before = self.last_sign_of_life(&node)?;
        match self.find(&node.name)? {
            // A machine without a kubelet is what an interrupted return leaves: it is started over.
            Some(host) if host.daemon_named("kubelet").is_some() => {
                self.set_freeze(&host, Freeze::Thawed)?;
                Switch(&switch).plug(&node.name, Cable::In)?;
            }
            Some(_) | None => self.start_again(&node, &switch)?,
        }
        self.wait_for_life(&node, &before)?;
        wait_until_ready(&self.kubectl(), &[node])
    }

    /// Stops the kubelet, starts it again and waits for its sign of life; pods go on running.
    pub fn restart_kubelet(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        let _lock = Lock::acquire()?;
        let host = self.host(&node.name)?;
        let before = self.last_sign_of_life(&node)?;
        host.stop_daemon("kubelet")?;
        self.machine(&node, &host).start_kubelet()?;
        self.wait_for_life(&node, &before)
    }

    fn node(&self, name: &str) -> Result<Node> {
        self.state.spec.nodes().find(|node| node.name == name).ok_or_else(|| {
            let names: Vec<_> = self.state.spec.nodes().map(|node| node.name).collect();
            Error::refused(format!("there is no node {name:?}"), format!("name one of {}", names.join(", ")))
        })
    }

    /// Waits for a sign of life that is not the one from `before`.
    fn wait_for_life(&self, node: &Node, before: &str) -> Result<()> {
        wait_for(&format!("a sign of life of {}", node.name), RETURN_LIMIT, || {
            let now = self.last_sign_of_life(node).map_err(|error| error.to_string())?;
            if now == before { Err(format!("the last was at {now}")) } else { Ok(()) }
        })
    }

    /// When its kubelet last renewed the node's lease.
    fn last_sign_of_life(&self, node: &Node) -> Result<String> {
        let lease = [
            "get",
            "lease",
            "--namespace",
            "kube-node-lease",
            &node.name,
            "-o",
            "jsonpath={.spec.renewTime}",
        ];
        self.kubectl().run(&lease)
    }

    fn start_again(&self, node: &Node, switch: &Host) -> Result<()> {
        let group = group(&self.folder, &self.state, &node.name);
        host::kill(&self.folder, &[(node.name.clone(), group.clone())])?;
        let host = Host::start(&self.folder, &node.name, &group)?;
        Switch(switch).connect(&host, node.address())?;
        Switch(switch).route(&pod_range(node.number), node.address())?;
        let machine = self.machine(node, &host);
        machine.boot()?;
        self.images()?.iter().try_for_each(|archive| machine.load_image(archive))?;
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
