//! `cargo xtask image`: the product as a container image, the same bytes from every clone.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use sha2::{Digest, Sha256};
use stowage_cluster::Image;

use crate::{static_build, workspace::Workspace};

/// The crate that has the product's program, and the program.
pub(crate) const PACKAGE: &str = "stowage-manager";
pub(crate) const PROGRAM: &str = "stowage";

#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    /// Where the OCI archive goes, instead of a file under target/.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// An image that was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// The name under which nodes know it once it is loaded.
    pub(crate) reference: String,
    /// Its digest, as `sha256:…`.
    pub(crate) digest: String,
    /// The OCI archive.
    pub(crate) archive: PathBuf,
}

/// Builds the image, and prints its name, digest and file.
pub(crate) fn run(args: &ImageArgs, workspace: &Workspace) -> Result<ExitCode> {
    let archive = args.output.clone().unwrap_or_else(|| workspace.output("image").join("stowage.tar"));
    let built = build(workspace, archive)?;
    writeln!(io::stdout().lock(), "{}@{}\n{}", built.reference, built.digest, built.archive.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the product's program and packs it.
pub(crate) fn build(workspace: &Workspace, archive: PathBuf) -> Result<Built> {
    let package = workspace.package(PACKAGE)?;
    let version = package.version.to_string();
    let program = static_build::build(workspace, PACKAGE)?.join(PROGRAM);
    let reference = format!("stowage.invalid/{PROGRAM}:{version}-{}", fingerprint(&program)?);
    if let Some(folder) = archive.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let labels = [
        ("org.opencontainers.image.licenses", package.license.as_deref().unwrap_or_default()),
        ("org.opencontainers.image.title", PROGRAM),
        ("org.opencontainers.image.version", &version),
    ];
    let image = Image { reference: &reference, program: &program, labels: &labels };
    let digest = image.write(&archive).with_context(|| format!("cannot pack {reference}"))?;
    Ok(Built { reference, digest, archive })
}

/// A tag that changes with the program: a cluster takes an image of a known name for the one that it has.
fn fingerprint(program: &Path) -> Result<String> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    Ok(format!("{:.12}", base16ct::lower::encode_string(&Sha256::digest(bytes))))
}
