//! Benches of the product on a real API server, as ratios in one run. `cargo xtask bench` starts the cluster, builds
//! the programs and calls this one.

mod nodepool;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// What a bench, or a helper of one, comes to.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Parser)]
#[command(about = "Benches of the product on a real API server")]
enum Bench {
    /// A pool over many nodes, beside a bare client that sends the same patches.
    Nodepool(nodepool::Settings),
}

/// Whether every figure met its aim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    Missed,
}

#[tokio::main]
async fn main() -> ExitCode {
    let verdict = match Bench::parse() {
        Bench::Nodepool(settings) => nodepool::run(&settings).await,
    };
    match verdict {
        Ok(Verdict::Met) => ExitCode::SUCCESS,
        Ok(Verdict::Missed) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing can be said about a standard error that is closed.
            _ = writeln!(io::stderr().lock(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Says something to people while the bench goes on.
fn tell(text: &str) -> Outcome {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}
