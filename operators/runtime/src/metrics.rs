//! What Prometheus reads. Labels come from enums, controller names and kinds, never from objects or error texts.

use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use crate::{Verb, error::Class};

/// The steps of controller-runtime, on which existing dashboards are built.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Every metric of the process, each registered once.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) reconciles: Reconciles,
    pub(crate) queues: Queues,
    pub(crate) caches: Caches,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    writes: IntCounterVec,
}

/// Of the loops.
#[derive(Clone, Debug)]
pub(crate) struct Reconciles {
    pub(crate) total: IntCounterVec,
    pub(crate) errors: IntCounterVec,
    pub(crate) panics: IntCounterVec,
    pub(crate) seconds: HistogramVec,
    pub(crate) active: IntGaugeVec,
    pub(crate) most: IntGaugeVec,
}

/// Of what waits for them.
#[derive(Clone, Debug)]
pub(crate) struct Queues {
    pub(crate) depth: IntGaugeVec,
    pub(crate) seconds: HistogramVec,
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
            Self::Failed(Class::Rejected) => "rejected",
            Self::Failed(Class::Conflict) => "conflict",
            Self::Failed(Class::Transient) => "transient",
            Self::Failed(Class::Forbidden) => "forbidden",
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
        Ok(Self {
            reconciles: Reconciles::new(registry)?,
            queues: Queues::new(registry)?,
            caches: Caches::new(registry)?,
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
            registry: registry.clone(),
        })
    }

    /// All metrics as Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    pub(crate) fn wrote(&self, controller: &str, verb: Verb, result: WriteResult) {
        self.writes.with_label_values(&[controller, verb.as_str(), result.as_str()]).inc();
    }

    pub(crate) fn requested(&self, method: &http::Method, code: u16, took: Duration) {
        self.requests.with_label_values(&[&code.to_string(), method.as_str()]).inc();
        self.request_seconds.with_label_values(&[method.as_str()]).observe(took.as_secs_f64());
    }

    /// Lets every series of a controller exist from the start: an alert on a rate needs a zero to rise from.
    pub(crate) fn announce(&self, controller: &str, workers: usize) {
        for result in ReconcileResult::ALL {
            self.reconciles.total.with_label_values(&[controller, result.as_str()]).inc_by(0);
        }
        self.reconciles.errors.with_label_values(&[controller]).inc_by(0);
        self.reconciles.panics.with_label_values(&[controller]).inc_by(0);
        self.queues.retries.with_label_values(&[controller]).inc_by(0);
        self.reconciles.most.with_label_values(&[controller]).set(size(workers));
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
            depth: gauge(registry, ("workqueue_depth", "Objects that wait for a reconcile."), by)?,
            seconds: seconds(
                registry,
                ("workqueue_queue_duration_seconds", "Time from due to started."),
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

fn seconds(
    registry: &Registry,
    (name, help): Named<'_>,
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    registered(registry, HistogramVec::new(options, labels)?)
}
