//! A clock for tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stowage_runtime::Clock;
use tokio::time::Instant;

/// Starts at the same time in every run and moves with tokio's clock: not at all while a test pauses that.
#[derive(Debug)]
pub struct MovingClock {
    started: Instant,
}

impl MovingClock {
    /// 2001-09-09T01:46:40Z: far from any date that a test might mean.
    pub const START: Timestamp = Timestamp::constant(1_000_000_000, 0);

    /// Starts now.
    #[expect(clippy::new_without_default, reason = "a default would hide that it starts to run")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Clock for MovingClock {
    fn now(&self) -> Timestamp {
        Self::START + SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX)
    }
}
