//! What a person asks of a running cluster: who runs, how it is, and what it takes.

use std::fs;

use crate::{
    cluster::{Cluster, SWITCH},
    control_plane,
    error::Result,
    faults::Fate,
    host::Host,
};

/// The state of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// What happened to it; the switch and the control plane only run or do not.
    pub fate: Fate,
    /// What the API says of the node, as in `Ready` or `NotReady`; nothing for the other machines.
    pub node: Option<String>,
    /// The memory of its processes, in KiB, each page counted once (proportional set size).
    pub memory_kib: u64,
    /// Its daemons by name.
    pub daemons: Vec<String>,
}

impl Cluster {
    /// The state of every machine, the switch and the control plane first.
    pub fn status(&self) -> Result<Vec<MachineStatus>> {
        let conditions = self.node_conditions();
        let others = [SWITCH, control_plane::HOST].map(str::to_owned);
        let spec = &self.state.spec;
        let nodes = spec.nodes().map(|node| node.name).chain(spec.virtual_nodes().map(|node| node.name));
        others.into_iter().chain(nodes).map(|name| self.machine_status(name, &conditions)).collect()
    }

    fn machine_status(&self, name: String, conditions: &[(String, String)]) -> Result<MachineStatus> {
        let host = self.find(&name)?;
        let fate = match (&host, name.as_str()) {
            (None, _) => Fate::Killed,
            (Some(_), SWITCH | control_plane::HOST) => Fate::Running,
            (Some(_), node) => self.fate(node)?,
        };
        let daemons = host.as_ref().map(Host::daemons).unwrap_or_default();
        let memory_kib = host
            .map(|host| host.group().processes().into_iter().map(memory_kib_of).sum())
            .unwrap_or_default();
        let node = conditions.iter().find(|(node, _)| *node == name).map(|(_, condition)| condition.clone());
        let mut daemons: Vec<_> = daemons.into_iter().map(|child| child.name).collect();
        daemons.sort();
        Ok(MachineStatus { name, fate, node, memory_kib, daemons })
    }

    /// Readiness by node; nothing where the API does not answer, which is a state too.
    fn node_conditions(&self) -> Vec<(String, String)> {
        let path =
            r#"{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;
        let request = format!("jsonpath={path}");
        let text =
            self.kubectl().run(&["get", "nodes", "--request-timeout=5s", "-o", &request]).unwrap_or_default();
        let line = |line: &str| {
            let (name, status) = line.split_once(' ')?;
            let condition = if status == "True" { "Ready" } else { "NotReady" };
            Some((name.to_owned(), condition.to_owned()))
        };
        text.lines().filter_map(line).collect()
    }
}

/// The proportional set size of a process: pages that several share are counted in parts.
fn memory_kib_of(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
