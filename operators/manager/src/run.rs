//! `stowage run`: the controllers until the stop signal, as the configuration file has it.

use std::{convert::Infallible, future::pending, pin::pin};

use futures::future::{Either, select};
use stowage_controllers::{KINDS, Settings};
use stowage_runtime::{Farewell, Logs, Runtime, TooOld, asked_to_stop};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Result,
    args::{Process, Run},
    candidate,
    config::{LeaderElectionMode, OperatorConfiguration},
    listen::listen,
    runtime, start_logs,
};

/// The oldest Kubernetes, as its minor version, that Stowage works on (docs/designs/manager.md).
const OLDEST: u32 = 33;

pub(crate) async fn run(Run { listen, config, process }: Run) -> Result {
    let read = config.as_deref().map(OperatorConfiguration::read).transpose();
    // How a line looks stands in the file as well. Where that is bad, its default is good enough to say so.
    let known = read.as_ref().ok().and_then(Option::as_ref).map(|(configuration, _)| configuration.clone());
    let configuration = known.unwrap_or_default();
    let logs = start_logs(&process, &configuration.logging);
    let text = read?.map(|(_, text)| text);

    let stop = CancellationToken::new();
    let runtime = runtime(&process, stop.clone()).await?;
    let listener = self::listen(listen).await?;
    runtime.tune(configuration.tuning());
    if let Some((file, text)) = config.zip(text) {
        let adopt = adopting(&runtime, &process, logs, configuration.clone());
        runtime.follow_file(file, text, adopt);
    }
    let work = async {
        match select(pin!(asked_to_stop()), pin!(begin(&runtime, &process, &configuration))).await {
            Either::Left((asked, _)) => asked?,
            Either::Right((Err(old), _)) => return Err(old.into()),
        }
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

/// Starts everything, and returns only if this cluster is none to work on.
async fn begin(
    runtime: &Runtime,
    process: &Process,
    configuration: &OperatorConfiguration,
) -> std::result::Result<Infallible, TooOld> {
    runtime.supported(OLDEST).await?;
    let election = &configuration.leader_election;
    match election.mode {
        LeaderElectionMode::Enabled => {
            let candidate = candidate(runtime, process, None, Farewell::Release);
            runtime.campaign(stowage_runtime::Candidate { timing: election.timing(), ..candidate });
        }
        LeaderElectionMode::Disabled => info!("works at once: leader election is disabled"),
    }
    let settings = Settings { local_dns: configuration.node_pool.local_dns_address };
    for kind in KINDS {
        (kind.start)(runtime, &settings);
    }
    pending().await
}

/// What becomes of a changed file. `started` is what it said at the start.
fn adopting(
    runtime: &Runtime,
    process: &Process,
    logs: Logs,
    started: OperatorConfiguration,
) -> impl Fn(&str) -> std::result::Result<(), String> + Send + 'static {
    let (runtime, level) = (runtime.clone(), process.log_level.clone());
    move |text| {
        let configuration = OperatorConfiguration::try_new(text).map_err(|invalid| invalid.to_string())?;
        runtime.tune(configuration.tuning());
        logs.set_level(level.clone().unwrap_or_else(|| configuration.logging.level()));
        let waiting = configuration.waiting(&started);
        if !waiting.is_empty() {
            warn!(fields = waiting.join(", "), "these settings take effect at the next start");
        }
        Ok(())
    }
}
