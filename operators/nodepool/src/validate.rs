//! Makes a [`Valid`] pool of what a user wrote, or says what is wrong with it.
//!
//! The API server has checked all this by the rules of the CRD. It is checked again for objects older than a
//! rule, and because nothing here may rest on a rule that somebody has edited away.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube_core::{Expression, Selector, SelectorExt};
use stowage_api::{
    LabelKey, LabelValue, NodeName, NodePool, NodePoolSpec,
    condition::Reason,
    keys::NODEPOOL_LABEL,
    node_pool::{LABELS_LIMIT, NODE_NAMES_LIMIT, SELECTOR_TERMS_LIMIT, SELECTOR_VALUES_LIMIT},
    reserved,
};

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
    pub(crate) labels: BTreeMap<LabelKey, LabelValue>,
    selector: Option<Selector>,
    node_names: BTreeSet<NodeName>,
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
    let NodePoolSpec { selector, node_names, labels } = &pool.spec;
    let valid = Valid {
        precedence,
        labels: check_labels(labels)?,
        selector: selector.as_ref().map(check_selector).transpose()?,
        node_names: check_node_names(node_names)?,
    };
    if valid.selector.is_none() && valid.node_names.is_empty() {
        return Err(Rejection::new(
            Reason::InvalidSelection,
            "spec",
            "must select nodes: set spec.selector.matchLabels, spec.selector.matchExpressions or spec.nodeNames",
        ));
    }
    let selected = valid.selector_keys();
    match valid.labels.keys().find(|key| selected.contains(key.as_str())) {
        Some(key) => Err(Rejection::new(
            Reason::InvalidLabels,
            &at("spec.labels", key.as_str()),
            "is a key that spec.selector uses: a pool must not change what selects its nodes, so use another key",
        )),
        None => Ok(valid),
    }
}

impl Valid {
    /// The name of the pool.
    pub fn name(&self) -> &str {
        &self.precedence.name
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

fn key_of(expression: Expression) -> String {
    match expression {
        Expression::In(key, _)
        | Expression::NotIn(key, _)
        | Expression::Equal(key, _)
        | Expression::NotEqual(key, _)
        | Expression::Exists(key)
        | Expression::DoesNotExist(key) => key,
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

fn check_labels(labels: &BTreeMap<String, String>) -> Result<BTreeMap<LabelKey, LabelValue>, Rejection> {
    check_length(Reason::InvalidLabels, "spec.labels", labels.len(), LABELS_LIMIT)?;
    labels.iter().map(check_label).collect()
}

fn check_label((key, value): (&String, &String)) -> Result<(LabelKey, LabelValue), Rejection> {
    let field = at("spec.labels", key);
    let (key, value) = check_pair(Reason::InvalidLabels, &field, key, value)?;
    if reserved::is_reserved(key.as_str()) {
        return Err(Rejection::new(
            Reason::ReservedKey,
            &field,
            "is a key that belongs to Kubernetes, a cloud or Stowage: use a prefix of your own, such as example.com/",
        ));
    }
    Ok((key, value))
}

fn check_pair(
    reason: Reason,
    field: &str,
    key: &str,
    value: &str,
) -> Result<(LabelKey, LabelValue), Rejection> {
    let key = LabelKey::try_new(key)
        .map_err(|syntax| Rejection::new(reason, field, format!("is no label key: it {syntax}")))?;
    let value = LabelValue::try_new(value)
        .map_err(|syntax| Rejection::new(reason, field, format!("is no label value: it {syntax}")))?;
    Ok((key, value))
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

fn check_node_names(names: &[String]) -> Result<BTreeSet<NodeName>, Rejection> {
    let field = "spec.nodeNames";
    check_length(Reason::InvalidSelection, field, names.len(), NODE_NAMES_LIMIT)?;
    let name = |(index, name): (usize, &String)| {
        NodeName::try_new(name.as_str()).map_err(|syntax| {
            Rejection::new(Reason::InvalidSelection, &format!("{field}[{index}]"), syntax.to_string())
        })
    };
    names.iter().enumerate().map(name).collect()
}

fn check_selector(selector: &LabelSelector) -> Result<Selector, Rejection> {
    let LabelSelector { match_labels, match_expressions } = selector;
    let labels = match_labels.iter().flatten();
    let expressions = match_expressions.as_deref().unwrap_or_default();
    let (field, reason) = ("spec.selector", Reason::InvalidSelection);
    check_length(reason, "spec.selector.matchLabels", labels.clone().count(), SELECTOR_TERMS_LIMIT)?;
    check_length(reason, "spec.selector.matchExpressions", expressions.len(), SELECTOR_TERMS_LIMIT)?;
    for (key, value) in labels {
        check_pair(reason, &at("spec.selector.matchLabels", key), key, value)?;
    }
    for (index, expression) in expressions.iter().enumerate() {
        check_expression(&format!("spec.selector.matchExpressions[{index}]"), expression)?;
    }
    let compiled = Selector::try_from(selector.clone())
        .map_err(|error| Rejection::new(reason, field, format!("cannot be read: {error}")))?;
    if compiled.selects_all() {
        return Err(Rejection::new(
            reason,
            field,
            "must not be empty, because it would match every node: add matchLabels or matchExpressions, or remove it \
             and use spec.nodeNames",
        ));
    }
    if compiled.clone().into_iter().map(key_of).any(|key| key == NODEPOOL_LABEL) {
        return Err(Rejection::new(
            reason,
            field,
            format!(
                "must not use {NODEPOOL_LABEL}, which Stowage itself sets: select by a label of your own or by spec.nodeNames"
            ),
        ));
    }
    Ok(compiled)
}

fn check_expression(field: &str, expression: &LabelSelectorRequirement) -> Result<(), Rejection> {
    let LabelSelectorRequirement { key, operator, values } = expression;
    let values = values.as_deref().unwrap_or_default();
    let reject = |part: &str, problem: &str| {
        Err(Rejection::new(Reason::InvalidSelection, &format!("{field}.{part}"), problem))
    };
    check_length(Reason::InvalidSelection, &format!("{field}.values"), values.len(), SELECTOR_VALUES_LIMIT)?;
    if let Err(syntax) = LabelKey::try_new(key.as_str()) {
        return reject("key", &syntax.to_string());
    }
    for (index, value) in values.iter().enumerate() {
        if let Err(syntax) = LabelValue::try_new(value.as_str()) {
            return reject(&format!("values[{index}]"), &syntax.to_string());
        }
    }
    match (operator.as_str(), values.is_empty()) {
        ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => Ok(()),
        ("In" | "NotIn", true) => reject("values", "must not be empty with In and NotIn: add one"),
        ("Exists" | "DoesNotExist", false) => {
            reject("values", "must be empty with Exists and DoesNotExist: remove it")
        }
        _ => reject("operator", "must be In, NotIn, Exists or DoesNotExist"),
    }
}

#[cfg(test)]
mod tests;
