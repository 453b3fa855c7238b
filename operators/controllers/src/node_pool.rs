//! Keeps the configuration of each `NodePool` on its nodes.
//!
//! observe (caches) -> validate, build (pure, crate `nodepool`) -> apply -> report.

mod evacuation;
mod release;
mod report;
mod watches;
mod write;

use std::sync::Arc;

use stowage_api::{NodePool, condition::Trouble, keys::NODEPOOL_FINALIZER};
use stowage_nodepool::{abandon, build, cleanup, settings::Site, status::troubled, validate};
use stowage_runtime::{
    Action, Applier, Cache, Cleanup, Clock, Controller, Error, Failure, Key, Permission, Scope, Verb, Whole,
};

use self::{
    report::outlook,
    watches::{Nodes, Rosters, SettingsMaps, Volumes},
    write::keeps_settings,
};
use crate::Kind;

/// The row of this kind in the list of all.
pub const KIND: Kind =
    Kind { name: Context::NAME, permissions: PERMISSIONS, start: watches::start, release: release::release };

/// Used by reconcile, cleanup and release.
const PERMISSIONS: &[Permission] = &[
    in_cluster("", "nodes", &[Verb::List, Verb::Watch, Verb::Patch]),
    // The patch is for finalizers.
    in_cluster("stowage.dev", "nodepools", &[Verb::List, Verb::Watch, Verb::Patch]),
    in_cluster("stowage.dev", "nodepools/status", &[Verb::Patch]),
    // The zones that volumes are bound to.
    in_cluster("", "persistentvolumes", &[Verb::List, Verb::Watch]),
    // For a drain.
    in_cluster("", "pods", &[Verb::List]),
    in_cluster("", "pods/eviction", &[Verb::Create]),
    // What nodes read at their start. An apply that makes an object needs both create and patch.
    Permission {
        scope: Scope::Own(None),
        group: "",
        resource: "configmaps",
        verbs: &[Verb::List, Verb::Watch, Verb::Create, Verb::Patch, Verb::Delete],
    },
];

const fn in_cluster(group: &'static str, resource: &'static str, verbs: &'static [Verb]) -> Permission {
    Permission { scope: Scope::Cluster, group, resource, verbs }
}

/// All that a reconcile may read or touch.
pub struct Context {
    pools: Arc<Cache<Whole<NodePool>>>,
    nodes: Arc<Cache<Nodes>>,
    volumes: Arc<Cache<Volumes>>,
    settings: Arc<Cache<SettingsMaps>>,
    rosters: Rosters,
    applier: Applier,
    clock: Arc<dyn Clock>,
    site: Site,
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
        let applied = self.apply(&pool, &desired, &observation).await;
        self.report(&pool, &desired, applied).await
    }

    async fn cleanup(self: Arc<Self>, pool: Arc<NodePool>) -> Result<Cleanup, Error> {
        let observation = self.observe();
        let checked = validate(&pool);
        let valid = checked.as_ref().ok();
        let evacuation = self.evacuate(&pool, valid, &observation).await?;
        let desired = cleanup(&pool, valid, &observation.observed, &evacuation.nodes);
        let applied = if keeps_settings(&pool, valid, &desired.standing.wait) {
            self.apply(&pool, &desired, &observation).await
        } else {
            self.patch(&desired, &observation).await
        };
        self.publish(&pool, evacuation.plan.losses(&applied.written.done)).await;
        let action = self.report_leave(&pool, &checked, &desired, applied).await?;
        Ok(outlook(&desired.standing.wait, action, evacuation.again))
    }

    async fn vanished(self: Arc<Self>, key: Key) -> Result<(), Error> {
        let observation = self.observe();
        let applied = self.patch(&abandon(&key.name, &observation.observed), &observation).await;
        applied.settled()
    }

    async fn report_failure(self: Arc<Self>, pool: Arc<NodePool>, failure: Failure) -> Result<(), Error> {
        let (trouble, message) = match failure {
            Failure::Undecodable(error) => {
                (Trouble::Undecodable, format!("This version cannot read the pool: {error}"))
            }
            Failure::Panicked => (Trouble::Panicked, "The controller failed, see its log".to_owned()),
            Failure::Rejected(sentence) => (Trouble::Rejected, sentence),
            Failure::Denied(sentence) => (Trouble::Denied, sentence),
            Failure::Forbidden(sentence) => (Trouble::Forbidden, sentence),
            Failure::Failing(sentence) => (Trouble::Failing, sentence),
        };
        self.set_status(&pool, &troubled(&pool, trouble, &message, self.clock.now())).await
    }
}
