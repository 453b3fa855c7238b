//! `cargo xtask test`: the whole suite, in the order in which a mistake is cheapest to find.

mod charts;
mod needed;
mod programs;
mod real;
mod rendered;

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;
use stowage_cluster::Progress;

use self::{
    needed::NEEDED,
    programs::{Each, PROGRAMS, Program},
};
use crate::{
    suite::{Suite, children},
    workspace::{Workspace, as_by_hand},
};

/// cargo-deny as crates.io has it.
const CARGO_DENY: &str = "0.20.2";

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A context of your kubeconfig, instead of the project's own cluster; Stowage must not be installed there.
    #[arg(long, requires = "image")]
    context: Option<String>,
    /// The image for that cluster, as NAME:TAG or NAME@DIGEST; its nodes must be able to pull it.
    #[arg(long, requires = "context")]
    image: Option<String>,
}

/// A cluster of the user's.
#[derive(Debug)]
struct Foreign {
    context: String,
    image: String,
}

impl TestArgs {
    fn foreign(&self) -> Option<Foreign> {
        Some(Foreign { context: self.context.clone()?, image: self.image.clone()? })
    }
}

/// Runs the suite.
pub(crate) fn run(args: &TestArgs, workspace: &Workspace) -> Result<ExitCode> {
    // Asked before anything is built: a rebuild moves the running program's file away.
    let places = Places::find(workspace.root())?;
    children::end_with_us()?;
    let mut suite = Suite::begin(workspace.output("test"), Progress::new())?;
    for needed in NEEDED {
        needed.ensure(&places, &mut suite)?;
    }
    for program in PROGRAMS {
        for (name, line) in expand(program, workspace) {
            let mut command = places.command(&line);
            command.envs(program.env.iter().copied());
            suite.run(&name, &mut command, program.prints)?;
        }
    }
    let listed: &[&str] = match args.foreign() {
        None => {
            real::on_own(workspace, &places, &mut suite)?;
            &[]
        }
        Some(foreign) => {
            real::on_foreign(workspace, &places, &foreign, &mut suite)?;
            &real::LEFT_OUT
        }
    };
    let counts = suite.end(listed, env::var_os("CI").is_some_and(|ci| ci == "true"))?;
    // Alone on the last line: other programs read it.
    writeln!(io::stdout().lock(), "{counts}")?;
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The steps that a row of the table stands for, each with its name and command line.
fn expand(program: &Program, workspace: &Workspace) -> Vec<(String, String)> {
    match program.each {
        Each::Workspace => vec![(program.name.to_owned(), program.line.to_owned())],
        Each::Crate => workspace
            .crates()
            .iter()
            .map(|package| {
                (format!("{} {}", program.name, package.name), program.line.replace("{crate}", &package.name))
            })
            .collect(),
    }
}

/// What a command line of the tables stands for on this machine.
#[derive(Debug)]
struct Places {
    root: PathBuf,
    /// The program that runs.
    xtask: PathBuf,
    /// The words in braces, and what takes their place.
    words: Vec<(&'static str, String)>,
}

impl Places {
    fn find(root: &Path) -> Result<Self> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let xtask = env::current_exe().context("cannot find the running program")?;
        let deny =
            stowage_cluster::cache_folder()?.join("cargo-tools").join(format!("cargo-deny-{CARGO_DENY}"));
        let words = vec![
            ("{xtask}", text(xtask.clone())),
            ("{cargo-deny}", text(deny)),
            ("{cargo-deny-version}", CARGO_DENY.to_owned()),
        ];
        Ok(Self { root: root.to_owned(), xtask, words })
    }

    /// A command at the workspace's root.
    fn command(&self, line: &str) -> Command {
        // Each word by itself, after the split: a folder with a space stays one argument.
        let mut words = line.split_ascii_whitespace().map(|word| {
            self.words.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
        });
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.root);
        as_by_hand(&mut command);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_with_a_space_stays_one_argument() {
        let places = Places {
            root: "/".into(),
            xtask: PathBuf::new(),
            words: vec![("{deny}", "/my cache/deny".to_owned())],
        };
        let command = places.command("{deny}/bin/deny  --root {deny} check");
        assert_eq!(command.get_program(), "/my cache/deny/bin/deny");
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--root", "/my cache/deny", "check"]);
    }
}
