//! Schemas of fields whose limits the types cannot say.
//!
//! Every text, list and map has a bound: the API server multiplies them into the cost of each rule
//! and refuses a CRD whose rules could cost too much.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::{
    node_pool::{
        ANNOTATION_LENGTH, ANNOTATIONS_LIMIT, DRAIN_TIMEOUT_DEFAULT, EVICTION_SIGNALS, LABELS_LIMIT,
        NODE_NAMES_LIMIT, RESERVABLE, SCRIPT_LIMIT, SELECTOR_TERMS_LIMIT, SELECTOR_VALUES_LIMIT,
        SYSCTLS_LIMIT,
    },
    rules,
    syntax::measures::QUANTITY_LENGTH,
};

/// Longest label key: a prefix of 253, a slash, a name of 63.
const KEY_LENGTH: u32 = 317;
/// Longest label value.
const VALUE_LENGTH: usize = 63;
/// Longest name of a node: a DNS subdomain.
const NODE_NAME_LENGTH: u32 = 253;
/// Longest name of a sysctl.
const SYSCTL_LENGTH: u32 = 253;
/// Longest duration: four numbers of five digits with their units, and some.
const DURATION_LENGTH: u32 = 32;

/// Whether a field says nothing that its absence would not say.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `spec.labels`.
pub(crate) fn labels(_: &mut SchemaGenerator) -> Schema {
    with_rules(text_map(LABELS_LIMIT, VALUE_LENGTH), &rules::labels())
}

/// `spec.annotations`.
pub(crate) fn annotations(_: &mut SchemaGenerator) -> Schema {
    with_rules(text_map(ANNOTATIONS_LIMIT, ANNOTATION_LENGTH), &rules::annotations())
}

/// The key of a label or taint. What it must be is said where the field is known.
pub(crate) fn key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": KEY_LENGTH })
}

/// The value of a label or taint.
pub(crate) fn value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": VALUE_LENGTH, "default": "" })
}

/// `spec.drainTimeout`.
pub(crate) fn drain_timeout(_: &mut SchemaGenerator) -> Schema {
    let mut schema = duration(&rules::drain_timeout());
    schema.insert("default".to_owned(), DRAIN_TIMEOUT_DEFAULT.into());
    schema
}

/// `spec.kubelet.shutdownGracePeriod`.
pub(crate) fn shutdown_grace_period(_: &mut SchemaGenerator) -> Schema {
    duration(&rules::grace_period("spec.kubelet.shutdownGracePeriod"))
}

/// `spec.kubelet.shutdownGracePeriodCriticalPods`.
pub(crate) fn shutdown_grace_period_critical_pods(_: &mut SchemaGenerator) -> Schema {
    duration(&rules::grace_period("spec.kubelet.shutdownGracePeriodCriticalPods"))
}

/// `spec.kubeProxy.conntrack.tcpEstablishedTimeout`.
pub(crate) fn tcp_established_timeout(_: &mut SchemaGenerator) -> Schema {
    duration(&rules::duration("spec.kubeProxy.conntrack.tcpEstablishedTimeout"))
}

/// `spec.kubeProxy.conntrack.tcpCloseWaitTimeout`.
pub(crate) fn tcp_close_wait_timeout(_: &mut SchemaGenerator) -> Schema {
    duration(&rules::duration("spec.kubeProxy.conntrack.tcpCloseWaitTimeout"))
}

/// `spec.kubelet.containerLogMaxSize`.
pub(crate) fn container_log_max_size(_: &mut SchemaGenerator) -> Schema {
    amount(&rules::size("spec.kubelet.containerLogMaxSize"))
}

/// `spec.kubelet.systemReserved`.
pub(crate) fn system_reserved(_: &mut SchemaGenerator) -> Schema {
    amounts("spec.kubelet.systemReserved", &RESERVABLE, rules::quantity)
}

/// `spec.kubelet.kubeReserved`.
pub(crate) fn kube_reserved(_: &mut SchemaGenerator) -> Schema {
    amounts("spec.kubelet.kubeReserved", &RESERVABLE, rules::quantity)
}

/// `spec.kubelet.evictionHard`.
pub(crate) fn eviction_hard(_: &mut SchemaGenerator) -> Schema {
    amounts("spec.kubelet.evictionHard", &EVICTION_SIGNALS, rules::threshold)
}

/// `spec.kubelet.allowedUnsafeSysctls`.
pub(crate) fn sysctls(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": SYSCTLS_LIMIT,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-validations": rules::sysctls(),
        "items": { "type": "string", "maxLength": SYSCTL_LENGTH },
    })
}

/// `spec.bootstrap.script`.
pub(crate) fn script(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": SCRIPT_LIMIT, "x-kubernetes-validations": rules::script() })
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
    let mut match_labels = text_map(SELECTOR_TERMS_LIMIT, VALUE_LENGTH);
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

fn text_map(limit: usize, value_length: usize) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": limit,
        "additionalProperties": { "type": "string", "maxLength": value_length },
    })
}

/// An amount for each of `names`. They are properties, not keys of a map: kubectl then refuses any other.
fn amounts(field: &str, names: &[(&str, &str)], rules: fn(&str) -> Vec<ValidationRule>) -> Schema {
    let property = |(name, description): &(&str, &str)| {
        let mut schema = amount(&rules(&format!("{field}.{name}")));
        schema.insert("description".to_owned(), (*description).into());
        ((*name).to_owned(), schema.to_value())
    };
    let properties: Map<String, Value> = names.iter().map(property).collect();
    json_schema!({ "type": "object", "properties": properties })
}

fn amount(rules: &[ValidationRule]) -> Schema {
    json_schema!({ "type": "string", "maxLength": QUANTITY_LENGTH, "x-kubernetes-validations": rules })
}

fn duration(rules: &[ValidationRule]) -> Schema {
    json_schema!({ "type": "string", "maxLength": DURATION_LENGTH, "x-kubernetes-validations": rules })
}

fn with_rules(mut schema: Schema, rules: &[ValidationRule]) -> Schema {
    schema.insert("x-kubernetes-validations".to_owned(), serde_json::json!(rules));
    schema
}
