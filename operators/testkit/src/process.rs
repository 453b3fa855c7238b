//! A process of which a test decides whether it runs.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use futures::{FutureExt, future::BoxFuture};
use stowage_runtime::Spawn;
use tokio_util::sync::CancellationToken;

/// The tasks of one process. What they have asked of the network goes on without them, as it does for a real one.
#[derive(Clone, Debug, Default)]
pub struct Process {
    killed: CancellationToken,
    stopped: Arc<Mutex<Option<Vec<Waker>>>>,
}

impl Process {
    /// Nothing of it runs any more, as after SIGKILL.
    pub fn kill(&self) {
        self.killed.cancel();
    }

    /// It stands still, as after SIGSTOP.
    pub fn pause(&self) {
        self.waiting().get_or_insert_default();
    }

    /// It goes on.
    pub fn resume(&self) {
        self.waiting().take().into_iter().flatten().for_each(Waker::wake);
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Waker>>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spawn for Process {
    fn spawn(&self, mut task: BoxFuture<'static, ()>) {
        let process = self.clone();
        let killed = self.killed.clone();
        let task = poll_fn(move |context| {
            if let Some(waiting) = process.waiting().as_mut() {
                waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            task.poll_unpin(context)
        });
        drop(tokio::spawn(killed.run_until_cancelled_owned(task).map(drop)));
    }
}
