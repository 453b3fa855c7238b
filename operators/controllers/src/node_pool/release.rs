//! Takes everything of this kind's from the cluster, for an uninstall.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use serde_json::{Map, json};
use stowage_api::{NodePool, keys::NODEPOOL_FINALIZER};
use stowage_nodepool::{Names, Pins, Roster, Standing, release as freed};
use stowage_runtime::{Applier, Cache, Controller, Decided, Error, Projected, Runtime};
use tracing::warn;

use super::{
    Context,
    watches::{Nodes, Observation, SettingsMaps, Volumes, published},
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
    let namespace = runtime.namespace().to_owned();
    async move {
        let nodes = free_nodes(&applier).await?;
        let finalizers = drop_finalizers(&applier).await?;
        Ok(Released { targets: nodes + withdraw_settings(&applier, &namespace).await?, finalizers })
    }
    .boxed()
}

async fn withdraw_settings(applier: &Applier, namespace: &str) -> Result<usize, Error> {
    let maps: Cache<SettingsMaps> = applier.list(&published().in_namespace(namespace)).await?;
    let maps = maps.all();
    for (key, held) in &maps {
        applier.delete::<ConfigMap>(key, &held.uid).await?;
    }
    Ok(maps.len())
}

async fn free_nodes(applier: &Applier) -> Result<usize, Error> {
    let nodes: Cache<Nodes> = applier.load().await?;
    let volumes: Cache<Volumes> = applier.load().await?;
    let pins: Pins = volumes.all().iter().map(|(_, held)| &*held.object).collect();
    let observation = Observation::new(Arc::new(Roster::default()), &nodes, pins);
    let desired = freed(&observation.observed);
    let Standing { blocked, pinned, .. } = &desired.standing;
    warn_of(blocked, "a newer Stowage wrote their ledger: use its own release");
    warn_of(pinned, "they lose a zone that volumes are bound to: give it to them by hand");
    applier.patch_all(&nodes, observation.pin(&desired.patches)).await.all_done()?;
    Ok(desired.patches.len())
}

fn warn_of(nodes: &Names, trouble: &str) {
    if !nodes.is_empty() {
        warn!(%nodes, "{trouble}");
    }
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
    applier.patch_all(&pools, patches).await.all_done()?;
    Ok(count)
}
