//! What users are told: the status, and events.

use std::time::Duration;

use k8s_openapi::api::core::v1;
use stowage_api::{NodePool, NodePoolStatus};
use stowage_nodepool::{
    About, Desired, Notice, Rejection, Severity, Valid, Wait, held, notices,
    status::{Written, accepted, rejected},
};
use stowage_runtime::{AFTER_DENIAL, Action, Cleanup, Error, Event, Key};

use super::{Context, watches::Observation, write::Applied};

/// Volumes are watched, but a zone that has moved on to another pool does not say whose it was.
const PINS_AGAIN: Duration = Duration::from_secs(30);

/// What a deletion that has come so far waits for.
pub(super) fn outlook(wait: &Wait, action: Action, again: Duration) -> Cleanup {
    match (wait, action) {
        (Wait::Nothing, Action::AwaitChange) => Cleanup::Done,
        (Wait::Drain { .. }, _) => Cleanup::RequeueAfter(again),
        (_, Action::RequeueAfter(after)) => Cleanup::RequeueAfter(after),
        (Wait::Members | Wait::Pins, Action::AwaitChange) => Cleanup::AwaitChange,
    }
}

impl Context {
    pub(super) async fn report(
        &self,
        pool: &NodePool,
        desired: &Desired,
        applied: Applied,
    ) -> Result<Action, Error> {
        let status = accepted(pool, &desired.standing, &applied.written, self.clock.now());
        self.tell(pool, &status, desired, applied).await
    }

    /// The same for a pool on its way out, which may have a spec that is not accepted.
    pub(super) async fn report_leave(
        &self,
        pool: &NodePool,
        checked: &Result<Valid, Rejection>,
        desired: &Desired,
        applied: Applied,
    ) -> Result<Action, Error> {
        let now = self.clock.now();
        let status = match checked {
            Ok(_) => accepted(pool, &desired.standing, &applied.written, now),
            Err(rejection) => rejected(pool, rejection, &desired.standing, &applied.written, now),
        };
        self.tell(pool, &status, desired, applied).await
    }

    pub(super) async fn reject(
        &self,
        pool: &NodePool,
        rejection: &Rejection,
        observation: &Observation,
    ) -> Result<Action, Error> {
        let standing = held(pool.metadata.name.as_deref().unwrap_or_default(), &observation.observed);
        let status = rejected(pool, rejection, &standing, &Written::default(), self.clock.now());
        self.set_status(pool, &status).await?;
        Ok(Action::AwaitChange)
    }

    pub(super) async fn set_status(&self, pool: &NodePool, status: &NodePoolStatus) -> Result<(), Error> {
        self.applier.report(&self.pools, pool, status).await
    }

    pub(super) async fn publish(&self, pool: &NodePool, notices: Vec<Notice>) {
        for Notice { about, severity, reason, note } in notices {
            let severity = match severity {
                Severity::Normal => stowage_runtime::Severity::Normal,
                Severity::Warning => stowage_runtime::Severity::Warning,
            };
            let event = Event { severity, action: "Apply", reason, note };
            match about {
                About::Pool => self.applier.publish(pool, event).await,
                About::Node(name) => self.publish_about_node(&name, event).await,
            }
        }
    }

    async fn tell(
        &self,
        pool: &NodePool,
        status: &NodePoolStatus,
        desired: &Desired,
        applied: Applied,
    ) -> Result<Action, Error> {
        let before = pool.status.clone().unwrap_or_default();
        // The next try comes at once: until then the status tells the users nothing of it.
        let is_silent = applied.is_conflict() || is_over(pool, desired, &applied);
        let status = if is_silent { &before } else { status };
        let reported = self.set_status(pool, status).await;
        self.publish(pool, notices(pool, status, desired, &applied.written)).await;
        let action = next(desired, &applied);
        applied.settled().and(reported)?;
        Ok(action)
    }

    async fn publish_about_node(&self, name: &str, event: Event) {
        let key = Key::cluster(name);
        // A node that is gone has no events.
        if let Some(held) = self.nodes.get(&key) {
            self.applier.publish_about::<v1::Node>(&key, &held.uid, event).await;
        }
    }
}

/// Whether the pool goes with this pass: nobody will read its status.
fn is_over(pool: &NodePool, desired: &Desired, applied: &Applied) -> bool {
    pool.metadata.deletion_timestamp.is_some()
        && desired.standing.wait == Wait::Nothing
        && applied.error.is_none()
        && applied.written.denied.is_empty()
}

fn next(desired: &Desired, applied: &Applied) -> Action {
    if !applied.written.denied.is_empty() {
        Action::RequeueAfter(AFTER_DENIAL)
    } else if !desired.standing.pinned.is_empty() {
        Action::RequeueAfter(PINS_AGAIN)
    } else {
        Action::AwaitChange
    }
}
