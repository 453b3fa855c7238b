//! The command line. Every option can also be given in the environment, as a chart does.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use stowage_runtime::{Key, LogLevel};

use crate::config::LogFormat;

/// Kubernetes controllers for node pools.
#[derive(Debug, Parser)]
#[command(name = "stowage", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the controllers until SIGTERM.
    Run(Run),
    /// Ask the API server whether this account has the permissions that the controllers need.
    Check(Process),
    /// Print the permissions that the controllers need, as YAML.
    Rbac,
    /// Look at a configuration file without running anything.
    #[command(subcommand)]
    Config(Config),
    /// Take everything of Stowage's from nodes and objects. For an uninstall, with the controllers stopped.
    Release(Release),
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a file, and print it with every default; or say what is wrong with it.
    Check {
        /// File with an OperatorConfiguration.
        file: PathBuf,
    },
    /// Print the JSON schema of the file.
    Schema,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Where /healthz, /readyz and /metrics are served. `[::]` is every address, of IPv4 as well, or alone where the
    /// kernel has no IPv6.
    #[arg(long, env = "STOWAGE_LISTEN", default_value = "[::]:8080")]
    pub(crate) listen: SocketAddr,
    /// File with an OperatorConfiguration. By default all is as `stowage config check` prints it for an empty one.
    #[arg(long, env = "STOWAGE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) process: Process,
}

#[derive(Args, Debug)]
pub(crate) struct Release {
    /// Deployment that is scaled to 0 first, as NAMESPACE/NAME: the controllers, which would put everything back.
    #[arg(long, env = "STOWAGE_STOP", value_parser = deployment)]
    pub(crate) stop: Option<Key>,
    /// Give up after this many seconds.
    #[arg(long, env = "STOWAGE_RELEASE_TIMEOUT", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) process: Process,
}

/// What every command has that talks to the cluster.
#[derive(Args, Debug)]
pub(crate) struct Process {
    /// Name of this pod, for events and the Lease.
    #[arg(long, env = "POD_NAME", default_value = "stowage")]
    pub(crate) pod_name: String,
    /// UID of this pod, for the Lease. By default a random number.
    #[arg(long, env = "POD_UID")]
    pub(crate) pod_uid: Option<String>,
    /// Namespace of the installation, where its Lease is. By default the one that the credentials name.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// How log lines look. Goes before the configuration file, and is json without either.
    #[arg(long, env = "STOWAGE_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Least level that is logged: error, warn, info, debug or trace; others for parts of the program after a comma, as
    /// PART=LEVEL. Goes before the configuration file, and is info without either.
    #[arg(long, env = "STOWAGE_LOG_LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
}

fn deployment(text: &str) -> Result<Key, &'static str> {
    let (namespace, name) = text.split_once('/').ok_or("write it as NAMESPACE/NAME")?;
    Ok(Key { namespace: Some(namespace.to_owned()), name: name.to_owned() })
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.trim_end_matches('s').parse().map(Duration::from_secs)
}
