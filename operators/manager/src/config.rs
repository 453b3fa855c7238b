//! The configuration file, `OperatorConfiguration`: what it may hold, and what follows from it.
//!
//! What a doc comment says here stands in the schema that `stowage config schema` prints.

mod check;
mod command;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stowage_runtime::{Duration, LogLevel, Timing, Tuning, WriteLimit};

use self::check::{DURATION, parse};
pub(crate) use self::{
    check::{Invalid, LIMITS},
    command::command,
};

/// Settings of the manager. Every field but the first two may be left out.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct OperatorConfiguration {
    /// The version of this format.
    pub(crate) api_version: ApiVersion,
    /// What this file is.
    pub(crate) kind: Kind,
    /// How many objects of one kind are worked on at once. Takes effect at once.
    #[serde(default = "concurrency")]
    #[schemars(range(min = LIMITS.concurrency.0, max = LIMITS.concurrency.1))]
    pub(crate) concurrency: u32,
    /// How fast the API server is written to. Takes effect at once.
    #[serde(default)]
    pub(crate) writes: Writes,
    /// How often each object is looked at although nothing has changed, a fifth more or less: 1m to 24h. Takes effect
    /// as each object comes to its next turn.
    #[serde(default = "resync_period")]
    #[schemars(with = "String", regex(pattern = DURATION))]
    pub(crate) resync_period: Duration,
    /// What is logged, and how.
    #[serde(default)]
    pub(crate) logging: Logging,
    /// Which of several managers writes. Takes effect at the next start.
    #[serde(default)]
    pub(crate) leader_election: LeaderElection,
    /// Settings of the controller of node pools.
    #[serde(default)]
    pub(crate) node_pool: NodePool,
}

/// The version of this format.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) enum ApiVersion {
    /// The only one.
    #[serde(rename = "config.stowage.dev/v1alpha1")]
    V1Alpha1,
}

/// What this file is.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) enum Kind {
    /// The configuration of the manager.
    OperatorConfiguration,
}

/// A bucket of tokens, one for each write to a node, a child object or a status, shared by all controllers.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Writes {
    /// Whether there is a limit. Without one, each change of a pool costs the API server what it can bear.
    pub(crate) mode: WriteMode,
    /// Writes in each second.
    #[schemars(range(min = LIMITS.per_second.0, max = LIMITS.per_second.1))]
    pub(crate) per_second: u32,
    /// Writes in a row that need not wait.
    #[schemars(range(min = LIMITS.burst.0, max = LIMITS.burst.1))]
    pub(crate) burst: u32,
}

/// Whether writes are limited.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) enum WriteMode {
    /// To `perSecond` and `burst`.
    Limited,
    /// Not at all: for a benchmark.
    Unlimited,
}

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Logging {
    /// How a line looks. Takes effect at the next start.
    pub(crate) format: LogFormat,
    /// The least level that is logged: error, warn, info, debug or trace; others for parts of the program after a comma,
    /// as in `info,stowage_runtime=debug`. Takes effect at once.
    pub(crate) level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    #[serde(rename = "JSON")]
    Json,
    /// Words.
    Text,
}

/// Which of several managers writes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct LeaderElection {
    /// Whether several may run beside each other.
    pub(crate) mode: LeaderElectionMode,
    /// How long a manager that has died is waited for: 3s to 10m. It has to be one and a half times `renewDeadline` or
    /// more, so that clocks that do not run alike make no two leaders.
    #[schemars(with = "String", regex(pattern = DURATION))]
    pub(crate) lease_duration: Duration,
    /// A leader that could not renew its Lease for as long writes no more. It has to be four times `retryPeriod` or more,
    /// so that one lost answer costs no leadership.
    #[schemars(with = "String", regex(pattern = DURATION))]
    pub(crate) renew_deadline: Duration,
    /// How often a leader renews its Lease: 200ms or more.
    #[schemars(with = "String", regex(pattern = DURATION))]
    pub(crate) retry_period: Duration,
}

/// Whether several managers may run beside each other.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(crate) enum LeaderElectionMode {
    /// One works, the others stand by.
    Enabled,
    /// This is the only one, and writes at once.
    Disabled,
}

/// Settings of the controller of node pools.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct NodePool {
    /// The address at which a node-local DNS cache listens on each node of a pool with `localDNS: true`. Takes effect at
    /// the next start.
    #[serde(rename = "localDNSAddress")]
    #[schemars(with = "String")]
    pub(crate) local_dns_address: IpAddr,
}

fn concurrency() -> u32 {
    u32::try_from(Tuning::default().concurrency.get()).unwrap_or(u32::MAX)
}

fn resync_period() -> Duration {
    Tuning::default().resync.into()
}

fn seconds(seconds: u64) -> Duration {
    std::time::Duration::from_secs(seconds).into()
}

impl Default for OperatorConfiguration {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::OperatorConfiguration,
            concurrency: concurrency(),
            writes: Writes::default(),
            resync_period: resync_period(),
            logging: Logging::default(),
            leader_election: LeaderElection::default(),
            node_pool: NodePool::default(),
        }
    }
}

impl Default for Writes {
    fn default() -> Self {
        Self { mode: WriteMode::Limited, per_second: 50, burst: 100 }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: "info".to_owned() }
    }
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self {
            mode: LeaderElectionMode::Enabled,
            lease_duration: seconds(15),
            renew_deadline: seconds(10),
            retry_period: seconds(2),
        }
    }
}

impl Default for NodePool {
    fn default() -> Self {
        // The address that Kubernetes' own NodeLocal DNSCache is documented with.
        Self { local_dns_address: Ipv4Addr::new(169, 254, 20, 10).into() }
    }
}

impl OperatorConfiguration {
    /// The configuration in a text, whole and sound.
    pub(crate) fn try_new(text: &str) -> Result<Self, Invalid> {
        let configuration = parse(text)?;
        configuration.check()?;
        Ok(configuration)
    }

    /// The configuration in a file, and its text.
    pub(crate) fn read(file: &Path) -> Result<(Self, String), String> {
        let name = file.display();
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        let configuration =
            Self::try_new(&text).map_err(|invalid| format!("{name} is invalid: {invalid}"))?;
        Ok((configuration, text))
    }

    /// What may change while the process runs.
    pub(crate) fn tuning(&self) -> Tuning {
        let Writes { mode, per_second, burst } = self.writes;
        // No zero passes the checks.
        let writes = match (mode, per_second.try_into(), burst.try_into()) {
            (WriteMode::Limited, Ok(per_second), Ok(burst)) => WriteLimit::Bucket { per_second, burst },
            (WriteMode::Limited, _, _) => WriteLimit::DEFAULT,
            (WriteMode::Unlimited, _, _) => WriteLimit::Disabled,
        };
        let default = Tuning::default();
        let concurrency = usize::try_from(self.concurrency).ok().and_then(|count| count.try_into().ok());
        Tuning {
            concurrency: concurrency.unwrap_or(default.concurrency),
            writes,
            resync: self.resync_period.into(),
        }
    }

    /// The fields in which `self` differs from `running` without effect before the next start.
    pub(crate) fn waiting(&self, running: &Self) -> Vec<&'static str> {
        let fields = [
            ("logging.format", self.logging.format != running.logging.format),
            ("leaderElection", self.leader_election != running.leader_election),
            ("nodePool", self.node_pool != running.node_pool),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
    }
}

impl Logging {
    /// What is logged. No level that is none passes the checks.
    pub(crate) fn level(&self) -> LogLevel {
        self.level.parse().unwrap_or_default()
    }
}

impl LeaderElection {
    pub(crate) fn timing(&self) -> Timing {
        Timing::new(self.lease_duration.into(), self.renew_deadline.into(), self.retry_period.into())
    }
}

impl From<LogFormat> for stowage_runtime::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests;
