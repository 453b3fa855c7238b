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
mod logs;
mod metrics;
mod permission;
mod queue;
mod review;
mod run;
mod scale;
mod stop;
mod tasks;

use std::sync::{Arc, Mutex};

use kube::{Client, Resource};
use tokio_util::sync::CancellationToken;

pub use applier::{Applier, Decided, Written};
pub use backoff::Jitter;
pub use cache::{Cache, Change, Held, Projected, Synced, Undecodable, View, Whole};
pub use client::{DEADLINE, transport};
pub use clock::{Clock, SystemClock};
pub use error::{Class, Error, Operation, Verb};
pub use events::{Event, Severity};
pub use health::Health;
pub use key::Key;
pub use logs::{LogFormat, start_logs};
pub use permission::{PERMISSIONS, Permission, Roles, Scope};
pub use queue::Queue;
pub use run::{Action, Controller, Failure};
pub use stop::asked_to_stop;
pub use tasks::{Spawn, TokioTasks};

use backoff::Backoff;
use events::Recorder;
use metrics::Metrics;
use run::Run;
use tasks::Tasks;

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
    client: Client,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    metrics: Metrics,
    recorder: Arc<Recorder>,
    tasks: Tasks,
    health: Health,
    stop: CancellationToken,
}

impl Runtime {
    /// Starts nothing yet.
    pub fn new(parts: Parts) -> Result<Self, prometheus::Error> {
        let Parts { transport, clock, jitter, spawn, instance, stop } = parts;
        let metrics = Metrics::new()?;
        let client = client::over(transport, jitter.clone(), metrics.clone());
        let recorder = Arc::new(Recorder::new(client.clone(), Arc::clone(&clock), instance));
        let tasks = Tasks::new(spawn, stop.clone());
        let health = Health::new(tasks.clone(), metrics.clone(), stop.clone());
        Ok(Self { client, clock, jitter, metrics, recorder, tasks, health, stop })
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
        Applier::new(self.client.clone(), controller, self.metrics.clone(), Arc::clone(&self.recorder))
    }

    /// A cache of one kind, empty until it is followed.
    pub fn cache<V: View>(&self) -> Arc<Cache<V>> {
        Arc::new(Cache::new(self.metrics.clone()))
    }

    /// Keeps `cache` fed until the stop signal. The process is not ready before it is complete.
    pub fn follow<V: View>(&self, cache: &Arc<Cache<V>>) {
        let plural = V::Kind::plural(&()).into_owned();
        self.health.await_cache(plural.clone(), cache.synced());
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
        let adding = Arc::clone(queue);
        objects.subscribe(move |change| adding.add(change.key.clone()));
        let run = Run {
            controller,
            objects: Arc::clone(objects),
            queue: Arc::clone(queue),
            applier: self.applier(C::NAME),
            recorder: Arc::clone(&self.recorder),
            metrics: self.metrics.clone(),
            jitter: self.jitter.clone(),
            failures: Mutex::new(Backoff::new(self.jitter.clone())),
            conflicts: Mutex::new(Backoff::new(self.jitter.clone())),
        };
        self.tasks.start(format!("controller of {}", C::NAME), run.until(self.stop.clone(), needs));
    }

    /// Returns when every task has ended after the stop signal.
    pub async fn ended(&self) {
        self.tasks.ended().await;
    }
}
