//! The only place that reads a clock.
//!
//! Wall time is a trait that is handed in. Elapsed time is tokio's, which a test can pause: kube-runtime's
//! watcher measures with it as well, so a second source would only drift from the first.

use std::fmt::Debug;

use jiff::Timestamp;
use tokio::time::Instant;

/// What time it is, for what other people read: conditions, events.
pub trait Clock: Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A point on the clock that only runs forward: delays, deadlines, durations.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
