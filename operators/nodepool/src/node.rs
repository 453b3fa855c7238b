//! What a NodePool reads of a Node, and nothing more of it.

mod pairs;
mod wire;

use serde::Deserialize;

pub(crate) use self::pairs::Pairs;
use self::wire::Wire;
use crate::{ledger::Record, taints::Taints};

/// What a cordon is as a value: there or not.
pub(crate) const CORDONED: &str = "true";

/// A Node as the caches keep it: decoded straight from the API server's JSON, a few hundred bytes.
///
/// Two that are equal give the same decisions. The resource version is not part of it: the cache holds
/// it beside the object, and a patch is pinned to it when it is sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "Wire")]
pub struct Node {
    name: Box<str>,
    uid: Option<Box<str>>,
    labels: Pairs,
    /// Without those under reserved keys, which no pool may set: they are the long ones, and those that change.
    annotations: Pairs,
    ledger: Option<Box<str>>,
    /// The list as JSON, because every field of it has to be sent back.
    taints: Box<str>,
    capacity: Pairs,
    allocatable: Pairs,
    ready: bool,
    unschedulable: bool,
}

impl Node {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The UID.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// The value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }

    /// Whether its condition Ready is True.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it is cordoned.
    pub fn is_unschedulable(&self) -> bool {
        self.unschedulable
    }

    /// The value of one annotation that a pool may set.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)
    }

    pub(crate) fn taints(&self) -> Taints {
        Taints::read(&self.taints)
    }

    /// The cordon as a value.
    pub(crate) fn cordon(&self) -> Option<&str> {
        self.unschedulable.then_some(CORDONED)
    }

    /// All that the node has, by resource.
    pub(crate) fn capacity(&self) -> &Pairs {
        &self.capacity
    }

    /// What the node has for pods, by resource.
    pub(crate) fn allocatable(&self) -> &Pairs {
        &self.allocatable
    }

    /// What pools have written on it.
    pub(crate) fn record(&self) -> Record {
        Record::read(self.ledger.as_deref())
    }

    /// Whether it has a ledger, readable or not.
    pub(crate) fn has_ledger(&self) -> bool {
        self.ledger.is_some()
    }
}

#[cfg(test)]
mod tests;
