//! The bare client: the patches of the product and nothing else.

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::fleet::{Fleet, Outfit};
use crate::Outcome;

/// As many as the product has (`WRITES_IN_FLIGHT` of its Applier).
const WRITES_IN_FLIGHT: usize = 16;

/// Puts on every node what the product puts on it, each in one patch that is pinned to the version of the node.
pub(super) async fn dress(fleet: &Fleet, outfit: &Outfit) -> Outcome {
    let Outfit { labels, annotations, taints } = outfit;
    let patch = json!({
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"taints": taints},
    });
    patch_all(fleet, &patch).await
}

/// Takes it off again.
pub(super) async fn undress(fleet: &Fleet, outfit: &Outfit) -> Outcome {
    let nulls = |keys: Vec<&String>| -> Map<_, _> {
        keys.into_iter().map(|key| (key.clone(), Value::Null)).collect()
    };
    let patch = json!({
        "metadata": {
            "labels": nulls(outfit.labels.keys().collect()),
            "annotations": nulls(outfit.annotations.keys().collect()),
        },
        "spec": {"taints": null},
    });
    patch_all(fleet, &patch).await
}

async fn patch_all(fleet: &Fleet, patch: &Value) -> Outcome {
    let writes = stream::iter(fleet.versions()).map(async |(name, version)| {
        let mut patch = patch.clone();
        json_patch::merge(&mut patch, &json!({"metadata": {"resourceVersion": version}}));
        fleet.nodes.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    });
    Ok(writes.buffer_unordered(WRITES_IN_FLIGHT).try_collect::<Vec<()>>().await.map(drop)?)
}
