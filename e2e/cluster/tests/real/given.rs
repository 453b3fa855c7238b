//! What `cargo xtask test` hands to these tests.

use std::{env, error::Error, path::PathBuf};

use stowage_cluster::{Cluster, Name};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|error| format!("{name}: {error}; run these tests with `cargo xtask test`").into())
}

/// The program that people start clusters with.
pub(crate) fn xtask() -> Outcome<PathBuf> {
    Ok(variable("STOWAGE_XTASK")?.into())
}

/// The folder of the static programs `pause`, `relay` and `web`.
pub(crate) fn binaries() -> Outcome<PathBuf> {
    Ok(variable("STOWAGE_BINARIES")?.into())
}

/// The cluster of the whole run.
pub(crate) fn cluster() -> Outcome<Cluster> {
    Ok(Cluster::open(Name::try_new(&variable("STOWAGE_CLUSTER")?)?)?)
}
