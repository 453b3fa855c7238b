//! One decision at a time; that they hold together, the simulation shows.

use kube::core::ObjectMeta;

use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);
const WALL: Timestamp = Timestamp::constant(1_000_000_000, 0);

/// A candidate, and an API server that answers at once.
struct Duel {
    election: Election,
    now: Instant,
    stored: Option<Lease>,
    version: u32,
}

fn blank() -> Lease {
    Lease { metadata: ObjectMeta { name: Some("stowage".to_owned()), ..ObjectMeta::default() }, spec: None }
}

fn record(holder: &str, renewed: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        renew_time: Some(MicroTime(renewed)),
        acquire_time: Some(MicroTime(WALL - 60 * SECOND)),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(7),
        ..LeaseSpec::default()
    }
}

impl Duel {
    fn new(stored: Option<LeaseSpec>) -> Self {
        let now = clock::instant();
        let election = Election::new("me".to_owned(), blank(), Timing::STANDARD, Jitter::seeded(3), now);
        let mut duel = Self { election, now, stored: None, version: 0 };
        if let Some(record) = stored {
            duel.store(record);
        }
        duel
    }

    /// Somebody writes the Lease.
    fn store(&mut self, record: LeaseSpec) -> Lease {
        self.version += 1;
        let mut lease = self.stored.clone().unwrap_or_else(blank);
        lease.metadata.resource_version = Some(self.version.to_string());
        lease.spec = Some(record);
        self.stored = Some(lease.clone());
        lease
    }

    fn next(&mut self) -> Act {
        self.election.next(self.now, WALL)
    }

    fn look(&mut self) {
        assert_eq!(self.next(), Act::Look);
        self.election.looked(self.now, Ok(self.stored.clone()));
    }

    /// The Lease that it wants to write.
    fn wants(&mut self) -> Lease {
        let act = self.next();
        let Act::Write(lease) = act else { panic!("{act:?} is no write") };
        *lease
    }

    fn write(&mut self) -> Lease {
        let lease = self.wants();
        let written = self.store(lease.spec.unwrap());
        self.election.wrote(self.now, Ok(written.clone()));
        written
    }

    /// It leads since now.
    fn lead(stored: Option<LeaseSpec>) -> Self {
        let mut duel = Self::new(stored);
        duel.look();
        duel.write();
        assert_eq!(duel.election.until(), Some(duel.now + 10 * SECOND));
        duel
    }

    fn waits_until(&mut self) -> Duration {
        let act = self.next();
        let Act::Wait(at) = act else { panic!("{act:?} is no wait") };
        at - self.now
    }
}

// Rule runtime-33.
#[test]
fn the_lease_reads_as_one_of_client_go() {
    let mut duel = Duel::lead(None);
    let first = duel.stored.clone().unwrap().spec.unwrap();
    let expected = LeaseSpec {
        holder_identity: Some("me".to_owned()),
        lease_duration_seconds: Some(15),
        acquire_time: Some(MicroTime(WALL)),
        renew_time: Some(MicroTime(WALL)),
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    assert_eq!(first, expected);
    duel.now += 2 * SECOND;
    let renewed = duel.write().spec.unwrap();
    // The wall clock of this test stands still.
    let later = Some(MicroTime(WALL + Duration::from_micros(1)));
    assert_eq!(renewed, LeaseSpec { renew_time: later, ..expected });
    duel.election.leave(Farewell::Release);
    let released = duel.write().spec.unwrap();
    assert_eq!(released.holder_identity.as_deref(), Some(""));
    assert_eq!((released.lease_duration_seconds, released.lease_transitions), (Some(1), Some(0)));
    assert_eq!(duel.next(), Act::End);
}

// Rule runtime-33.
#[test]
fn a_change_of_the_holder_is_a_transition_and_a_restart_is_none() {
    let since = Some(MicroTime(WALL - 60 * SECOND));
    let cases = [
        (record("", WALL), Some(8), Some(MicroTime(WALL)), "released"),
        (record("me", WALL - 9 * SECOND), Some(7), since, "this pod, started again"),
    ];
    for (stored, transitions, acquired, because) in cases {
        let won = Duel::lead(Some(stored)).stored.unwrap().spec.unwrap();
        assert_eq!((won.lease_transitions, won.acquire_time), (transitions, acquired), "{because}");
    }
}

// Rule runtime-30.
#[test]
fn a_lease_of_another_is_left_alone_until_nothing_has_changed_for_its_whole_duration() {
    let mut duel = Duel::new(Some(LeaseSpec { lease_duration_seconds: Some(40), ..record("other", WALL) }));
    duel.look();
    // Renewed once more: that starts the time again.
    duel.now += 2 * SECOND;
    duel.store(LeaseSpec { lease_duration_seconds: Some(40), ..record("other", WALL + SECOND) });
    duel.look();
    let seen = duel.now;
    while duel.now < seen + 40 * SECOND {
        let wait = duel.waits_until();
        assert!(wait > Duration::ZERO && wait <= SECOND.mul_f64(1.2), "{wait:?}");
        duel.now += wait;
        duel.look();
    }
    assert_eq!(duel.now, seen + 40 * SECOND, "at that very moment, not at the next look");
    duel.write();
    assert!(duel.election.until().is_some());
}

// Rule runtime-30.
#[test]
fn a_leader_that_sees_another_holder_steps_down_at_once() {
    let mut duel = Duel::lead(None);
    duel.now += 2 * SECOND;
    duel.wants();
    duel.election.wrote(duel.now, Err(Missed::Unanswered));
    duel.store(record("other", WALL));
    duel.now += 2 * SECOND;
    duel.look();
    assert_eq!(duel.next(), Act::StepDown);
    assert_eq!(duel.election.until(), None);
}

// Rule runtime-30.
#[test]
fn a_leader_that_cannot_renew_steps_down_before_anybody_can_take_over() {
    let mut duel = Duel::lead(None);
    let end = duel.now + 10 * SECOND;
    duel.now += 8 * SECOND;
    duel.wants();
    assert_eq!(duel.election.deadline(), end, "no request of a leader outlives its right to write");
    duel.election.wrote(duel.now, Err(Missed::Unanswered));
    duel.now = end;
    assert_eq!(duel.next(), Act::StepDown);
    assert_eq!(duel.next(), Act::Look);
    assert_eq!(duel.election.deadline(), end + 5 * SECOND);
}

// Rule runtime-30.
#[test]
fn a_write_that_came_too_late_for_its_version_is_followed_by_a_look_at_once_but_only_once() {
    let mut duel = Duel::lead(None);
    duel.now += 2 * SECOND;
    duel.wants();
    duel.stored = None;
    duel.election.wrote(duel.now, Err(Missed::Outdated));
    duel.look();
    // An API server that refuses whatever it is asked for is given room.
    duel.wants();
    duel.election.wrote(duel.now, Err(Missed::Outdated));
    assert_eq!(duel.waits_until(), 2 * SECOND);
    duel.now += 2 * SECOND;
    duel.look();
    duel.wants();
    duel.election.wrote(duel.now, Err(Missed::Outdated));
    duel.look();
    duel.write();
}

// Rule runtime-33.
#[test]
fn the_seconds_of_the_lease_are_no_fewer_than_those_that_it_lasts() {
    let mut duel = Duel::new(None);
    let timing = Timing::new(Duration::from_millis(3999), 2 * SECOND, SECOND / 2);
    duel.election = Election::new("me".to_owned(), blank(), timing, Jitter::seeded(3), duel.now);
    duel.look();
    assert_eq!(duel.write().spec.unwrap().lease_duration_seconds, Some(4));
}

// Rule runtime-30.
#[test]
fn a_renewal_that_hangs_leaves_time_for_another() {
    let mut duel = Duel::lead(None);
    duel.now += 2 * SECOND;
    duel.wants();
    assert_eq!(duel.election.deadline() - duel.now, 5 * SECOND);
    duel.now += 5 * SECOND;
    duel.election.wrote(duel.now, Err(Missed::Unanswered));
    duel.look();
    duel.write();
    assert_eq!(duel.election.until(), Some(duel.now + 10 * SECOND));
}

// Rule runtime-30.
#[test]
fn a_deleted_lease_is_written_again_by_its_holder_and_not_taken_by_one_that_saw_it_held() {
    let mut leader = Duel::lead(Some(record("", WALL)));
    let mut candidate = Duel::new(Some(record("other", WALL)));
    candidate.look();
    (leader.stored, candidate.stored) = (None, None);
    for _ in 0..10 {
        let wait = candidate.waits_until();
        candidate.now += wait;
        candidate.look();
    }
    leader.now += 2 * SECOND;
    leader.wants();
    leader.election.wrote(leader.now, Err(Missed::Unanswered));
    leader.now += 2 * SECOND;
    leader.look();
    let again = leader.wants();
    assert_eq!(again.metadata.resource_version, None, "it is created");
    assert_eq!(again.spec.unwrap().lease_transitions, Some(8), "and goes on where it was");
}

// Rule runtime-31.
#[test]
fn one_that_leaves_looks_for_what_became_of_its_last_write() {
    let mut duel = Duel::new(Some(record("", WALL)));
    duel.look();
    let lease = duel.wants();
    // It is carried out, and the process stops before the answer.
    duel.store(lease.spec.unwrap());
    duel.election.leave(Farewell::Release);
    duel.look();
    assert_eq!(duel.write().spec.unwrap().holder_identity.as_deref(), Some(""));
    assert_eq!(duel.next(), Act::End);
}

// Rule runtime-31.
#[test]
fn what_belongs_to_another_is_not_given_back() {
    for farewell in [Farewell::Release, Farewell::Remove] {
        let mut duel = Duel::new(Some(record("", WALL)));
        duel.look();
        duel.wants();
        duel.election.wrote(duel.now, Err(Missed::Unanswered));
        duel.store(record("other", WALL));
        duel.election.leave(farewell);
        duel.look();
        assert_eq!(duel.next(), Act::End);
    }
}

// Rule runtime-31.
#[test]
fn the_last_of_all_removes_the_lease() {
    let mut duel = Duel::lead(None);
    duel.election.leave(Farewell::Remove);
    let held = duel.stored.clone().unwrap();
    assert_eq!(duel.next(), Act::Remove(Box::new(held)));
    duel.election.removed(duel.now, Ok(()));
    assert_eq!(duel.next(), Act::End);
}
