//! Who leads: decided from the Lease as it was seen, and from a clock that only runs forward. No I/O.
//!
//! # Why two never write at once
//! A holder sends a renewal at its own time `s` and may write until `s + renew` (10 s), by its own clock, whether or
//! not an answer comes. A candidate cannot have seen that renewal before it was sent, and takes over no earlier than
//! `lease` (15 s) after it has seen it, by its own clock. Nobody reads the other's clock, so only the rates of the two
//! matter. Where the holder's runs at `h` times and the candidate's at `c` times the true rate, true time that passes
//! between the sending and
//!
//! - the holder's last write is at most `renew / h`,
//! - the candidate's first write is at least `lease / c`.
//!
//! So they are apart if `c / h < lease / renew = 1.5`. For rates between 0.9 and 1.1 the quotient is at most
//! 1.1 / 0.9 = 1.22: the holder is silent after 10 / 0.9 = 11.1 s, the candidate begins after 15 / 1.1 = 13.6 s, and
//! 2.5 s lie between them. That margin also covers a request that the API server works on after its sender has given it
//! up.
//!
//! What no lease can exclude is a process that stands still between its last look at the clock and its write, and a
//! clock whose rate is outside these bounds, such as one that stops with its machine. Such a write comes late. A change of
//! an object that was known is pinned to its version, and fails where anybody has changed it since. What takes away, a
//! delete or an eviction, is pinned to the UID: it can hit only what it was decided for. A child that was not known is
//! created, or brought to a wish of before if another has created it meanwhile: the leader sees that, and mends it.
//!
//! Of two candidates, one writes the Lease: each write is pinned to the version that was read. A Lease that was deleted
//! under its holder is free only for a process that has never seen it held; that holder learns of it with its next
//! renewal.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use tokio::time::Instant;

use super::Farewell;
use crate::Jitter;

/// The times of the election, those of client-go and controller-runtime where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A candidate takes over when it has seen no sign of life for as long: the price of a crash.
    pub(crate) lease: Duration,
    /// A leader that could not renew for as long writes no more. The module says why it must be less than `lease`.
    pub(crate) renew: Duration,
    /// A leader renews as often: `renew` bears four lost tries.
    pub(crate) retry: Duration,
    /// A candidate looks as often, a fifth more or less: half of the 2 s in which a Lease that was given back must have
    /// a new holder.
    pub(crate) look: Duration,
    /// One request about the Lease: a try that hangs leaves time for another before `renew` is over.
    pub(crate) request: Duration,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// Read the Lease.
    Look,
    /// Create the Lease where it has no version, else replace the state that has it.
    Write(Box<Lease>),
    /// Delete the Lease if it still is this state of this object.
    Remove(Box<Lease>),
    /// Nothing before this time.
    Wait(Instant),
    /// It leads no more.
    StepDown,
    /// The Lease is given back, or was never held.
    End,
}

/// Why the Lease is not as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// No answer, or trouble: what was asked for may still have happened, or may yet.
    Unanswered,
    /// Nothing has happened: the Lease is no longer what it was, or no longer there.
    Outdated,
}

/// The election, as one candidate sees it.
#[derive(Debug)]
pub(crate) struct Election {
    identity: String,
    timing: Timing,
    jitter: Jitter,
    /// A Lease that nobody has held: the name.
    blank: Lease,
    goal: Goal,
    footing: Footing,
    /// The record as it was last seen, and since when by this clock.
    seen: Option<(LeaseSpec, Instant)>,
    /// While it leads: until when it may write.
    until: Option<Instant>,
    /// Whether it has ever asked for the Lease.
    asked: bool,
    /// Whether the last write was outdated: if the next is, too, it waits before it looks.
    outdated: bool,
    /// Nothing is to be done before.
    due: Option<Instant>,
    /// When the last act began: before its request was sent.
    began: Instant,
}

/// What it is here for.
#[derive(Clone, Copy, Debug)]
enum Goal {
    Lead,
    Leave(Farewell),
}

/// What the next write can be pinned to.
#[derive(Debug)]
enum Footing {
    /// Nothing: the Lease must be read first.
    Unknown,
    Absent,
    Present(Box<Lease>),
}

impl Timing {
    /// 15 s, 10 s and 2 s.
    pub const STANDARD: Self =
        Self::new(Duration::from_secs(15), Duration::from_secs(10), Duration::from_secs(2));

    /// How long a dead leader is waited for, how long a leader may write without an answer, and how often it renews. The
    /// first has to be one and a half times the second or more, the second a few times the third: else a clock that runs
    /// wrong, or a lost answer, is too much.
    pub const fn new(lease: Duration, renew: Duration, retry: Duration) -> Self {
        Self { lease, renew, retry, look: half(retry), request: half(renew) }
    }
}

const fn half(time: Duration) -> Duration {
    match time.checked_div(2) {
        Some(half) => half,
        None => time,
    }
}

impl Election {
    /// A candidate that knows nothing yet. No other process may have its identity.
    pub(crate) fn new(identity: String, blank: Lease, timing: Timing, jitter: Jitter, now: Instant) -> Self {
        Self {
            identity,
            timing,
            jitter,
            blank,
            goal: Goal::Lead,
            footing: Footing::Unknown,
            seen: None,
            until: None,
            asked: false,
            outdated: false,
            due: None,
            began: now,
        }
    }

    /// While it leads: until when it may write.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Who held the Lease when it was last seen; nobody where that is empty.
    pub(crate) fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |(record, _)| holder(record))
    }

    /// By when the request of the last act must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        let deadline = self.began + self.timing.request;
        self.until.map_or(deadline, |until| until.min(deadline))
    }

    /// It writes no more, and gives the Lease back.
    pub(crate) fn leave(&mut self, farewell: Farewell) {
        self.goal = Goal::Leave(farewell);
        self.until = None;
        self.due = None;
    }

    /// What is to be done at `now`. `wall` is for people who read the Lease.
    pub(crate) fn next(&mut self, now: Instant, wall: Timestamp) -> Act {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.due = None;
            self.footing = Footing::Unknown;
            return Act::StepDown;
        }
        if let Some(due) = self.due.filter(|due| now < *due) {
            return Act::Wait(self.until.map_or(due, |until| until.min(due)));
        }
        self.began = now;
        // Until it is answered, a write may have happened or not.
        let footing = std::mem::replace(&mut self.footing, Footing::Unknown);
        match self.goal {
            Goal::Lead => self.advance(footing, wall),
            Goal::Leave(farewell) => self.retreat(footing, farewell, wall),
        }
    }

    /// The answer to a look.
    pub(crate) fn looked(&mut self, now: Instant, answer: Result<Option<Lease>, Missed>) {
        let Ok(found) = answer else {
            return self.failed(now);
        };
        if let Some(record) = found.as_ref().and_then(|lease| lease.spec.as_ref())
            && self.seen.as_ref().is_none_or(|(seen, _)| seen != record)
        {
            self.seen = Some((record.clone(), now));
        }
        let mine = self.holder() == self.identity;
        if self.until.is_some() && found.is_some() && !mine {
            // Somebody else holds it: the right to write ends here.
            self.until = Some(now);
            return;
        }
        if self.may_write(now) {
            self.footing = found.map_or(Footing::Absent, |lease| Footing::Present(Box::new(lease)));
            self.due = None;
        } else {
            self.footing = Footing::Unknown;
            self.due = self.expiry().map(|expiry| expiry.min(now + self.jitter.spread(self.timing.look)));
        }
    }

    /// The answer to a write.
    pub(crate) fn wrote(&mut self, now: Instant, answer: Result<Lease, Missed>) {
        let lease = match answer {
            Ok(lease) => lease,
            Err(missed) => return self.missed(now, missed),
        };
        let Some(record) = lease.spec.clone() else {
            return self.failed(now);
        };
        let leads = matches!(self.goal, Goal::Lead);
        if leads && holder(&record) != self.identity {
            return self.failed(now);
        }
        // Others cannot have seen it before it was sent; counted from then, every bound is on its safe side.
        self.seen = Some((record, self.began));
        self.outdated = false;
        self.footing = Footing::Present(Box::new(lease));
        self.until = leads.then(|| self.began + self.timing.renew);
        self.due = Some(self.began + self.timing.retry).filter(|_| leads);
    }

    /// The answer to a removal.
    pub(crate) fn removed(&mut self, now: Instant, answer: Result<(), Missed>) {
        match answer {
            Ok(()) => self.footing = Footing::Absent,
            Err(missed) => self.missed(now, missed),
        }
    }

    fn missed(&mut self, now: Instant, missed: Missed) {
        match missed {
            // How it stands now is known at once, and a renewal has no time to lose.
            Missed::Outdated if !self.outdated => {
                self.outdated = true;
                self.footing = Footing::Unknown;
                self.due = None;
            }
            Missed::Outdated | Missed::Unanswered => self.failed(now),
        }
    }

    fn failed(&mut self, now: Instant) {
        self.outdated = false;
        self.footing = Footing::Unknown;
        let again = match (self.goal, self.until) {
            (Goal::Lead, Some(_)) => self.began + self.timing.retry,
            (Goal::Lead, None) => now + self.jitter.spread(self.timing.look),
            (Goal::Leave(_), _) => self.began + self.timing.look,
        };
        self.due = Some(again);
    }

    fn advance(&mut self, footing: Footing, wall: Timestamp) -> Act {
        let lease = match footing {
            Footing::Unknown => return Act::Look,
            Footing::Absent => self.blank.clone(),
            Footing::Present(lease) => *lease,
        };
        self.asked = true;
        Act::Write(Box::new(self.claim(lease, wall)))
    }

    fn retreat(&self, footing: Footing, farewell: Farewell, wall: Timestamp) -> Act {
        match footing {
            // Also where it is not known to hold it: a write whose answer was lost may have made it the holder.
            Footing::Unknown if self.asked => Act::Look,
            Footing::Present(lease) if self.holds(&lease) => match farewell {
                Farewell::Release => Act::Write(Box::new(release(*lease, wall))),
                Farewell::Remove => Act::Remove(lease),
            },
            Footing::Unknown | Footing::Absent | Footing::Present(_) => Act::End,
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().is_some_and(|record| holder(record) == self.identity)
    }

    /// Whether the Lease as it was just seen leaves this process something to write.
    fn may_write(&self, now: Instant) -> bool {
        let held_by_other = !self.holder().is_empty() && self.holder() != self.identity;
        matches!(self.goal, Goal::Leave(_))
            || !held_by_other
            || self.expiry().is_none_or(|expiry| expiry <= now)
    }

    /// When the record counts as abandoned. A holder with longer times than ours is given its own.
    fn expiry(&self) -> Option<Instant> {
        let (record, since) = self.seen.as_ref()?;
        let seconds = record.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let theirs = Duration::from_secs(seconds.unwrap_or_default());
        Some(*since + theirs.max(self.timing.lease))
    }

    /// The Lease with this process as holder, the fields as client-go writes them.
    fn claim(&self, lease: Lease, wall: Timestamp) -> Lease {
        // Of a Lease that was deleted under its holder, the memory goes on.
        let before = lease.spec.clone().or_else(|| self.seen.as_ref().map(|(record, _)| record.clone()));
        let first = before.is_none();
        let before = before.unwrap_or_default();
        let mine = holder(&before) == self.identity;
        let now = microseconds(wall);
        let renewed = before.renew_time.as_ref().filter(|_| mine).map(|MicroTime(last)| later(*last));
        let transitions = before.lease_transitions.unwrap_or_default();
        let record = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            // Whole seconds: others may wait a little longer, never less.
            lease_duration_seconds: i32::try_from(self.timing.lease.as_millis().div_ceil(1000)).ok(),
            // Two renewals never look alike, not even on a wall clock that stands still: others watch for a change.
            renew_time: Some(MicroTime(renewed.map_or(now, |least| least.max(now)))),
            acquire_time: before.acquire_time.clone().filter(|_| mine).or(Some(MicroTime(now))),
            lease_transitions: Some(if mine || first { transitions } else { transitions.saturating_add(1) }),
            ..before
        };
        Lease { spec: Some(record), ..lease }
    }
}

/// The Lease without a holder, as client-go leaves it.
fn release(lease: Lease, wall: Timestamp) -> Lease {
    let now = Some(MicroTime(microseconds(wall)));
    let record = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: now.clone(),
        acquire_time: now,
        ..lease.spec.unwrap_or_default()
    };
    Lease { spec: Some(record), ..lease }
}

fn holder(record: &LeaseSpec) -> &str {
    record.holder_identity.as_deref().unwrap_or_default()
}

/// As fine as the API server keeps it.
fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn later(time: Timestamp) -> Timestamp {
    time.saturating_add(SignedDuration::from_micros(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests;
