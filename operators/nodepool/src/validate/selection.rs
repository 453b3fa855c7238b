//! Which nodes a pool asks for.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube_core::{Expression, Selector};
use stowage_api::{
    LabelKey, LabelValue, NodeName,
    condition::Reason,
    keys::NODEPOOL_LABEL,
    node_pool::{NODE_NAMES_LIMIT, SELECTOR_TERMS_LIMIT, SELECTOR_VALUES_LIMIT},
};

use super::{Rejection, at, attributes::check_pair, check_length};

/// The label key that an expression is about.
pub(super) fn key_of(expression: Expression) -> String {
    match expression {
        Expression::In(key, _)
        | Expression::NotIn(key, _)
        | Expression::Equal(key, _)
        | Expression::NotEqual(key, _)
        | Expression::Exists(key)
        | Expression::DoesNotExist(key) => key,
    }
}

pub(super) fn check_node_names(names: &[String]) -> Result<BTreeSet<NodeName>, Rejection> {
    let field = "spec.nodeNames";
    check_length(Reason::InvalidSelection, field, names.len(), NODE_NAMES_LIMIT)?;
    let name = |(index, name): (usize, &String)| {
        NodeName::try_new(name.as_str()).map_err(|syntax| {
            Rejection::new(Reason::InvalidSelection, &format!("{field}[{index}]"), syntax.to_string())
        })
    };
    names.iter().enumerate().map(name).collect()
}

pub(super) fn check_selector(selector: &LabelSelector) -> Result<Selector, Rejection> {
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
