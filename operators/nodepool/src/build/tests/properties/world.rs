//! A cluster beside what should be true of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use stowage_api::{NodePool, node_pool::DeletionPolicy};

use crate::{
    Desired, Evacuation, Volume, Wait, abandon,
    fixtures::{Cluster, ends, going, node, pool},
    validate,
};

pub(super) const POOLS: [&str; 3] = ["amber", "birch", "cedar"];
pub(super) const NODES: [&str; 3] = ["quay-1", "quay-2", "quay-3"];
/// All that pools and hands set, but for the pool label.
pub(super) const KEYS: [&str; 8] = [
    "label/disk",
    "label/a",
    "label/b",
    ZONE,
    "annotation/n",
    "taint/t:NoSchedule",
    "taint/t:NoExecute",
    CORDON,
];
const ZONE: &str = "label/topology.kubernetes.io/zone";
const CORDON: &str = "cordon";

/// What a node carries under each of [`KEYS`].
pub(super) type Attributes = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Creates a pool or changes it, also while it is being deleted.
    Spec(&'static str, Wish),
    /// Has a pool fail validation.
    Break(&'static str),
    Delete(&'static str, DeletionPolicy),
    /// A hand sets a key or takes it away.
    Edit(&'static str, &'static str, Option<&'static str>),
    /// A hand writes our own label on a node of ours.
    EditPoolLabel(&'static str),
    DropLedger(&'static str),
    /// The node goes, and another comes under its name.
    Recreate(&'static str),
    /// The last pod has left the node.
    Empty(&'static str),
    /// Volumes are bound to these zones and no others.
    Pin(BTreeSet<&'static str>),
    Reconcile(&'static str),
    Settle(Vec<&'static str>),
}

#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) selection: Selection,
    /// The value of each key, and when it is put where a key leaves a choice.
    pub(super) sets: BTreeMap<&'static str, (&'static str, When)>,
    pub(super) conflict: &'static str,
    pub(super) deletion: DeletionPolicy,
}

/// When a taint or the cordon is put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum When {
    Always,
    Once,
    /// The cordon is two fields, which can both be set.
    Both,
}

#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) selected: Option<(&'static str, &'static str)>,
    pub(super) names: BTreeSet<&'static str>,
}

impl Wish {
    fn spec(&self) -> Value {
        let Self { selection: Selection { selected, names }, sets, conflict, deletion } = self;
        let of = |kind: &str| -> Map<String, Value> {
            let kind = format!("{kind}/");
            let part = |(key, (value, _)): (&&str, &(&str, When))| {
                Some((key.strip_prefix(&kind)?.to_owned(), json!(value)))
            };
            sets.iter().filter(|(key, _)| **key != ZONE).filter_map(part).collect()
        };
        let taint = |(id, value): (String, Value)| {
            let (key, effect) = id.split_once(':').unwrap();
            let propagation = match sets[format!("taint/{id}").as_str()].1 {
                When::Once => "OnInitialization",
                When::Always | When::Both => "Always",
            };
            json!({ "key": key, "value": value, "effect": effect, "propagation": propagation })
        };
        let cordon = sets.get(CORDON).map(|(_, when)| *when);
        let mut spec = json!({
            "nodeNames": names,
            "labels": of("label"),
            "annotations": of("annotation"),
            "taints": of("taint").into_iter().map(taint).collect::<Vec<_>>(),
            "unschedulable": matches!(cordon, Some(When::Always | When::Both)),
            "cordonOnJoin": matches!(cordon, Some(When::Once | When::Both)),
            "topologyZone": if sets.contains_key(ZONE) { "IfAbsent" } else { "Never" },
            "conflictPolicy": conflict,
            "deletionPolicy": deletion,
        });
        if let Some((key, value)) = selected {
            spec["selector"] = json!({ "matchLabels": { key.strip_prefix("label/").unwrap(): value } });
        }
        spec
    }

    fn asks_for(&self, name: &str, base: &Attributes) -> bool {
        let Selection { selected, names } = &self.selection;
        names.contains(name)
            || selected.is_some_and(|(key, value)| base.get(key).is_some_and(|is| is == value))
    }

    /// Whether the pool sets the key when a node joins.
    fn sets_once(&self, key: &str) -> bool {
        match self.sets.get(key) {
            Some((_, When::Once)) => key.starts_with("taint/") || key == CORDON,
            Some((_, When::Both)) => key == CORDON,
            Some((_, When::Always)) | None => false,
        }
    }

    /// Whether the pool sets the key at no other time.
    fn sets_only_once(&self, key: &str) -> bool {
        self.sets_once(key) && self.sets[key].1 == When::Once
    }
}

/// The cluster beside what should be true of it.
pub(super) struct World {
    pub(super) cluster: Cluster,
    wishes: BTreeMap<&'static str, Wish>,
    /// What each node would carry without any pool.
    pub(super) base: BTreeMap<&'static str, Attributes>,
    births: i64,
}

impl World {
    pub(super) fn new(base: &[Attributes]) -> Self {
        let mut world =
            Self { cluster: Cluster::default(), wishes: BTreeMap::new(), base: BTreeMap::new(), births: 0 };
        for (name, attributes) in NODES.into_iter().zip(base) {
            world.bear(name, attributes);
        }
        world
    }

    /// A new node, with a taint beside that is nobody's business.
    fn bear(&mut self, name: &'static str, attributes: &Attributes) {
        self.births += 1;
        let mut born = node(name, &json!({}));
        born["metadata"]["uid"] = json!(format!("uid-{}", self.births));
        born["spec"] = json!({ "taints": [foreign_taint()] });
        self.cluster.nodes.insert(name.to_owned(), born);
        self.base.insert(name, Attributes::new());
        for (key, value) in attributes {
            self.edit(name, key, Some(value));
        }
    }

    fn pool(&self, name: &str) -> Option<&NodePool> {
        self.cluster.pools.iter().find(|pool| pool.metadata.name.as_deref() == Some(name))
    }

    fn is_leaving(&self, name: &str) -> bool {
        self.pool(name).is_some_and(|pool| pool.metadata.deletion_timestamp.is_some())
    }

    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Spec(name, wish) => self.set(name, wish),
            Step::Break(name) if self.pool(name).is_some() => {
                self.wishes.remove(name);
                self.cluster.set_spec(name, &json!({ "selector": {} }));
            }
            Step::Delete(name, policy) => self.delete(name, policy),
            Step::Edit(node, key, value) => self.edit(node, key, value),
            Step::EditPoolLabel(node) if self.cluster.ledger(node).is_some() => {
                self.cluster.edit(node, "stowage.dev/nodepool", Some("by-hand"));
            }
            Step::DropLedger(node) => self.drop_ledger(node),
            Step::Recreate(node) => {
                let attributes = self.base[node].clone();
                self.bear(node, &attributes);
            }
            Step::Empty(node) => drop(self.cluster.evacuations.insert(node.to_owned(), Evacuation::Done)),
            Step::Pin(zones) => self.pin(&zones),
            Step::Reconcile(name) if self.pool(name).is_some() => drop(self.turn(name)),
            Step::Settle(order) => self.settle(&order),
            Step::Break(_) | Step::EditPoolLabel(_) | Step::Reconcile(_) => {}
        }
    }

    fn set(&mut self, name: &'static str, wish: Wish) {
        if self.pool(name).is_none() {
            self.births += 1;
            self.cluster.pools.push(pool(name, self.births, &wish.spec()));
        } else {
            self.cluster.set_spec(name, &wish.spec());
        }
        self.wishes.insert(name, wish);
    }

    fn delete(&mut self, name: &str, policy: DeletionPolicy) {
        let named = |pool: &&mut NodePool| pool.metadata.name.as_deref() == Some(name);
        if let Some(pool) = self.cluster.pools.iter_mut().find(named) {
            *pool = going(pool.clone(), policy);
        }
        if let Some(wish) = self.wishes.get_mut(name) {
            wish.deletion = policy;
        }
    }

    /// What a hand does is the new base, unless the ledger says that the key is held against hands.
    fn edit(&mut self, name: &'static str, key: &str, value: Option<&str>) {
        // There is one way to be cordoned.
        let value = value.map(|value| if key == CORDON { "true" } else { value });
        put(self.cluster.nodes.get_mut(name).unwrap(), key, value);
        let base = match self.entry(name, key) {
            Some(entry) if entry["yielded"] != true => {
                let owned = entry.as_object().unwrap();
                let holds = |ledger: &Value| ledger["policy"] != "Yield";
                let is_held =
                    owned.get("placing").is_none_or(|placing| placing == "IfAbsent" && value.is_none())
                        && self.cluster.ledger(name).is_some_and(|ledger| holds(&ledger));
                if is_held || value == owned["set"].as_str() {
                    let lowest = self.cordon_beneath(name, key).unwrap_or(entry);
                    lowest.get("replaced").and_then(Value::as_str).map(str::to_owned)
                } else {
                    value.map(str::to_owned)
                }
            }
            Some(_) | None => value.map(str::to_owned),
        };
        let attributes = self.base.get_mut(name).unwrap();
        match base {
            Some(base) => drop(attributes.insert(key.to_owned(), base)),
            None => drop(attributes.remove(key)),
        }
    }

    fn drop_ledger(&mut self, name: &'static str) {
        let annotations = &mut self.cluster.nodes.get_mut(name).unwrap()["metadata"]["annotations"];
        annotations.as_object_mut().unwrap().remove("stowage.dev/nodepool-ledger");
        self.base.insert(name, self.carried(name));
        // Without ledger and label nothing would say whose it was; hands that take both are asked to wait.
        if self.cluster.labels(name)["stowage.dev/nodepool"] == "by-hand" {
            self.cluster.edit(name, "stowage.dev/nodepool", None);
        }
    }

    fn pin(&mut self, zones: &BTreeSet<&str>) {
        let volume = json!({ "metadata": {}, "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [
                { "key": "topology.kubernetes.io/zone", "operator": "In", "values": zones },
            ] },
        ] } } } });
        let volume: Volume = serde_json::from_value(volume).unwrap();
        self.cluster.pins = [&volume].into_iter().collect();
    }

    /// One reconcile, and the end of a pool that was being deleted. Gives the nodes that it wrote.
    fn turn(&mut self, name: &str) -> Desired {
        let held: BTreeMap<_, _> = NODES.map(|node| (node, self.once(node))).into();
        let desired = self.cluster.desired(name);
        for (node, moved) in &desired.moves {
            let (from, _) = ends(moved);
            assert!(!self.is_kept(node, from), "{node} was taken from {from:?}, which keeps it");
        }
        self.cluster.apply(&desired);
        for node in NODES {
            self.check_once(node, &held[node], &desired);
        }
        assert!(self.cluster.desired(name).patches.is_empty(), "the second time in a row writes nothing");
        if self.is_leaving(name) && desired.standing.wait == Wait::Nothing {
            self.wishes.remove(name);
            self.cluster.pools.retain(|pool| pool.metadata.name.as_deref() != Some(name));
        }
        desired
    }

    /// What is done about the marks of a pool that is not there.
    fn mourn(&mut self, name: &str) -> Desired {
        let desired = abandon(name, &self.cluster.observed());
        self.cluster.apply(&desired);
        desired
    }

    /// Whether the pool, though it is being deleted, keeps the node.
    fn is_kept(&self, node: &str, pool: Option<&str>) -> bool {
        let Some((name, wish)) = pool.and_then(|pool| self.wishes.get_key_value(pool)) else { return false };
        let is_done = match wish.deletion {
            DeletionPolicy::Release => true,
            DeletionPolicy::Drain => self.cluster.evacuations.contains_key(node),
            DeletionPolicy::Refuse => false,
        };
        self.is_leaving(name) && !is_done && wish.asks_for(node, &self.base[node])
    }

    /// What the ledger of a node says was put once, and which node it says it is.
    fn once(&self, node: &str) -> BTreeSet<&'static str> {
        let is_once = |key: &&str| {
            let entry = self.cordon_beneath(node, key).or_else(|| self.entry(node, key));
            entry.is_some_and(|entry| entry["placing"] == "Once")
        };
        KEYS.into_iter().filter(is_once).collect()
    }

    /// What is put once is there when a node has joined, and comes no other time.
    fn check_once(&self, node: &str, before: &BTreeSet<&str>, desired: &Desired) {
        let now = self.once(node);
        let joined = desired.moves.get(node).and_then(|moved| ends(moved).1);
        let asked = |key: &&str| joined.is_some_and(|pool| self.wishes[pool].sets_once(key));
        for key in KEYS.iter().filter(|key| asked(key)) {
            assert!(now.contains(key), "{node} joined {joined:?} without {key}");
        }
        let holder = self.holder(node).and_then(|holder| self.wishes.get(holder.as_str()));
        let asked_always = |key: &str| holder.is_some_and(|wish| wish.sets_once(key));
        // A taint has one field, whose value stays when it says another time; the cordon has two.
        let may_be = |key: &&str| before.contains(key) || (*key != CORDON && asked_always(key));
        assert!(joined.is_some() || now.iter().all(may_be), "{node}");
    }

    pub(super) fn settle(&mut self, order: &[&'static str]) {
        let mut writes: BTreeMap<String, usize> = BTreeMap::new();
        for name in order.iter().chain(order) {
            let desired = if self.pool(name).is_some() { self.turn(name) } else { self.mourn(name) };
            for node in desired.patches.into_keys() {
                *writes.entry(node).or_default() += 1;
            }
        }
        assert!(writes.values().all(|count| *count == 1), "a node is written once: {writes:?}");
        for node in NODES {
            self.check(node);
        }
    }

    fn entry(&self, node: &str, key: &str) -> Option<Value> {
        let ledger = self.cluster.ledger(node)?;
        let entry = match key.split_once('/') {
            Some(("label", key)) => ledger["labels"].get(key),
            Some(("annotation", key)) => ledger.get("annotations")?.get(key),
            Some(("taint", key)) => ledger.get("taints")?.get(key),
            _ => ledger.get("cordon"),
        };
        entry.cloned()
    }

    /// What the ledger says of the cordon from the join, where the pool has another over it.
    fn cordon_beneath(&self, node: &str, key: &str) -> Option<Value> {
        self.cluster.ledger(node)?.get("cordonBeneath").filter(|_| key == CORDON).cloned()
    }

    fn holder(&self, node: &str) -> Option<String> {
        let holder = match self.cluster.ledger(node) {
            Some(ledger) if ledger["left"] == true => Value::Null,
            Some(ledger) => ledger["pool"].clone(),
            None => self.cluster.labels(node)["stowage.dev/nodepool"].clone(),
        };
        holder.as_str().map(str::to_owned)
    }

    /// The pool that wrote last, whether the node is its member or not.
    fn writer(&self, node: &str) -> Option<String> {
        let ledger = self.cluster.ledger(node);
        ledger.map_or_else(|| self.holder(node), |ledger| ledger["pool"].as_str().map(str::to_owned))
    }

    /// What a node carries under each of [`KEYS`].
    pub(super) fn carried(&self, node: &str) -> Attributes {
        let node = &self.cluster.nodes[node];
        let of = |kind: &str, map: &Value| -> Vec<(String, String)> {
            let map = map.as_object().into_iter().flatten();
            map.map(|(key, value)| (format!("{kind}/{key}"), value.as_str().unwrap().to_owned())).collect()
        };
        let taint = |taint: &Value| {
            let id =
                format!("taint/{}:{}", taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap());
            (id, taint["value"].as_str().unwrap_or_default().to_owned())
        };
        let taints = node["spec"]["taints"].as_array().into_iter().flatten().map(taint);
        let cordon = (node["spec"]["unschedulable"] == true).then(|| (CORDON.to_owned(), "true".to_owned()));
        let metadata = &node["metadata"];
        let all =
            of("label", &metadata["labels"]).into_iter().chain(of("annotation", &metadata["annotations"]));
        all.chain(taints).chain(cordon).filter(|(key, _)| KEYS.contains(&key.as_str())).collect()
    }

    /// The pool that a node belongs to: one that keeps it though it is being deleted, or the oldest that asks.
    fn winner(&self, node: &str) -> Option<(&'static str, &Wish)> {
        let asks = |wish: &&Wish| wish.asks_for(node, &self.base[node]);
        let held = self.holder(node).and_then(|holder| self.wishes.get_key_value(holder.as_str()));
        if let Some((name, wish)) = held.filter(|(name, _)| self.is_kept(node, Some(name))) {
            return Some((name, wish));
        }
        let named = |pool: &NodePool| {
            let (name, wish) = self.wishes.get_key_value(pool.metadata.name.as_deref()?)?;
            (!self.is_leaving(name) && asks(&wish)).then_some((*name, wish))
        };
        self.cluster.pools.iter().find_map(named)
    }

    fn check(&self, node: &'static str) {
        let foreign = &self.cluster.nodes[node]["spec"]["taints"];
        assert!(foreign.as_array().unwrap().contains(&foreign_taint()), "{foreign}");
        let is_frozen = |name: String| self.pool(&name).is_some_and(|pool| validate(pool).is_err());
        // Also one that has left it: what it still has there goes when the pool works again.
        if self.writer(node).is_some_and(is_frozen) {
            return;
        }
        let winner = self.winner(node);
        let label = self.cluster.labels(node)["stowage.dev/nodepool"].clone();
        assert_eq!(label, json!(winner.map(|(name, _)| name)), "{node}");
        let carried = self.carried(node);
        for key in KEYS {
            let expected = self.expected(node, key, winner);
            assert_eq!(carried.get(key), expected.as_ref(), "{key} of {node}");
        }
    }

    /// What a node should carry under `key`, by the base and what the ledger says of hands; and the ledger says what it
    /// may say.
    fn expected(&self, node: &str, key: &str, winner: Option<(&str, &Wish)>) -> Option<String> {
        let base = self.base[node].get(key).cloned();
        let wish = winner.and_then(|(_, wish)| wish.sets.get(key));
        let is_drained = winner.is_some_and(|(name, wish)| {
            key == CORDON && self.is_leaving(name) && wish.deletion == DeletionPolicy::Drain
        });
        let Some(entry) = self.entry(node, key) else {
            let may_be_left = match key {
                ZONE => wish.is_none() || base.is_some(),
                key => {
                    !is_drained
                        && (wish.is_none() || winner.is_some_and(|(_, wish)| wish.sets_only_once(key)))
                }
            };
            assert!(may_be_left, "{key} of {node} is not owned");
            return base;
        };
        if entry["yielded"] == true {
            assert!(winner.is_some_and(|(_, wish)| wish.conflict == "Yield"), "{key} of {node} is yielded");
            assert!(!is_drained, "{node} is not cordoned for its drain");
            return base;
        }
        let set = entry["set"].as_str().unwrap().to_owned();
        let beneath = self.cordon_beneath(node, key);
        if let Some(beneath) = &beneath {
            assert_eq!(
                (&beneath["placing"], &entry["replaced"]),
                (&json!("Once"), &beneath["set"]),
                "{node}"
            );
            assert!(winner.is_some_and(|(_, wish)| wish.sets_once(key)), "{key} of {node}: {beneath}");
        }
        let replaced = beneath.as_ref().unwrap_or(&entry).get("replaced").and_then(Value::as_str);
        assert_eq!(replaced, base.as_deref(), "{key} of {node}");
        let asked = match (key, wish) {
            (ZONE, Some(_)) => winner.map(|(name, _)| name),
            (CORDON, _) if entry["placing"] == "Once" => {
                winner.is_some_and(|(_, wish)| wish.sets_only_once(key)).then_some("true")
            }
            (CORDON, wish) => {
                let is_asked = wish.is_some_and(|(_, when)| *when != When::Once);
                (is_asked || is_drained).then_some("true")
            }
            (_, wish) => wish.map(|(value, _)| *value),
        };
        let is_pinned = key == ZONE && self.cluster.pins.hold(&set);
        let is_once = entry["placing"] == "Once";
        assert!(asked == Some(&set) || is_pinned || (is_once && asked.is_some()), "{key} of {node}: {entry}");
        Some(set)
    }
}

fn foreign_taint() -> Value {
    json!({ "key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z", "future": [1] })
}

/// Sets a key of a node, or takes it away.
fn put(node: &mut Value, key: &str, value: Option<&str>) {
    let patch = match key.split_once('/') {
        Some(("label", key)) => json!({ "metadata": { "labels": { key: value } } }),
        Some(("annotation", key)) => json!({ "metadata": { "annotations": { key: value } } }),
        Some(("taint", id)) => {
            let (key, effect) = id.split_once(':').unwrap();
            let taints = node["spec"]["taints"].as_array().into_iter().flatten();
            let others = taints.filter(|taint| taint["key"] != key || taint["effect"] != effect).cloned();
            let taint = value.map(|value| json!({ "key": key, "value": value, "effect": effect }));
            json!({ "spec": { "taints": others.chain(taint).collect::<Vec<_>>() } })
        }
        _ => json!({ "spec": { "unschedulable": value.map(|_| true) } }),
    };
    json_patch::merge(node, &patch);
}
