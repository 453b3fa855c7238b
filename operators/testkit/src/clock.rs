//! A clock for tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stowage_runtime::Clock;
use tokio::time::Instant;

/// Starts at the same time in every run and moves with tokio's clock: not at all while a test pauses that.
#[derive(Debug)]
pub struct MovingClock {
    started: Instant,
    rate: f64,
}

impl MovingClock {
    /// 2001-09-09T01:46:40Z: far from any date that a test might mean.
    pub const START: Timestamp = Timestamp::constant(1_000_000_000, 0);

    /// Starts now.
    #[expect(clippy::new_without_default, reason = "a default would hide that it starts to run")]
    pub fn new() -> Self {
        Self::with_rate(1.0)
    }

    /// Starts now, and shows that many seconds for each of tokio's.
    pub fn with_rate(rate: f64) -> Self {
        Self { started: Instant::now(), rate }
    }

    /// How long it has run, by itself.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed().mul_f64(self.rate)
    }
}

impl Clock for MovingClock {
    fn now(&self) -> Timestamp {
        Self::START + SignedDuration::try_from(self.elapsed()).unwrap_or(SignedDuration::MAX)
    }

    fn instant(&self) -> Instant {
        self.started + self.elapsed()
    }

    fn timer(&self, at: Instant) -> Instant {
        // Rounded up: a timer that fires early would find that it is not yet time.
        self.started + at.duration_since(self.started).div_f64(self.rate) + Duration::from_nanos(1)
    }
}
