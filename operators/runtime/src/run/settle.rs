//! What follows from how an attempt went: the next one, the metrics, the log line, the condition.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Action, Controller, Failure, Outcome, Run, words};
use crate::{
    AFTER_DENIAL, Event, Key, Severity, Undecodable, View, Whole,
    backoff::{Backoff, Growth},
    clock,
    error::Class,
    metrics::ReconcileResult,
};

/// Longer than it takes until the loop knows that its term has ended.
const AFTER_THE_TERM: Duration = Duration::from_secs(1);
const FAILURE: Growth = Growth { first: Duration::from_secs(1), most: Duration::from_secs(300) };
/// At once, unless the conflicts go on: then the other writer is given room.
const CONFLICT: Growth = Growth { first: Duration::from_millis(10), most: Duration::from_secs(2) };
/// Permissions come from a person.
const FORBIDDEN: Growth = Growth { first: Duration::from_secs(60), most: Duration::from_secs(300) };
/// A hiccup is nobody's business; this many in a row are.
const FAILURES_WORTH_A_CONDITION: u32 = 3;
/// The refused write is kept back until then.
const DENIED: Growth = Growth { first: AFTER_DENIAL, most: AFTER_DENIAL };

impl<C: Controller> Run<C>
where
    Whole<C::Object>: View<Kind = C::Object, Object = C::Object>,
{
    /// Decides what comes next, and says it where users look.
    pub(super) async fn settle(&self, key: &Key, outcome: Outcome, started: Instant) {
        let took = started.elapsed();
        self.metrics.reconciles.seconds.with_label_values(&[C::NAME]).observe(took.as_secs_f64());
        self.metrics.queues.work.with_label_values(&[C::NAME]).observe(took.as_secs_f64());
        match outcome {
            Outcome::Gone => {
                self.reset(key);
                lock(&self.reports).reset(key);
                self.count(ReconcileResult::Success);
            }
            Outcome::Done(action) => self.succeed(key, action, took),
            Outcome::Undecodable(undecodable) => {
                self.settle_undecodable(key, undecodable, took).await;
            }
            Outcome::Panicked(words) => {
                self.metrics.reconciles.panics.with_label_values(&[C::NAME]).inc();
                self.retry(key, FAILURE);
                self.tell(key, Some(Failure::Panicked), &words, took).await;
            }
            Outcome::Failed(error) if error.class() == Class::Conflict => self.settle_conflict(key),
            // The end of the term drops what runs. This is the moment before.
            Outcome::Failed(error) if error.class() == Class::NotLeading => {
                self.queue.add_at(key.clone(), clock::instant() + AFTER_THE_TERM);
            }
            Outcome::Failed(error) => {
                let sentence = error.sentence();
                let failure = self.settle_failure(key, error.class(), sentence.clone());
                self.tell(key, failure, &sentence, took).await;
            }
        }
    }

    fn succeed(&self, key: &Key, action: Action, took: Duration) {
        self.reset(key);
        lock(&self.reports).reset(key);
        let result = match action {
            Action::AwaitChange => {
                self.resync(key);
                ReconcileResult::Success
            }
            Action::RequeueAfter(after) => {
                self.queue.add_at(key.clone(), clock::instant() + self.jitter.spread(after));
                ReconcileResult::RequeueAfter
            }
        };
        self.count(result);
        info!(result = "success", ?took, "reconciled");
    }

    /// Has `key` looked at although nothing has changed.
    fn resync(&self, key: &Key) {
        let after = self.jitter.spread(self.tuned.now().resync);
        self.queue.add_at(key.clone(), clock::instant() + after);
    }

    fn settle_conflict(&self, key: &Key) {
        let retry = lock(&self.conflicts).fail(key, CONFLICT, clock::instant());
        self.queue.add_at(key.clone(), clock::instant() + retry.after);
        self.count(ReconcileResult::Requeue);
    }

    /// Puts `key` back as the class demands. Returns what is worth telling.
    fn settle_failure(&self, key: &Key, class: Class, sentence: String) -> Option<Failure> {
        match class {
            Class::Rejected => {
                self.reset(key);
                self.resync(key);
                self.count(ReconcileResult::Error);
                self.metrics.reconciles.terminal.with_label_values(&[C::NAME]).inc();
                Some(Failure::Rejected(sentence))
            }
            Class::Denied => {
                self.retry(key, DENIED);
                Some(Failure::Denied(sentence))
            }
            Class::Forbidden => {
                self.retry(key, FORBIDDEN);
                Some(Failure::Forbidden(sentence))
            }
            Class::Conflict | Class::NotLeading | Class::Transient => {
                let failures = self.retry(key, FAILURE);
                (failures >= FAILURES_WORTH_A_CONDITION).then_some(Failure::Failing(sentence))
            }
        }
    }

    async fn settle_undecodable(&self, key: &Key, undecodable: Undecodable, took: Duration) {
        let Undecodable { error, uid, .. } = undecodable;
        self.reset(key);
        self.resync(key);
        self.count(ReconcileResult::Error);
        let note =
            format!("This version cannot read the object, its last readable state stays in force: {error}");
        let event = Event { severity: Severity::Warning, action: "Decode", reason: "DecodeFailed", note };
        self.applier.publish_about::<C::Object>(key, &uid, event).await;
        self.tell(key, Some(Failure::Undecodable(error.clone())), &error, took).await;
    }

    /// Puts `key` back, later each time. Returns how often it has failed in a row.
    fn retry(&self, key: &Key, growth: Growth) -> u32 {
        let retry = lock(&self.failures).fail(key, growth, clock::instant());
        self.queue.add_at(key.clone(), clock::instant() + retry.after);
        self.metrics.queues.retries.with_label_values(&[C::NAME]).inc();
        self.count(ReconcileResult::Error);
        retry.failures
    }

    /// Forgets what failed before, but not what of it could not be told.
    fn reset(&self, key: &Key) {
        lock(&self.failures).reset(key);
        lock(&self.conflicts).reset(key);
    }

    fn count(&self, result: ReconcileResult) {
        self.metrics.reconciles.total.with_label_values(&[C::NAME, result.as_str()]).inc();
        if result == ReconcileResult::Error {
            self.metrics.reconciles.errors.with_label_values(&[C::NAME]).inc();
        }
    }

    /// Logs the failure and reports it in the object's status. An object that was never readable has none.
    async fn tell(&self, key: &Key, failure: Option<Failure>, error: &str, took: Duration) {
        log_failure(error, took);
        // Not as the attempt has found it: the attempt has most often written its status, and what is decided on the
        // state before would be refused.
        let object = self.objects.get(key).map(|held| held.object);
        let (Some(object), Some(failure)) = (object, failure) else {
            return;
        };
        let report = AssertUnwindSafe(Arc::clone(&self.controller).report_failure(object, failure))
            .catch_unwind()
            .await;
        let unreported = match report {
            Ok(Ok(())) => return lock(&self.reports).reset(key),
            Ok(Err(error)) => error.sentence(),
            Err(panic) => words(panic.as_ref()),
        };
        log_unreported(&unreported);
        // The failure itself may be waiting for a change that never comes. The next attempt fails and reports again.
        let retry = lock(&self.reports).fail(key, FAILURE, clock::instant());
        self.queue.add_at(key.clone(), clock::instant() + retry.after);
    }
}

fn log_failure(error: &str, took: Duration) {
    warn!(result = "error", ?took, error, "reconciled");
}

fn log_unreported(error: &str) {
    warn!(error, "failure not reported");
}

fn lock(backoff: &Mutex<Backoff>) -> MutexGuard<'_, Backoff> {
    backoff.lock().unwrap_or_else(PoisonError::into_inner)
}
