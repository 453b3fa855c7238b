//! Of several processes one writes, the others stand by.
//!
//! [`election`] decides, this file carries out. A process that has lost the Lease lives on as a candidate, unlike those
//! built on client-go, which end: a goroutine cannot be stopped, but a future can. A reconcile that runs at the end of a
//! term is dropped, each request passes the [`Fence`] at the moment it is sent, and none is waited for longer than the
//! right to write lasts. So nothing of the old term goes on, and a process whose caches are warm and whose other
//! servers answer is worth more than one that starts.

mod election;
mod fence;
mod seat;

use std::{ops::ControlFlow, pin::pin, sync::Arc, time::Duration};

use futures::future::{Either, select};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource};
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

pub use self::election::Timing;
pub(crate) use self::fence::{Fence, NotLeading};
use self::{
    election::{Act, Election, Missed},
    seat::Seat,
};
use crate::{
    Clock, Error, Event, Jitter, Permission, Scope, Severity, Verb, clock, error::Class, events::Recorder,
    metrics::Metrics, tasks::Tasks,
};

/// The name of the Lease: one for all controllers and all installations in a namespace, which so exclude each other.
const LEASE: &str = "stowage";
/// In events, and as field manager.
const CONTROLLER: &str = "leader";
/// How long giving the Lease back may take. What runs has had its 15 s by then, and a pod is given 30 s to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the election needs. A name cannot restrict `create`: the API server does not know it yet when it decides.
pub(crate) const CREATE: Permission = Permission {
    scope: Scope::Own(None),
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &[Verb::Create],
};
pub(crate) const HOLD: Permission =
    Permission { scope: Scope::Own(Some(LEASE)), verbs: &[Verb::Get, Verb::Update], ..CREATE };

/// A process that wants to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where the Lease is.
    pub namespace: String,
    /// Who holds it: no two living processes may have the same.
    pub identity: String,
    /// What becomes of the Lease at the end.
    pub farewell: Farewell,
    /// How long everything takes.
    pub timing: Timing,
}

/// What becomes of a Lease whose holder ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It stays, without a holder, for the next one.
    Release,
    /// It goes: there is no next one.
    Remove,
}

/// One time of leading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// When it began, on tokio's clock.
    pub(crate) since: Instant,
}

/// Whether this process leads, for what runs only then.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(watch::Receiver<Option<Term>>);

/// What an election governs, and what governs it.
pub(crate) struct Post {
    pub(crate) fence: Fence,
    pub(crate) terms: watch::Sender<Option<Term>>,
    /// All that writes. The Lease is kept until the last of them has ended.
    pub(crate) writers: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// The part of a runtime that an election uses.
pub(crate) struct Means {
    /// Without a fence.
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) jitter: Jitter,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) tasks: Tasks,
}

/// Takes part in the election, and tells the rest of the process how it stands.
pub(crate) struct Leader {
    candidate: Candidate,
    election: Election,
    seat: Seat,
    post: Post,
    means: Means,
    /// What events are about.
    regarding: ObjectReference,
    /// Said last, so that it is said once.
    holder: String,
    trouble: String,
}

impl Leadership {
    pub(crate) fn new(terms: &watch::Sender<Option<Term>>) -> Self {
        Self(terms.subscribe())
    }

    /// Whether this process leads now.
    pub(crate) fn is_held(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Returns when this process leads.
    pub(crate) async fn begun(&mut self) -> Term {
        let begun = self.0.wait_for(Option::is_some).await.map(|term| *term);
        match begun {
            Ok(Some(term)) if self.0.has_changed().is_ok() => term,
            // Whoever would tell is dead, which fails liveness. Its last word counts no more.
            Ok(_) | Err(_) => std::future::pending().await,
        }
    }

    /// Returns when `term` has ended.
    pub(crate) async fn ended(&mut self, term: Term) {
        // An error: whoever would tell is dead. Then it does not lead either.
        drop(self.0.wait_for(|now| *now != Some(term)).await);
    }
}

impl Leader {
    /// A candidate. From now on nothing is written before it leads.
    pub(crate) fn new(candidate: Candidate, post: Post, means: Means) -> Self {
        let seat = Seat::new(means.client.clone(), candidate.namespace.clone());
        let (identity, jitter) = (candidate.identity.clone(), means.jitter.clone());
        let election = Election::new(identity, seat.blank(), candidate.timing, jitter, means.clock.instant());
        let regarding = seat.blank().object_ref(&());
        post.fence.set(None);
        post.terms.send_replace(None);
        means.metrics.leads(LEASE, 0);
        let (holder, trouble) = (String::new(), String::new());
        Self { candidate, election, seat, post, means, regarding, holder, trouble }
    }

    /// Takes part until the stop signal has come and all writers have ended, then gives the Lease back.
    pub(crate) async fn run(mut self) {
        let (stop, writers) = (self.post.stop.clone(), self.post.writers.clone());
        let done = async {
            stop.cancelled().await;
            writers.close();
            writers.wait().await;
        };
        if let Either::Left((never, _)) = select(pin!(self.lead()), pin!(done)).await {
            match never {}
        }
        let led = self.post.terms.borrow().is_some();
        self.election.leave(self.candidate.farewell);
        self.adopt();
        let leaving = async {
            while self.step().await.is_continue() {}
            if led {
                self.telling(Severity::Normal, "LeadershipReleased", "has stopped and gave the Lease back")
                    .await;
            }
        };
        if tokio::time::timeout(FAREWELL, leaving).await.is_err() {
            warn!("the Lease is not given back for sure: others may have to wait until it expires");
        }
    }

    async fn lead(&mut self) -> std::convert::Infallible {
        loop {
            // Only one that leaves comes to an end, which is said to it elsewhere.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = self.step().await;
            self.adopt();
        }
    }

    /// One act of the election.
    async fn step(&mut self) -> ControlFlow<()> {
        let act = self.election.next(self.means.clock.instant(), self.means.clock.now());
        match act {
            Act::Look => {
                let found = self.in_time(Verb::Get, self.seat.read()).await;
                let answer = self.heard(found);
                self.election.looked(self.means.clock.instant(), answer);
                self.note_holder();
            }
            Act::Write(lease) => {
                let written = self.in_time(Verb::Update, self.seat.write(&lease)).await;
                let answer = self.heard(written);
                if let Ok(lease) = &answer {
                    self.regarding = lease.object_ref(&());
                }
                self.election.wrote(self.means.clock.instant(), answer);
            }
            Act::Remove(lease) => {
                let removed = self.in_time(Verb::Delete, self.seat.remove(&lease)).await;
                let answer = self.heard(removed);
                self.election.removed(self.means.clock.instant(), answer);
            }
            Act::Wait(at) => tokio::time::sleep_until(self.means.clock.timer(at)).await,
            Act::StepDown => {}
            Act::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Brings fence, loops and metrics to what the election says.
    fn adopt(&mut self) {
        let until = self.election.until();
        self.post.fence.set(until);
        let led = self.post.terms.borrow().is_some();
        match (led, until) {
            (false, Some(_)) => {
                self.post.terms.send_replace(Some(Term { since: clock::instant() }));
                self.means.metrics.leads(LEASE, 1);
                self.tell(Severity::Normal, "LeadershipGained", "leads");
            }
            (true, None) => {
                self.post.terms.send_replace(None);
                self.means.metrics.leads(LEASE, 0);
                if !self.post.stop.is_cancelled() {
                    self.tell(Severity::Warning, "LeadershipLost", "could not renew in time, and stands by");
                }
            }
            (false, None) | (true, Some(_)) => {}
        }
    }

    /// Logs what has happened, and has it told beside: the next renewal does not wait for an event.
    fn tell(&self, severity: Severity, reason: &'static str, what: &str) {
        let telling = self.telling(severity, reason, what);
        self.means.tasks.start_aside(telling);
    }

    fn telling(
        &self,
        severity: Severity,
        reason: &'static str,
        what: &str,
    ) -> impl Future<Output = ()> + Send + use<> {
        let identity = &self.candidate.identity;
        info!(lease = %self.seat, identity, reason, "{identity} {what}");
        let event = Event { severity, action: "Elect", reason, note: format!("{identity} {what}") };
        let (recorder, regarding) = (Arc::clone(&self.means.recorder), self.regarding.clone());
        async move { recorder.publish(CONTROLLER, regarding, event).await }
    }

    /// Says once for whom this process waits.
    fn note_holder(&mut self) {
        let holder = self.election.holder();
        if self.holder != holder && holder != self.candidate.identity {
            info!(lease = %self.seat, holder, "the Lease has another holder");
        }
        if self.holder != holder {
            self.holder = holder.to_owned();
        }
    }

    /// What the election is to know of an answer. Trouble is said when it begins or changes; a lost race is none.
    fn heard<T>(&mut self, answer: Result<T, Error>) -> Result<T, Missed> {
        let trouble = match &answer {
            Err(error) if error.class() != Class::Conflict => error.sentence(),
            Ok(_) | Err(_) => String::new(),
        };
        if !trouble.is_empty() && trouble != self.trouble {
            warn!(lease = %self.seat, error = trouble, "the Lease is out of reach");
        }
        self.trouble = trouble;
        answer.map_err(|error| if error.is_outdated() { Missed::Outdated } else { Missed::Unanswered })
    }

    /// Waits for a request no longer than the election does.
    async fn in_time<T>(
        &self,
        verb: Verb,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let deadline = self.means.clock.timer(self.election.deadline());
        tokio::time::timeout_at(deadline, request).await.unwrap_or_else(|_| Err(self.seat.silent(verb)))
    }
}

#[cfg(test)]
mod tests;
