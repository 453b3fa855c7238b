//! Takes everything of this kind's from the cluster, for an uninstall.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::{Map, json};
use stowage_api::{NodePool, keys::NODEPOOL_FINALIZER};
use stowage_nodepool::{Roster, release as freed};
use stowage_runtime::{Applier, Cache, Controller, Decided, Error, Projected, Runtime};
use tracing::warn;

use super::{
    Context,
    watches::{Nodes, Observation},
};
use crate::Released;

/// Of a pool only this, so that one that no longer decodes is released as well.
#[derive(Debug, Deserialize, PartialEq)]
struct Keeping {
    metadata: Finalizers,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Finalizers {
    #[serde(default)]
    finalizers: Vec<String>,
}

/// Frees the nodes first: a pool that is being deleted may go only then.
pub(super) fn release(runtime: &Runtime) -> BoxFuture<'static, Result<Released, Error>> {
    let applier = runtime.applier(Context::NAME);
    async move {
        Ok(Released { targets: free_nodes(&applier).await?, finalizers: drop_finalizers(&applier).await? })
    }
    .boxed()
}

async fn free_nodes(applier: &Applier) -> Result<usize, Error> {
    let nodes: Cache<Nodes> = applier.load().await?;
    let observation = Observation::new(Arc::new(Roster::default()), &nodes);
    let desired = freed(&observation.observed);
    let blocked = &desired.standing.blocked;
    if !blocked.is_empty() {
        warn!(nodes = %blocked, "a newer Stowage wrote their ledger: use its own release");
    }
    applier.patch_all(&nodes, observation.pin(&desired.patches)).await?;
    Ok(desired.patches.len())
}

async fn drop_finalizers(applier: &Applier) -> Result<usize, Error> {
    let pools: Cache<Projected<NodePool, Keeping>> = applier.load().await?;
    let patches: Vec<_> = pools
        .all()
        .into_iter()
        .filter_map(|(key, on)| {
            let finalizers = &on.object.metadata.finalizers;
            let others: Vec<_> =
                finalizers.iter().filter(|finalizer| *finalizer != NODEPOOL_FINALIZER).collect();
            let patch = Map::from_iter([("metadata".to_owned(), json!({ "finalizers": others }))]);
            (others.len() < finalizers.len()).then_some(Decided { key, on, patch })
        })
        .collect();
    let count = patches.len();
    applier.patch_all(&pools, patches).await?;
    Ok(count)
}
