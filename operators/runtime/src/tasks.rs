//! Tasks, started through what is handed in, and watched: one that dies is noticed.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

/// Starts tasks. A simulator hands in one that it can stop, step and crash.
pub trait Spawn: fmt::Debug + Send + Sync {
    /// Runs `task` until it ends, beside the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Starts tasks on the tokio runtime of the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTasks;

/// The tasks of the process that must not end before the stop signal.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    spawn: Arc<dyn Spawn>,
    stop: CancellationToken,
    running: TaskTracker,
    dead: Arc<Mutex<BTreeMap<String, &'static str>>>,
}

impl Spawn for TokioTasks {
    #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }
}

impl Tasks {
    /// Tasks that live until `stop`.
    pub(crate) fn new(spawn: Arc<dyn Spawn>, stop: CancellationToken) -> Self {
        Self { spawn, stop, running: TaskTracker::new(), dead: Arc::default() }
    }

    /// Starts `task`, which ends by itself after the stop signal. An end before it, or a panic, is a death.
    pub(crate) fn start(&self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.clone();
        self.spawn.spawn(Box::pin(self.running.track_future(async move {
            let cause = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if tasks.stop.is_cancelled() => return,
                Ok(()) => "ended",
                Err(_) => "panicked",
            };
            error!(task = name, cause, "task is dead");
            tasks.dead.lock().unwrap_or_else(PoisonError::into_inner).insert(name, cause);
        })));
    }

    /// Returns when the stop signal has come and every task has ended.
    pub(crate) async fn ended(&self) {
        self.stop.cancelled().await;
        self.running.close();
        self.running.wait().await;
    }

    /// Starts `task`, which runs for ever, and drops it at the stop signal.
    pub(crate) fn start_until_stop(&self, name: String, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.start(name, stop.run_until_cancelled_owned(task).map(drop));
    }

    /// Starts `task`, whose end is no news.
    pub(crate) fn start_aside(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn.spawn(Box::pin(task));
    }

    /// The tasks that died, and how.
    pub(crate) fn dead(&self) -> Vec<String> {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.iter().map(|(name, cause)| format!("{name} {cause}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> Tasks {
        Tasks::new(Arc::new(TokioTasks), CancellationToken::new())
    }

    // Rule runtime-16.
    #[tokio::test]
    async fn a_task_that_panics_or_ends_too_early_is_dead() {
        let tasks = tasks();
        tasks.start("tide".to_owned(), async { panic!("ebb") });
        tasks.start_until_stop("wind".to_owned(), async {});
        tasks.start_until_stop("moon".to_owned(), std::future::pending());
        while tasks.dead().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.dead(), ["tide panicked", "wind ended"]);
    }

    // Rule runtime-15.
    #[tokio::test]
    async fn after_the_stop_signal_an_end_is_no_death() {
        let tasks = tasks();
        tasks.start_until_stop("moon".to_owned(), std::future::pending());
        tasks.stop.cancel();
        tasks.ended().await;
        assert_eq!(tasks.dead(), Vec::<String>::new());
    }
}
