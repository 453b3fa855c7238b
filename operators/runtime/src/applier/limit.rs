//! How fast this process may write, all controllers together.

use std::{
    cmp::Reverse,
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use leaky_bucket::RateLimiter;

use crate::clock;

/// How many writes to nodes, children and statuses may be sent. Events and the Lease are few, and not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteLimit {
    /// A bucket of tokens, one for each write.
    Bucket {
        /// How many flow in each second.
        per_second: NonZeroU32,
        /// How many it holds: that many writes in a row need not wait.
        burst: NonZeroU32,
    },
    /// As fast as the API server answers: for a benchmark.
    Disabled,
}

/// How often tokens flow in, in milliseconds, if they can: often enough that nobody notices, and so seldom that a timer
/// which is late by one, as tokio's are, is not much of it.
const INTERVAL: u64 = 100;

/// The bucket of the process.
#[derive(Debug)]
pub(crate) struct Bucket(RwLock<Option<Arc<RateLimiter>>>);

impl WriteLimit {
    /// What the API server gives one client without noticing: 5,000 nodes within 100 s.
    pub const DEFAULT: Self = match (NonZeroU32::new(50), NonZeroU32::new(100)) {
        (Some(per_second), Some(burst)) => Self::Bucket { per_second, burst },
        (None, _) | (_, None) => Self::Disabled,
    };

    fn bucket(self) -> Option<Arc<RateLimiter>> {
        let Self::Bucket { per_second, burst } = self else {
            return None;
        };
        let (tokens, interval) = flow(per_second.get().into(), burst.get().into());
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let most = size(tokens.max(burst.get().into()));
        let limiter = RateLimiter::builder()
            .max(most)
            .initial(size(burst.get().into()))
            .refill(size(tokens))
            .interval(interval)
            .build();
        Some(Arc::new(limiter))
    }
}

/// How many tokens flow in at once, and how often.
///
/// Timers and crate count whole milliseconds: first of all the interval is one that is nearly whole by itself, then it is
/// long. A quarter of the bucket at most flows in at once, since what finds no room is lost, or what flows in within 10 ms.
fn flow(per_second: u64, burst: u64) -> (u64, Duration) {
    let in_millis = |millis: u64| (per_second * millis).div_ceil(1000);
    let interval = |tokens: u64| (tokens * 1000 + per_second / 2) / per_second;
    let wrong_by = |tokens: u64| {
        let (exact, whole) = (tokens * 1000, interval(tokens) * per_second);
        exact.abs_diff(whole) * 1000 / tokens
    };
    let most = in_millis(10).max(burst / 4);
    let all = (1..=INTERVAL).map(in_millis).filter(|tokens| *tokens <= most && interval(*tokens) > 0);
    let tokens = all.min_by_key(|tokens| (wrong_by(*tokens), Reverse(*tokens))).unwrap_or(most);
    (tokens, Duration::from_millis(interval(tokens)))
}

impl Bucket {
    pub(crate) fn new(limit: WriteLimit) -> Self {
        Self(RwLock::new(limit.bucket()))
    }

    /// A full bucket takes the place of this one. Who waits already goes on waiting for a token of the old one.
    pub(crate) fn replace(&self, limit: WriteLimit) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = limit.bucket();
    }

    /// Returns when one write may be sent, and says how long that took. First come, first served.
    pub(crate) async fn take(&self) -> Duration {
        let bucket = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(bucket) = bucket else {
            return Duration::ZERO;
        };
        let started = clock::instant();
        bucket.acquire_one().await;
        started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, future::join_all, stream};

    use super::*;

    fn bucket((per_second, burst): (u32, u32)) -> Bucket {
        let count = |count| NonZeroU32::new(count).unwrap();
        Bucket::new(WriteLimit::Bucket { per_second: count(per_second), burst: count(burst) })
    }

    /// Asserts that `tokens` came in `took` at this rate, one in a hundred more or less.
    fn at_rate(tokens: u32, took: Duration, limit: (u32, u32), because: &str) {
        let rate = f64::from(tokens) / took.as_secs_f64() / f64::from(limit.0);
        assert!((0.99..=1.01).contains(&rate), "{limit:?}, {because}: {rate} times the rate");
    }

    /// From the least to the most that a configuration may ask for.
    const LIMITS: [(u32, u32); 12] = [
        (1, 1),
        (1, 10_000),
        (7, 1),
        (50, 1),
        (50, 100),
        (333, 10),
        (600, 1),
        (600, 100),
        (1001, 1),
        (9_999, 10_000),
        (10_000, 1),
        (10_000, 10_000),
    ];

    /// A bucket from which all is taken.
    async fn empty(limit: (u32, u32)) -> Bucket {
        let bucket = bucket(limit);
        join_all((0..limit.1).map(|_| bucket.take())).await;
        bucket
    }

    /// Takes what has come after this time, and one more.
    async fn take_free(bucket: &Bucket, idle: Duration) -> u32 {
        tokio::time::sleep(idle).await;
        let mut taken = 1;
        while bucket.take().await.is_zero() {
            taken += 1;
        }
        taken
    }

    // Rule runtime-24.
    #[tokio::test(start_paused = true)]
    async fn every_rate_is_kept_while_many_wait() {
        for limit @ (per_second, _) in LIMITS {
            let (bucket, began) = (empty(limit).await, clock::instant());
            join_all((0..per_second * 4).map(|_| bucket.take())).await;
            at_rate(per_second * 4, began.elapsed(), limit, "many at once");
        }
    }

    // Rule runtime-24.
    #[tokio::test(start_paused = true)]
    async fn every_rate_is_kept_by_one_that_writes_again_and_again() {
        for limit @ (per_second, _) in LIMITS {
            let (bucket, began) = (empty(limit).await, clock::instant());
            stream::iter(0..per_second * 4).then(|_| bucket.take()).count().await;
            at_rate(per_second * 4, began.elapsed(), limit, "one after the other");
        }
    }

    // Rule runtime-24.
    #[tokio::test(start_paused = true)]
    async fn every_rate_is_kept_while_nobody_asks() {
        for limit @ (per_second, burst) in LIMITS.into_iter().filter(|(_, burst)| *burst > 99) {
            let (bucket, began) = (empty(limit).await, clock::instant());
            let third = Duration::from_millis((burst * 1000 / per_second / 3).into());
            let idle = stream::iter(0..200).then(|_| take_free(&bucket, third));
            let taken = idle.fold(0, async |sum, taken| sum + taken).await;
            at_rate(taken, began.elapsed(), limit, "idle");
        }
    }
}
