//! Folders whose files are generated: written, or held against what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;

/// Generated files of one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// What else may stand there.
    pub(crate) others: Others,
    /// The command that writes it.
    pub(crate) command: &'static str,
    /// Each file's name and text.
    pub(crate) files: BTreeMap<String, String>,
}

/// The files of a folder that are not generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// There are none: a stray file is a finding, and goes.
    None,
    /// Written by hand, and not looked at.
    ByHand,
}

/// What is done with a generated folder.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Mode {
    /// Write nothing, and fail where a file is not what would be written
    #[arg(long)]
    check: bool,
}

impl Mode {
    /// Writes the folders, or says how they differ from what would be written.
    pub(crate) fn run(self, folders: &[Folder]) -> Result<ExitCode> {
        if !self.check {
            folders.iter().try_for_each(Folder::write)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut code = ExitCode::SUCCESS;
        let mut out = io::stdout().lock();
        for folder in folders {
            for difference in folder.differences()? {
                writeln!(out, "{difference}: run `{}`", folder.command)?;
                code = ExitCode::FAILURE;
            }
        }
        Ok(code)
    }
}

impl Folder {
    /// A line for each file that is not as it would be written.
    fn differences(&self) -> Result<Vec<String>> {
        let there = self.there()?;
        let names: BTreeSet<_> = there.keys().chain(self.files.keys()).collect();
        let difference = |name: &&String| match (there.get(*name), self.files.get(*name)) {
            (Some(there), Some(wanted)) => (there != wanted.as_bytes()).then_some("is out of date"),
            (Some(_), None) => Some("is not one of the generated files"),
            (None, _) => Some("is missing"),
        };
        let lines = names.iter().filter_map(|name| {
            difference(name).map(|what| format!("{} {what}", self.path.join(name).display()))
        });
        Ok(lines.collect())
    }

    /// Makes the folder what it should be: files that belong to nothing any more go.
    fn write(&self) -> Result<()> {
        fs::create_dir_all(&self.path).with_context(|| format!("cannot make {}", self.path.display()))?;
        for name in self.there()?.keys().filter(|name| !self.files.contains_key(*name)) {
            let path = self.path.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        for (name, text) in &self.files {
            let path = self.path.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn there(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            read => read.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        let mut there = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if self.others == Others::ByHand && !self.files.contains_key(&name) {
                continue;
            }
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            there.insert(name, text);
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule xtask-5.
    #[test]
    fn every_file_that_differs_is_named_until_the_folder_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moons");
        let files = [("io", "io\n"), ("rhea", "rhea\n"), ("titan", "titan\n")];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let folder = Folder { path: path.clone(), others: Others::None, command: "cargo xtask moons", files };
        fs::create_dir(&path).unwrap();
        for (name, text) in [("io", "io\n"), ("rhea", "edited\n"), ("luna", "stray\n")] {
            fs::write(path.join(name), text).unwrap();
        }

        let named = |name: &str, what: &str| format!("{} {what}", path.join(name).display());
        let wanted = [
            named("luna", "is not one of the generated files"),
            named("rhea", "is out of date"),
            named("titan", "is missing"),
        ];
        assert_eq!(folder.differences().unwrap(), wanted);
        assert_eq!(Mode { check: true }.run(std::slice::from_ref(&folder)).unwrap(), ExitCode::FAILURE);
        assert_eq!(fs::read_to_string(path.join("rhea")).unwrap(), "edited\n", "a check wrote something");

        // Beside what is written by hand the stray one is none.
        let beside = Folder { others: Others::ByHand, ..folder.clone() };
        assert_eq!(beside.differences().unwrap(), wanted[1..]);
        assert_eq!(Mode { check: false }.run(std::slice::from_ref(&beside)).unwrap(), ExitCode::SUCCESS);
        assert_eq!(fs::read_to_string(path.join("luna")).unwrap(), "stray\n");

        assert_eq!(Mode { check: false }.run(std::slice::from_ref(&folder)).unwrap(), ExitCode::SUCCESS);
        assert_eq!(Mode { check: true }.run(std::slice::from_ref(&folder)).unwrap(), ExitCode::SUCCESS);
        assert_eq!(folder.there().unwrap().len(), 3);
    }
}
