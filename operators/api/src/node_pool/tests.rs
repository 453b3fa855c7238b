//! The CRD of NodePool, judged by kube's own CEL evaluator as an API server would judge it.

use std::collections::BTreeMap;

use crate::{LabelKey, LabelValue, NodePool, crds, keys, reserved};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube_core::cel::{
    CompiledSchema, ErrorKind, ValidationError, ValidationErrors, compile_schema, validate_compiled,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn node_pools() -> CustomResourceDefinition {
    crds().into_iter().find(|crd| crd.spec.names.plural == "nodepools").unwrap()
}

fn schema() -> JSONSchemaProps {
    node_pools().spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap()
}

fn compiled() -> CompiledSchema {
    let compiled = compile_schema(&serde_json::to_value(schema()).unwrap());
    assert!(compiled.compilation_errors().is_empty(), "{:?}", compiled.compilation_errors());
    compiled
}

fn pool(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "stowage.dev/v1alpha1",
        "kind": "NodePool",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// The messages of the rules that refuse `object`.
fn refusals(compiled: &CompiledSchema, object: &Value) -> Vec<String> {
    let errors =
        validate_compiled(compiled, object, None).err().map_or_else(Vec::new, ValidationErrors::into_vec);
    errors.iter().map(refusal).collect()
}

fn refusal(error: &ValidationError) -> String {
    assert_eq!(error.kind, ErrorKind::ValidationFailure, "a rule could not be evaluated: {error:?}");
    error.message.clone()
}

fn each_is_refused(cases: &[(Value, &str, &str)]) {
    let compiled = compiled();
    for (object, expected, because) in cases {
        let found = refusals(&compiled, object);
        assert_eq!(found.len(), 1, "{because}: {object} gave {found:?}");
        assert!(found[0].starts_with(expected), "{because}: {object} gave {found:?}");
    }
}

fn of(spec: &Value) -> Value {
    pool("high-io", spec)
}

fn selecting(selector: &Value) -> Value {
    of(&json!({ "selector": selector }))
}

fn labelling(labels: &Value) -> Value {
    of(&json!({ "nodeNames": ["quay-1"], "labels": labels }))
}

// Rules api-3 and api-4.
#[test]
fn a_pool_that_selects_nothing_or_everything_is_refused() {
    let (nothing, everything) = ("spec must select nodes", "spec.selector must not be empty");
    each_is_refused(&[
        (of(&json!({})), nothing, "a pool of nothing is a mistake"),
        (of(&json!({ "nodeNames": [] })), nothing, "an empty list names no node"),
        (selecting(&json!({})), everything, "it would match every node"),
        (
            of(&json!({ "selector": {}, "nodeNames": ["quay-1"] })),
            everything,
            "names beside it do not make it smaller",
        ),
        (
            selecting(&json!({ "matchLabels": {}, "matchExpressions": [] })),
            everything,
            "empty parts make an empty whole",
        ),
    ]);
}

// Rules api-5 and api-6.
#[test]
fn a_selector_that_cannot_match_is_refused() {
    let expression = |expression: Value| selecting(&json!({ "matchExpressions": [expression] }));
    let operators = "spec.selector.matchExpressions must have values with In";
    let own = "spec.selector must not use stowage.dev/nodepool";
    each_is_refused(&[
        (
            selecting(&json!({ "matchLabels": { "a b": "c" } })),
            "spec.selector.matchLabels has a key that is no label key: a b",
            "no node can carry it",
        ),
        (
            selecting(&json!({ "matchLabels": { "disk": "a b" } })),
            "spec.selector.matchLabels has a value that is no label value under the key disk",
            "no node can carry it",
        ),
        (
            expression(json!({ "key": "-a", "operator": "Exists" })),
            "spec.selector.matchExpressions must have label keys",
            "no node can carry it",
        ),
        (
            expression(json!({ "key": "a", "operator": "In", "values": ["-"] })),
            "spec.selector.matchExpressions must have label values",
            "no node can carry it",
        ),
        (expression(json!({ "key": "a", "operator": "In" })), operators, "In nothing matches nothing"),
        (
            expression(json!({ "key": "a", "operator": "NotIn", "values": [] })),
            operators,
            "NotIn nothing matches everything",
        ),
        (
            expression(json!({ "key": "a", "operator": "Exists", "values": ["b"] })),
            operators,
            "Exists ignores values",
        ),
        (
            selecting(&json!({ "matchLabels": { "stowage.dev/nodepool": "x" } })),
            own,
            "membership would decide membership",
        ),
        (
            expression(json!({ "key": "stowage.dev/nodepool", "operator": "Exists" })),
            own,
            "membership would decide membership",
        ),
        (
            of(&json!({ "nodeNames": ["Quay_1"] })),
            "spec.nodeNames must have names of nodes",
            "no node has such a name",
        ),
    ]);
}

// Rules api-7, api-8 and api-9.
#[test]
fn labels_that_cannot_be_set_are_refused() {
    let overlap = "spec.labels has a key that spec.selector uses: disk";
    each_is_refused(&[
        (
            labelling(&json!({ "a/b/c": "d" })),
            "spec.labels has a key that is no label key: a/b/c",
            "two slashes",
        ),
        (
            labelling(&json!({ "disk": "a b" })),
            "spec.labels has a value that is no label value under the key disk",
            "a space",
        ),
        (
            labelling(&json!({ "kubernetes.io/os": "plan9" })),
            "spec.labels has a key that belongs to Kubernetes, a cloud or Stowage: kubernetes.io/os",
            "the kubelet owns it",
        ),
        (
            of(&json!({ "selector": { "matchLabels": { "disk": "nvme" } }, "labels": { "disk": "hdd" } })),
            overlap,
            "the pool would hold its nodes for ever",
        ),
        (
            of(&json!({
                "selector": { "matchExpressions": [{ "key": "disk", "operator": "Exists" }] },
                "labels": { "disk": "hdd" },
            })),
            overlap,
            "an expression selects as well",
        ),
    ]);
}

// Rule api-10.
#[test]
fn a_name_that_a_pool_cannot_have_is_refused() {
    let spec = json!({ "nodeNames": ["quay-1"] });
    each_is_refused(&[
        (
            pool(&"n".repeat(64), &spec),
            "metadata.name must have at most 63 characters",
            "it becomes a label value",
        ),
        (pool("default", &spec), "metadata.name must not be default", "the nodes in no pool are called so"),
    ]);
}

#[test]
fn a_good_pool_is_let_in() {
    let longest = "n".repeat(63);
    let cases = [
        ("x", json!({ "nodeNames": ["worker-a", "worker-b.example.com"] }), "names alone are enough"),
        ("x", json!({ "selector": { "matchLabels": { "disk": "nvme" } } }), "a selector alone is enough"),
        (
            "x",
            json!({ "selector": { "matchLabels": { "disk": "" } }, "nodeNames": ["worker-a"] }),
            "both together are their union, and a value may be empty",
        ),
        (
            "x",
            json!({
                "selector": { "matchExpressions": [
                    { "key": "disk", "operator": "In", "values": ["nvme", "ssd"] },
                    { "key": "example.com/retired", "operator": "DoesNotExist" },
                ] },
                "labels": { "workload": "io", "example.com/tier": "" },
            }),
            "every part is well formed",
        ),
        (longest.as_str(), json!({ "nodeNames": ["worker-a"] }), "63 characters are a label value"),
    ];
    let compiled = compiled();
    for (name, spec, because) in cases {
        assert_eq!(refusals(&compiled, &pool(name, &spec)), Vec::<String>::new(), "{because}: {spec}");
    }
}

// Rule api-9.
#[test]
fn keys_of_others_are_reserved() {
    let cases = [
        ("kubernetes.io/hostname", true, "the kubelet owns it"),
        ("topology.kubernetes.io/zone", true, "subdomains of kubernetes.io"),
        ("failure-domain.beta.kubernetes.io/is-baremetal", true, "intrinsic on CCSE"),
        ("node.kubernetes.io/subnetid", true, "intrinsic on CCSE"),
        ("os.architecture", true, "intrinsic on CCSE"),
        ("os.name", true, "intrinsic on CCSE"),
        ("os.version", true, "intrinsic on CCSE"),
        ("k8s.io/anything", true, "Kubernetes' second domain"),
        ("kubernetes.azure.com/agentpool", true, "AKS"),
        ("cloud.google.com/gke-nodepool", true, "GKE"),
        ("eks.amazonaws.com/nodegroup", true, "EKS"),
        ("karpenter.sh/nodepool", true, "Karpenter"),
        ("stowage.dev/nodepool", true, "two writers on one key"),
        ("nodepools.stowage.dev/x", true, "our subdomains too"),
        ("node-role.kubernetes.io/control-plane", true, "decides where the control plane runs"),
        ("node-role.kubernetes.io/gpu", false, "a role is for administrators to give"),
        ("node-restriction.kubernetes.io/tenant", false, "reserved for administrators, who write pools"),
        ("node.kubernetes.io/exclude-from-external-load-balancers", false, "an administrators' switch"),
        ("node.kubernetes.io/instance-type", true, "only that one key of the prefix is open"),
        ("workload", false, "no prefix, no owner"),
        ("example.com/kubernetes.io", false, "the name part owns nothing"),
        ("notkubernetes.io/x", false, "another domain that ends alike"),
        ("os.names", false, "only the exact key is intrinsic"),
        ("cluster.x-k8s.io/role", false, "another domain that ends alike"),
    ];
    let compiled = compiled();
    for (key, expected, because) in cases {
        assert_eq!(reserved::is_reserved(key), expected, "{because}: {key}");
        let object = pool("x", &json!({ "nodeNames": ["worker-a"], "labels": { key: "v" } }));
        assert_eq!(!refusals(&compiled, &object).is_empty(), expected, "{because}: {key} by CEL");
    }
}

fn key_like() -> impl Strategy<Value = String> {
    let prefix = prop_oneof![
        Just(String::new()),
        "[a-zA-Z0-9.-]{0,8}/",
        "([a-z-]{1,4}\\.)?(kubernetes\\.io|k8s\\.io|stowage\\.dev|karpenter\\.sh|node-role\\.kubernetes\\.io)/",
        // Labels of at most 63: without that limit Kubernetes' rule and that of the evaluator differ.
        "([a-z]{60}\\.){4}[a-z]{6,12}/",
    ];
    let name = prop_oneof!["[-A-Za-z0-9_./ ]{0,6}", "[a-z]{60,66}", Just("control-plane".to_owned())];
    (prefix, name).prop_map(|(prefix, name)| prefix + &name)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    // Rule api-11.
    #[test]
    fn the_controller_and_the_api_server_agree_about_every_key_and_value(
        key in key_like(),
        value in prop_oneof!["[-A-Za-z0-9_. /]{0,5}", "[a-z]{60,66}"],
    ) {
        thread_local! { static COMPILED: CompiledSchema = compiled(); }
        let well_formed = LabelKey::try_new(key.clone());
        let good = well_formed.as_ref().is_ok_and(|key| !reserved::is_reserved(key.as_str()))
            && LabelValue::try_new(value.clone()).is_ok();
        let object = pool("x", &json!({ "nodeNames": ["worker-a"], "labels": { key: value } }));
        let refused = COMPILED.with(|compiled| !refusals(compiled, &object).is_empty());
        prop_assert_eq!(!refused, good);
    }
}

/// Every schema under `schema` with its path.
fn walk<'a>(path: &str, schema: &'a JSONSchemaProps, found: &mut Vec<(String, &'a JSONSchemaProps)>) {
    found.push((path.to_owned(), schema));
    for (name, property) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), property, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), values, found);
    }
}

// Rule api-2.
#[test]
fn everything_a_user_writes_has_a_bound() {
    let schema = schema();
    let mut found = Vec::new();
    walk("spec", &schema.properties.as_ref().unwrap()["spec"], &mut found);
    for (path, schema) in found {
        let bounded = match schema.type_.as_deref().unwrap() {
            "string" => schema.max_length.is_some() || schema.enum_.is_some(),
            "array" => schema.max_items.is_some(),
            "object" => schema.properties.is_some() || schema.max_properties.is_some(),
            other => panic!("{path} is of the unforeseen type {other}"),
        };
        assert!(bounded, "{path} has no bound");
    }
}

// Rule api-12.
#[test]
fn every_field_is_explained() {
    let schema = schema();
    let mut found = Vec::new();
    walk("", &schema, &mut found);
    for (path, schema) in found {
        let is_field = !path.ends_with("[]") && !path.ends_with("{}");
        assert!(!is_field || schema.description.is_some(), "{path} has no description");
    }
}

// Rule api-1.
#[test]
fn a_new_pool_is_not_taken_for_a_finished_one() {
    let schema = schema();
    let status = &schema.properties.as_ref().unwrap()["status"];
    let default = status.default.as_ref().map(|default| &default.0);
    assert_eq!((default, status.nullable), (Some(&json!({ "observedGeneration": -1 })), None));
}

#[test]
fn conditions_are_a_map_by_type() {
    let schema = schema();
    let conditions =
        &schema.properties.as_ref().unwrap()["status"].properties.as_ref().unwrap()["conditions"];
    assert_eq!(conditions.x_kubernetes_list_type.as_deref(), Some("map"));
    assert_eq!(conditions.x_kubernetes_list_map_keys.as_deref(), Some(&["type".to_owned()][..]));
}

#[test]
fn the_kind_has_the_names_that_users_type() {
    let names = node_pools().spec.names;
    let all = (names.kind.as_str(), names.plural.as_str(), names.short_names, names.categories);
    let expected =
        ("NodePool", "nodepools", Some(vec!["spool".to_owned()]), Some(vec!["stowage".to_owned()]));
    assert_eq!(all, expected);
    assert_eq!(
        (node_pools().spec.group.as_str(), node_pools().spec.scope.as_str()),
        (keys::GROUP, "Cluster")
    );
}

#[test]
fn a_file_for_kubectl_apply_stays_under_200_kb() {
    for crd in crds() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(size < 200_000, "{:?} has {size} bytes", crd.metadata.name);
    }
}

#[test]
fn what_is_not_set_is_not_sent() {
    let read: NodePool =
        serde_json::from_value(pool("high-io", &json!({ "nodeNames": ["worker-a"] }))).unwrap();
    assert_eq!(read.spec.labels, BTreeMap::new());
    assert_eq!(serde_json::to_value(&read).unwrap(), pool("high-io", &json!({ "nodeNames": ["worker-a"] })));
}
