//! Which keys wait for a reconcile, and since when.
//!
//! A key stands in the queue once, however often it is added. A key whose reconcile runs is not started again
//! before that has ended. Keys that are due leave in the order in which they became due, so none starves and a
//! run can be repeated.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{Key, clock};

/// The queue of one controller. Anyone may add; only `run` takes.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// A number for each addition: equal times leave in the order of arrival.
    arrivals: u64,
    due: BTreeMap<(Instant, u64), Key>,
    waiting: BTreeMap<Key, (Instant, u64)>,
    /// Since when.
    running: BTreeMap<Key, Instant>,
    /// Additions that nobody has asked for yet.
    untold: u64,
    /// Keys that were added while they ran, with the earliest time asked for.
    again: BTreeMap<Key, Instant>,
}

/// What happens in a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activity {
    /// Additions since the last look.
    pub(crate) added: u64,
    /// Keys that are due and wait for room, without those that wait for their time.
    pub(crate) depth: usize,
    /// How long all that runs has run, together.
    pub(crate) unfinished: Duration,
    /// How long the one has run that has run for longest.
    pub(crate) longest: Duration,
}

impl Queue {
    /// Asks for a reconcile of `key` as soon as there is room.
    pub fn add(&self, key: Key) {
        self.add_at(key, clock::instant());
    }

    /// What happens in it.
    pub(crate) fn activity(&self, now: Instant) -> Activity {
        let mut state = self.lock();
        let running = state.running.values().map(|since| now.saturating_duration_since(*since));
        let (unfinished, longest) = running
            .fold((Duration::ZERO, Duration::ZERO), |(sum, longest), took| (sum + took, longest.max(took)));
        let depth = state.due.range(..=(now, u64::MAX)).count();
        Activity { added: std::mem::take(&mut state.untold), depth, unfinished, longest }
    }

    /// Asks for a reconcile of `key` at `at`, or earlier if that was asked for before.
    pub(crate) fn add_at(&self, key: Key, at: Instant) {
        self.lock().add(key, at);
        self.added.notify_one();
    }

    /// Takes the key that has been due for longest, and with it the time since when.
    pub(crate) fn take(&self, now: Instant) -> Option<(Key, Instant)> {
        self.lock().take(now)
    }

    /// The reconcile of `key` has ended; what was asked for meanwhile takes its place in the queue.
    pub(crate) fn done(&self, key: &Key) {
        self.lock().done(key);
    }

    /// What runs was dropped: it waits again.
    pub(crate) fn resume(&self, at: Instant) {
        self.lock().resume(at);
    }

    /// Returns when a key may be due.
    pub(crate) async fn changed(&self) {
        let next = self.lock().due.first_key_value().map(|((at, _), _)| *at);
        match next {
            Some(at) => drop(tokio::time::timeout_at(at, self.added.notified()).await),
            None => self.added.notified().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, key: Key, at: Instant) {
        self.untold += 1;
        if self.running.contains_key(&key) {
            self.again.entry(key).and_modify(|earliest| *earliest = at.min(*earliest)).or_insert(at);
            return;
        }
        if let Some(place) = self.waiting.get(&key).copied() {
            if place.0 <= at {
                return;
            }
            self.due.remove(&place);
        }
        self.arrivals += 1;
        self.due.insert((at, self.arrivals), key.clone());
        self.waiting.insert(key, (at, self.arrivals));
    }

    fn take(&mut self, now: Instant) -> Option<(Key, Instant)> {
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let since = first.key().0;
        let key = first.remove();
        self.waiting.remove(&key);
        self.running.insert(key.clone(), now);
        Some((key, since))
    }

    fn resume(&mut self, at: Instant) {
        self.again.clear();
        for key in std::mem::take(&mut self.running).into_keys() {
            self.add(key, at);
        }
    }

    fn done(&mut self, key: &Key) {
        self.running.remove(key);
        if let Some(at) = self.again.remove(key) {
            self.add(key.clone(), at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(queue: &Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.take(now)).map(|(key, _)| key.name).collect()
    }

    // Rule runtime-8.
    #[test]
    fn keys_leave_in_the_order_in_which_they_came() {
        let (queue, now) = (Queue::default(), clock::instant());
        let names: Vec<String> = (0..50).map(|n| format!("bay-{}", (n * 37) % 50)).collect();
        for name in &names {
            queue.add_at(Key::cluster(name), now);
        }
        assert_eq!(taken(&queue, now), names);
    }

    // Rule runtime-8.
    #[test]
    fn a_key_waits_once_at_its_earliest_time() {
        let (queue, now) = (Queue::default(), clock::instant());
        let soon = now + Duration::from_secs(1);
        queue.add_at(Key::cluster("bay"), now + Duration::from_secs(300));
        queue.add_at(Key::cluster("bay"), soon);
        queue.add_at(Key::cluster("bay"), now + Duration::from_secs(60));
        assert_eq!(queue.activity(now).depth, 0, "it waits for its time, not for room");
        assert_eq!(taken(&queue, now), Vec::<String>::new());
        assert_eq!(queue.activity(soon).depth, 1);
        assert_eq!(taken(&queue, soon), ["bay"]);
    }

    // Rule runtime-8.
    #[test]
    fn a_running_key_is_not_started_again_before_it_has_ended() {
        let (queue, now) = (Queue::default(), clock::instant());
        let bay = Key::cluster("bay");
        queue.add_at(bay.clone(), now);
        assert_eq!(taken(&queue, now), ["bay"]);
        queue.add_at(bay.clone(), now);
        assert_eq!(taken(&queue, now), Vec::<String>::new());
        queue.done(&bay);
        assert_eq!(taken(&queue, now), ["bay"]);
        queue.done(&bay);
        assert_eq!(taken(&queue, now), Vec::<String>::new());
    }

    // Rule runtime-32.
    #[test]
    fn what_was_dropped_waits_again_once() {
        let (queue, now) = (Queue::default(), clock::instant());
        let bay = Key::cluster("bay");
        queue.add_at(bay.clone(), now);
        assert_eq!(taken(&queue, now), ["bay"]);
        queue.add_at(bay, now);
        queue.resume(now);
        assert_eq!(taken(&queue, now), ["bay"]);
    }
}
