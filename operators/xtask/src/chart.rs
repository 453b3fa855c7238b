//! `cargo xtask chart`: the parts of the charts that follow from the code.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};

use crate::{
    docs,
    generated::{Folder, Others},
    roles,
    values::{self, Configuration, configuration},
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
    Ok(Folder { path, others: Others::None, command: COMMAND, files: files.collect::<Result<_>>()? })
}

/// What the manager says of itself and what users may do with the kinds, for templates; and the values of the chart.
pub(crate) fn stowage(workspace: &Workspace) -> Result<[Folder; 2]> {
    let users = roles::Roles::of(&stowage_api::crds()).to_yaml()?;
    let configuration = Configuration::try_new(&said(workspace, &["config", "schema"])?)?;
    let rbac = format!("{}{}", mark("the permissions in the code"), said(workspace, &["rbac"])?);
    let generated = [
        ("rbac.yaml", rbac),
        ("roles.yaml", format!("{}{users}", mark("operators/api"))),
        (configuration::FILE, configuration.to_text()),
    ];
    let values = [
        ("values.schema.json", values::schema(&configuration)?),
        ("values.yaml", values::yaml(&configuration)?),
    ];
    Ok([
        Folder {
            path: generated_folder(workspace),
            others: Others::None,
            command: COMMAND,
            files: named(generated),
        },
        Folder { path: chart(workspace), others: Others::ByHand, command: COMMAND, files: named(values) },
    ])
}

/// What the values mean, for people.
pub(crate) fn readme(workspace: &Workspace) -> Result<Folder> {
    let text = values::readme(&Configuration::read(&generated_folder(workspace))?)?;
    let files = named([("README.md", text)]);
    Ok(Folder { path: chart(workspace), others: Others::ByHand, command: docs::COMMAND, files })
}

fn named<const N: usize>(files: [(&str, String); N]) -> BTreeMap<String, String> {
    files.map(|(name, text)| (name.to_owned(), text)).into()
}

fn generated_folder(workspace: &Workspace) -> PathBuf {
    chart(workspace).join("generated")
}

fn chart(workspace: &Workspace) -> PathBuf {
    workspace.root().join("charts/stowage")
}

/// What the program of the manager prints.
pub(crate) fn said(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    let mut stowage = cargo();
    stowage.args(["run", "--quiet", "--locked", "--package", "stowage-manager", "--bin", "stowage", "--"]);
    stowage.args(arguments);
    let output = stowage
        .current_dir(workspace.root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    let line = arguments.join(" ");
    ensure!(output.status.success(), "`stowage {line}` ended with {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("`stowage {line}` printed no text"))
}

fn mark(source: &str) -> String {
    format!("# Generated from {source} by `{COMMAND}`: change that and run it again.\n")
}
