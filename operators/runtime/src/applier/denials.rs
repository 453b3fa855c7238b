//! What admission plugins have refused: the same write is not sent again and again.
//!
//! Whatever wakes an object wakes all of its writes, and a webhook of a provider that refuses one of them would be asked
//! on every change of any node. A write that is not the same goes at once: somebody may have found the cure.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::core::Status;
use tokio::time::Instant;

use crate::Operation;

/// How long a refused write is kept back.
const KEPT_BACK: Duration = Duration::from_secs(300);
/// When to look again after a refusal: long enough that jitter, a fifth of it, does not make it earlier than the above.
pub const AFTER_DENIAL: Duration = Duration::from_secs(375);
/// One for each node of the largest cluster; what is beyond that is forgotten early, and only asked more often.
const MOST: usize = 5000;

/// The refusals that still count.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeMap<Target, Denial>>);

/// What is written to: an object of the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    pub(crate) uid: String,
}

/// What is written, as few bytes: two that differ are as good as never alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

#[derive(Debug)]
struct Denial {
    written: Fingerprint,
    until: Instant,
    answer: Box<Status>,
}

impl Fingerprint {
    /// Of what is sent, without the version that it is pinned to: that changes with each try.
    pub(crate) fn of(written: &(impl Hash + ?Sized)) -> Self {
        let mut hasher = DefaultHasher::new();
        written.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Denials {
    /// What was answered when this was last written here, if that still counts.
    pub(crate) fn standing(
        &self,
        target: &Target,
        written: Fingerprint,
        now: Instant,
    ) -> Option<Box<Status>> {
        let denials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let denial = denials.get(target)?;
        (denial.written == written && now < denial.until).then(|| denial.answer.clone())
    }

    /// Remembers a refusal in the place of the one before it.
    pub(crate) fn remember(&self, target: Target, written: Fingerprint, answer: Box<Status>, now: Instant) {
        let mut denials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        denials.insert(target, Denial { written, until: now + KEPT_BACK, answer });
        if denials.len() <= MOST {
            return;
        }
        denials.retain(|_, denial| now < denial.until);
        let oldest = denials.iter().min_by_key(|(_, denial)| denial.until).map(|(target, _)| target.clone());
        if let Some(oldest) = oldest.filter(|_| denials.len() > MOST) {
            denials.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;

    use super::*;
    use crate::{Key, Verb, clock};

    fn target(name: &str, uid: &str) -> Target {
        let operation = Operation::one::<Node>(Verb::Patch, Key::cluster(name));
        Target { operation, uid: uid.to_owned() }
    }

    fn no() -> Box<Status> {
        Status::failure("no", "Forbidden").with_code(403).boxed()
    }

    // Rule runtime-20.
    #[test]
    fn only_the_same_write_to_the_same_object_is_kept_back_and_only_for_a_while() {
        let (denials, now) = (Denials::default(), clock::instant());
        let (red, green) = (Fingerprint::of("red"), Fingerprint::of("green"));
        denials.remember(target("bar", "1"), red, no(), now);
        let standing = |target, written, at| denials.standing(&target, written, at).is_some();
        let cases = [
            (target("bar", "1"), red, Duration::from_secs(299), true, "the same"),
            (target("bar", "1"), red, KEPT_BACK, false, "five minutes have passed"),
            (target("bar", "1"), green, Duration::ZERO, false, "another write"),
            (target("bar", "2"), red, Duration::ZERO, false, "another object of the same name"),
            (target("reef", "1"), red, Duration::ZERO, false, "another object"),
        ];
        for (target, written, after, expected, because) in cases {
            assert_eq!(standing(target, written, now + after), expected, "{because}");
        }
    }

    // Rule runtime-20.
    #[test]
    fn the_memory_has_a_bound_and_forgets_the_oldest() {
        let (denials, now) = (Denials::default(), clock::instant());
        let red = Fingerprint::of("red");
        for number in 0..=MOST {
            let after = Duration::from_millis(u64::try_from(number).unwrap());
            denials.remember(target(&format!("buoy-{number}"), "1"), red, no(), now + after);
        }
        assert_eq!(denials.0.lock().unwrap().len(), MOST);
        assert!(denials.standing(&target("buoy-0", "1"), red, now).is_none());
        assert!(denials.standing(&target("buoy-1", "1"), red, now).is_some());
    }
}
