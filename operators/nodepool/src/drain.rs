//! How the nodes of a pool that is being deleted are emptied: which pods go now, and what is told about it.
//!
//! Nothing is remembered but one time, which stands in the status of the pool: since when its condition Draining
//! is True. No pod goes before it is, so a restart neither begins again nor skips what has to be told first.

mod pod;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use jiff::Timestamp;
use stowage_api::{
    NodePool,
    condition::{ConditionStatus, ConditionType},
};

pub use self::pod::Pod;
use crate::{
    build::Observed,
    cleanup::{Evacuation, Evacuations},
    names::{Names, counted},
    notice::{Notice, Severity, of_pool},
};

/// Most pods that are asked to go in one pass. A pass looks at the status, the policy and the time only at its start:
/// this many take 2 s at the limit of 50 writes in a second, in which little of that changes.
const EVICTIONS_AT_ONCE: usize = 100;
/// Most time in which a pass asks, for an API server that takes long to answer.
pub const EVICTING: Duration = Duration::from_secs(10);
/// Between two passes where nothing has to be waited for.
const SOON: Duration = Duration::from_secs(1);
/// How long a pod that is ending, or that was not let go, is left before it is looked at again: as long as with
/// `kubectl drain`, and longer while nothing moves, since each look may read every pod of the cluster.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause is this part of the time that has passed.
const PAUSE_PART: u32 = 10;
/// How much further around all pods those begin that are asked, for each second: the golden ratio, in 64 bits. Its
/// multiples leave no gap for long, whatever the rhythm of the passes, so each pod has its turn.
const TURN: u64 = 0x9E37_79B9_7F4A_7C15;

/// How far a drain is in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    since: Option<Timestamp>,
    timeout: Duration,
    now: Timestamp,
}

/// What a drain does next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Step {
    /// Nothing: every node is empty.
    #[default]
    Finish,
    /// Tell what the drain will do, and have the status say that it goes on.
    Announce,
    /// Evict pods. So much of the time for it has passed, and so much is left.
    Evict {
        /// Since the status said that the pool drains.
        passed: Duration,
        /// Until `spec.drainTimeout` is over.
        left: Duration,
    },
    /// The time is over: let go of the nodes with what is left on them.
    GiveUp,
}

/// What is to be done until some nodes are empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// What comes next.
    pub step: Step,
    /// Pods to be evicted now, in this order. Another pod is the first in each pass, so that those which nothing
    /// lets go keep none from being asked.
    pub evict: Vec<Eviction>,
    /// How many could be evicted now.
    ready: usize,
    /// Nodes that are empty and take no new pods.
    empty: BTreeSet<String>,
    /// The others.
    busy: BTreeSet<String>,
    /// Pods on them that have to leave, with those that are ending.
    remaining: Vec<Eviction>,
    /// Those that nothing will make again.
    bare: Names,
    /// Those that leave data in hostPath volumes.
    host_path: Names,
}

/// One pod that is to be evicted. The UID keeps a new pod of the same name from being taken for it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Eviction {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
    /// The node that the pod is on.
    pub node: String,
}

/// What came of the evictions of one pass.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    /// How many pods go, or are gone.
    pub going: usize,
    /// The others.
    pub held: Vec<Held>,
}

/// A pod that was asked to go and does not.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Held {
    /// The pod.
    pub pod: Eviction,
    /// What keeps it.
    pub hold: Hold,
    /// What the API server says about it.
    pub words: String,
}

/// What keeps a pod where it is; the first is the most worth telling.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Hold {
    /// Something that no wait cures.
    Refusal,
    /// The eviction did not work.
    Failure,
    /// A `PodDisruptionBudget`.
    Budget,
}

/// Since when the status says that the pool drains.
pub(crate) fn begun(pool: &NodePool) -> Option<Timestamp> {
    let draining = pool.status.iter().flat_map(|status| &status.conditions).find(|known| {
        known.type_ == ConditionType::Draining.as_str() && known.status == ConditionStatus::True.as_str()
    });
    draining.map(|known| known.last_transition_time.0)
}

impl Progress {
    /// Of the drain of `pool`.
    pub fn new(pool: &NodePool, timeout: Duration, now: Timestamp) -> Self {
        Self { since: begun(pool), timeout, now }
    }

    fn step(&self) -> Step {
        let Some(since) = self.since else { return Step::Announce };
        // A clock that was set back has seen no time go by.
        let passed = Duration::try_from(self.now.duration_since(since)).unwrap_or_default();
        let left = self.timeout.saturating_sub(passed);
        if left.is_zero() { Step::GiveUp } else { Step::Evict { passed, left } }
    }
}

/// What is to be done about `pods` so that `nodes` become empty. Pods of other nodes do not matter.
///
/// While a node is not cordoned none of its pods goes, because it would only come back, and the node is not empty.
pub fn plan<'a>(
    nodes: &BTreeSet<String>,
    observed: &Observed,
    pods: impl IntoIterator<Item = &'a Pod>,
    progress: &Progress,
) -> Plan {
    let members = observed.nodes.iter().filter(|node| nodes.contains(node.name()));
    let cordoned: BTreeMap<&str, bool> = members.map(|node| (node.name(), node.is_unschedulable())).collect();
    let mut plan = Plan::default();
    let in_the_way: BTreeMap<Eviction, &Pod> = pods
        .into_iter()
        .filter(|pod| pod.is_in_the_way(nodes))
        .filter_map(|pod| Some((pod.eviction()?, pod)))
        .collect();
    for (eviction, pod) in &in_the_way {
        plan.count(eviction, pod);
    }
    for (node, is_cordoned) in &cordoned {
        let is_empty = *is_cordoned && !plan.busy.contains(*node);
        if is_empty { &mut plan.empty } else { &mut plan.busy }.insert((*node).to_owned());
    }
    plan.step = if plan.busy.is_empty() { Step::Finish } else { progress.step() };
    if let Step::Evict { passed, .. } = plan.step {
        let may_go = |(eviction, pod): &(&Eviction, &&Pod)| {
            !pod.is_ending() && cordoned.get(eviction.node.as_str()) == Some(&true)
        };
        let ready: Vec<&Eviction> = in_the_way.iter().filter(may_go).map(|(eviction, _)| eviction).collect();
        plan.ready = ready.len();
        let first = turn(passed, ready.len());
        plan.evict =
            ready.into_iter().cycle().skip(first).take(plan.ready.min(EVICTIONS_AT_ONCE)).cloned().collect();
    }
    plan.remaining = in_the_way.into_keys().collect();
    plan
}

/// Which of `count` pods is asked first.
fn turn(passed: Duration, count: usize) -> usize {
    let fraction = u128::from(passed.as_secs().wrapping_mul(TURN));
    let count = u128::try_from(count).unwrap_or_default();
    usize::try_from((fraction * count) >> u64::BITS).unwrap_or_default()
}

impl Plan {
    /// How far each node is after these answers.
    pub fn evacuations(&self, answers: &Answers) -> Evacuations {
        let let_go = match self.step {
            Step::GiveUp => Some(&self.busy),
            Step::Finish | Step::Announce | Step::Evict { .. } => None,
        };
        let done = self.empty.iter().chain(let_go.into_iter().flatten());
        let mut evacuations = answers.by_node();
        evacuations.extend(done.map(|node| (node.clone(), Evacuation::Done)));
        evacuations
    }

    /// When to look again after these answers: never after the end of the time.
    pub fn again(&self, answers: &Answers) -> Duration {
        let Step::Evict { passed, left } = self.step else { return SOON };
        let pause = if answers.going == 0 {
            (passed / PAUSE_PART).clamp(PAUSE, LONGEST_PAUSE)
        } else if answers.count() < self.ready {
            SOON
        } else {
            PAUSE
        };
        pause.min(left)
    }

    /// What users should know before anything is written or evicted: what will be lost.
    pub fn warnings(&self) -> Vec<Notice> {
        if self.step != Step::Announce {
            return Vec::new();
        }
        let found = [
            ("BarePodsFound", "no controller will make again", &self.bare),
            ("HostPathPodsFound", "leave data in hostPath volumes", &self.host_path),
        ];
        let told = found.into_iter().filter(|(.., pods)| !pods.is_empty());
        told.map(|(reason, what, pods)| {
            of_pool(
                Severity::Warning,
                reason,
                format!("Found {} that {what}: {pods}", counted(pods.count(), "pod")),
            )
        })
        .collect()
    }

    /// What users should know once the nodes `done` are written: what was given up on them.
    pub fn losses(&self, done: &BTreeSet<String>) -> Vec<Notice> {
        let let_go = self.busy.intersection(done).count();
        if self.step != Step::GiveUp || let_go == 0 {
            return Vec::new();
        }
        let pods = names(self.remaining.iter().filter(|pod| done.contains(&pod.node)));
        let colon = if pods.is_empty() { "" } else { ": " };
        let (nodes, count) = (counted(let_go, "node"), counted(pods.count(), "pod"));
        let note = format!("Let go of {nodes} after spec.drainTimeout with {count} on them{colon}{pods}");
        vec![of_pool(Severity::Warning, "DrainTimedOut", note)]
    }

    fn count(&mut self, eviction: &Eviction, pod: &Pod) {
        let name = eviction.to_string();
        self.busy.insert(eviction.node.clone());
        if pod.is_bare() {
            self.bare.push(&name);
        }
        if pod.uses_host_path() {
            self.host_path.push(&name);
        }
    }
}

impl Answers {
    fn count(&self) -> usize {
        self.going + self.held.len()
    }

    /// What is told of each node: of what keeps its pods, the kind that is the most worth telling.
    fn by_node(&self) -> Evacuations {
        let held: BTreeSet<(&str, Hold, &Eviction, &str)> = self
            .held
            .iter()
            .map(|Held { pod, hold, words }| (pod.node.as_str(), *hold, pod, words.as_str()))
            .collect();
        let mut by_node: BTreeMap<&str, (Hold, &str, Vec<&Eviction>)> = BTreeMap::new();
        for (node, hold, pod, words) in held {
            let (worst, _, pods) = by_node.entry(node).or_insert((hold, words, Vec::new()));
            if *worst == hold {
                pods.push(pod);
            }
        }
        let blocked = by_node.into_iter().map(|(node, (hold, words, pods))| {
            (node.to_owned(), Evacuation::Blocked(hold.told(&pods, words)))
        });
        blocked.collect()
    }
}

impl Hold {
    fn told(self, pods: &[&Eviction], words: &str) -> String {
        match self {
            Self::Refusal => format!("an eviction is refused: {}: {words}", one_of(pods)),
            Self::Failure => format!("an eviction fails: {}: {words}", one_of(pods)),
            Self::Budget => {
                let (count, names) = (counted(pods.len(), "pod"), names(pods.iter().copied()));
                format!("a PodDisruptionBudget keeps {count} there: {names}")
            }
        }
    }
}

/// The first of `pods`, and how many more. A message is short, and words come after the names.
fn one_of(pods: &[&Eviction]) -> String {
    let first = pods.first().map(ToString::to_string).unwrap_or_default();
    match pods.len() {
        0 | 1 => first,
        count => format!("{first} and {} more", count - 1),
    }
}

fn names<'a>(pods: impl IntoIterator<Item = &'a Eviction>) -> Names {
    let mut names = Names::default();
    pods.into_iter().for_each(|pod| names.push(&pod.to_string()));
    names
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
