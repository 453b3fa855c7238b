//! What a pass writes: nodes, and the file that new nodes read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use stowage_api::NodePool;
use stowage_nodepool::{
    Desired, Valid, Wait,
    settings::{config_map_name, render},
    status::{Publication, Written},
};
use stowage_runtime::{Class, Error, Key};

use super::{Context, watches::Observation};

/// The finalizer of an object whose deletion was asked for with `--cascade=foreground`.
const FOREGROUND: &str = "foregroundDeletion";

/// What came of the writes of one pass.
pub(super) struct Applied {
    /// What is written and what is not.
    pub(super) written: Written,
    /// Of what failed, the error that wants the earliest try. A refusal by an admission plugin is not among them: it is
    /// the trouble of one node.
    pub(super) error: Option<Error>,
}

impl Applied {
    /// Success, if nothing has to be tried again soon.
    pub(super) fn settled(self) -> Result<(), Error> {
        self.error.map_or(Ok(()), Err)
    }

    /// Whether somebody else was faster: the next try comes at once.
    pub(super) fn is_conflict(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.class() == Class::Conflict)
    }

    /// With what came of the settings.
    fn with_settings(mut self, published: Result<(), Error>) -> Self {
        let Err(error) = published else { return self };
        self.written.settings = Publication::Pending;
        if self.error.as_ref().is_none_or(|first| first.class() < error.class()) {
            self.error = Some(error);
        }
        self
    }
}

impl Context {
    /// Writes the nodes and publishes the settings; one does not wait for the other.
    pub(super) async fn apply(
        &self,
        pool: &NodePool,
        desired: &Desired,
        observation: &Observation,
    ) -> Applied {
        let applied = self.patch(desired, observation).await;
        applied.with_settings(self.publish_settings(pool).await)
    }

    /// Writes the nodes.
    pub(super) async fn patch(&self, desired: &Desired, observation: &Observation) -> Applied {
        let mut outcomes = self.applier.patch_all(&self.nodes, observation.pin(&desired.patches)).await;
        // What the plugin said, without what we asked: a condition names the nodes itself.
        let denied: BTreeMap<_, _> = outcomes
            .take_denied()
            .into_iter()
            .map(|(key, error)| (key.name, error.cause().to_owned()))
            .collect();
        let done = outcomes.done().map(|key| key.name.clone()).collect();
        let error = outcomes.all_done().err();
        let mut written = Written { done, denied, ..Written::default() };
        let is_pending =
            |node: &&String| !written.done.contains(*node) && !written.denied.contains_key(*node);
        written.pending = desired.patches.keys().filter(is_pending).cloned().collect();
        Applied { written, error }
    }

    async fn publish_settings(&self, pool: &NodePool) -> Result<(), Error> {
        if let Some(map) = render(pool, &self.site) {
            return self.applier.apply(&self.settings, &map).await.map(drop);
        }
        let name = config_map_name(pool.metadata.name.as_deref().unwrap_or_default());
        let key = Key { namespace: Some(self.site.namespace.clone()), name };
        match self.settings.get(&key) {
            Some(held) => self.applier.delete::<ConfigMap>(&key, &held.uid).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Whether the nodes of a pool on its way out go on reading its settings: for as long as it keeps them. Not where the
/// API server deletes what the pool owns before it, and would do so for ever to what is published again.
pub(super) fn keeps_settings(pool: &NodePool, valid: Option<&Valid>, wait: &Wait) -> bool {
    let is_emptied_first = pool.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND);
    valid.is_some() && *wait == Wait::Members && !is_emptied_first
}
