//! Makes a [`Valid`] pool of what a user wrote, or says what is wrong with it.
//!
//! The API server has checked all this by the rules of the CRD. It is checked again for objects older than a
//! rule, and because nothing here may rest on a rule that somebody has edited away.

mod attributes;
mod selection;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use kube_core::{Selector, SelectorExt};
use stowage_api::{
    NodeName, NodePool, NodePoolSpec,
    condition::Reason,
    keys::{NODEPOOL_LABEL, ZONE_LABEL},
    node_pool::{ConflictPolicy, TopologyZone},
};

use self::selection::{check_node_names, check_selector, key_of};
use crate::{cordon::CordonWish, ledger::Placing, patch::Wishes, settle::Wish};

/// Most characters of the name of a pool: it becomes a label value.
const NAME_LIMIT: usize = 63;
/// What the nodes in no pool are called together.
const IMPLICIT_POOL: &str = "default";
/// Most bytes of what a user wrote that a message repeats.
const QUOTE_LIMIT: usize = 100;

/// A pool that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// Its place among all pools: of two that ask for one node, the lesser gets it.
    pub(crate) precedence: Precedence,
    /// What each member carries.
    pub(crate) wishes: Wishes,
    /// What becomes of it when a hand changes it.
    pub(crate) policy: ConflictPolicy,
    selector: Option<Selector>,
    node_names: BTreeSet<NodeName>,
    drain_timeout: Duration,
}

/// The older pool comes first; of two equally old, the one whose name comes first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Precedence {
    created: Option<Timestamp>,
    pub(crate) name: String,
}

/// Why a pool cannot be carried out: one field, and the cure.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Rejection {
    /// What class of mistake it is.
    pub reason: Reason,
    /// Path of the field.
    pub field: String,
    /// What is wrong with it and what to do; the rest of the sentence that begins with the field.
    pub problem: String,
}

/// Checks everything that the rules of the CRD check.
pub fn validate(pool: &NodePool) -> Result<Valid, Rejection> {
    let precedence = Precedence::of(pool);
    check_name(&precedence.name)?;
    let NodePoolSpec { selector, node_names, conflict_policy, .. } = &pool.spec;
    settings::check(&pool.spec)?;
    let valid = Valid {
        wishes: wishes(&precedence.name, &pool.spec)?,
        policy: *conflict_policy,
        selector: selector.as_ref().map(check_selector).transpose()?,
        node_names: check_node_names(node_names)?,
        drain_timeout: settings::check_drain_timeout(pool.spec.drain_timeout.as_deref())?,
        precedence,
    };
    if valid.selector.is_none() && valid.node_names.is_empty() {
        return Err(Rejection::new(
            Reason::InvalidSelection,
            "spec",
            "must select nodes: set spec.selector.matchLabels, spec.selector.matchExpressions or spec.nodeNames",
        ));
    }
    let selected = valid.selector_keys();
    match valid.wishes.labels.keys().find(|key| selected.contains(*key)) {
        Some(key) if key == ZONE_LABEL => Err(Rejection::new(
            Reason::InvalidSelection,
            "spec.topologyZone",
            format!(
                "must be Never while spec.selector uses {ZONE_LABEL}: a pool must not change what selects its nodes"
            ),
        )),
        Some(key) => Err(Rejection::new(
            Reason::InvalidLabels,
            &at("spec.labels", key),
            "is a key that spec.selector uses: a pool must not change what selects its nodes, so use another key",
        )),
        None => Ok(valid),
    }
}

/// What the pool asks of each of its nodes.
fn wishes(name: &str, spec: &NodePoolSpec) -> Result<Wishes, Rejection> {
    let always = |value: String| Wish { value, placing: Placing::Always };
    let entry = |(key, value): (String, String)| (key, always(value));
    let mut labels: BTreeMap<_, _> = attributes::check_labels(&spec.labels)?.into_iter().map(entry).collect();
    match spec.topology_zone {
        TopologyZone::Never => {}
        TopologyZone::IfAbsent => {
            let zone = Wish { value: name.to_owned(), placing: Placing::IfAbsent };
            labels.insert(ZONE_LABEL.to_owned(), zone);
        }
    }
    Ok(Wishes {
        labels,
        annotations: attributes::check_annotations(&spec.annotations)?.into_iter().map(entry).collect(),
        taints: attributes::check_taints(&spec.taints)?,
        cordon: CordonWish {
            on_join: spec.cordon_on_join,
            always: spec.unschedulable,
            policy: spec.conflict_policy,
        },
    })
}

impl Valid {
    /// The name of the pool.
    pub fn name(&self) -> &str {
        &self.precedence.name
    }

    /// How long a drain waits for pods.
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout
    }

    /// The same pool, whose nodes get no new pods, whatever its spec says and whatever hands do.
    pub(crate) fn cordoning(mut self) -> Self {
        let cordon = &mut self.wishes.cordon;
        *cordon = CordonWish { always: true, policy: ConflictPolicy::Enforce, ..*cordon };
        self
    }

    /// Whether the pool asks for the node of this name, whose base labels are `base`. Only those that
    /// [`Valid::selector_keys`] names are needed.
    pub(crate) fn claims(&self, node: &str, base: &BTreeMap<String, String>) -> bool {
        self.node_names.contains(node)
            || self.selector.as_ref().is_some_and(|selector| selector.matches(base))
    }

    /// The label keys that decide whether a node matches.
    pub(crate) fn selector_keys(&self) -> BTreeSet<String> {
        self.selector.iter().cloned().flatten().map(key_of).collect()
    }
}

impl Precedence {
    pub(crate) fn of(pool: &NodePool) -> Self {
        Self {
            created: pool.metadata.creation_timestamp.as_ref().map(|time| time.0),
            name: pool.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl Rejection {
    fn new(reason: Reason, field: &str, problem: impl Into<String>) -> Self {
        Self { reason, field: field.to_owned(), problem: problem.into() }
    }
}

/// Path of the entry `key` in the map `field`.
fn at(field: &str, key: &str) -> String {
    let shown =
        key.char_indices().take_while(|(start, c)| start + c.len_utf8() <= QUOTE_LIMIT).map(|(_, c)| c);
    format!("{field}[{}]", shown.collect::<String>())
}

fn check_name(name: &str) -> Result<(), Rejection> {
    let problem = if name.len() > NAME_LIMIT {
        format!(
            "must have at most {NAME_LIMIT} characters, because it becomes the value of the label {NODEPOOL_LABEL}"
        )
    } else if name == IMPLICIT_POOL {
        format!("must not be {IMPLICIT_POOL}, which is the name of the nodes in no pool: choose another")
    } else {
        return Ok(());
    };
    Err(Rejection::new(Reason::InvalidName, "metadata.name", problem))
}

fn check_length(reason: Reason, field: &str, length: usize, limit: usize) -> Result<(), Rejection> {
    if length > limit {
        return Err(Rejection::new(
            reason,
            field,
            format!("has {length} entries and must have at most {limit}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
