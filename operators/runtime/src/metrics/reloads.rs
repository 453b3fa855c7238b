//! The metrics of the configuration file.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::{counter, registered};

/// Of the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Reloads {
    total: IntCounterVec,
    /// For an alert that stands until somebody has mended the file.
    last_succeeded: IntGauge,
}

/// How a reload of the configuration file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadResult {
    Success,
    Failure,
}

impl ReloadResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl Reloads {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            total: counter(
                registry,
                ("stowage_config_reloads_total", "Changes of the configuration file by result."),
                &["result"],
            )?,
            last_succeeded: registered(
                registry,
                IntGauge::new(
                    "stowage_config_last_reload_successful",
                    "0 while the configuration file is not the one in force.",
                )?,
            )?,
        })
    }

    /// Lets every series exist from the start.
    pub(crate) fn announce(&self) {
        for result in [ReloadResult::Success, ReloadResult::Failure] {
            self.total.with_label_values(&[result.as_str()]).inc_by(0);
        }
        self.last_succeeded.set(1);
    }

    pub(crate) fn count(&self, result: ReloadResult) {
        self.total.with_label_values(&[result.as_str()]).inc();
        self.last_succeeded.set((result == ReloadResult::Success).into());
    }
}
