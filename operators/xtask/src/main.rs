//! The project's own commands, as `cargo xtask COMMAND`.

mod bench;
mod chart;
mod cluster;
mod crds;
mod demo;
mod docs;
mod generated;
mod image;
mod layers;
mod product;
mod roles;
mod static_build;
mod suite;
mod test;
mod values;
mod workspace;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// What this repository generates, checks, builds and starts.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure the product beside a bare client, as ratios in one run on a control plane of its own.
    Bench(bench::BenchArgs),
    /// Write the parts of charts/ that follow from the code.
    Chart {
        #[command(flatten)]
        mode: generated::Mode,
    },
    /// Start, stop and use the project's own cluster.
    Cluster(cluster::ClusterArgs),
    /// Write crds/ from the types of the kinds.
    Crds {
        #[command(flatten)]
        mode: generated::Mode,
    },
    /// Show the product at work, on the project's own cluster or on yours.
    Demo(demo::DemoArgs),
    /// Write docs/reference/ from the types of the kinds, and the chart's README from its values.
    Docs {
        #[command(flatten)]
        mode: generated::Mode,
    },
    /// Build the product's image, as an OCI archive.
    Image(image::ImageArgs),
    /// Show who imports whom, and check that, the cited rules and the size of every file.
    Layers,
    /// Run the whole suite; the last line is `N passed, N failed, N skipped`.
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing can be said about a standard error that is closed.
            _ = writeln!(io::stderr().lock(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Task::Bench(args) => bench::run(args, &Workspace::load()?),
        Task::Chart { mode } => {
            let workspace = Workspace::load()?;
            let [generated, values] = chart::stowage(&workspace)?;
            mode.run(&[chart::crds(&workspace)?, generated, values])
        }
        Task::Cluster(args) => cluster::run(args),
        Task::Crds { mode } => mode.run(&[crds::folder(&Workspace::load()?)?]),
        Task::Demo(args) => demo::run(args),
        Task::Docs { mode } => {
            let workspace = Workspace::load()?;
            mode.run(&[docs::folder(&workspace), chart::readme(&workspace)?])
        }
        Task::Image(args) => image::run(args, &Workspace::load()?),
        Task::Layers => layers::run(&Workspace::load()?),
        Task::Test(args) => test::run(args, &Workspace::load()?),
    }
}
