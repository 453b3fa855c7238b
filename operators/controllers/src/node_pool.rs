//! Keeps the configuration of each `NodePool` on its nodes.
//!
//! observe (caches) -> validate, build (pure, crate `nodepool`) -> apply -> report.

mod release;
mod watches;

use std::sync::Arc;

use stowage_api::{NodePool, NodePoolStatus, condition::Trouble, keys::NODEPOOL_FINALIZER};
use stowage_nodepool::{
    Desired, Rejection, build, cleanup,
    status::{Outcome, accepted, rejected, troubled},
    validate,
};
use stowage_runtime::{
    Action, Applier, Cache, Class, Clock, Controller, Error, Event, Failure, Key, Permission, Scope,
    Severity, Verb, Whole,
};

use self::watches::{Nodes, Observation, Rosters};
use crate::Kind;

/// The row of this kind in the list of all.
pub const KIND: Kind =
    Kind { name: Context::NAME, permissions: PERMISSIONS, start: watches::start, release: release::release };

/// Used by reconcile, cleanup and release.
const PERMISSIONS: &[Permission] = &[
    Permission {
        scope: Scope::Cluster,
        group: "",
        resource: "nodes",
        verbs: &[Verb::List, Verb::Watch, Verb::Patch],
    },
    // The patch is for finalizers.
    Permission {
        scope: Scope::Cluster,
        group: "stowage.dev",
        resource: "nodepools",
        verbs: &[Verb::List, Verb::Watch, Verb::Patch],
    },
    Permission {
        scope: Scope::Cluster,
        group: "stowage.dev",
        resource: "nodepools/status",
        verbs: &[Verb::Patch],
    },
];

/// All that a reconcile may read or touch.
pub struct Context {
    pools: Arc<Cache<Whole<NodePool>>>,
    nodes: Arc<Cache<Nodes>>,
    rosters: Rosters,
    applier: Applier,
    clock: Arc<dyn Clock>,
}

impl Controller for Context {
    type Object = NodePool;

    const NAME: &'static str = "nodepools";
    const FINALIZER: &'static str = NODEPOOL_FINALIZER;

    async fn reconcile(self: Arc<Self>, pool: Arc<NodePool>) -> Result<Action, Error> {
        let observation = self.observe();
        let valid = match validate(&pool) {
            Ok(valid) => valid,
            // Only a change can help, and every change wakes us: nothing to retry.
            Err(rejection) => return self.reject(&pool, &rejection, &observation).await,
        };
        let desired = build(&valid, &observation.observed);
        let outcome = self.apply(&desired, &observation).await;
        self.report(&pool, &desired, outcome).await
    }

    async fn cleanup(self: Arc<Self>, pool: Arc<NodePool>) -> Result<(), Error> {
        self.let_go(&Key::of(&pool.metadata)).await
    }

    async fn vanished(self: Arc<Self>, key: Key) -> Result<(), Error> {
        self.let_go(&key).await
    }

    async fn report_failure(self: Arc<Self>, pool: Arc<NodePool>, failure: Failure) -> Result<(), Error> {
        let (trouble, message) = match failure {
            Failure::Undecodable(error) => {
                (Trouble::Undecodable, format!("This version cannot read the pool: {error}"))
            }
            Failure::Panicked => (Trouble::Panicked, "The controller failed, see its log".to_owned()),
            Failure::Rejected(sentence) => (Trouble::Rejected, sentence),
            Failure::Forbidden(sentence) => (Trouble::Forbidden, sentence),
            Failure::Failing(sentence) => (Trouble::Failing, sentence),
        };
        self.set_status(&pool, &troubled(&pool, trouble, &message, self.clock.now())).await
    }
}

impl Context {
    async fn apply(&self, desired: &Desired, observation: &Observation) -> Result<(), Error> {
        self.applier.patch_all(&self.nodes, observation.pin(&desired.patches)).await
    }

    async fn report(
        &self,
        pool: &NodePool,
        desired: &Desired,
        outcome: Result<(), Error>,
    ) -> Result<Action, Error> {
        let done = match &outcome {
            Ok(()) => Outcome::Applied,
            // The next try comes at once, and tells the users nothing of it.
            Err(error) if error.class() == Class::Conflict => return outcome.map(|()| Action::AwaitChange),
            Err(_) => Outcome::Pending,
        };
        let reported =
            self.set_status(pool, &accepted(pool, &desired.standing, done, self.clock.now())).await;
        outcome.and(reported)?;
        self.publish(pool, desired).await;
        Ok(Action::AwaitChange)
    }

    async fn reject(
        &self,
        pool: &NodePool,
        rejection: &Rejection,
        observation: &Observation,
    ) -> Result<Action, Error> {
        self.set_status(pool, &rejected(pool, rejection, &observation.observed, self.clock.now())).await?;
        Ok(Action::AwaitChange)
    }

    async fn let_go(&self, key: &Key) -> Result<(), Error> {
        let observation = self.observe();
        self.apply(&cleanup(&key.name, &observation.observed), &observation).await
    }

    async fn set_status(&self, pool: &NodePool, status: &NodePoolStatus) -> Result<(), Error> {
        self.applier.report(&self.pools, pool, status).await
    }

    /// Only what has changed something is worth an event.
    async fn publish(&self, pool: &NodePool, desired: &Desired) {
        let (written, rebased) = (desired.patches.len(), &desired.rebased);
        if written > 0 {
            let note = format!("Brought {written} nodes to what the pools ask for");
            let event = Event { severity: Severity::Normal, action: "Apply", reason: "NodesUpdated", note };
            self.applier.publish(pool, event).await;
        }
        if !rebased.is_empty() {
            let note = format!("The ledger was unreadable and their live labels became the base: {rebased}");
            let event = Event { severity: Severity::Warning, action: "Apply", reason: "LedgerRebuilt", note };
            self.applier.publish(pool, event).await;
        }
    }
}
