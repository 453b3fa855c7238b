//! What may change while the process runs.

use std::{
    num::NonZeroUsize,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crate::{WriteLimit, applier::Bucket};

/// Limits that every controller of the process obeys. A change is in force at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How many reconciles of a kind run at once. More would only queue up in the API server; fewer would let one slow
    /// object hold up the rest.
    pub concurrency: NonZeroUsize,
    /// How many writes may be sent.
    pub writes: WriteLimit,
    /// How often each object is looked at although nothing has changed: mends what no watch could tell of.
    pub resync: Duration,
}

/// The limits in force.
#[derive(Debug)]
pub(crate) struct Tuned {
    now: RwLock<Tuning>,
    pub(crate) bucket: Arc<Bucket>,
}

impl Tuning {
    const CONCURRENCY: NonZeroUsize = match NonZeroUsize::new(10) {
        Some(ten) => ten,
        None => NonZeroUsize::MIN,
    };
}

impl Default for Tuning {
    fn default() -> Self {
        Self { concurrency: Self::CONCURRENCY, writes: WriteLimit::DEFAULT, resync: Duration::from_secs(600) }
    }
}

impl Tuned {
    pub(crate) fn new(tuning: Tuning) -> Self {
        Self { now: RwLock::new(tuning), bucket: Arc::new(Bucket::new(tuning.writes)) }
    }

    pub(crate) fn now(&self) -> Tuning {
        *self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, tuning: Tuning) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.writes != tuning.writes {
            self.bucket.replace(tuning.writes);
        }
        *now = tuning;
    }
}
