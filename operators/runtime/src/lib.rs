//! The only room with a socket to the API server. It knows no kind by name.
//!
//! What it guarantees stands in docs/designs/runtime.md. Everything that makes two runs differ is handed in to
//! [`Runtime::new`]: transport, clock, random numbers, the way tasks start. A simulator drives the very same code.

mod applier;
mod backoff;
mod cache;
mod client;
mod clock;
mod error;
mod events;
mod health;
mod key;
mod leader;
mod logs;
mod metrics;
mod permission;
mod queue;
mod reload;
mod review;
mod run;
mod scale;
mod stop;
mod tasks;
mod tuning;
mod version;

use std::sync::{Arc, Mutex};

use kube::{Client, Resource, core::NamespaceResourceScope};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use applier::{AFTER_DENIAL, Applier, Decided, Evicted, Outcomes, WriteLimit, Written};
pub use backoff::Jitter;
pub use cache::{Cache, Change, Child, Held, Projected, Selection, Synced, Undecodable, View, Whole};
pub use client::{DEADLINE, transport};
pub use clock::{Clock, SystemClock};
pub use error::{Class, Error, Operation, Verb};
pub use events::{Event, Severity};
pub use health::Health;
pub use key::Key;
pub use kube::core::Duration;
pub use leader::{Candidate, Farewell, Timing};
pub use logs::{LogFormat, LogLevel, Logs, NoLogLevel};
pub use permission::{PERMISSIONS, Permission, Roles, Scope};
pub use queue::Queue;
pub use run::{Action, Cleanup, Controller, Failure};
pub use stop::asked_to_stop;
pub use tasks::{Spawn, TokioTasks};
pub use tuning::Tuning;
pub use version::TooOld;

use applier::{Denials, Shared};
use backoff::Backoff;
use events::Recorder;
use leader::{Fence, Leader, Leadership, Means, Post, Term};
use metrics::Metrics;
use run::Run;
use tasks::Tasks;
use tuning::Tuned;

/// What is handed in: all that can make two runs differ.
#[derive(Clone)]
pub struct Parts {
    /// The way to the API server, without deadline and retry: a cluster, a server in memory, a fault layer.
    pub transport: Client,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub jitter: Jitter,
    /// How tasks start.
    pub spawn: Arc<dyn Spawn>,
    /// Who speaks in events: the name of the pod.
    pub instance: String,
    /// Cancelled when the process is to end.
    pub stop: CancellationToken,
}

/// What every controller of a process shares.
#[derive(Clone)]
pub struct Runtime {
    /// Behind the fence.
    client: Client,
    /// For what no election governs: the Lease itself, and events.
    unfenced: Client,
    fence: Fence,
    terms: watch::Sender<Option<Term>>,
    writers: TaskTracker,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    metrics: Metrics,
    recorder: Arc<Recorder>,
    tuned: Arc<Tuned>,
    denials: Arc<Denials>,
    tasks: Tasks,
    health: Health,
    stop: CancellationToken,
}

impl Runtime {
    /// Starts nothing yet.
    pub fn new(parts: Parts) -> Result<Self, prometheus::Error> {
        let Parts { transport, clock, jitter, spawn, instance, stop } = parts;
        let metrics = Metrics::new()?;
        let fence = Fence::open(Arc::clone(&clock), stop.clone());
        let always = Fence::open(Arc::clone(&clock), CancellationToken::new());
        let client = client::over(transport.clone(), fence.clone(), jitter.clone(), metrics.clone());
        let unfenced = client::over(transport, always, jitter.clone(), metrics.clone());
        let recorder = Arc::new(Recorder::new(unfenced.clone(), Arc::clone(&clock), instance));
        let tasks = Tasks::new(spawn, stop.clone());
        let health = Health::new(tasks.clone(), metrics.clone(), stop.clone());
        let terms = watch::Sender::new(Some(Term { since: clock::instant() }));
        let writers = TaskTracker::new();
        Ok(Self {
            client,
            unfenced,
            fence,
            terms,
            writers,
            clock,
            jitter,
            metrics,
            recorder,
            tuned: Arc::new(Tuned::new(Tuning::default())),
            denials: Arc::default(),
            tasks,
            health,
            stop,
        })
    }

    /// Sets the limits that every controller obeys, from now on.
    pub fn tune(&self, tuning: Tuning) {
        self.tuned.set(tuning);
    }

    /// The namespace that this process runs in, as its credentials have it.
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Who this process is to the others. A pod has one living process, so its UID tells it from all others; where
    /// there is no UID a random number does.
    pub fn identity(&self, pod: &str, uid: Option<&str>) -> String {
        match uid {
            Some(uid) => format!("{pod}_{uid}"),
            None => format!("{pod}_{:016x}", self.jitter.number()),
        }
    }

    /// From now on writes only while it leads; called before anything runs. Without this call it is taken to be the
    /// only process that writes.
    pub fn campaign(&self, candidate: Candidate) {
        let post = Post {
            fence: self.fence.clone(),
            terms: self.terms.clone(),
            writers: self.writers.clone(),
            stop: self.stop.clone(),
        };
        let means = Means {
            client: self.unfenced.clone(),
            clock: Arc::clone(&self.clock),
            jitter: self.jitter.clone(),
            metrics: self.metrics.clone(),
            recorder: Arc::clone(&self.recorder),
            tasks: self.tasks.clone(),
        };
        self.tasks.start("leader election".to_owned(), Leader::new(candidate, post, means).run());
    }

    /// Returns when this process may write.
    pub async fn elected(&self) {
        Leadership::new(&self.terms).begun().await;
    }

    /// Wall time.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// What the kubelet may ask.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Writes in the name of `controller`.
    pub fn applier(&self, controller: &'static str) -> Applier {
        let shared = Shared {
            client: self.client.clone(),
            metrics: self.metrics.clone(),
            recorder: Arc::clone(&self.recorder),
            bucket: Arc::clone(&self.tuned.bucket),
            denials: Arc::clone(&self.denials),
            stop: self.stop.clone(),
        };
        Applier::new(controller, shared)
    }

    /// A cache of one kind, empty until it is followed.
    pub fn cache<V: View>(&self) -> Arc<Cache<V>> {
        Arc::new(Cache::new(self.metrics.clone(), Selection::default()))
    }

    /// A cache of a part of one kind in one namespace, empty until it is followed.
    pub fn cache_in<V>(&self, namespace: &str, selection: Selection) -> Arc<Cache<V>>
    where
        V: View<Kind: Resource<Scope = NamespaceResourceScope>>,
    {
        Arc::new(Cache::new(self.metrics.clone(), selection.in_namespace(namespace)))
    }

    /// Keeps `cache` fed until the stop signal. The process is not ready before it is complete.
    pub fn follow<V: View>(&self, cache: &Arc<Cache<V>>) {
        let plural = V::Kind::plural(&()).into_owned();
        self.health.await_cache(&plural, cache.synced());
        let feed =
            cache::follow(Arc::clone(cache), self.client.clone(), self.jitter.clone(), self.metrics.clone());
        self.tasks.start_until_stop(format!("watch of {plural}"), feed);
    }

    /// Runs `controller` over `objects` until the stop signal, once every cache in `needs` is complete.
    pub fn run<C: Controller>(
        &self,
        controller: Arc<C>,
        objects: &Arc<Cache<Whole<C::Object>>>,
        queue: &Arc<Queue>,
        needs: Vec<Synced>,
    ) where
        Whole<C::Object>: View<Kind = C::Object, Object = C::Object>,
    {
        self.metrics.look_at(C::NAME, queue, Leadership::new(&self.terms));
        let adding = Arc::clone(queue);
        objects.subscribe(move |change| adding.add(change.key.clone()));
        let run = Run {
            leadership: Leadership::new(&self.terms),
            controller,
            objects: Arc::clone(objects),
            queue: Arc::clone(queue),
            applier: self.applier(C::NAME),
            metrics: self.metrics.clone(),
            jitter: self.jitter.clone(),
            tuned: Arc::clone(&self.tuned),
            failures: Mutex::new(Backoff::new(self.jitter.clone())),
            conflicts: Mutex::new(Backoff::new(self.jitter.clone())),
            reports: Mutex::new(Backoff::new(self.jitter.clone())),
        };
        // The Lease is kept until it has ended: what is under way at the stop signal may still be carried out.
        let until = self.writers.track_future(run.until(self.stop.clone(), needs));
        self.tasks.start(format!("controller of {}", C::NAME), until);
    }

    /// Returns when every task has ended after the stop signal.
    pub async fn ended(&self) {
        self.tasks.ended().await;
    }
}
