//! The product on a cluster, installed the way users do it: by its charts, with Helm.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use stowage_cluster::{Helm, Kubectl, Progress};

use crate::workspace::Workspace;

/// Where it is installed.
pub(crate) const NAMESPACE: &str = "stowage-system";

/// The name of the chart and of its release.
const CHART: &str = "stowage";

/// The chart of the kinds, which goes first.
const CRDS_CHART: &str = "stowage-crds";

/// A cluster that the product is for, and where its image is.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    pub(crate) kubectl: &'a Kubectl,
    pub(crate) helm: &'a Helm,
    /// As `NAME:TAG` or `NAME@DIGEST`.
    pub(crate) image: &'a str,
}

impl Product<'_> {
    /// Installs or upgrades both charts, in a namespace that admits nothing but restricted pods, and waits until the
    /// manager is ready.
    pub(crate) fn install(&self, workspace: &Workspace, progress: &Progress) -> Result<()> {
        progress.stage("install the charts", |_| {
            let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted},
            });
            self.kubectl.send("apply", &namespace)?;
            self.upgrade(CRDS_CHART, workspace, &[])?;
            self.upgrade(CHART, workspace, &image_values(self.image)?)
        })
    }

    /// Refuses a cluster that has the product, or a part of it: nothing of a user's is replaced or removed.
    pub(crate) fn ensure_absent(&self) -> Result<()> {
        let others = [format!("namespace/{NAMESPACE}"), format!("clusterrole/{CHART}")];
        for object in others.into_iter().chain(crds()) {
            let found = self.kubectl.run(&["get", &object, "--ignore-not-found", "-o", "name"])?;
            ensure!(
                found.trim().is_empty(),
                "the cluster has {} already: this is for a cluster without Stowage, remove it first",
                found.trim()
            );
        }
        Ok(())
    }

    /// Removes all that an install made, as far as it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        let limit = "--timeout=120s";
        for chart in [CHART, CRDS_CHART] {
            let uninstall =
                ["uninstall", chart, "--namespace", NAMESPACE, "--ignore-not-found", "--wait", limit];
            self.helm.run(&uninstall).map(drop).with_context(|| format!("cannot remove {chart}"))?;
        }
        for object in crds().into_iter().chain([format!("namespace/{NAMESPACE}")]) {
            self.kubectl.run(&["delete", &object, "--ignore-not-found", limit])?;
        }
        Ok(())
    }

    fn upgrade(&self, chart: &str, workspace: &Workspace, values: &[String]) -> Result<()> {
        let folder = charts(workspace).join(chart).to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["upgrade", "--install", chart, &folder, "--namespace", NAMESPACE, "--wait", "--timeout=120s"]
                .map(str::to_owned)
                .into();
        for value in values {
            arguments.extend(["--set-string".to_owned(), value.clone()]);
        }
        self.helm.run(&arguments).map(drop).with_context(|| format!("cannot install {chart}"))
    }
}

/// The definitions of the kinds, as kubectl takes them: they outlive their chart.
pub(crate) fn crds() -> Vec<String> {
    let names = stowage_api::crds().into_iter().filter_map(|crd| crd.metadata.name);
    names.map(|name| format!("crd/{name}")).collect()
}

/// The folder of the charts.
pub(crate) fn charts(workspace: &Workspace) -> PathBuf {
    workspace.root().join("charts")
}

/// The chart's values for an image.
fn image_values(image: &str) -> Result<Vec<String>> {
    if let Some((repository, digest)) = image.split_once('@') {
        return Ok(vec![format!("image.repository={repository}"), format!("image.digest={digest}")]);
    }
    // A colon before the last slash belongs to the registry's port.
    let (repository, tag) =
        image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).with_context(|| {
            format!("the image {image:?} has neither a tag nor a digest: name it as NAME:TAG or NAME@DIGEST")
        })?;
    Ok(vec![format!("image.repository={repository}"), format!("image.tag={tag}")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_taken_apart_at_its_tag_or_digest() {
        let cases = [
            ("moon.example/a:1", "image.repository=moon.example/a", "image.tag=1"),
            ("moon.example:5000/a:1", "image.repository=moon.example:5000/a", "image.tag=1"),
            (
                "moon.example:5000/a@sha256:ab",
                "image.repository=moon.example:5000/a",
                "image.digest=sha256:ab",
            ),
        ];
        for (image, repository, version) in cases {
            assert_eq!(image_values(image).unwrap(), [repository, version], "{image}");
        }
        for image in ["moon", "moon.example:5000/a"] {
            let error = image_values(image).unwrap_err().to_string();
            assert!(error.contains(image) && error.contains("NAME:TAG"), "{error}");
        }
    }
}
