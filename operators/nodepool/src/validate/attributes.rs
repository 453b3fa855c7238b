//! What a pool puts on its nodes.

use std::collections::BTreeMap;

use stowage_api::{
    LabelKey, LabelValue,
    condition::Reason,
    node_pool::{
        ANNOTATION_LENGTH, ANNOTATIONS_LIMIT, LABELS_LIMIT, NodePoolTaint, Propagation, TAINTS_LIMIT,
    },
    reserved,
};

use super::{Rejection, at, check_length};
use crate::{ledger::Placing, settle::Wish, taints};

pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Rejection> {
    let (field, reason) = ("spec.labels", Reason::InvalidLabels);
    check_length(reason, field, labels.len(), LABELS_LIMIT)?;
    for (key, value) in labels {
        let entry = at(field, key);
        check_pair(reason, &entry, key, value)?;
        check_free(&entry, key)?;
    }
    Ok(labels.clone())
}

pub(super) fn check_annotations(
    annotations: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Rejection> {
    let (field, reason) = ("spec.annotations", Reason::InvalidAnnotations);
    check_length(reason, field, annotations.len(), ANNOTATIONS_LIMIT)?;
    for (key, value) in annotations {
        let entry = at(field, key);
        LabelKey::try_new(key.as_str())
            .map_err(|syntax| Rejection::new(reason, &entry, format!("is no annotation key: it {syntax}")))?;
        if value.len() > ANNOTATION_LENGTH {
            let problem = format!(
                "has a value of more than {ANNOTATION_LENGTH} bytes: keep what is longer in a ConfigMap"
            );
            return Err(Rejection::new(reason, &entry, problem));
        }
        check_free(&entry, key)?;
    }
    Ok(annotations.clone())
}

/// By their identity.
pub(super) fn check_taints(taints: &[NodePoolTaint]) -> Result<BTreeMap<String, Wish>, Rejection> {
    let (field, reason) = ("spec.taints", Reason::InvalidTaints);
    check_length(reason, field, taints.len(), TAINTS_LIMIT)?;
    let mut wishes = BTreeMap::new();
    for (index, taint) in taints.iter().enumerate() {
        let NodePoolTaint { key, value, effect, propagation } = taint;
        let entry = format!("{field}[{index}]");
        LabelKey::try_new(key.as_str())
            .map_err(|syntax| Rejection::new(reason, &format!("{entry}.key"), syntax.to_string()))?;
        LabelValue::try_new(value.as_str())
            .map_err(|syntax| Rejection::new(reason, &format!("{entry}.value"), syntax.to_string()))?;
        check_free(&format!("{entry}.key"), key)?;
        let placing = match propagation {
            Propagation::Always => Placing::Always,
            Propagation::OnInitialization => Placing::Once,
        };
        let wish = Wish { value: value.clone(), placing };
        if wishes.insert(taints::id(key, *effect), wish).is_some() {
            return Err(Rejection::new(
                reason,
                &entry,
                "has the key and effect of another entry: remove one",
            ));
        }
    }
    Ok(wishes)
}

/// A label with its value.
pub(super) fn check_pair(reason: Reason, field: &str, key: &str, value: &str) -> Result<(), Rejection> {
    LabelKey::try_new(key)
        .map_err(|syntax| Rejection::new(reason, field, format!("is no label key: it {syntax}")))?;
    LabelValue::try_new(value)
        .map_err(|syntax| Rejection::new(reason, field, format!("is no label value: it {syntax}")))?;
    Ok(())
}

/// Others own some keys.
fn check_free(field: &str, key: &str) -> Result<(), Rejection> {
    if reserved::is_reserved(key) {
        return Err(Rejection::new(
            Reason::ReservedKey,
            field,
            "is a key that belongs to Kubernetes, a cloud or Stowage: use a prefix of your own, such as example.com/",
        ));
    }
    Ok(())
}
