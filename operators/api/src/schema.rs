//! Schemas of fields whose limits the types cannot say.
//!
//! Every text, list and map has a bound: the API server multiplies them into the cost of each rule
//! and refuses a CRD whose rules could cost too much.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::{
    node_pool::{LABELS_LIMIT, NODE_NAMES_LIMIT, SELECTOR_TERMS_LIMIT, SELECTOR_VALUES_LIMIT},
    rules,
};

/// Longest label key: a prefix of 253, a slash, a name of 63.
const KEY_LENGTH: u32 = 317;
/// Longest label value.
const VALUE_LENGTH: u32 = 63;
/// Longest name of a node: a DNS subdomain.
const NODE_NAME_LENGTH: u32 = 253;

/// `spec.labels`.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    let mut schema = label_map(LABELS_LIMIT);
    schema.insert("x-kubernetes-validations".to_owned(), serde_json::json!(rules::labels()));
    schema
}

/// `spec.nodeNames`: a set, so that a name listed twice is refused.
pub(crate) fn node_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": NODE_NAMES_LIMIT,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": rules::node_names(),
        "items": { "type": "string", "minLength": 1, "maxLength": NODE_NAME_LENGTH },
    })
}

/// `spec.selector`: Kubernetes' label selector with bounds.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    let mut match_labels = label_map(SELECTOR_TERMS_LIMIT);
    match_labels.insert(
        "description".to_owned(),
        "Labels that a node must carry with exactly these values. At most 16.".into(),
    );
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": match_labels,
            "matchExpressions": {
                "description": "Conditions on labels that a node must all meet. At most 16.",
                "type": "array",
                "maxItems": SELECTOR_TERMS_LIMIT,
                "x-kubernetes-list-type": "atomic",
                "items": requirement(),
            },
        },
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": rules::label_selector(),
    })
}

fn requirement() -> Schema {
    json_schema!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {
                "description": "Label key that the condition is about.",
                "type": "string",
                "maxLength": KEY_LENGTH,
            },
            "operator": {
                "description": "How the label is compared: In and NotIn with values, Exists and DoesNotExist without. NotIn also holds for a node without the label.",
                "type": "string",
                "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
            },
            "values": {
                "description": "Values for In and NotIn. At most 32; none for Exists and DoesNotExist.",
                "type": "array",
                "maxItems": SELECTOR_VALUES_LIMIT,
                "x-kubernetes-list-type": "atomic",
                "items": { "type": "string", "maxLength": VALUE_LENGTH },
            },
        },
    })
}

fn label_map(limit: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limit,
        "additionalProperties": { "type": "string", "maxLength": VALUE_LENGTH },
    })
}
