//! `cargo xtask cluster`: the project's own cluster, by hand.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use stowage_cluster::{
    Binaries, Cluster, DiskWrites, Fate, Folder, Name, NodeLifecycle, Progress, Size, Spec, cache_folder,
};

use crate::{static_build, workspace::Workspace};

/// The package that has the programs of every machine.
pub(crate) const PACKAGE: &str = "stowage-cluster";

/// The cluster that is meant where none is named.
pub(crate) const DEFAULT: &str = "stowage";

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Which cluster: several can stand side by side.
    #[arg(long, global = true, default_value = DEFAULT)]
    name: String,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start it, after cleaning what an interrupted run of the same name left.
    Up(Up),
    /// Stop it and leave nothing behind.
    Down,
    /// Show its machines: who runs, how it is, and how much memory it takes.
    Status,
    /// Print its kubeconfig, with all keys inside; the context is stowage-NAME.
    Kubeconfig,
    /// Run its kubectl as administrator.
    Kubectl {
        /// What kubectl is to do.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Let things happen to a node.
    #[command(subcommand)]
    Node(NodeVerb),
    /// Images on the nodes, which reach no registry.
    #[command(subcommand)]
    Image(ImageVerb),
}

#[derive(Debug, Args)]
struct Up {
    /// Real nodes: n1, n2, …
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// Zones that the nodes are spread over, in turn.
    #[arg(long, default_value_t = 3)]
    zones: u8,
    /// Fake nodes of kwok, beside the real ones.
    #[arg(long, default_value_t = 0, value_name = "N")]
    kwok: u32,
    /// Nodes of virtual-kubelets, which only say that their pods run: virtual-1, virtual-2, … with a taint of its own each.
    #[arg(long = "virtual", default_value_t = 0, value_name = "N")]
    virtual_nodes: u8,
    /// No real nodes at all.
    #[arg(long, conflicts_with_all = ["nodes", "zones"])]
    control_plane_only: bool,
    /// The port of the API on 127.0.0.1, instead of the first free one from 16443 on.
    #[arg(long)]
    port: Option<u16>,
    /// Processors that pods of each node can have, in thousandths.
    #[arg(long, value_name = "MILLIS")]
    node_cpu: Option<u32>,
    /// Memory that each node says it has, in MiB.
    #[arg(long, value_name = "MIB")]
    node_memory: Option<u32>,
    /// The most pods on each node.
    #[arg(long, value_name = "N")]
    node_pods: Option<u32>,
    /// Processors of each virtual node, in thousandths, instead of 20 processors.
    #[arg(long, value_name = "MILLIS")]
    virtual_cpu: Option<u32>,
    /// Memory of each virtual node, in MiB, instead of 100 GiB.
    #[arg(long, value_name = "MIB")]
    virtual_memory: Option<u32>,
    /// The most pods on each virtual node, instead of 20.
    #[arg(long, value_name = "N")]
    virtual_pods: Option<u32>,
    /// Let etcd wait for the disk, as in production.
    #[arg(long)]
    fsync: bool,
}

#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// Switch it off: all processes die, the disk stays.
    Kill(Node),
    /// Undo kill, freeze and partition, and wait until it is Ready.
    Return(Node),
    /// Stop its processes where they stand.
    Freeze(Node),
    /// Cut it off from the network, in silence.
    Partition(Node),
    /// Stop its kubelet and start it again.
    RestartKubelet(Node),
}

#[derive(Debug, Args)]
struct Node {
    /// The node's name, as in n2.
    // Not `name`: to clap that would be the cluster's, which stands on the same line.
    #[arg(value_name = "NAME")]
    node: String,
}

#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Put an image archive on every node.
    Load {
        /// The archive, as `cargo xtask image --output` writes it.
        archive: PathBuf,
    },
}

impl Up {
    fn spec(&self) -> Spec {
        Spec {
            nodes: if self.control_plane_only { 0 } else { self.nodes },
            zones: self.zones,
            kwok: self.kwok,
            virtual_nodes: self.virtual_nodes,
            port: self.port,
            size: Size { cpu_millis: self.node_cpu, memory_mib: self.node_memory, pods: self.node_pods },
            virtual_size: Size {
                cpu_millis: self.virtual_cpu,
                memory_mib: self.virtual_memory,
                pods: self.virtual_pods,
            },
            disk_writes: if self.fsync { DiskWrites::Synced } else { DiskWrites::Trusted },
            node_lifecycle: NodeLifecycle::Watched,
        }
    }
}

/// Does what the command line says.
pub(crate) fn run(args: &ClusterArgs) -> Result<ExitCode> {
    let name = Name::try_new(&args.name)?;
    let open = || Cluster::open(name.clone());
    let progress = Progress::new();
    match &args.command {
        Verb::Up(up) => start(&name, &up.spec(), &progress)?,
        Verb::Down => Cluster::down(name, &progress)?,
        Verb::Status => print(&status(&open()?)?)?,
        Verb::Kubeconfig => {
            let path = open()?.kubeconfig();
            print(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?)?;
        }
        Verb::Kubectl { arguments } => return kubectl(&open()?, arguments),
        Verb::Node(verb) => verb.run(&open()?)?,
        Verb::Image(ImageVerb::Load { archive }) => open()?.load_image(archive, &progress)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds what a cluster needs and starts it.
pub(crate) fn up(name: &Name, spec: &Spec, progress: &Progress) -> Result<Cluster> {
    // Before anything is built: who may not start a cluster should not wait for its programs.
    Cluster::check(name, spec)?;
    let workspace = Workspace::load()?;
    let programs =
        progress.stage("build the programs of the machines", |_| static_build::build(&workspace, PACKAGE))?;
    let started = Cluster::up(name.clone(), spec, &Binaries::in_folder(&programs), progress);
    // One that was refused is as it was: up with other settings, or not there.
    if started.is_ok() || !is_half_up(name)? {
        return Ok(started?);
    }
    started.with_context(|| {
        format!(
            "cluster {0:?} is not up; what was started goes on for a look at its logs, until `cargo xtask cluster down --name {0}`",
            name.as_str()
        )
    })
}

fn is_half_up(name: &Name) -> Result<bool> {
    Ok(Folder::of(name.clone())?.path().exists() && Cluster::open(name.clone()).is_err())
}

fn start(name: &Name, spec: &Spec, progress: &Progress) -> Result<()> {
    let cluster = up(name, spec, progress)?;
    let flag = if name.as_str() == DEFAULT { String::new() } else { format!(" --name {}", name.as_str()) };
    print(&format!(
        "The cluster {0} is up, its API at https://127.0.0.1:{1}.\n\
         Look around:   cargo xtask cluster kubectl{flag} get nodes\n\
         Elsewhere:     cargo xtask cluster kubeconfig{flag} > FILE, context stowage-{0}\n\
         Stop it:       cargo xtask cluster down{flag}\n",
        name.as_str(),
        cluster.state().port,
    ))
}

impl NodeVerb {
    fn run(&self, cluster: &Cluster) -> stowage_cluster::Result<()> {
        match self {
            Self::Kill(node) => cluster.kill_node(&node.node),
            Self::Return(node) => cluster.return_node(&node.node),
            Self::Freeze(node) => cluster.freeze_node(&node.node),
            Self::Partition(node) => cluster.partition_node(&node.node),
            Self::RestartKubelet(node) => cluster.restart_kubelet(&node.node),
        }
    }
}

/// kubectl's exit code is ours.
fn kubectl(cluster: &Cluster, arguments: &[String]) -> Result<ExitCode> {
    let status = cluster.kubectl().command().args(arguments).status().context("cannot start kubectl")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn status(cluster: &Cluster) -> Result<String> {
    let mut table = format!("{:<14} {:<12} {:<9} {:>7}  DAEMONS\n", "MACHINE", "STATE", "NODE", "MIB");
    let machines = cluster.status()?;
    for machine in &machines {
        let fate = match machine.fate {
            Fate::Running => "running",
            Fate::Killed => "killed",
            Fate::Frozen => "frozen",
            Fate::Partitioned => "partitioned",
        };
        let node = machine.node.as_deref().unwrap_or("-");
        let (name, mib, daemons) = (&machine.name, machine.memory_kib >> 10, machine.daemons.join(" "));
        writeln!(table, "{name:<14} {fate:<12} {node:<9} {mib:>7}  {daemons}")?;
    }
    let all: u64 = machines.iter().map(|machine| machine.memory_kib).sum();
    writeln!(table, "\n{} MiB in all; logs and keys in {}", all >> 10, cluster.folder().path().display())?;
    writeln!(table, "Kubernetes' programs in {}", cache_folder()?.join("tools").display())?;
    Ok(table)
}

fn print(text: &str) -> Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        cluster: ClusterArgs,
    }

    #[test]
    fn the_name_of_a_node_is_not_taken_for_that_of_its_cluster() {
        for line in ["--name lab node kill n2", "node kill n2 --name lab"] {
            let words = std::iter::once("cluster").chain(line.split(' '));
            let ClusterArgs { name, command } = Line::try_parse_from(words).unwrap().cluster;
            let Verb::Node(NodeVerb::Kill(node)) = command else { panic!("{line}: {command:?}") };
            assert_eq!((name.as_str(), node.node.as_str()), ("lab", "n2"), "{line}");
        }
    }

    #[test]
    fn what_is_asked_for_is_what_is_wanted_of_the_cluster() {
        let line =
            "cluster up --nodes 1 --virtual 2 --virtual-cpu 1500 --virtual-memory 512 --virtual-pods 3";
        let Verb::Up(up) = Line::try_parse_from(line.split(' ')).unwrap().cluster.command else { panic!() };
        let virtual_size = Size { cpu_millis: Some(1500), memory_mib: Some(512), pods: Some(3) };
        assert_eq!(up.spec(), Spec { nodes: 1, virtual_nodes: 2, virtual_size, ..Spec::default() });
    }
}
