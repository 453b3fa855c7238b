//! A kind, a controller that does as it is told, and the world around them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use kube::{CustomResource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stowage_runtime::{
    Action, Applier, Cache, Cleanup, Controller, Decided, Error, Event, Failure, Jitter, Key, Parts,
    Projected, Queue, Runtime, Severity, Spawn, TokioTasks, Whole,
};
use stowage_testkit::{ApiServer, MovingClock, node};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Clone, CustomResource, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "harbour.example",
    version = "v1",
    kind = "Quay",
    status = "QuayStatus",
    schema = "disabled",
    derive = "PartialEq"
)]
pub(crate) struct QuaySpec {
    pub(crate) metres: u32,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct QuayStatus {
    pub(crate) note: Option<String>,
}

/// Of a node, only its labels.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Buoy {
    pub(crate) metadata: Labels,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Labels {
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// What the next reconcile does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Labels the buoy that is named as the quay, unless it carries the value already.
    Label(&'static str),
    /// Labels every buoy.
    LabelAll(&'static str),
    /// Takes its time.
    Work(Duration),
    /// Panics.
    Panic,
    /// Tells the users that something has happened.
    Publish,
    /// Sets the status.
    Note(&'static str),
    /// A cleanup that comes so far.
    Clean(Cleanup),
}

pub(crate) type Buoys = Projected<Node, Buoy>;

/// Does for each quay what its script says; nothing where that has ended.
pub(crate) struct Pilot {
    pub(crate) quays: Arc<Cache<Whole<Quay>>>,
    pub(crate) buoys: Arc<Cache<Buoys>>,
    applier: Applier,
    started: Instant,
    scripts: Mutex<BTreeMap<String, VecDeque<Step>>>,
    /// What the next reports of a failure do first.
    pub(crate) reports: Mutex<VecDeque<Step>>,
    /// What happened, to which quay, in which second.
    pub(crate) log: Mutex<Vec<(&'static str, String, u64)>>,
    pub(crate) failures: Mutex<Vec<Failure>>,
    pub(crate) running: Mutex<BTreeMap<String, usize>>,
    pub(crate) most_running: Mutex<usize>,
}

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) runtime: Runtime,
    pub(crate) pilot: Arc<Pilot>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) stop: CancellationToken,
}

pub(crate) fn quay(name: &str) -> Value {
    json!({"apiVersion": "harbour.example/v1", "kind": "Quay", "metadata": {"name": name}, "spec": {"metres": 7}})
}

pub(crate) fn buoy(name: &str) -> Value {
    node(name, &[])
}

impl World {
    /// Caches and controller exist; nothing is started.
    pub(crate) fn new() -> Self {
        Self::with(
            ApiServer::default().with::<Quay>().with::<Node>().with::<k8s_openapi::api::events::v1::Event>(),
        )
    }

    pub(crate) fn with(server: ApiServer) -> Self {
        Self::of(server, MovingClock::new(), Arc::new(TokioTasks))
    }

    /// One process, perhaps beside others on the same server.
    pub(crate) fn of(server: ApiServer, clock: MovingClock, spawn: Arc<dyn Spawn>) -> Self {
        let stop = CancellationToken::new();
        let runtime = Runtime::new(Parts {
            transport: server.transport(),
            clock: Arc::new(clock),
            jitter: Jitter::seeded(4),
            spawn,
            instance: "pilot-0".to_owned(),
            stop: stop.clone(),
        })
        .unwrap();
        let pilot = Arc::new(Pilot {
            quays: runtime.cache(),
            buoys: runtime.cache(),
            applier: runtime.applier(Pilot::NAME),
            started: started(),
            scripts: Mutex::default(),
            reports: Mutex::default(),
            log: Mutex::default(),
            failures: Mutex::default(),
            running: Mutex::default(),
            most_running: Mutex::default(),
        });
        Self { server, runtime, pilot, queue: Arc::default(), stop }
    }

    /// Starts watches and controller.
    pub(crate) fn start(&self) {
        self.runtime.follow(&self.pilot.quays);
        self.runtime.follow(&self.pilot.buoys);
        let needs = vec![self.pilot.quays.synced(), self.pilot.buoys.synced()];
        self.runtime.run(Arc::clone(&self.pilot), &self.pilot.quays, &self.queue, needs);
    }

    /// A quay, and the buoy of the same name; the quay's reconciles go by `script`.
    pub(crate) fn build(&self, name: &str, script: &[Step]) {
        self.script(name, script);
        self.server.create::<Node>(buoy(name));
        self.server.create::<Quay>(quay(name));
    }

    /// What the next reconciles of the quay do.
    pub(crate) fn script(&self, name: &str, script: &[Step]) {
        self.pilot.scripts.lock().unwrap().insert(name.to_owned(), script.iter().cloned().collect());
    }

    /// The seconds at which `what` happened to the quay.
    pub(crate) fn times(&self, what: &str, name: &str) -> Vec<u64> {
        let log = self.pilot.log.lock().unwrap();
        log.iter().filter(|(did, to, _)| *did == what && to == name).map(|(_, _, second)| *second).collect()
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        self.pilot.failures.lock().unwrap().clone()
    }

    /// The value of one line of `/metrics`.
    pub(crate) fn metric(&self, series: &str) -> Option<String> {
        let text = self.runtime.health().metrics().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(ToOwned::to_owned))
    }
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[expect(clippy::disallowed_methods, reason = "a test measures on paused time")]
pub(crate) fn started() -> Instant {
    Instant::now()
}

/// A patch of a buoy.
fn labels(light: &str) -> serde_json::Map<String, Value> {
    serde_json::from_value(json!({"metadata": {"labels": {"light": light}}})).unwrap()
}

impl Pilot {
    fn did(&self, what: &'static str, quay: &Quay) {
        self.log.lock().unwrap().push((what, quay.name_any(), self.started.elapsed().as_secs()));
    }

    async fn carry_out(&self, step: Step, quay: &Quay) -> Result<Action, Error> {
        match step {
            Step::Label(value) => self.label(&quay.name_any(), value).await?,
            Step::LabelAll(value) => {
                let patch = labels(value);
                let all = self.buoys.all().into_iter();
                let decided = all.map(|(key, on)| Decided { key, on, patch: patch.clone() });
                self.applier.patch_all(&self.buoys, decided).await.all_done()?;
            }
            Step::Work(time) => tokio::time::sleep(time).await,
            Step::Panic => panic!("the quay is under water"),
            Step::Publish => {
                let note = "A ship has come".to_owned();
                let event = Event { severity: Severity::Normal, action: "Pilot", reason: "ShipMoored", note };
                self.applier.publish(quay, event).await;
            }
            Step::Note(note) => {
                let status = QuayStatus { note: Some(note.to_owned()) };
                self.applier.report(&self.quays, quay, &status).await?;
            }
            Step::Clean(cleanup) => panic!("{cleanup:?} is no step of a reconcile"),
        }
        Ok(Action::AwaitChange)
    }

    async fn label(&self, name: &str, value: &str) -> Result<(), Error> {
        let key = Key::cluster(name);
        let Some(buoy) = self.buoys.get(&key) else { return Ok(()) };
        if buoy.object.metadata.labels.get("light").is_some_and(|light| light == value) {
            return Ok(());
        }
        self.applier.patch(&self.buoys, Decided { key, on: buoy, patch: labels(value) }).await.map(drop)
    }
}

impl Controller for Pilot {
    type Object = Quay;

    const NAME: &'static str = "quays";
    const FINALIZER: &'static str = "quays.harbour.example/cleanup";

    async fn reconcile(self: Arc<Self>, quay: Arc<Quay>) -> Result<Action, Error> {
        assert!(quay.finalizers().iter().any(|finalizer| finalizer == Self::FINALIZER), "no finalizer yet");
        self.did("reconcile", &quay);
        let name = quay.name_any();
        {
            let mut running = self.running.lock().unwrap();
            *running.entry(name.clone()).or_default() += 1;
            assert_eq!(running.get(&name), Some(&1), "one object is reconciled twice at once");
            let mut most = self.most_running.lock().unwrap();
            *most = running.values().sum::<usize>().max(*most);
        }
        let running = Running(&self, &name);
        let step = self.scripts.lock().unwrap().get_mut(&name).and_then(VecDeque::pop_front);
        let result = match step {
            Some(step) => self.carry_out(step, &quay).await,
            None => Ok(Action::AwaitChange),
        };
        drop(running);
        self.did("done", &quay);
        result
    }

    async fn cleanup(self: Arc<Self>, quay: Arc<Quay>) -> Result<Cleanup, Error> {
        self.did("cleanup", &quay);
        let step = self.scripts.lock().unwrap().get_mut(&quay.name_any()).and_then(VecDeque::pop_front);
        match step {
            Some(Step::Clean(cleanup)) => Ok(cleanup),
            Some(step) => self.carry_out(step, &quay).await.map(|_| Cleanup::Done),
            None => Ok(Cleanup::Done),
        }
    }

    async fn vanished(self: Arc<Self>, key: Key) -> Result<(), Error> {
        self.log.lock().unwrap().push(("vanished", key.name.clone(), self.started.elapsed().as_secs()));
        let light = self.buoys.get(&key).and_then(|buoy| buoy.object.metadata.labels.get("light").cloned());
        // Red is what a reconcile has set; only that is left over.
        if light.as_deref() == Some("red") { self.label(&key.name, "out").await } else { Ok(()) }
    }

    async fn report_failure(self: Arc<Self>, quay: Arc<Quay>, failure: Failure) -> Result<(), Error> {
        let step = self.reports.lock().unwrap().pop_front();
        if let Some(step) = step {
            self.carry_out(step, &quay).await?;
        }
        self.did("report", &quay);
        self.failures.lock().unwrap().push(failure);
        Ok(())
    }
}

/// A reconcile counts as running until it is dropped, panic or not.
struct Running<'a>(&'a Pilot, &'a str);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0.running.lock().unwrap().get_mut(self.1) {
            *count -= 1;
        }
    }
}
