//! `stowage`: the controllers in one process, and what an installation needs around them.

mod args;
mod check;
mod config;
mod listen;
mod run;

use std::{
    convert::identity, error::Error as StdError, io::Write, pin::pin, process::ExitCode, sync::Arc,
    time::Duration,
};

use clap::Parser;
use futures::future::{Either, select};
use stowage_controllers::{KINDS, Kind, Released};
use stowage_runtime::{
    Candidate, Farewell, Jitter, Key, Logs, PERMISSIONS, Parts, Roles, Runtime, SystemClock, Timing,
    TokioTasks, asked_to_stop, transport,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    args::{Arguments, Command, Process, Release},
    config::Logging,
};

/// Between two tries of a release: an API server that is busy is left alone, a conflict is over by then.
const PAUSE: Duration = Duration::from_secs(1);

type Result<T = ()> = std::result::Result<T, Box<dyn StdError>>;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(run) => run::run(run).await,
        Command::Check(process) => check(process).await,
        Command::Config(config) => return config::command(config),
        Command::Rbac => rbac(),
        Command::Release(release) => self::release(release).await,
        Command::Version => print(concat!("stowage ", env!("CARGO_PKG_VERSION"), "\n")),
    };
    let Err(cause) = done else {
        return ExitCode::SUCCESS;
    };
    error!(error = cause.to_string(), "stowage failed");
    ExitCode::FAILURE
}

async fn check(process: Process) -> Result {
    start_logs(&process, &Logging::default());
    check::check(&runtime(&process, CancellationToken::new()).await?).await
}

async fn release(Release { stop, timeout, process }: Release) -> Result {
    start_logs(&process, &Logging::default());
    let ending = CancellationToken::new();
    let runtime = runtime(&process, ending.clone()).await?;
    let all = async {
        if let Some(deployment) = &stop {
            tried(&format!("stop {deployment}"), async || stopped(&runtime, deployment).await).await;
        }
        // Whoever holds the Lease would put everything back. While this process holds it, nobody does.
        let namespace = stop.and_then(|deployment| deployment.namespace);
        runtime.campaign(candidate(&runtime, &process, namespace, Farewell::Remove));
        runtime.elected().await;
        for kind in KINDS {
            tried(&format!("release {}", kind.name), async || released(&runtime, kind).await).await;
        }
    };
    // As the first process of its container it is ended by no signal that it does not ask for.
    let done = match select(pin!(asked_to_stop()), pin!(tokio::time::timeout(timeout, all))).await {
        Either::Left((Ok(()), _)) => {
            Err("asked to stop before all was released: trying again does no harm".into())
        }
        Either::Left((Err(error), _)) => Err(error.into()),
        Either::Right((done, _)) => done.map_err(|late| {
            format!("not all is released ({late}): the log says why, and trying again does no harm").into()
        }),
    };
    ending.cancel();
    runtime.ended().await;
    done
}

/// This process as one of those that may write. The Lease is in the namespace that is given, else in `installed`, else in
/// that of the credentials.
fn candidate(
    runtime: &Runtime,
    process: &Process,
    installed: Option<String>,
    farewell: Farewell,
) -> Candidate {
    let namespace = process.namespace.clone().or(installed);
    Candidate {
        namespace: namespace.unwrap_or_else(|| runtime.namespace().to_owned()),
        identity: runtime.identity(&process.pod_name, process.pod_uid.as_deref()),
        farewell,
        timing: Timing::STANDARD,
    }
}

/// Tries until it succeeds. What is `Err` is why it has not yet.
async fn tried(step: &str, attempt: impl AsyncFn() -> std::result::Result<String, String>) {
    loop {
        let outcome = attempt().await;
        let done = outcome.is_ok();
        info!(step, done, outcome = outcome.unwrap_or_else(identity), "release");
        if done {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn stopped(runtime: &Runtime, deployment: &Key) -> std::result::Result<String, String> {
    match runtime.applier("release").scale_to_zero(deployment).await {
        Ok(0) => Ok("no pod is left".to_owned()),
        Ok(pods) => Err(format!("{pods} pods are still there")),
        Err(error) => Err(error.sentence()),
    }
}

async fn released(runtime: &Runtime, kind: &Kind) -> std::result::Result<String, String> {
    let Released { targets, finalizers } = (kind.release)(runtime).await.map_err(|error| error.sentence())?;
    Ok(format!("{targets} objects and {finalizers} finalizers released"))
}

/// What stands on the command line goes before the file.
fn start_logs(process: &Process, logging: &Logging) -> Logs {
    let format = process.log_format.unwrap_or(logging.format);
    let level = process.log_level.clone().unwrap_or_else(|| logging.level());
    Logs::start(format.into(), level)
}

async fn runtime(process: &Process, stop: CancellationToken) -> Result<Runtime> {
    info!(version = env!("CARGO_PKG_VERSION"), "stowage starts");
    let parts = Parts {
        transport: transport().await?,
        clock: Arc::new(SystemClock),
        jitter: Jitter::random(),
        spawn: Arc::new(TokioTasks),
        instance: process.pod_name.clone(),
        stop,
    };
    Ok(Runtime::new(parts)?)
}

fn rbac() -> Result {
    let permissions = KINDS.iter().flat_map(|kind| kind.permissions).chain(PERMISSIONS);
    print(&serde_saphyr::to_string(&Roles::new(permissions))?)
}

fn print(text: &str) -> Result {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
