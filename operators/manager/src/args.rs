//! The command line. Every option can also be given in the environment, as a chart does.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use stowage_runtime::{Key, LogFormat};
use tracing::level_filters::LevelFilter;

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
    /// Take everything of Stowage's from nodes and objects. For an uninstall, with the controllers stopped.
    Release(Release),
    /// Print the version.
    Version,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "STOWAGE_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
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
    /// Name of this pod, for events.
    #[arg(long, env = "POD_NAME", default_value = "stowage")]
    pub(crate) pod_name: String,
    /// How log lines look.
    #[arg(long, env = "STOWAGE_LOG_FORMAT", default_value = "json")]
    pub(crate) log_format: Format,
    /// Least level that is logged: error, warn, info, debug or trace.
    #[arg(long, env = "STOWAGE_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: LevelFilter,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// Words.
    Text,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Text => Self::Text,
        }
    }
}

fn deployment(text: &str) -> Result<Key, &'static str> {
    let (namespace, name) = text.split_once('/').ok_or("write it as NAMESPACE/NAME")?;
    Ok(Key { namespace: Some(namespace.to_owned()), name: name.to_owned() })
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.trim_end_matches('s').parse().map(Duration::from_secs)
}
