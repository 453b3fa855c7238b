//! The loop around every reconcile, once for all kinds.
//!
//! kube's `Controller` and `applier` would carry most of it, but they start waiting objects in random order, which
//! makes a run unrepeatable and may starve one of them, and they tell nobody how long anything waits
//! (docs/designs/runtime.md). So watcher and stream are kube's; queue and loop are ours.

mod settle;

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use kube::Resource;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use crate::{
    Applier, Cache, DEADLINE, Error, Jitter, Key, Queue, Synced, Undecodable, View, Whole,
    applier::Written,
    backoff::Backoff,
    clock,
    leader::{Leadership, Term},
    metrics::{Metrics, size},
    tuning::Tuned,
};

/// What a reconcile asks for when it has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing to do until something changes.
    AwaitChange,
    /// Look again after this time.
    RequeueAfter(Duration),
}

/// How far a cleanup has come that has not failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing of it is left: the object may go.
    Done,
    /// It goes on when something changes.
    AwaitChange,
    /// It goes on after this time.
    RequeueAfter(Duration),
}

/// What an object has to tell its users about an attempt that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The object no longer decodes; its last readable state stays in force.
    Undecodable(String),
    /// The code panicked. The log has the details.
    Panicked,
    /// The API server calls what we send invalid.
    Rejected(String),
    /// An admission plugin or webhook refuses what we send.
    Denied(String),
    /// A permission is missing.
    Forbidden(String),
    /// It has failed several times in a row and goes on trying.
    Failing(String),
}

/// A kind, as the loop sees it.
pub trait Controller: Send + Sync + 'static {
    /// The kind.
    type Object: Resource<DynamicType = ()> + Send + Sync + 'static;

    /// In logs, metrics and as field manager: the plural of the kind.
    const NAME: &'static str;
    /// Keeps a deleted object until `cleanup` is done.
    const FINALIZER: &'static str;

    /// Brings the cluster to what `object` asks for, whatever woke us. The finalizer is there before it runs.
    fn reconcile(
        self: Arc<Self>,
        object: Arc<Self::Object>,
    ) -> impl Future<Output = Result<Action, Error>> + Send;

    /// Undoes it all. Bears that nothing was ever done, and that it was interrupted before.
    fn cleanup(
        self: Arc<Self>,
        object: Arc<Self::Object>,
    ) -> impl Future<Output = Result<Cleanup, Error>> + Send;

    /// There is no such object, and something asked for it: undoes what may be left of one. A write whose answer
    /// was lost can outlive its object, and a finalizer can be removed by hand.
    fn vanished(self: Arc<Self>, key: Key) -> impl Future<Output = Result<(), Error>> + Send;

    /// Tells the users of `object` what is wrong.
    fn report_failure(
        self: Arc<Self>,
        object: Arc<Self::Object>,
        failure: Failure,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The loop of one kind.
pub(crate) struct Run<C: Controller>
where
    Whole<C::Object>: View<Kind = C::Object, Object = C::Object>,
{
    pub(crate) leadership: Leadership,
    pub(crate) controller: Arc<C>,
    pub(crate) objects: Arc<Cache<Whole<C::Object>>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) applier: Applier,
    pub(crate) metrics: Metrics,
    pub(crate) jitter: Jitter,
    pub(crate) tuned: Arc<Tuned>,
    pub(crate) failures: Mutex<Backoff>,
    pub(crate) conflicts: Mutex<Backoff>,
    /// Reports of failures that have failed themselves.
    pub(crate) reports: Mutex<Backoff>,
}

/// How an attempt went.
enum Outcome {
    Done(Action),
    Failed(Error),
    Panicked(String),
    Undecodable(Undecodable),
    Gone,
}

impl<C: Controller> Run<C>
where
    Whole<C::Object>: View<Kind = C::Object, Object = C::Object>,
{
    /// Works until `stop`, whenever this process leads, then lets what runs come to its end.
    pub(crate) async fn until(self, stop: CancellationToken, caches: Vec<Synced>) {
        self.metrics.announce(C::NAME);
        self.gauge(0);
        if stop.run_until_cancelled(all_synced(caches)).await.is_none() {
            return;
        }
        let mut leadership = self.leadership.clone();
        while let Some(term) = stop.run_until_cancelled(leadership.begun()).await {
            log_phase(C::NAME, "caches are complete, starting", 0);
            // Whoever led before may have left any object half done.
            self.objects.all().into_iter().for_each(|(key, _)| self.queue.add(key));
            let lost = matches!(
                select(pin!(self.work(&stop, term)), pin!(leadership.ended(term))).await,
                Either::Right(_)
            );
            self.gauge(0);
            if lost {
                // What ran is dropped by now: it could write no more.
                self.queue.resume(clock::instant());
                log_phase(C::NAME, "standing by", 0);
            }
        }
    }

    async fn work(&self, stop: &CancellationToken, term: Term) {
        let mut running = FuturesUnordered::new();
        while !stop.is_cancelled() {
            while running.len() < self.concurrency()
                && let Some((key, due)) = self.queue.take(clock::instant())
            {
                // What came while another process led has waited for that one.
                running.push(self.attempt(key, due.max(term.since)));
            }
            self.gauge(running.len());
            // `None` is the stop signal, which ends the loop.
            stop.run_until_cancelled(self.news(&mut running)).await.unwrap_or_default();
        }
        log_phase(C::NAME, "stopping", running.len());
        log_phase(C::NAME, "stopped", drain(running).await);
    }

    fn concurrency(&self) -> usize {
        self.tuned.now().concurrency.get()
    }

    fn gauge(&self, running: usize) {
        self.metrics.reconciles.most.with_label_values(&[C::NAME]).set(size(self.concurrency()));
        self.metrics.reconciles.active.with_label_values(&[C::NAME]).set(size(running));
    }

    /// Returns when one of `running` has ended, or when there is room and something may be due.
    async fn news(&self, running: &mut FuturesUnordered<impl Future<Output = ()>>) {
        if running.len() >= self.concurrency() {
            running.next().await;
        } else if running.is_empty() {
            self.queue.changed().await;
        } else {
            select(running.next(), pin!(self.queue.changed())).await;
        }
    }

    async fn attempt(&self, key: Key, due: Instant) {
        let started = clock::instant();
        self.metrics.queues.seconds.with_label_values(&[C::NAME]).observe((started - due).as_secs_f64());
        let object = self.objects.get(&key).map(|held| held.object);
        let generation = object.as_ref().and_then(|object| object.meta().generation);
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let span = info_span!("reconcile", controller = C::NAME, namespace, name = key.name, generation);
        async {
            let outcome = self.outcome(&key, object).await;
            self.settle(&key, outcome, started).await;
        }
        .instrument(span)
        .await;
        self.queue.done(&key);
    }

    async fn outcome(&self, key: &Key, object: Option<Arc<C::Object>>) -> Outcome {
        let deleting = object.as_ref().is_some_and(|object| object.meta().deletion_timestamp.is_some());
        if let Some(undecodable) = self.objects.undecodable(key).filter(|_| !deleting) {
            return Outcome::Undecodable(undecodable);
        }
        let attempt = async {
            match object {
                Some(object) => Ok(Outcome::Done(self.step(key, object).await?)),
                None => Arc::clone(&self.controller).vanished(key.clone()).await.map(|()| Outcome::Gone),
            }
        };
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Failed(error),
            Err(panic) => Outcome::Panicked(words(panic.as_ref())),
        }
    }

    /// Finalizer, reconcile, cleanup: four cases, as in kube's `finalizer`.
    async fn step(&self, key: &Key, object: Arc<C::Object>) -> Result<Action, Error> {
        let controller = Arc::clone(&self.controller);
        match (object.meta().deletion_timestamp.is_some(), has_finalizer::<C>(&object)) {
            (false, true) => controller.reconcile(object).await,
            (false, false) => {
                let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
                finalizers.push(C::FINALIZER.to_owned());
                let written = self.applier.set_finalizers(&self.objects, &*object, &finalizers).await?;
                let fresh =
                    self.objects.get(key).map(|held| held.object).filter(|fresh| has_finalizer::<C>(fresh));
                match fresh {
                    Some(fresh) if written == Written::Done => controller.reconcile(fresh).await,
                    _ => Ok(Action::AwaitChange),
                }
            }
            (true, true) => {
                match controller.cleanup(Arc::clone(&object)).await? {
                    Cleanup::Done => {}
                    Cleanup::AwaitChange => return Ok(Action::AwaitChange),
                    Cleanup::RequeueAfter(after) => return Ok(Action::RequeueAfter(after)),
                }
                let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
                finalizers.retain(|finalizer| finalizer != C::FINALIZER);
                self.applier.set_finalizers(&self.objects, &*object, &finalizers).await?;
                Ok(Action::AwaitChange)
            }
            (true, false) => Ok(Action::AwaitChange),
        }
    }
}

async fn all_synced(caches: Vec<Synced>) {
    for mut cache in caches {
        cache.wait().await;
    }
}

/// Lets what runs come to its end, which is that of the request it waits for: the next is refused. Returns how many have
/// not.
async fn drain(mut running: FuturesUnordered<impl Future<Output = ()>>) -> usize {
    let all = async { while running.next().await.is_some() {} };
    // The time is up, or nothing is left: either way the rest is what counts.
    drop(tokio::time::timeout(DEADLINE, all).await);
    running.len()
}

fn log_phase(controller: &str, phase: &str, running: usize) {
    info!(controller, running, "{phase}");
}

fn has_finalizer<C: Controller>(object: &C::Object) -> bool {
    object.meta().finalizers.iter().flatten().any(|finalizer| finalizer == C::FINALIZER)
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
