//! How long to wait after a failure.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::Key;

/// Random numbers, handed in: a seeded one makes a run repeatable.
#[derive(Clone, Debug)]
pub struct Jitter(Arc<Mutex<fastrand::Rng>>);

/// A delay that doubles from `first` to at most `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

/// An API server that is away is asked often enough to be found soon, and not so often that its start hurts.
pub(crate) const AWAY: Growth = Growth { first: Duration::from_millis(500), most: Duration::from_secs(15) };

/// What one more failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// When to try again, from now.
    pub(crate) after: Duration,
    /// Failures in a row, this one counted.
    pub(crate) failures: u32,
}

/// The failures of each key since its last success.
#[derive(Debug)]
pub(crate) struct Backoff {
    jitter: Jitter,
    streaks: BTreeMap<Key, Streak>,
}

#[derive(Clone, Copy, Debug)]
struct Streak {
    growth: Growth,
    failures: u32,
    until: Instant,
}

impl Jitter {
    /// Different in each process, so that replicas and restarts do not march in step.
    pub fn random() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    /// The same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// Any number.
    pub(crate) fn number(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }

    /// `delay`, 20 % shorter to 20 % longer.
    pub(crate) fn spread(&self, delay: Duration) -> Duration {
        let unit = self.0.lock().unwrap_or_else(PoisonError::into_inner).f64();
        delay.mul_f64(0.8 + 0.4 * unit)
    }
}

impl Growth {
    /// The delay after the `failures`-th failure in a row, before jitter.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(u32::BITS - 1);
        self.first.saturating_mul(1 << doublings).min(self.most)
    }
}

impl Backoff {
    pub(crate) fn new(jitter: Jitter) -> Self {
        Self { jitter, streaks: BTreeMap::new() }
    }

    /// One more failure of `key`. It counts only if the delay before it had elapsed: an object that is woken by
    /// its neighbours while it waits would else be punished for their events (kubernetes/kubernetes#132805). A failure
    /// that grows in another way is another trouble, and the first of its own: it does not wait for the one before.
    pub(crate) fn fail(&mut self, key: &Key, growth: Growth, now: Instant) -> Retry {
        let streak = self.streaks.get(key).filter(|streak| streak.growth == growth);
        if let Some(streak) = streak.filter(|streak| now < streak.until) {
            return Retry { after: streak.until.duration_since(now), failures: streak.failures };
        }
        let failures = streak.map_or(0, |streak| streak.failures).saturating_add(1);
        let after = self.jitter.spread(growth.after(failures));
        self.streaks.insert(key.clone(), Streak { growth, failures, until: now + after });
        Retry { after, failures }
    }

    /// Forgets what failed before.
    pub(crate) fn reset(&mut self, key: &Key) {
        self.streaks.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth { first: Duration::from_secs(1), most: Duration::from_secs(300) };

    fn within_a_fifth(actual: Duration, nominal: Duration) {
        assert!(
            actual >= nominal.mul_f64(0.8) && actual <= nominal.mul_f64(1.2),
            "{actual:?} is not {nominal:?} +- 20 %"
        );
    }

    // Rule runtime-9.
    #[test]
    fn each_counted_failure_doubles_the_delay_up_to_five_minutes() {
        let (mut backoff, key) = (Backoff::new(Jitter::seeded(7)), Key::cluster("bay"));
        let mut now = crate::clock::instant();
        for (failures, nominal) in (1_u32..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
            let retry = backoff.fail(&key, GROWTH, now);
            assert_eq!(retry.failures, failures);
            within_a_fifth(retry.after, Duration::from_secs(nominal));
            now += retry.after;
        }
    }

    // Rule runtime-9.
    #[test]
    fn a_failure_before_the_delay_has_elapsed_does_not_count() {
        let (mut backoff, key) = (Backoff::new(Jitter::seeded(7)), Key::cluster("bay"));
        let now = crate::clock::instant();
        let first = backoff.fail(&key, GROWTH, now);
        let waited = Duration::from_millis(100);
        let early = backoff.fail(&key, GROWTH, now + waited);
        assert_eq!((early.after + waited, early.failures), (first.after, 1));
    }

    // Rule runtime-9.
    #[test]
    fn another_growth_begins_anew_and_waits_for_no_other() {
        let (mut backoff, key) = (Backoff::new(Jitter::seeded(7)), Key::cluster("bay"));
        let now = crate::clock::instant();
        let slow = Growth { first: Duration::from_secs(60), ..GROWTH };
        backoff.fail(&key, slow, now);
        let retry = backoff.fail(&key, GROWTH, now + Duration::from_millis(100));
        assert_eq!(retry.failures, 1);
        within_a_fifth(retry.after, Duration::from_secs(1));
    }

    // Rule runtime-9.
    #[test]
    fn success_resets_only_its_own_key() {
        let (mut backoff, now) = (Backoff::new(Jitter::seeded(7)), crate::clock::instant());
        let (bay, cove) = (Key::cluster("bay"), Key::cluster("cove"));
        let waited = backoff.fail(&bay, GROWTH, now).after.max(backoff.fail(&cove, GROWTH, now).after);
        backoff.reset(&bay);
        assert_eq!(backoff.fail(&bay, GROWTH, now + waited).failures, 1);
        assert_eq!(backoff.fail(&cove, GROWTH, now + waited).failures, 2);
    }

    // Rule runtime-9.
    #[test]
    fn a_seed_repeats_its_delays_and_another_seed_does_not() {
        let delays = |seed| {
            let jitter = Jitter::seeded(seed);
            [(); 4].map(|()| jitter.spread(Duration::from_secs(100)))
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
