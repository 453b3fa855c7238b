//! The one patch that takes a node from what it carries to what it should carry.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use serde_json::{Map, Value, json};
use stowage_api::keys::{NODEPOOL_LABEL, NODEPOOL_LEDGER_ANNOTATION, ZONE_LABEL};

use crate::{
    cordon::{Cordon, CordonEntries, CordonWish},
    ledger::{Entries, Entry, Ledger, Owned},
    node::Node,
    pins::Pins,
    roster::Candidate,
    settle::{Settled, Terms, Wish, settle},
    taints::Taints,
    validate::Valid,
};

/// A JSON merge patch. It is kept as text: a pool has as many as nodes, and as a tree each takes ten times the room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Patch(Box<str>);

impl Patch {
    /// The patch as an object.
    pub fn object(&self) -> Map<String, Value> {
        // The text was made of one.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Map<String, Value>> for Patch {
    fn from(object: Map<String, Value>) -> Self {
        Self(Value::Object(object).to_string().into())
    }
}

/// What has to become of a node.
#[derive(Debug)]
pub(crate) struct Change {
    /// Nothing where the node is as it should be.
    pub(crate) patch: Option<Patch>,
    /// What becomes of the zone.
    pub(crate) zone: Zone,
}

/// Whether the zone of a node is as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Zone {
    /// It is.
    Settled,
    /// It keeps one of ours that it should not have, because a volume is bound to it.
    Pinned,
}

/// What a pool asks of each of its nodes, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// The zone is one of them.
    pub(crate) labels: BTreeMap<String, Wish>,
    pub(crate) annotations: BTreeMap<String, Wish>,
    /// By `KEY:EFFECT`.
    pub(crate) taints: BTreeMap<String, Wish>,
    pub(crate) cordon: CordonWish,
}

/// Every key of a node that is or was ours.
struct Sections {
    labels: Section,
    annotations: Section,
    taints: Section,
    cordon: Cordon,
}

/// The keys of one kind: those that change, and what the ledger says afterwards.
struct Section {
    changes: BTreeMap<String, Option<String>>,
    entries: Entries,
}

/// How `candidate` has to change so that it belongs to `pool`, or to none.
///
/// Of what another pool has set before, only what `pool` does not set again is restored: a move is one patch.
pub(crate) fn change(candidate: &Candidate<'_>, pool: Option<&Valid>, pins: &Pins) -> Change {
    let Candidate { node, record, base: _ } = candidate;
    let nothing = Ledger::default();
    let before = record.ledger().unwrap_or(&nothing);
    let taints = node.taints();
    let mut sections = Sections::settle(candidate, before, &taints, pool);
    let zone = sections.labels.keep_zone(before.labels.get(ZONE_LABEL), node, pins);
    let name = pool.map(|pool| pool.name().to_owned());
    if node.label(NODEPOOL_LABEL) != name.as_deref() {
        sections.labels.changes.insert(NODEPOOL_LABEL.to_owned(), name);
    }
    let ledger = match pool {
        Some(pool) => Some(Ledger {
            pool: pool.name().to_owned(),
            uid: candidate.uid(pool.name()).map(str::to_owned),
            policy: pool.policy,
            ..sections.take_ledger()
        }),
        // What is left of it must be found again.
        None if zone == Zone::Pinned => {
            Some(Ledger { pool: before.pool.clone(), left: true, ..sections.take_ledger() })
        }
        None => None,
    };
    let ledger = ledger_patch(candidate, ledger.map(Ledger::sealed).as_ref());
    Change { patch: sections.patch(node, taints, ledger).map(Patch::from), zone }
}

impl Sections {
    fn settle(candidate: &Candidate<'_>, before: &Ledger, taints: &Taints, pool: Option<&Valid>) -> Self {
        let (node, nothing) = (candidate.node, Wishes::default());
        let wishes = pool.map_or(&nothing, |pool| &pool.wishes);
        let terms = Terms {
            was: before.policy,
            is: pool.map(|pool| pool.policy).unwrap_or_default(),
            arrival: candidate.arrival(pool.map(Valid::name)),
        };
        let values = taints.values();
        let taint = |id: &str| values.get(id).map(String::as_str);
        Self {
            labels: Section::settle(&before.labels, &wishes.labels, |key| node.label(key), terms),
            annotations: Section::settle(
                &before.annotations,
                &wishes.annotations,
                |key| node.annotation(key),
                terms,
            ),
            taints: Section::settle(&before.taints, &wishes.taints, taint, terms),
            cordon: Cordon::settle(CordonEntries::of(before), node.cordon(), wishes.cordon, terms),
        }
    }

    /// Takes the entries: a patch needs only what changes.
    fn take_ledger(&mut self) -> Ledger {
        mem::take(&mut self.cordon.entries).written_to(Ledger {
            labels: mem::take(&mut self.labels.entries),
            annotations: mem::take(&mut self.annotations.entries),
            taints: mem::take(&mut self.taints.entries),
            ..Ledger::default()
        })
    }

    /// The patch of all that differs; nothing where nothing does.
    fn patch(self, node: &Node, live: Taints, ledger: Option<Value>) -> Option<Map<String, Value>> {
        let Self { labels, annotations, taints, cordon } = self;
        let mut annotations = object(annotations.changes);
        annotations.extend(ledger.map(|ledger| (NODEPOOL_LEDGER_ANNOTATION.to_owned(), ledger)));
        let metadata =
            [("annotations", annotations), ("labels", object(labels.changes))].into_iter().filter_map(part);
        let mut spec = Map::new();
        if !taints.changes.is_empty() {
            spec.insert("taints".to_owned(), live.changed(taints.changes));
        }
        if node.cordon() != cordon.value.as_deref() {
            // Absent means schedulable, and is how a node is born.
            spec.insert("unschedulable".to_owned(), json!(cordon.value.map(|_| true)));
        }
        let patch: Map<_, _> =
            [("metadata", metadata.collect()), ("spec", spec)].into_iter().filter_map(part).collect();
        (!patch.is_empty()).then_some(patch)
    }
}

impl Section {
    fn settle<'a>(
        entries: &Entries,
        wishes: &BTreeMap<String, Wish>,
        live: impl Fn(&str) -> Option<&'a str>,
        terms: Terms,
    ) -> Self {
        let mut section = Self { changes: BTreeMap::new(), entries: Entries::new() };
        for key in entries.keys().chain(wishes.keys()).collect::<BTreeSet<_>>() {
            let live = live(key);
            let Settled { value, entry } = settle(entries.get(key), live, wishes.get(key), terms);
            if value.as_deref() != live {
                section.changes.insert(key.clone(), value);
            }
            section.entries.extend(entry.map(|entry| (key.clone(), entry)));
        }
        section
    }

    /// Leaves a zone of ours as it is while a volume is bound to it.
    fn keep_zone(&mut self, entry: Option<&Entry>, node: &Node, pins: &Pins) -> Zone {
        let Some(Entry::Owned(Owned { set, .. })) = entry else { return Zone::Settled };
        let is_pinned =
            self.changes.contains_key(ZONE_LABEL) && node.label(ZONE_LABEL) == Some(set) && pins.hold(set);
        if !is_pinned {
            return Zone::Settled;
        }
        self.changes.remove(ZONE_LABEL);
        self.entries.extend(entry.map(|entry| (ZONE_LABEL.to_owned(), entry.clone())));
        Zone::Pinned
    }
}

fn object(changes: BTreeMap<String, Option<String>>) -> Map<String, Value> {
    changes.into_iter().map(|(key, value)| (key, json!(value))).collect()
}

/// What has nothing in it is no part of a patch.
fn part((name, content): (&str, Map<String, Value>)) -> Option<(String, Value)> {
    (!content.is_empty()).then(|| (name.to_owned(), Value::Object(content)))
}

/// The annotation as it should be; null takes it away, absent leaves it.
fn ledger_patch(candidate: &Candidate<'_>, wanted: Option<&Ledger>) -> Option<Value> {
    match wanted {
        Some(ledger) if candidate.record.ledger() == Some(ledger) => None,
        Some(ledger) => Some(Value::String(json!(ledger).to_string())),
        None => candidate.node.has_ledger().then_some(Value::Null),
    }
}
