//! The right to write, as long as it lasts.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// The process does not lead, or did not lead for long enough to hear the answer, or is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead")]
pub(crate) struct NotLeading;

/// What every write passes before it is sent. Clones are the same fence.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    clock: Arc<dyn Clock>,
    gate: Arc<Mutex<Gate>>,
    stop: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
enum Gate {
    Open,
    OpenUntil(Instant),
    Shut,
}

impl Fence {
    /// Nobody else writes: there is no election. After `stop` nothing is admitted, whatever else is said: the Lease is
    /// kept for what is under way, and another process waits for it.
    pub(crate) fn open(clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { clock, gate: Arc::new(Mutex::new(Gate::Open)), stop }
    }

    /// Open until then; without a time shut.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.lock() = until.map_or(Gate::Shut, Gate::OpenUntil);
    }

    /// Asked at the very moment of sending what only reads.
    pub(crate) fn admit_read(&self) -> Result<(), NotLeading> {
        if self.stop.is_cancelled() { Err(NotLeading) } else { Ok(()) }
    }

    /// Asked at the very moment of sending what writes. Returns when the answer must be there, on tokio's clock; without a time
    /// there is no bound.
    pub(crate) fn admit(&self) -> Result<Option<Instant>, NotLeading> {
        self.admit_read()?;
        let gate = *self.lock();
        match gate {
            Gate::Open => Ok(None),
            Gate::OpenUntil(until) if self.clock.instant() < until => Ok(Some(self.clock.timer(until))),
            Gate::OpenUntil(_) | Gate::Shut => Err(NotLeading),
        }
    }

    /// Waits for so long, unless nothing will be admitted afterwards.
    pub(crate) async fn pause(&self, delay: Duration) {
        self.stop.run_until_cancelled(tokio::time::sleep(delay)).await.unwrap_or_default();
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SystemClock, clock};

    // Rule runtime-30.
    #[tokio::test(start_paused = true)]
    async fn it_shuts_by_the_clock_alone() {
        let fence = Fence::open(Arc::new(SystemClock), CancellationToken::new());
        assert_eq!(fence.admit(), Ok(None));
        let until = clock::instant() + Duration::from_secs(10);
        fence.set(Some(until));
        assert_eq!(fence.admit(), Ok(Some(until)));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(fence.admit(), Err(NotLeading));
        fence.set(Some(until + Duration::from_secs(10)));
        assert!(fence.admit().is_ok());
        fence.set(None);
        assert_eq!(fence.admit(), Err(NotLeading));
    }

    // Rule runtime-15.
    #[tokio::test(start_paused = true)]
    async fn after_the_stop_signal_nothing_passes_and_nobody_waits() {
        let stop = CancellationToken::new();
        let fence = Fence::open(Arc::new(SystemClock), stop.clone());
        let began = clock::instant();
        fence.pause(Duration::from_secs(1)).await;
        assert_eq!((began.elapsed(), fence.admit_read()), (Duration::from_secs(1), Ok(())));
        stop.cancel();
        fence.set(Some(began + Duration::from_secs(10)));
        fence.pause(Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert_eq!((fence.admit(), fence.admit_read()), (Err(NotLeading), Err(NotLeading)));
    }
}
