//! `stowage config`: for people, and for a pipeline before it changes a cluster.

use std::{io::Write, path::Path, process::ExitCode};

use super::OperatorConfiguration;
use crate::{Result, args::Config, print};

pub(crate) fn command(command: Config) -> ExitCode {
    let done = match command {
        Config::Check { file } => check(&file),
        Config::Schema => schema(),
    };
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    // Nobody is left to tell.
    drop(writeln!(std::io::stderr().lock(), "{error}"));
    ExitCode::FAILURE
}

fn check(file: &Path) -> Result {
    let (configuration, _) = OperatorConfiguration::read(file)?;
    print(&serde_saphyr::to_string(&configuration)?)
}

fn schema() -> Result {
    print(&(serde_json::to_string_pretty(&schemars::schema_for!(OperatorConfiguration))? + "\n"))
}
