//! `cargo xtask layers`: what holds for every file and every crate of the workspace, and no lint can see.

mod arrows;
mod rules;
mod source;
mod table;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};

use self::{arrows::Imports, source::Source, table::ROOMS};
use crate::workspace::Workspace;

/// Where the rules of each room stand.
const DESIGNS: &str = "docs/designs";

/// Shows the table with what was found, and everything that is against it.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let imports = Imports::of_workspace(workspace);
    let sources = rust_files(workspace)?;
    let designs = read_all(workspace.root(), &workspace.root().join(DESIGNS), "md")?;

    let mut findings = arrows::check(ROOMS, &imports);
    findings.extend(rules::check(&designs, &sources));
    findings.extend(sources.iter().filter_map(Source::oversize));
    findings.extend(sources.iter().flat_map(Source::allows));

    let mut out = io::stdout().lock();
    writeln!(out, "{}", arrows::shown(ROOMS, &imports))?;
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    writeln!(out, "{} crates, {} files, {} findings", imports.len(), sources.len(), findings.len())?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The Rust files of all crates, each once though the folder of one crate may lie in that of another.
fn rust_files(workspace: &Workspace) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for package in workspace.crates() {
        let folder = package.manifest_path.parent().context("a manifest has no folder")?;
        sources.extend(read_all(workspace.root(), folder.as_std_path(), "rs")?);
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources.dedup_by(|one, other| one.path == other.path);
    Ok(sources)
}

/// The files below `folder` whose names end in `extension`; a folder that is not there has none.
fn read_all(root: &Path, folder: &Path, extension: &str) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.with_context(|| format!("cannot read {}", folder.display()))?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                found.push(Source { path, text });
            }
        }
    }
    Ok(found)
}
