//! Stopping another process before its work is undone.

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v1::Scale, core::v1::Pod};
use kube::{
    Resource,
    api::{ListParams, Patch},
    core::{ObjectList, PartialObjectMeta, Request},
};
use serde_json::json;

use crate::{Applier, Error, Key, Operation, Verb};

impl Applier {
    /// Scales a Deployment to zero. Returns how many of its pods are still there, whether they run or end; gone
    /// already is none.
    pub async fn scale_to_zero(&self, deployment: &Key) -> Result<usize, Error> {
        let operation = Operation::one::<Deployment>(Verb::Patch, deployment.clone()).of("scale");
        let deployments = Request::new(Deployment::url_path(&(), deployment.namespace.as_deref()));
        let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
        let request = deployments.patch_subresource("scale", &deployment.name, &self.parameters(), &patch);
        let scale: Scale = match self.send(&operation, request).await {
            Err(error) if Error::is_gone(&error) => return Ok(0),
            answer => Self::decoded(operation, answer)?,
        };
        let selector = scale.status.and_then(|status| status.selector).unwrap_or_default();
        let operation = Operation::all::<Pod>(Verb::List);
        let pods = Request::new(Pod::url_path(&(), deployment.namespace.as_deref()));
        let answer = self.send(&operation, pods.list(&ListParams::default().labels(&selector))).await;
        let pods: ObjectList<PartialObjectMeta<Pod>> = Self::decoded(operation, answer)?;
        Ok(pods.items.len())
    }
}
