//! Log lines on standard error, for people or for machines.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Words.
    Text,
}

/// What is logged: a level, and others for parts of the program: `info,stowage_runtime=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLevel(Targets);

/// What is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write error, warn, info, debug or trace, and others for parts of the program as PART=LEVEL after a comma"
)]
pub struct NoLogLevel;

/// The log of the process.
#[derive(Clone, Debug)]
pub struct Logs(reload::Handle<Targets, Registry>);

impl FromStr for LogLevel {
    type Err = NoLogLevel;

    fn from_str(text: &str) -> Result<Self, NoLogLevel> {
        // A word alone would be taken for a part of which everything is logged, so that a slip would pass in silence.
        // Nothing would be taken for `error`.
        let is_level = |level: &str| !level.trim().is_empty() && level.trim().parse::<LevelFilter>().is_ok();
        let is_sound = |directive: &str| match directive.split_once('=') {
            Some((part, level)) => !part.trim().is_empty() && is_level(level),
            None => is_level(directive),
        };
        if !text.split(',').all(is_sound) {
            return Err(NoLogLevel);
        }
        text.parse().map(Self).or(Err(NoLogLevel))
    }
}

impl Default for LogLevel {
    /// What a healthy process has to say.
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl Logs {
    /// Sends the log of the whole process to standard error. A panic becomes a log line like any other.
    pub fn start(format: LogFormat, level: LogLevel) -> Self {
        let (filter, handle) = reload::Layer::new(level.0);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Json => {
                lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
            }
            LogFormat::Text => lines.boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(place, message = crate::run::words(panic.payload()), "panic");
        }));
        Self(handle)
    }

    /// Logs from now on what `level` says.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when nothing is logged any more.
        drop(self.0.reload(level.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule runtime-28.
    #[test]
    fn a_level_is_a_word_of_five_with_others_for_parts() {
        for good in ["info", "WARN", "off", "info,stowage_runtime=debug", "a::b=trace, error"] {
            assert!(good.parse::<LogLevel>().is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,", "info,stowage_runtime", "stowage_runtime=much", "=debug"] {
            assert_eq!(bad.parse::<LogLevel>(), Err(NoLogLevel), "{bad}");
        }
    }
}
