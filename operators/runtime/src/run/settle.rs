//! What follows from how an attempt went: the next one, the metrics, the log line, the condition.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Action, Controller, Failure, Outcome, Run, words};
use crate::{
    Event, Key, Severity, Undecodable, View, Whole,
    backoff::{Backoff, Growth},
    clock,
    error::Class,
    metrics::ReconcileResult,
};

const FAILURE: Growth = Growth { first: Duration::from_secs(1), most: Duration::from_secs(300) };
/// At once, unless the conflicts go on: then the other writer is given room.
const CONFLICT: Growth = Growth { first: Duration::from_millis(10), most: Duration::from_secs(2) };
/// Permissions come from a person.
const FORBIDDEN: Growth = Growth { first: Duration::from_secs(60), most: Duration::from_secs(300) };
/// A hiccup is nobody's business; this many in a row are.
const FAILURES_WORTH_A_CONDITION: u32 = 3;
/// Mends what no watch could tell of.
const RESYNC: Duration = Duration::from_secs(600);

impl<C: Controller> Run<C>
where
    Whole<C::Object>: View<Kind = C::Object, Object = C::Object>,
{
    /// Decides what comes next, and says it where users look.
    pub(super) async fn settle(&self, key: &Key, outcome: Outcome, started: Instant) {
        let took = started.elapsed();
        self.metrics.reconciles.seconds.with_label_values(&[C::NAME]).observe(took.as_secs_f64());
        match outcome {
            Outcome::Gone => {
                self.reset(key);
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
            Outcome::Failed(error) => {
                let sentence = error.sentence();
                let failure = self.settle_failure(key, error.class(), sentence.clone());
                self.tell(key, failure, &sentence, took).await;
            }
        }
    }

    fn succeed(&self, key: &Key, action: Action, took: Duration) {
        self.reset(key);
        let (result, after) = match action {
            Action::AwaitChange => (ReconcileResult::Success, RESYNC),
            Action::RequeueAfter(after) => (ReconcileResult::RequeueAfter, after),
        };
        self.queue.add_at(key.clone(), clock::instant() + self.jitter.spread(after));
        self.count(result);
        info!(result = "success", ?took, "reconciled");
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
                self.queue.add_at(key.clone(), clock::instant() + self.jitter.spread(RESYNC));
                self.count(ReconcileResult::Error);
                Some(Failure::Rejected(sentence))
            }
            Class::Forbidden => {
                self.retry(key, FORBIDDEN);
                Some(Failure::Forbidden(sentence))
            }
            Class::Conflict | Class::Transient => {
                let failures = self.retry(key, FAILURE);
                (failures >= FAILURES_WORTH_A_CONDITION).then_some(Failure::Failing(sentence))
            }
        }
    }

    async fn settle_undecodable(&self, key: &Key, undecodable: Undecodable, took: Duration) {
        let Undecodable { error, uid, .. } = undecodable;
        self.reset(key);
        self.count(ReconcileResult::Error);
        let regarding = ObjectReference {
            api_version: Some(C::Object::api_version(&()).into_owned()),
            kind: Some(C::Object::kind(&()).into_owned()),
            name: Some(key.name.clone()),
            namespace: key.namespace.clone(),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        let note =
            format!("This version cannot read the object, its last readable state stays in force: {error}");
        let event = Event { severity: Severity::Warning, action: "Decode", reason: "DecodeFailed", note };
        self.recorder.publish(C::NAME, regarding, event).await;
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
        match report {
            Ok(Ok(())) => {}
            // What the object has become wakes it, and the next attempt reports again.
            Ok(Err(error)) => log_unreported(&error.sentence()),
            Err(panic) => log_unreported(&words(panic.as_ref())),
        }
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
