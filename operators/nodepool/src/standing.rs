//! Where a pool stands: the facts behind its status.

use std::collections::{BTreeMap, BTreeSet};

use stowage_api::NodeCounts;

use crate::{names::Names, node::Node, quantity::Sums};

/// Where a pool stands, for its status.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Its nodes. Of one that is being deleted also those that it is about to let go.
    pub nodes: NodeCounts,
    /// All that they have.
    pub capacity: Sums,
    /// What they have for pods.
    pub allocatable: Sums,
    /// Those that are not ready.
    pub not_ready: Names,
    /// Nodes that it asks for and another pool has.
    pub contested: Names,
    /// The pools that are being deleted and still have to hand nodes over to it, and how many each.
    pub awaited: BTreeMap<String, usize>,
    /// Nodes that it must not touch, because a newer Stowage wrote their ledger.
    pub blocked: Names,
    /// Nodes that keep a zone of ours which they should not have, because a volume is bound to it.
    pub pinned: Names,
    /// What holds up its deletion.
    pub wait: Wait,
}

/// What has to come before a pool that is being deleted may go, beside the writes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Wait {
    /// Nothing; also for a pool that is not being deleted.
    #[default]
    Nothing,
    /// It has nodes, and its policy is to refuse that.
    Members,
    /// Pods are still to leave these nodes.
    Drain {
        /// The nodes.
        nodes: BTreeSet<String>,
        /// What does not let a pod go, if anything.
        blocked: Option<String>,
    },
    /// Volumes hold the zone of nodes that are otherwise free.
    Pins,
}

impl Standing {
    /// The nodes that pods are still to leave, and what does not let one go.
    pub(crate) fn drain(&self) -> Option<(&BTreeSet<String>, Option<&str>)> {
        match &self.wait {
            Wait::Drain { nodes, blocked } => Some((nodes, blocked.as_deref())),
            Wait::Nothing | Wait::Members | Wait::Pins => None,
        }
    }

    /// One more member.
    pub(crate) fn count(&mut self, node: &Node) {
        let NodeCounts { total, ready, not_ready, unschedulable, draining: _ } = &mut self.nodes;
        *total += 1;
        if node.is_ready() {
            *ready += 1;
        } else {
            *not_ready += 1;
            self.not_ready.push(node.name());
        }
        if node.is_unschedulable() {
            *unschedulable += 1;
        }
        self.capacity.add(node.capacity().iter());
        self.allocatable.add(node.allocatable().iter());
    }
}
