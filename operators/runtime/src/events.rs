//! Events on objects, for people: what has happened, past tense.
//!
//! kube's `Recorder` names events by the machine's own clock, so a run under a handed-in clock could not be
//! repeated, and it takes two events with different notes for one. Hence this one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event as Sent, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Client, Resource,
    api::{Patch, PatchParams, PostParams},
    core::{ObjectMeta, Request, request},
};
use serde_json::json;
use tracing::warn;

use crate::{
    Clock,
    applier::{Built, sent},
};

/// The same event again within this time is counted on the first one, as the events of Kubernetes' own parts are.
const SERIES: SignedDuration = SignedDuration::from_mins(6);
/// The API server refuses an event whose note is longer.
const LONGEST_NOTE: usize = 1024;
/// Events of cluster-scoped objects have to live somewhere; kubectl looks here.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Whether a user should worry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All as it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something that has happened to an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// Whether a user should worry.
    pub severity: Severity,
    /// What was being done: `Apply`.
    pub action: &'static str,
    /// What has happened, past tense: `LabelsApplied`.
    pub reason: &'static str,
    /// One sentence.
    pub note: String,
}

fn shortened(note: &str) -> String {
    let ends = note.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST_NOTE).last().unwrap_or_default();
    note.get(..end).unwrap_or_default().to_owned()
}

/// An object that is known by name and UID.
pub(crate) fn regarding<K: Resource<DynamicType = ()>>(key: &crate::Key, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(key.name.clone()),
        namespace: key.namespace.clone(),
        uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    }
}

/// Sends events and remembers which it has sent.
pub(crate) struct Recorder {
    client: Client,
    clock: Arc<dyn Clock>,
    /// The pod that speaks.
    instance: String,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    series: BTreeMap<Subject, Series>,
    /// Names end in a time; no two may be equal, even on a clock that stands still.
    last_name: i128,
}

/// Two events are one series if they agree in this.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    uid: String,
    event: Event,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Recorder {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>, instance: String) -> Self {
        Self { client, clock, instance, memory: Mutex::default() }
    }

    /// The name of the pod that speaks.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) async fn publish(&self, controller: &str, regarding: ObjectReference, event: Event) {
        let now = self.clock.now();
        let subject = Subject { uid: regarding.uid.clone().unwrap_or_default(), event };
        let series = self.remember(&subject, &regarding, now);
        let request = self.request(controller, regarding, &subject.event, &series);
        if let Err(error) = sent(&self.client, request).await {
            warn!(%error, reason = subject.event.reason, "event not sent");
            // The next one is a first one again: there may be nothing to count on.
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).series.remove(&subject);
        }
    }

    /// The first of a series is created, the others are counted on it.
    fn request(&self, controller: &str, regarding: ObjectReference, event: &Event, series: &Series) -> Built {
        let namespace = regarding.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let events = Request::new(Sent::url_path(&(), Some(namespace)));
        if series.count > 1 {
            let count = EventSeries { count: series.count, last_observed_time: MicroTime(series.last) };
            return events.patch(
                &series.name,
                &PatchParams::default(),
                &Patch::Merge(json!({"series": count})),
            );
        }
        let first = self.first(controller, regarding, event, series);
        events.create(
            &PostParams::default(),
            serde_json::to_vec(&first).map_err(request::Error::SerializeBody)?,
        )
    }

    fn remember(&self, subject: &Subject, regarding: &ObjectReference, now: Timestamp) -> Series {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.series.retain(|_, series| now.duration_since(series.last) < SERIES);
        if let Some(series) = memory.series.get_mut(subject) {
            series.count = series.count.saturating_add(1);
            series.last = now;
            return series.clone();
        }
        memory.last_name = now.as_nanosecond().max(memory.last_name + 1);
        let name = format!("{}.{:x}", regarding.name.as_deref().unwrap_or_default(), memory.last_name);
        let series = Series { name, count: 1, last: now };
        memory.series.insert(subject.clone(), series.clone());
        series
    }

    fn first(&self, controller: &str, regarding: ObjectReference, event: &Event, series: &Series) -> Sent {
        let namespace = regarding.namespace.clone().or_else(|| Some(DEFAULT_NAMESPACE.to_owned()));
        Sent {
            metadata: ObjectMeta { name: Some(series.name.clone()), namespace, ..ObjectMeta::default() },
            action: Some(event.action.to_owned()),
            event_time: Some(MicroTime(series.last)),
            note: Some(shortened(&event.note)),
            reason: Some(event.reason.to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some(format!("stowage/{controller}")),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(format!("{:?}", event.severity)),
            ..Sent::default()
        }
    }
}
