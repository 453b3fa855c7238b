//! A file of settings that may change while the process runs.
//!
//! It is read again and again, not watched: a ConfigMap is swapped by a symbolic link two folders up, a watch of which
//! misses the swap, or dies with the folder, on some kernels and volumes. One small read in a few seconds is nothing,
//! and the kubelet itself takes up to a minute to bring a change.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use tracing::{error, info};

use crate::{Event, Key, Runtime, Severity, metrics::ReloadResult};

/// How often it is read.
const INTERVAL: Duration = Duration::from_secs(5);
/// In events.
const CONTROLLER: &str = "manager";

impl Runtime {
    /// Hands what is in the file at `path` to `adopt` whenever it is another than `known`, until the stop signal. What
    /// `adopt` refuses, or what cannot be read, is said once, in the log and on the pod, and changes nothing.
    pub fn follow_file(
        &self,
        path: PathBuf,
        known: String,
        adopt: impl Fn(&str) -> Result<(), String> + Send + 'static,
    ) {
        self.metrics.reloads.announce();
        let name = format!("following {}", path.display());
        self.tasks.start_until_stop(name, self.clone().reread(path, known, adopt));
    }

    async fn reread(self, path: PathBuf, known: String, adopt: impl Fn(&str) -> Result<(), String> + Send) {
        let (file, mut known) = (path.display().to_string(), Ok(known));
        loop {
            tokio::time::sleep(INTERVAL).await;
            let read = tokio::fs::read_to_string(&path).await.map_err(|error| error.to_string());
            if read == known {
                continue;
            }
            match read.as_deref().map_err(Clone::clone).and_then(&adopt) {
                Ok(()) => self.adopted(&file),
                Err(cause) => self.refused(&file, &cause).await,
            }
            known = read;
        }
    }

    fn adopted(&self, file: &str) {
        self.metrics.reloads.count(ReloadResult::Success);
        info!(file, "configuration reloaded");
    }

    async fn refused(&self, file: &str, cause: &str) {
        self.metrics.reloads.count(ReloadResult::Failure);
        error!(file, error = cause, "configuration not reloaded, the one before stays in force");
        let note = format!("{file} was not reloaded, the configuration before stays in force: {cause}");
        let event =
            Event { severity: Severity::Warning, action: "Reload", reason: "ConfigurationRejected", note };
        let pod =
            Key { namespace: Some(self.namespace().to_owned()), name: self.recorder.instance().to_owned() };
        self.applier(CONTROLLER).publish_about::<Pod>(&pod, "", event).await;
    }
}
