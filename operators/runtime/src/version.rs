//! Whether this API server is one that is supported.

use k8s_openapi::apimachinery::pkg::version::Info;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{Error, Operation, Runtime, Synced, Verb, backoff::AWAY};

/// The API server is too old.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is Kubernetes {found}, and this version of Stowage needs 1.{least} or newer: upgrade the cluster, or install \
     an older Stowage"
)]
pub struct TooOld {
    found: String,
    least: u32,
}

impl Runtime {
    /// Returns when the API server has said that it is Kubernetes 1.`least` or newer. Until then the process is not
    /// ready. One that is away is waited for.
    pub async fn supported(&self, least: u32) -> Result<(), TooOld> {
        let (known, synced) = watch::channel(false);
        self.health.await_flag("the version of the API server is not known".to_owned(), Synced::new(synced));
        let Info { major, minor, .. } = self.version().await;
        let found = format!("{major}.{minor}");
        if number(&major) == 1 && number(&minor) < least {
            return Err(TooOld { found, least });
        }
        info!(version = found, "the API server is supported");
        known.send_replace(true);
        Ok(())
    }

    async fn version(&self) -> Info {
        let mut failures = 0;
        loop {
            let error = match self.client.apiserver_version().await {
                Ok(version) => return version,
                Err(error) => Error::new(Operation::version(), error).sentence(),
            };
            failures += 1;
            let delay = self.jitter.spread(AWAY.after(failures));
            warn!(failures, ?delay, error, "the version of the API server is not known, trying again");
            tokio::time::sleep(delay).await;
        }
    }
}

impl Operation {
    fn version() -> Self {
        Self { verb: Verb::Get, kind: String::new(), resource: "/version".to_owned(), key: None }
    }
}

/// Some clouds write `33+`.
fn number(text: &str) -> u32 {
    text.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(u32::MAX)
}
