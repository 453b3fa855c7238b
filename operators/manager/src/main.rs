//! `stowage`: the controllers in one process, and what an installation needs around them.

mod args;
mod check;

use std::{
    convert::identity, error::Error as StdError, io::Write, pin::pin, process::ExitCode, sync::Arc,
    time::Duration,
};

use clap::Parser;
use futures::future::{Either, select};
use stowage_controllers::{KINDS, Kind, Released};
use stowage_runtime::{
    Jitter, Key, PERMISSIONS, Parts, Roles, Runtime, SystemClock, TokioTasks, asked_to_stop, start_logs,
    transport,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::args::{Arguments, Command, Process, Release, Run};

/// Between two tries of a release: an API server that is busy is left alone, a conflict is over by then.
const PAUSE: Duration = Duration::from_secs(1);

type Result<T = ()> = std::result::Result<T, Box<dyn StdError>>;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(run) => self::run(run).await,
        Command::Check(process) => check(process).await,
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

async fn run(Run { listen, process }: Run) -> Result {
    let stop = CancellationToken::new();
    let runtime = runtime(process, stop.clone()).await?;
    let listener =
        TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    for kind in KINDS {
        (kind.start)(&runtime);
    }
    let work = async {
        asked_to_stop().await?;
        stop.cancel();
        runtime.ended().await;
        Ok(())
    };
    // Health is served to the end: the kubelet still asks while work comes to its end.
    match select(pin!(work), pin!(runtime.health().serve(listener))).await {
        Either::Left((ended, _)) => ended,
        Either::Right((served, _)) => Ok(served?),
    }
}

async fn check(process: Process) -> Result {
    check::check(&runtime(process, CancellationToken::new()).await?).await
}

async fn release(Release { stop, timeout, process }: Release) -> Result {
    let runtime = runtime(process, CancellationToken::new()).await?;
    let all = async {
        if let Some(deployment) = &stop {
            tried(&format!("stop {deployment}"), async || stopped(&runtime, deployment).await).await;
        }
        for kind in KINDS {
            tried(&format!("release {}", kind.name), async || released(&runtime, kind).await).await;
        }
    };
    tokio::time::timeout(timeout, all).await.map_err(|late| {
        format!("not all is released ({late}): the log says why, and trying again does no harm").into()
    })
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

async fn runtime(process: Process, stop: CancellationToken) -> Result<Runtime> {
    let Process { pod_name, log_format, log_level } = process;
    start_logs(log_format.into(), log_level);
    info!(version = env!("CARGO_PKG_VERSION"), "stowage starts");
    let parts = Parts {
        transport: transport().await?,
        clock: Arc::new(SystemClock),
        jitter: Jitter::random(),
        spawn: Arc::new(TokioTasks),
        instance: pod_name,
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
