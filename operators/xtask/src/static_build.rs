//! Static programs for images and machines, the same bytes from every clone.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::workspace::{Workspace, cargo, target};

/// Builds the programs of `package` and returns the folder that they are in.
///
/// They have a target folder of their own: the flags would otherwise throw away what ordinary builds made. The target is
/// named although it is the machine's own, so that the flags reach only the programs and not the build's own macros.
pub(crate) fn build(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let folder = workspace.metadata.target_directory.join("static").into_std_path_buf();
    let target = target();
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--locked", "--profile", "image", "--bins", "--package", package]);
    cargo.arg("--target").arg(&target).arg("--target-dir").arg(&folder);
    // Encoded: a folder with a space stays one argument.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace.root())?.join("\u{1f}")).env_remove("RUSTFLAGS");
    let status = cargo.current_dir(workspace.root()).status().context("cannot start cargo")?;
    ensure!(status.success(), "the programs of {package} do not build: see above");
    Ok(folder.join(target).join("image"))
}

/// No shared library, and no folder of this machine in panic messages.
fn flags(root: &Path) -> Result<Vec<String>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec!["-Ctarget-feature=+crt-static".to_owned(), remap(root, "/stowage"), remap(&home, "/cargo")])
}
