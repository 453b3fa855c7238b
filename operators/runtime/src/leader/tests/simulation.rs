//! The election in simulated time: three candidates, each with a clock of its own, and all that can go wrong between
//! them and the API server. A plan is made of its seed alone; a failure prints it, with every request.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::core::ObjectMeta;
use tokio::time::Instant;

use crate::leader::{
    Farewell,
    election::{Act, Election, Missed, Timing},
};
use crate::{Jitter, clock};

const SECOND: Duration = Duration::from_secs(1);
const CANDIDATES: usize = 3;
/// Trouble ends here; what follows shows that the election recovers.
const TROUBLE: Duration = Duration::from_secs(120);
const CALM: Duration = Duration::from_secs(60);

/// What the API server makes of a version in a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Versions {
    /// A write with another version than the stored one is refused.
    Compared,
    /// The last write wins, as with a patch that names no version.
    Ignored,
}

/// Everything that a run depends on.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    rates: [f64; CANDIDATES],
    versions: Versions,
    /// Of a thousand requests: how many go wrong, while there is trouble.
    trouble: u32,
    upsets: Vec<(Duration, usize, Upset)>,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
enum Upset {
    /// It stands still.
    Pause(Duration),
    /// It is gone at once, and comes back as the same pod or as another one.
    Kill(Duration, Pod),
    /// It gives the Lease back, and another pod takes its place.
    Stop(Duration),
    /// Somebody touches the Lease: its version changes, and nothing else.
    Touch,
}

#[derive(Clone, Copy, Debug)]
enum Pod {
    Same,
    Other,
}

/// How a request fares.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    Lost,
    AnswerLost,
    Refused,
}

type Answer = Result<Option<Lease>, Missed>;

#[derive(Clone, Debug)]
enum Happening {
    Upset(Upset),
    Resume,
    Start(Pod),
    Wake,
    Arrive(Box<Act>, Fate),
    Answer(Box<Answer>),
    Deadline,
}

/// One thing that is to happen.
#[derive(Clone, Debug)]
struct Event {
    about: About,
    what: Happening,
}

/// Which process, in which of its lives, and which of its requests.
#[derive(Clone, Copy, Debug)]
struct About {
    who: usize,
    life: u32,
    request: u64,
}

struct Process {
    election: Election,
    rate: f64,
    /// Its clock and the others' have nothing in common.
    offset: Duration,
    life: u32,
    pod: u32,
    alive: bool,
    asks: Option<bool>,
    request: u64,
    paused: Option<Duration>,
}

struct World {
    plan: Plan,
    random: fastrand::Rng,
    base: Instant,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    lease: Option<Lease>,
    version: u64,
    processes: Vec<Process>,
    /// Kept only where somebody will read it.
    log: Option<Vec<String>>,
    overlaps: Vec<String>,
    /// When which process began to lead.
    terms: Vec<(Duration, usize)>,
}

impl Plan {
    fn new(seed: u64, slowest: f64, fastest: f64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rates = [(); CANDIDATES].map(|()| match random.u8(..3) {
            0 => slowest,
            1 => fastest,
            _ => slowest + (fastest - slowest) * random.f64(),
        });
        let upsets = (0..random.usize(..8)).map(|_| {
            let length = SECOND.mul_f64(random.f64() * 25.0);
            let upset = match random.u8(..8) {
                0..=3 => Upset::Pause(length),
                4 => Upset::Kill(length, Pod::Same),
                5 => Upset::Kill(length, Pod::Other),
                6 => Upset::Stop(length),
                _ => Upset::Touch,
            };
            (TROUBLE.mul_f64(random.f64()), random.usize(..CANDIDATES), upset)
        });
        let upsets = upsets.collect();
        Self { seed, rates, versions: Versions::Compared, trouble: random.u32(..500), upsets }
    }

    /// Nothing goes wrong but `upsets`.
    fn calm(seed: u64, upsets: Vec<(Duration, usize, Upset)>) -> Self {
        Self { trouble: 0, upsets, ..Self::new(seed, 0.9, 1.1) }
    }
}

impl Process {
    fn local(&self, base: Instant, now: Duration) -> Instant {
        base + self.offset + now.mul_f64(self.rate)
    }

    /// The true time at which its clock shows `at`, rounded up.
    fn true_time(&self, base: Instant, at: Instant) -> Duration {
        at.duration_since(base + self.offset).div_f64(self.rate) + Duration::from_nanos(10)
    }

    fn may_write(&self, base: Instant, now: Duration) -> bool {
        self.alive && self.election.until().is_some_and(|until| self.local(base, now) < until)
    }
}

impl World {
    fn new(plan: Plan, log: Option<Vec<String>>) -> Self {
        let mut world = Self {
            random: fastrand::Rng::with_seed(plan.seed ^ 0x5eed),
            base: clock::instant(),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            lease: None,
            version: 0,
            processes: Vec::new(),
            log,
            overlaps: Vec::new(),
            terms: Vec::new(),
            plan,
        };
        for who in 0..CANDIDATES {
            let offset = SECOND.mul_f64(world.random.f64() * 1e6);
            let rate = world.plan.rates[who];
            let (election, life, pod) = (world.candidate(who, 0, offset), 0, 0);
            let (alive, asks, request, paused) = (true, None, 0, None);
            world.processes.push(Process { election, rate, offset, life, pod, alive, asks, request, paused });
            let started = SECOND.mul_f64(world.random.f64() * 5.0);
            world.schedule(started, who, Happening::Wake);
        }
        for (at, who, upset) in world.plan.upsets.clone() {
            world.schedule(at, who, Happening::Upset(upset));
        }
        world
    }

    fn candidate(&mut self, who: usize, pod: u32, offset: Duration) -> Election {
        let metadata = ObjectMeta { name: Some("stowage".to_owned()), ..ObjectMeta::default() };
        let blank = Lease { metadata, spec: None };
        let jitter = Jitter::seeded(self.random.u64(..));
        Election::new(format!("pod-{who}-{pod}"), blank, Timing::STANDARD, jitter, self.base + offset)
    }

    fn schedule(&mut self, at: Duration, who: usize, what: Happening) {
        let (life, request) =
            self.processes.get(who).map_or((0, 0), |process| (process.life, process.request));
        self.push(at, Event { about: About { who, life, request }, what });
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((at.max(self.now), self.scheduled), event);
    }

    fn run(&mut self, until: Duration) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            self.now = entry.key().0;
            let event = entry.remove();
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        let about = event.about;
        let process = &self.processes[about.who];
        let current = process.alive && process.life == about.life;
        match (event.what, process.paused) {
            (Happening::Arrive(act, fate), _) => self.arrive(about, *act, fate),
            (Happening::Start(pod), _) => self.start(about.who, pod),
            (Happening::Upset(upset), _) => self.upset(about.who, upset),
            (Happening::Resume, _) => self.processes[about.who].paused = None,
            (Happening::Wake | Happening::Answer(_) | Happening::Deadline, _) if !current => {}
            (what @ (Happening::Wake | Happening::Answer(_) | Happening::Deadline), Some(until)) => {
                self.push(until, Event { about, what });
            }
            (Happening::Wake, None) => self.go_on(about.who),
            (Happening::Answer(answer), None) => self.hear(about, *answer),
            (Happening::Deadline, None) => self.hear(about, Err(Missed::Unanswered)),
        }
    }

    fn hear(&mut self, about: About, answer: Answer) {
        if about.request == self.processes[about.who].request {
            self.answer(about.who, answer);
        }
        self.go_on(about.who);
    }

    fn go_on(&mut self, who: usize) {
        if self.processes[who].asks.is_none() {
            self.advance(who);
        }
    }

    /// As the runtime carries out the acts of an election.
    fn advance(&mut self, who: usize) {
        loop {
            let process = &mut self.processes[who];
            let act = process.election.next(process.local(self.base, self.now), wall(who, self.now));
            match act {
                Act::StepDown => self.note(who, || "steps down".to_owned()),
                Act::End => {
                    process.alive = false;
                    return self.note(who, || "ends".to_owned());
                }
                Act::Wait(at) => {
                    let at = process.true_time(self.base, at);
                    process.request += 1;
                    return self.schedule(at, who, Happening::Wake);
                }
                act @ (Act::Look | Act::Write(_) | Act::Remove(_)) => return self.send(who, act),
            }
        }
    }

    fn send(&mut self, who: usize, act: Act) {
        let process = &mut self.processes[who];
        process.request += 1;
        process.asks = Some(matches!(act, Act::Look));
        let deadline = process.true_time(self.base, process.election.deadline());
        let fate = self.fate();
        let delay = self.delay();
        self.note(who, || format!("sends {act:?}: {fate:?}"));
        self.schedule(deadline, who, Happening::Deadline);
        self.schedule(self.now + delay, who, Happening::Arrive(Box::new(act), fate));
    }

    fn in_trouble(&self) -> bool {
        self.now < TROUBLE && self.plan.trouble > 0
    }

    fn fate(&mut self) -> Fate {
        if !self.in_trouble() || self.random.u32(..1000) >= self.plan.trouble {
            return Fate::Answered;
        }
        [Fate::Lost, Fate::AnswerLost, Fate::Refused][self.random.usize(..3)]
    }

    /// Mostly quick; in trouble some requests and answers are under way for longer than any lease lasts.
    fn delay(&mut self) -> Duration {
        let most = if self.in_trouble() && self.random.u8(..10) == 0 { 20.0 } else { 0.05 };
        SECOND.mul_f64(self.random.f64() * most)
    }

    fn arrive(&mut self, about: About, act: Act, fate: Fate) {
        let answer = match fate {
            Fate::Lost => return,
            Fate::Refused => Err(Missed::Unanswered),
            Fate::Answered | Fate::AnswerLost => self.carry_out(act),
        };
        self.note(about.who, || format!("request {} is carried out: {answer:?}", about.request));
        if fate != Fate::AnswerLost {
            let at = self.now + self.delay();
            self.push(at, Event { about, what: Happening::Answer(Box::new(answer)) });
        }
    }

    /// The API server's part.
    fn carry_out(&mut self, act: Act) -> Answer {
        let Act::Write(mut lease) = act else {
            return Ok(self.lease.clone());
        };
        let stored = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if lease.metadata.resource_version != stored && self.plan.versions == Versions::Compared {
            return Err(Missed::Outdated);
        }
        let unchanged = self.lease.as_ref().is_some_and(|stored| stored.spec == lease.spec);
        if !unchanged {
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease = Some(*lease);
        }
        Ok(self.lease.clone())
    }

    fn answer(&mut self, who: usize, answer: Answer) {
        let process = &mut self.processes[who];
        let (led, now) = (process.may_write(self.base, self.now), process.local(self.base, self.now));
        match process.asks.take() {
            Some(true) => process.election.looked(now, answer),
            Some(false) => {
                process.election.wrote(now, answer.and_then(|lease| lease.ok_or(Missed::Unanswered)));
            }
            None => return,
        }
        if !led && process.may_write(self.base, self.now) {
            self.note(who, || "leads".to_owned());
            self.terms.push((self.now, who));
        }
        self.check();
    }

    /// At most one gate is open at the same true instant. Gates open only when an answer is heard, so this sees every
    /// instant at which there begin to be two.
    fn check(&mut self) {
        let writers: Vec<_> = (0..CANDIDATES).filter(|who| self.writes(*who)).collect();
        if writers.len() > 1 {
            let overlap = format!("{:?}: {writers:?} may write at once", self.now);
            self.overlaps.push(overlap.clone());
            self.note(CANDIDATES, || overlap);
        }
    }

    fn writes(&self, who: usize) -> bool {
        self.processes[who].may_write(self.base, self.now)
    }

    fn writer(&self) -> Option<usize> {
        (0..CANDIDATES).find(|who| self.writes(*who))
    }

    fn upset(&mut self, who: usize, upset: Upset) {
        self.note(who, || format!("{upset:?}"));
        let process = &mut self.processes[who];
        match upset {
            Upset::Touch => {
                if let Some(lease) = &mut self.lease {
                    self.version += 1;
                    lease.metadata.resource_version = Some(self.version.to_string());
                }
            }
            _ if !process.alive => {}
            Upset::Pause(length) => {
                let until = process.paused.unwrap_or_default().max(self.now + length);
                process.paused = Some(until);
                self.schedule(until, who, Happening::Resume);
            }
            Upset::Kill(length, pod) => {
                process.alive = false;
                self.schedule(self.now + length, who, Happening::Start(pod));
            }
            Upset::Stop(length) => {
                process.election.leave(Farewell::Release);
                // What it was asking is dropped with the task that waited for it.
                (process.asks, process.request) = (None, process.request + 1);
                // Longer than the farewell may take.
                self.schedule(self.now + length + 6 * SECOND, who, Happening::Start(Pod::Other));
                self.schedule(self.now, who, Happening::Wake);
            }
        }
    }

    fn start(&mut self, who: usize, pod: Pod) {
        let (offset, number) = (self.processes[who].offset, self.processes[who].pod);
        let number = if matches!(pod, Pod::Same) { number } else { number + 1 };
        let election = self.candidate(who, number, offset);
        let process = &mut self.processes[who];
        *process = Process {
            election,
            life: process.life + 1,
            pod: number,
            alive: true,
            asks: None,
            request: process.request + 1,
            paused: None,
            ..*process
        };
        self.note(who, || "starts".to_owned());
        self.schedule(self.now, who, Happening::Wake);
    }

    fn note(&mut self, who: usize, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:?} pod-{who} {}", self.now, what()));
        }
    }
}

/// What people would read on the machine: far from the truth, and on one of the machines it stands still.
fn wall(who: usize, now: Duration) -> Timestamp {
    let hours = 3600 * i64::try_from(who).unwrap();
    let moves = if who == 1 { 0 } else { i64::try_from(now.as_secs()).unwrap() };
    Timestamp::from_second(1_000_000_000 - hours + moves).unwrap()
}

fn simulated(plan: &Plan) -> World {
    let mut world = World::new(plan.clone(), None);
    world.run(TROUBLE + CALM);
    world
}

/// What a failed test prints: the plan, and every request of the run that it leads to.
struct Story<'a>(&'a Plan);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut world = World::new(self.0.clone(), Some(Vec::new()));
        world.run(TROUBLE + CALM);
        writeln!(f, "{:#?}\n{}", self.0, world.log.unwrap_or_default().join("\n"))
    }
}

// Rule runtime-30.
#[test]
fn two_never_write_at_once_and_the_election_recovers() {
    for seed in 0..4_000 {
        let plan = Plan::new(seed, 0.9, 1.1);
        let world = simulated(&plan);
        assert_eq!(world.overlaps, Vec::<String>::new(), "{}", Story(&plan));
        assert!(world.writer().is_some(), "nobody leads after a calm minute\n{}", Story(&plan));
    }
}

// Rule runtime-30.
#[test]
fn a_seed_repeats_its_run() {
    for seed in 0..50 {
        let plan = Plan::new(seed, 0.9, 1.1);
        assert_eq!(Story(&plan).to_string(), Story(&plan).to_string());
    }
}

/// The witness is not blind: where nothing can keep two apart it sees them.
#[test]
fn clocks_beyond_the_bounds_and_writes_without_a_version_make_two_leaders() {
    let seen = |plan: fn(u64) -> Plan| (0..1_000).any(|seed| !simulated(&plan(seed)).overlaps.is_empty());
    assert!(seen(|seed| Plan::new(seed, 0.5, 2.0)), "clock rates of 0.5 and 2");
    assert!(seen(|seed| Plan { versions: Versions::Ignored, ..Plan::new(seed, 0.9, 1.1) }), "no versions");
}

/// The longest time until another leads after `upset` has hit the one that does, over many seeds.
fn longest_gap(upset: Upset) -> Duration {
    let gap = |seed| {
        let hit = 60 * SECOND + SECOND.mul_f64(fastrand::Rng::with_seed(seed).f64() * 4.0);
        let mut before = World::new(Plan::calm(seed, Vec::new()), None);
        before.run(hit);
        let leader = before.writer().unwrap();
        let plan = Plan::calm(seed, vec![(hit, leader, upset)]);
        let world = simulated(&plan);
        assert_eq!(world.overlaps, Vec::<String>::new(), "{}", Story(&plan));
        let next = world.terms.get(before.terms.len());
        let (at, _) = next.unwrap_or_else(|| panic!("nobody takes over\n{}", Story(&plan)));
        at.saturating_sub(hit)
    };
    (0..500).map(gap).max().unwrap_or_default()
}

// Rule runtime-31.
#[test]
fn after_a_crash_another_leads_within_20_s() {
    let gap = longest_gap(Upset::Kill(100 * SECOND, Pod::Other));
    assert!(gap <= 20 * SECOND, "{gap:?}");
    assert!(gap > 13 * SECOND, "{gap:?} is less than a lease: the crash was not seen");
}

// Rule runtime-31.
#[test]
fn after_a_release_another_leads_within_2_s() {
    let gap = longest_gap(Upset::Stop(100 * SECOND));
    assert!(gap <= 2 * SECOND, "{gap:?}");
}

// Rule runtime-31.
#[test]
fn a_leader_that_nothing_happens_to_leads_on() {
    for seed in 0..100 {
        let plan = Plan::calm(seed, Vec::new());
        assert_eq!(simulated(&plan).terms.len(), 1, "{}", Story(&plan));
    }
}
