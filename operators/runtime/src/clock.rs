//! The only place that reads a clock.
//!
//! Wall time is a trait that is handed in. Elapsed time is tokio's, which a test can pause: kube-runtime's
//! watcher measures with it as well, so a second source would only drift from the first. The election alone asks the
//! trait for elapsed time too: what it guarantees, it guarantees for clocks that do not run alike.

use std::fmt::Debug;

use jiff::Timestamp;
use tokio::time::Instant;

/// What time it is: for what other people read, as conditions and events, and for the election.
pub trait Clock: Debug + Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// A point on the clock of this process that only runs forward.
    fn instant(&self) -> Instant {
        instant()
    }

    /// When tokio's timers have to fire so that this clock shows `at`.
    fn timer(&self, at: Instant) -> Instant {
        at
    }
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
