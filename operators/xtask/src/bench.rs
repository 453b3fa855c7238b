//! `cargo xtask bench`: the product's own figures, as ratios in one run on a real API server.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use stowage_cluster::{Cluster, Name, NodeLifecycle, Progress, Spec};

use crate::{cluster, image, static_build, workspace::Workspace};

/// The cluster of a bench: not the one that a person may have up.
const CLUSTER: &str = "bench";

/// The package that has the program that measures the product.
const BENCHES: &str = "stowage-e2e";

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// One pool over many nodes, beside a bare client that sends the same patches. The last line has its figures as
    /// KEY=VALUE; the exit code is 1 where one misses its aim.
    Nodepool {
        /// How many nodes: objects that look like real ones, of which nobody renews a lease.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        nodes: u32,
        /// How many pairs of runs, after one that is not measured.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
        pairs: u16,
    },
}

/// Runs a bench on a control plane of its own, which is taken down in any case.
pub(crate) fn run(args: &BenchArgs, workspace: &Workspace) -> Result<ExitCode> {
    let Bench::Nodepool { nodes, pairs } = args.bench;
    let progress = Progress::new();
    let name = Name::try_new(CLUSTER)?;
    // One that a killed bench left has its nodes.
    Cluster::down(name.clone(), &progress)?;
    // Nobody answers for the nodes of a bench: the control plane would mark them all as lost, beside what is measured.
    let spec = Spec { nodes: 0, node_lifecycle: NodeLifecycle::Unwatched, ..Spec::default() };
    let running = cluster::up(&name, &spec, &progress)?;
    let measured = nodepool(&running, nodes, pairs, workspace, &progress);
    Cluster::down(name, &progress)?;
    measured
}

fn nodepool(
    running: &Cluster,
    nodes: u32,
    pairs: u16,
    workspace: &Workspace,
    progress: &Progress,
) -> Result<ExitCode> {
    let build = |package| static_build::build(workspace, package);
    let product = progress.stage("build the product", |_| build(image::PACKAGE))?;
    let benches = progress.stage("build the bench", |_| build(BENCHES))?;
    running.kubectl().run(&["apply", "-f", &workspace.root().join("crds").to_string_lossy()])?;
    let mut bench = Command::new(benches.join("bench"));
    bench.args(["nodepool", "--nodes", &nodes.to_string(), "--pairs", &pairs.to_string()]);
    bench.arg("--stowage").arg(product.join(image::PROGRAM)).arg("--kubeconfig").arg(running.kubeconfig());
    let status = bench.status().context("cannot start the bench")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2)))
}
