//! `cargo xtask chart`: the parts of the charts that follow from the code.

use std::{collections::BTreeMap, process::Stdio};

use anyhow::{Context, Result, ensure};

use crate::{
    generated::Folder,
    workspace::{Workspace, cargo},
};

const COMMAND: &str = "cargo xtask chart";

/// The kinds as templates: as in crds/, and kept by Helm when their chart is removed, since all objects would go with them.
pub(crate) fn crds(workspace: &Workspace) -> Result<Folder> {
    let files = stowage_api::crds().into_iter().map(|mut crd| {
        let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let annotations = crd.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
        let yaml = serde_saphyr::to_string(&crd).with_context(|| format!("cannot write {name}"))?;
        // Helm would take them for its own.
        ensure!(!yaml.contains("{{"), "{name} has two braces in a row");
        Ok((name, format!("{}{yaml}", mark("operators/api"))))
    });
    let path = workspace.root().join("charts/stowage-crds/templates");
    Ok(Folder { path, command: COMMAND, files: files.collect::<Result<_>>()? })
}

/// What the manager needs to be allowed, as it says itself.
pub(crate) fn rbac(workspace: &Workspace) -> Result<Folder> {
    let mut stowage = cargo();
    stowage.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "stowage-manager",
        "--bin",
        "stowage",
        "--",
        "rbac",
    ]);
    let output = stowage
        .current_dir(workspace.root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "`stowage rbac` ended with {}", output.status);
    let rules = String::from_utf8(output.stdout).context("`stowage rbac` printed no text")?;
    let files =
        BTreeMap::from([("rbac.yaml".to_owned(), format!("{}{rules}", mark("the permissions in the code")))]);
    Ok(Folder { path: workspace.root().join("charts/stowage/generated"), command: COMMAND, files })
}

fn mark(source: &str) -> String {
    format!("# Generated from {source} by `{COMMAND}`: change that and run it again.\n")
}
