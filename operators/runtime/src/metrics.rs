//! What Prometheus reads. Labels come from enums, controller names and kinds, never from objects or error texts.

mod reloads;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector, process_collector::ProcessCollector,
};

pub(crate) use self::reloads::{ReloadResult, Reloads};
use crate::{Queue, Verb, clock, error::Class, leader::Leadership, queue::Activity};

/// The steps of controller-runtime, on which existing dashboards are built.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const LEADS: &str = "1 where this process holds the Lease and writes, 0 where it stands by.";

/// Every metric of the process, each registered once.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// The queue of each controller, asked when somebody reads, and whether it is worked on.
    looked_at: Arc<Mutex<LookedAt>>,
    pub(crate) reconciles: Reconciles,
    pub(crate) queues: Queues,
    pub(crate) caches: Caches,
    pub(crate) reloads: Reloads,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    writes: IntCounterVec,
    write_wait: HistogramVec,
    /// For whom a dashboard of controller-runtime looks, and under our own name for our own rules.
    leaders: [IntGaugeVec; 2],
}

type LookedAt = BTreeMap<&'static str, (Weak<Queue>, Leadership)>;

/// Of the loops.
#[derive(Clone, Debug)]
pub(crate) struct Reconciles {
    pub(crate) total: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) terminal: IntCounterVec,
    pub(crate) panics: IntCounterVec,
    pub(crate) seconds: HistogramVec,
    pub(crate) active: IntGaugeVec,
    pub(crate) most: IntGaugeVec,
}

/// Of what waits for them.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    depth: IntGaugeVec,
    adds: IntCounterVec,
    pub(crate) seconds: HistogramVec,
    pub(crate) work: HistogramVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    pub(crate) retries: IntCounterVec,
}

/// Of what they read.
#[derive(Clone, Debug)]
pub(crate) struct Caches {
    pub(crate) objects: IntGaugeVec,
    pub(crate) undecodable: IntGaugeVec,
    pub(crate) watch_errors: IntCounterVec,
}

/// How a write ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WriteResult {
    Done,
    Gone,
    /// A disruption budget forbids it for now.
    Blocked,
    /// The same was refused a moment ago, and it was not sent.
    KeptBack,
    Failed(Class),
}

/// How a reconcile ended, in controller-runtime's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReconcileResult {
    Success,
    Requeue,
    RequeueAfter,
    Error,
}

impl WriteResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Gone => "gone",
            Self::Blocked => "blocked",
            Self::KeptBack => "kept_back",
            Self::Failed(Class::Denied) => "denied",
            Self::Failed(Class::Rejected) => "rejected",
            Self::Failed(Class::Conflict) => "conflict",
            Self::Failed(Class::Transient) => "transient",
            Self::Failed(Class::Forbidden) => "forbidden",
            Self::Failed(Class::NotLeading) => "not_leading",
        }
    }
}

impl ReconcileResult {
    pub(crate) const ALL: [Self; 4] = [Self::Success, Self::Requeue, Self::RequeueAfter, Self::Error];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Requeue => "requeue",
            Self::RequeueAfter => "requeue_after",
            Self::Error => "error",
        }
    }
}

impl Metrics {
    /// Registers all of them in a registry of their own.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = &Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let build = ("stowage_build_info", "Always 1; says which version runs.");
        gauge(registry, build, &["version"])?.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            looked_at: Arc::default(),
            reconciles: Reconciles::new(registry)?,
            queues: Queues::new(registry)?,
            caches: Caches::new(registry)?,
            reloads: Reloads::new(registry)?,
            requests: counter(
                registry,
                ("rest_client_requests_total", "Answers of the API server; code is 0 where there was none."),
                &["code", "method"],
            )?,
            request_seconds: seconds(
                registry,
                ("rest_client_request_duration_seconds", "Time to the answer, retries included."),
                &["verb"],
            )?,
            writes: counter(
                registry,
                ("stowage_writes_total", "Writes to the cluster by result."),
                &["controller", "verb", "result"],
            )?,
            write_wait: seconds(
                registry,
                (
                    "stowage_write_wait_seconds",
                    "Time that a write waited for its turn under the write limit.",
                ),
                &["controller"],
            )?,
            leaders: [
                gauge(registry, ("leader_election_master_status", LEADS), &["name"])?,
                gauge(registry, ("stowage_leader", LEADS), &["name"])?,
            ],
            registry: registry.clone(),
        })
    }

    /// All metrics as Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        self.look();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// From now on tells of `queue`, too.
    pub(crate) fn look_at(&self, controller: &'static str, queue: &Arc<Queue>, leadership: Leadership) {
        let mut queues = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        queues.insert(controller, (Arc::downgrade(queue), leadership));
    }

    fn look(&self) {
        let queues = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        for (controller, (queue, leadership)) in queues.iter() {
            let Some(queue) = queue.upgrade() else { continue };
            let Activity { added, depth, unfinished, longest } = queue.activity(clock::instant());
            let name = &[*controller];
            // While another process leads nothing waits here: it does the work.
            let depth = if leadership.is_held() { depth } else { 0 };
            self.queues.depth.with_label_values(name).set(size(depth));
            self.queues.adds.with_label_values(name).inc_by(added);
            self.queues.unfinished.with_label_values(name).set(unfinished.as_secs_f64());
            self.queues.longest.with_label_values(name).set(longest.as_secs_f64());
        }
    }

    pub(crate) fn wrote(&self, controller: &str, verb: Verb, result: WriteResult) {
        self.writes.with_label_values(&[controller, verb.as_str(), result.as_str()]).inc();
    }

    /// How long a write waited for its turn under the write limit.
    pub(crate) fn waited(&self, controller: &str, waited: Duration) {
        self.write_wait.with_label_values(&[controller]).observe(waited.as_secs_f64());
    }

    /// How many leaders of `lease` this process is.
    pub(crate) fn leads(&self, lease: &str, leaders: i64) {
        for gauge in &self.leaders {
            gauge.with_label_values(&[lease]).set(leaders);
        }
    }

    pub(crate) fn requested(&self, method: &http::Method, code: u16, took: Duration) {
        self.requests.with_label_values(&[&code.to_string(), method.as_str()]).inc();
        self.request_seconds.with_label_values(&[method.as_str()]).observe(took.as_secs_f64());
    }

    /// Lets every series of a controller exist from the start: an alert on a rate needs a zero to rise from.
    pub(crate) fn announce(&self, controller: &str) {
        for result in ReconcileResult::ALL {
            self.reconciles.total.with_label_values(&[controller, result.as_str()]).inc_by(0);
        }
        self.reconciles.errors.with_label_values(&[controller]).inc_by(0);
        self.reconciles.terminal.with_label_values(&[controller]).inc_by(0);
        self.reconciles.panics.with_label_values(&[controller]).inc_by(0);
        self.queues.retries.with_label_values(&[controller]).inc_by(0);
        for class in [Class::Denied, Class::Forbidden] {
            let result = WriteResult::Failed(class).as_str();
            self.writes.with_label_values(&[controller, Verb::Patch.as_str(), result]).inc_by(0);
        }
        let (reconciles, queues) = (&self.reconciles, &self.queues);
        for seconds in [&self.write_wait, &reconciles.seconds, &queues.seconds, &queues.work] {
            drop(seconds.with_label_values(&[controller]));
        }
    }
}

impl Reconciles {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = &["controller"];
        Ok(Self {
            total: counter(
                registry,
                ("controller_runtime_reconcile_total", "Reconciles by result."),
                &["controller", "result"],
            )?,
            errors: counter(
                registry,
                ("controller_runtime_reconcile_errors_total", "Reconciles that failed."),
                by,
            )?,
            terminal: counter(
                registry,
                (
                    "controller_runtime_terminal_reconcile_errors_total",
                    "Reconciles that failed and are not retried before a change.",
                ),
                by,
            )?,
            panics: counter(
                registry,
                ("controller_runtime_reconcile_panics_total", "Reconciles that panicked."),
                by,
            )?,
            seconds: seconds(
                registry,
                ("controller_runtime_reconcile_time_seconds", "Time of one reconcile."),
                by,
            )?,
            active: gauge(registry, ("controller_runtime_active_workers", "Reconciles that run."), by)?,
            most: gauge(
                registry,
                ("controller_runtime_max_concurrent_reconciles", "Reconciles that may run at once."),
                by,
            )?,
        })
    }
}

impl Queues {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = &["name"];
        Ok(Self {
            depth: gauge(
                registry,
                ("workqueue_depth", "Objects that are due for a reconcile and wait for a worker."),
                by,
            )?,
            adds: counter(registry, ("workqueue_adds_total", "Reconciles that were asked for."), by)?,
            seconds: seconds(
                registry,
                ("workqueue_queue_duration_seconds", "Time from due to started."),
                by,
            )?,
            work: seconds(registry, ("workqueue_work_duration_seconds", "Time of one reconcile."), by)?,
            unfinished: real(
                registry,
                ("workqueue_unfinished_work_seconds", "How long the reconciles that run have run, together."),
                by,
            )?,
            longest: real(
                registry,
                (
                    "workqueue_longest_running_processor_seconds",
                    "How long the reconcile has run that has run for longest.",
                ),
                by,
            )?,
            retries: counter(
                registry,
                ("workqueue_retries_total", "Reconciles asked for by a failure."),
                by,
            )?,
        })
    }
}

impl Caches {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by = &["kind"];
        Ok(Self {
            objects: gauge(registry, ("stowage_cached_objects", "Objects in a cache."), by)?,
            undecodable: gauge(
                registry,
                ("stowage_undecodable_objects", "Objects that this version cannot read."),
                by,
            )?,
            watch_errors: counter(
                registry,
                ("stowage_watch_errors_total", "Errors of a watch, each followed by a new try."),
                by,
            )?,
        })
    }
}

/// A count as a gauge holds it.
pub(crate) fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Name and help.
type Named<'a> = (&'a str, &'a str);

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(
    registry: &Registry,
    (name, help): Named<'_>,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauge(
    registry: &Registry,
    (name, help): Named<'_>,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn real(
    registry: &Registry,
    (name, help): Named<'_>,
    labels: &[&str],
) -> Result<GaugeVec, prometheus::Error> {
    registered(registry, GaugeVec::new(Opts::new(name, help), labels)?)
}

fn seconds(
    registry: &Registry,
    (name, help): Named<'_>,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    registered(registry, HistogramVec::new(options, labels)?)
}
