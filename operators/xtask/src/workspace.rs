//! The workspace as cargo sees it: no other list of crates stands anywhere.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// What `cargo metadata` says of this workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) metadata: Metadata,
}

impl Workspace {
    /// Asks cargo, for the platform that the product runs on: the others' crates need not even be downloaded.
    pub(crate) fn load() -> Result<Self> {
        let platform = ["--filter-platform".to_owned(), target()];
        let metadata =
            MetadataCommand::new().other_options(platform).exec().context("cannot read the workspace")?;
        Ok(Self { metadata })
    }

    /// The folder of the workspace.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// A folder for what a command of ours leaves: under target/, so `cargo clean` removes it.
    pub(crate) fn output(&self, name: &str) -> PathBuf {
        self.metadata.target_directory.join("xtask").join(name).into_std_path_buf()
    }

    /// The crate of ours that has this name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.crates().into_iter().find(|package| package.name == name);
        found.with_context(|| format!("the workspace has no crate {name}"))
    }

    /// Our crates, by name.
    pub(crate) fn crates(&self) -> Vec<&Package> {
        let mut crates = self.metadata.workspace_packages();
        crates.sort_by(|one, other| one.name.cmp(&other.name));
        crates
    }
}

/// The platform of the product on this machine's architecture.
pub(crate) fn target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    as_by_hand(&mut cargo);
    cargo
}

/// Takes from a command's environment what `cargo run` put there about this crate: build scripts watch some of it (ring's
/// does), so a build from here and one by hand would each throw away what the other made.
pub(crate) fn as_by_hand(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule xtask-9.
    #[test]
    fn a_command_from_here_sees_nothing_of_the_crate_that_it_is_started_from() {
        assert!(env::var_os("CARGO_PKG_NAME").is_some() && env::var_os("CARGO_MANIFEST_DIR").is_some());
        let mut command = Command::new("env");
        as_by_hand(&mut command);
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let seen: Vec<_> = output
            .lines()
            .filter(|line| line.starts_with("CARGO_PKG_") || line.starts_with("CARGO_MANIFEST_"))
            .collect();
        assert_eq!(seen, Vec::<&str>::new());
        assert!(output.lines().any(|line| line.starts_with("PATH=")), "the rest is gone too: {output}");
    }
}
