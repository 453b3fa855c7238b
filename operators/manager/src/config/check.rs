//! What is wrong with a configuration: the field, and the cure.

use std::{fmt, time::Duration};

use stowage_runtime::LogLevel;

use super::{LeaderElection, OperatorConfiguration};

/// As Go writes durations, and Kubernetes with it: `1h30m`.
pub(super) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// The least and the most of each number.
pub(crate) struct Limits {
    pub(crate) concurrency: (u32, u32),
    pub(crate) per_second: (u32, u32),
    pub(crate) burst: (u32, u32),
}

/// Far from any use, near enough to catch a slip.
pub(crate) const LIMITS: Limits =
    Limits { concurrency: (1, 100), per_second: (1, 10_000), burst: (1, 10_000) };

const RESYNC: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
const LEASE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(600));
const LEAST_RETRY: Duration = Duration::from_millis(200);

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid(Vec<Problem>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    field: String,
    words: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> =
            self.0.iter().map(|Problem { field, words }| format!("{field}: {words}")).collect();
        f.write_str(&problems.join("; "))
    }
}

impl std::error::Error for Invalid {}

/// A text as the fields that it names. Stops at the first that has no place.
pub(super) fn parse(text: &str) -> Result<OperatorConfiguration, Invalid> {
    if text.trim().is_empty() {
        let words =
            "it is empty: begin with apiVersion: config.stowage.dev/v1alpha1 and kind: OperatorConfiguration";
        return Err(Invalid(vec![Problem { field: "the file".to_owned(), words: words.to_owned() }]));
    }
    let mut field = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let field = if field.is_empty() || field == "." { "the file".to_owned() } else { field };
        Invalid(vec![Problem { field, words: error.without_snippet().to_string() }])
    })
}

impl OperatorConfiguration {
    /// What the types cannot say.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        problems.number("concurrency", self.concurrency, LIMITS.concurrency);
        problems.number("writes.perSecond", self.writes.per_second, LIMITS.per_second);
        problems.number("writes.burst", self.writes.burst, LIMITS.burst);
        problems.duration("resyncPeriod", self.resync_period, RESYNC);
        if let Err(error) = self.logging.level.parse::<LogLevel>() {
            problems.add("logging.level", format!("{:?} is no level: {error}", self.logging.level));
        }
        problems.election(&self.leader_election);
        let address = self.node_pool.local_dns_address;
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            let words =
                format!("{address} reaches no cache from a pod: give the address that the cache listens on");
            problems.add("nodePool.localDNSAddress", words);
        }
        if problems.0.is_empty() { Ok(()) } else { Err(Invalid(problems.0)) }
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, words: String) {
        self.0.push(Problem { field: field.to_owned(), words });
    }

    fn number(&mut self, field: &str, number: u32, (least, most): (u32, u32)) {
        if !(least..=most).contains(&number) {
            self.add(field, format!("{number} is out of bounds: give {least} to {most}"));
        }
    }

    fn duration(
        &mut self,
        field: &str,
        given: stowage_runtime::Duration,
        (least, most): (Duration, Duration),
    ) {
        if given.is_negative() || !(least..=most).contains(&given.into()) {
            self.add(field, format!("{given:?} is out of bounds: give {least:?} to {most:?}"));
        }
    }

    fn election(&mut self, election: &LeaderElection) {
        let LeaderElection { mode: _, lease_duration, renew_deadline, retry_period } = election;
        self.duration("leaderElection.leaseDuration", *lease_duration, LEASE);
        self.duration("leaderElection.renewDeadline", *renew_deadline, (Duration::ZERO, LEASE.1));
        self.duration("leaderElection.retryPeriod", *retry_period, (LEAST_RETRY, LEASE.1));
        if !self.0.is_empty() {
            return;
        }
        let [lease, renew, retry]: [Duration; 3] =
            [lease_duration, renew_deadline, retry_period].map(|duration| (*duration).into());
        if lease < renew * 3 / 2 {
            let words = format!(
                "{renew:?} is too long: give at most two thirds of leaseDuration, {:?}",
                lease * 2 / 3
            );
            self.add("leaderElection.renewDeadline", words);
        }
        if renew < retry * 4 {
            let words =
                format!("{retry:?} is too long: give at most a quarter of renewDeadline, {:?}", renew / 4);
            self.add("leaderElection.retryPeriod", words);
        }
    }
}
