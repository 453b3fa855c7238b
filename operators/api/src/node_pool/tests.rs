//! The CRD of NodePool, judged by kube's own CEL evaluator as an API server would judge it.

use std::collections::BTreeMap;

use crate::{
    Duration, LabelKey, LabelValue, NodePool, NodePoolSpec, Quantity, Size, Sysctl, Threshold, crds, keys,
    node_pool::DRAIN_TIMEOUT_DEFAULT, reserved,
};
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
    with(&json!({ "labels": labels }))
}

/// A pool of one node with these fields in its spec.
fn with(fields: &Value) -> Value {
    let mut spec = json!({ "nodeNames": ["quay-1"] });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    of(&spec)
}

fn tainting(taint: &Value) -> Value {
    with(&json!({ "taints": [{ "key": "first", "effect": "NoExecute" }, taint] }))
}

/// The schema at this path below `spec`; `*` stands for the entries of a list.
fn schema_at(path: &str) -> JSONSchemaProps {
    let start = schema().properties.unwrap().remove("spec").unwrap();
    path.split('/').fold(start, |schema, name| match (name, schema.items) {
        ("*", Some(JSONSchemaPropsOrArray::Schema(items))) => *items,
        (name, _) => schema.properties.unwrap().remove(name).unwrap(),
    })
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

// Rules api-9 and api-16.
#[test]
fn annotations_that_cannot_be_set_are_refused() {
    let annotating = |annotations: &Value| with(&json!({ "annotations": annotations }));
    each_is_refused(&[
        (
            annotating(&json!({ "a/b/c": "d" })),
            "spec.annotations has a key that is no annotation key: a/b/c",
            "two slashes",
        ),
        (
            annotating(&json!({ "note": "\u{e4}".repeat(513) })),
            "spec.annotations has a value of more than 1024 bytes under the key note",
            "513 letters of two bytes",
        ),
        (
            annotating(&json!({ "stowage.dev/nodepool-ledger": "{}" })),
            "spec.annotations has a key that belongs to Kubernetes, a cloud or Stowage: stowage.dev/nodepool-ledger",
            "the ledger is ours",
        ),
    ]);
    let largest = annotating(&json!({ "note": "\u{e4}".repeat(512), "free text": "" }));
    assert_eq!(refusals(&compiled(), &largest).len(), 1, "only the key: a value of 1024 bytes fits");
    let free = annotating(&json!({ "note": "any text, {} and\nlines" }));
    assert_eq!(refusals(&compiled(), &free), Vec::<String>::new(), "the value is free");
}

// Rules api-9 and api-17.
#[test]
fn taints_that_cannot_be_put_are_refused() {
    let reserved = "spec.taints has a key that belongs to Kubernetes, a cloud or Stowage: ";
    each_is_refused(&[
        (
            tainting(&json!({ "key": "a b", "effect": "NoSchedule" })),
            "spec.taints has a key that is no taint key: a b;",
            "a space",
        ),
        (
            tainting(&json!({ "key": "-io", "effect": "NoSchedule" })),
            "spec.taints has a key that is no taint key: -io;",
            "a sign first",
        ),
        (
            tainting(&json!({ "key": "workload", "value": "a b", "effect": "NoSchedule" })),
            "spec.taints has a value that is no taint value under the key workload;",
            "a space",
        ),
        (
            tainting(&json!({ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" })),
            &format!("{reserved}node-role.kubernetes.io/control-plane"),
            "a worker would be taken for a control plane",
        ),
        (
            tainting(&json!({ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" })),
            &format!("{reserved}node.kubernetes.io/unreachable"),
            "the node controller evicts by it",
        ),
    ]);
    let good = json!({ "key": "example.com/workload", "value": "io", "effect": "PreferNoSchedule" });
    assert_eq!(refusals(&compiled(), &tainting(&good)), Vec::<String>::new());
}

// Rule api-17.
#[test]
fn a_taint_is_known_by_key_and_effect() {
    let taints = schema_at("taints");
    assert_eq!(taints.x_kubernetes_list_type.as_deref(), Some("map"));
    let keys = Some(["key", "effect"].map(str::to_owned).to_vec());
    assert_eq!(
        taints.x_kubernetes_list_map_keys, keys,
        "one twice is refused, two effects of one key are not"
    );
    let required = schema_at("taints/*").required.unwrap();
    assert_eq!(required, ["effect", "key"]);
}

// Rules api-7, api-16, api-17 and api-19: the API server counts by the schema, without CEL.
#[test]
fn only_so_much_fits() {
    for (path, expected, because) in [
        ("labels", 32, "the 33rd label"),
        ("annotations", 32, "the 33rd annotation"),
        ("taints", 10, "the 11th taint"),
        ("kubelet/allowedUnsafeSysctls", 32, "the 33rd sysctl"),
        ("bootstrap/script", 16_384, "the first character beyond 16 KiB"),
    ] {
        let JSONSchemaProps { max_properties, max_items, max_length, .. } = schema_at(path);
        assert_eq!(max_properties.or(max_items).or(max_length), Some(expected), "{because}");
    }
}

// Rule api-17.
#[test]
fn words_that_mean_nothing_are_refused() {
    for (path, expected) in [
        ("taints/*/effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"][..]),
        ("taints/*/propagation", &["Always", "OnInitialization"]),
        ("conflictPolicy", &["Enforce", "Yield"]),
        ("deletionPolicy", &["Refuse", "Release", "Drain"]),
        ("topologyZone", &["Never", "IfAbsent"]),
        ("kubelet/cpuManagerPolicy", &["none", "static"]),
        ("kubelet/topologyManagerPolicy", &["none", "best-effort", "restricted", "single-numa-node"]),
    ] {
        let words: Vec<Value> = schema_at(path).enum_.unwrap().into_iter().map(|word| word.0).collect();
        assert_eq!(words, expected.to_vec(), "{path}");
    }
}

// Rule api-8.
#[test]
fn a_zone_that_a_pool_may_set_does_not_select_its_nodes() {
    let zone = "topology.kubernetes.io/zone";
    let expected = "spec.topologyZone must be Never while spec.selector uses topology.kubernetes.io/zone";
    let by = |selector: &Value, policy: &str| of(&json!({ "selector": selector, "topologyZone": policy }));
    let equal = json!({ "matchLabels": { zone: "high-io" } });
    let absent = json!({ "matchExpressions": [{ "key": zone, "operator": "DoesNotExist" }] });
    each_is_refused(&[
        (by(&equal, "IfAbsent"), expected, "the pool would hold its nodes for ever"),
        (by(&absent, "IfAbsent"), expected, "the pool would lose a node as soon as it has it"),
    ]);
    for object in [
        by(&equal, "Never"),
        by(&json!({ "matchLabels": { "disk": "nvme" } }), "IfAbsent"),
        with(&json!({ "topologyZone": "IfAbsent" })),
    ] {
        assert_eq!(refusals(&compiled(), &object), Vec::<String>::new(), "{object}");
    }
}

// Rule api-18.
#[test]
fn a_time_that_cannot_be_kept_is_refused() {
    let draining = |text: &str| with(&json!({ "drainTimeout": text }));
    let shape = "spec.drainTimeout must be 1 to 4 numbers";
    let range = "spec.drainTimeout must be between 1s and 24h";
    each_is_refused(&[
        (draining(""), shape, "nothing"),
        (draining("15"), shape, "no unit"),
        (draining("15 m"), shape, "a space"),
        (draining("-15m"), shape, "a sign"),
        (draining("1.5h"), shape, "a fraction"),
        (draining("1d"), shape, "Kubernetes knows no days"),
        (draining("1h1h1h1h1h"), shape, "five numbers"),
        (draining("100000ms"), shape, "six digits"),
        (draining("999ms"), range, "shorter than a second"),
        (draining("24h1ms"), range, "longer than a day"),
        (
            with(&json!({ "kubelet": { "shutdownGracePeriod": "500ms" } })),
            "spec.kubelet.shutdownGracePeriod must be 0s or at least 1s",
            "the kubelet counts seconds",
        ),
        (
            with(&json!({ "kubeProxy": { "conntrack": { "tcpCloseWaitTimeout": "soon" } } })),
            "spec.kubeProxy.conntrack.tcpCloseWaitTimeout must be 1 to 4 numbers",
            "kube-proxy would not start",
        ),
        (
            with(&json!({ "kubeProxy": { "conntrack": { "tcpEstablishedTimeout": "" } } })),
            "spec.kubeProxy.conntrack.tcpEstablishedTimeout must be 1 to 4 numbers",
            "kube-proxy would not start",
        ),
    ]);
    let compiled = compiled();
    for text in ["1s", "1000ms", "15m", "24h", "23h59m59s1000ms"] {
        assert_eq!(refusals(&compiled, &draining(text)), Vec::<String>::new(), "{text}");
    }
}

// Rule api-19.
#[test]
fn settings_that_a_kubelet_does_not_start_with_are_refused() {
    let kubelet = |kubelet: &Value| with(&json!({ "kubelet": kubelet }));
    let pulls = "spec.kubelet.maxParallelImagePulls must be 1 unless";
    let critical = "spec.kubelet.shutdownGracePeriodCriticalPods must be at most";
    let images = "spec.kubelet.imageGCHighThresholdPercent must be more than";
    each_is_refused(&[
        (kubelet(&json!({ "maxParallelImagePulls": 2 })), pulls, "one after another is the default"),
        (kubelet(&json!({ "maxParallelImagePulls": 2, "serializeImagePulls": true })), pulls, "both at once"),
        (
            kubelet(&json!({ "imageGCHighThresholdPercent": 80, "imageGCLowThresholdPercent": 80 })),
            images,
            "there is nothing between them",
        ),
        (kubelet(&json!({ "imageGCLowThresholdPercent": 85 })), images, "85 is the default of the other"),
        (kubelet(&json!({ "imageGCHighThresholdPercent": 80 })), images, "80 is the default of the other"),
        (kubelet(&json!({ "shutdownGracePeriodCriticalPods": "10s" })), critical, "a part of nothing"),
        (
            kubelet(&json!({ "shutdownGracePeriod": "1m", "shutdownGracePeriodCriticalPods": "61s" })),
            critical,
            "more than the whole",
        ),
    ]);
    let largest = json!({
        "maxParallelImagePulls": 2, "serializeImagePulls": false,
        "imageGCHighThresholdPercent": 81, "imageGCLowThresholdPercent": 80,
        "shutdownGracePeriod": "60s", "shutdownGracePeriodCriticalPods": "1m",
        "containerLogMaxSize": "10Mi", "systemReserved": { "cpu": "0.5" },
        "kubeReserved": { "memory": "512Mi", "pid": "1000" },
        "evictionHard": { "nodefs.available": "10.5%", "memory.available": "200Mi" },
        "allowedUnsafeSysctls": ["kernel.sem", "kernel.shm*", "net.*"],
    });
    let compiled = compiled();
    for good in [
        largest,
        json!({ "maxParallelImagePulls": 1 }),
        json!({ "imageGCLowThresholdPercent": 84 }),
        json!({ "imageGCHighThresholdPercent": 81 }),
        json!({ "imageGCLowThresholdPercent": 0, "imageGCHighThresholdPercent": 1 }),
        json!({ "evictionHard": { "memory.available": "0%", "pid.available": "0.5" } }),
    ] {
        assert_eq!(refusals(&compiled, &kubelet(&good)), Vec::<String>::new());
    }
}

// Rule api-19.
#[test]
fn an_amount_that_a_kubelet_does_not_start_with_is_refused() {
    let kubelet = |kubelet: &Value| with(&json!({ "kubelet": kubelet }));
    let size = "spec.kubelet.containerLogMaxSize must be a whole number of bytes";
    each_is_refused(&[
        (kubelet(&json!({ "containerLogMaxSize": "10MB" })), size, "MB is no suffix"),
        (kubelet(&json!({ "containerLogMaxSize": "10m" })), size, "a hundredth of a byte"),
        (kubelet(&json!({ "containerLogMaxSize": "0.5" })), size, "half a byte"),
        (
            kubelet(&json!({ "systemReserved": { "cpu": "-1" } })),
            "spec.kubelet.systemReserved.cpu must be a quantity",
            "less than nothing",
        ),
        (
            kubelet(&json!({ "kubeReserved": { "ephemeral-storage": "5%" } })),
            "spec.kubelet.kubeReserved.ephemeral-storage must be a quantity",
            "only evictions know percentages",
        ),
        (
            kubelet(&json!({ "evictionHard": { "nodefs.available": "100%" } })),
            "spec.kubelet.evictionHard.nodefs.available must be a quantity of more than 0",
            "a node that is always full",
        ),
        (
            kubelet(&json!({ "evictionHard": { "memory.available": "0" } })),
            "spec.kubelet.evictionHard.memory.available must be a quantity of more than 0",
            "only a percentage switches off",
        ),
        (
            kubelet(&json!({ "allowedUnsafeSysctls": ["net.core.somaxconn", "vm.swappiness"] })),
            "spec.kubelet.allowedUnsafeSysctls has an entry that is none",
            "it is the node's, not a pod's",
        ),
    ]);
}

// Rule api-19.
#[test]
fn a_number_that_a_node_does_not_start_with_is_refused() {
    for (path, least, most) in [
        ("kubelet/maxPods", 1.0, None),
        ("kubelet/podPidsLimit", 1.0, None),
        ("kubelet/kubeAPIQPS", 1.0, None),
        ("kubelet/kubeAPIBurst", 1.0, None),
        ("kubelet/registryPullQPS", 0.0, None),
        ("kubelet/registryBurst", 1.0, None),
        ("kubelet/maxParallelImagePulls", 1.0, None),
        ("kubelet/containerLogMaxFiles", 2.0, None),
        ("kubelet/imageGCHighThresholdPercent", 0.0, Some(100.0)),
        ("kubelet/imageGCLowThresholdPercent", 0.0, Some(100.0)),
        ("kubeProxy/conntrack/maxPerCore", 0.0, None),
        ("kubeProxy/conntrack/min", 0.0, None),
    ] {
        let JSONSchemaProps { minimum, maximum, nullable, .. } = schema_at(path);
        assert_eq!((minimum, maximum, nullable), (Some(least), most, None), "{path}");
    }
}

// Rule api-19.
#[test]
fn a_script_has_at_most_16_kib() {
    let script = |script: &str| with(&json!({ "bootstrap": { "script": script } }));
    let compiled = compiled();
    assert_eq!(refusals(&compiled, &script(&"a".repeat(16_384))), Vec::<String>::new());
    for (text, because) in
        [("a".repeat(16_385), "one byte more"), ("\u{e4}".repeat(8_193), "fewer letters than bytes")]
    {
        let found = refusals(&compiled, &script(&text));
        assert!(found[0].starts_with("spec.bootstrap.script must have at most 16384 bytes"), "{because}");
    }
}

// Rule api-20.
#[test]
fn what_is_not_set_has_the_default_that_the_api_server_gives_it() {
    let bare = json!({ "nodeNames": ["quay-1"], "taints": [{ "key": "a", "effect": "NoSchedule" }] });
    let mut defaulted = bare.clone();
    for field in ["conflictPolicy", "deletionPolicy", "topologyZone"] {
        defaulted[field] = schema_at(field).default.unwrap().0;
    }
    for field in ["value", "propagation"] {
        defaulted["taints"][0][field] = schema_at(&format!("taints/*/{field}")).default.unwrap().0;
    }
    let read = |spec: &Value| serde_json::from_value::<NodePoolSpec>(spec.clone()).unwrap();
    assert_eq!(read(&bare), read(&defaulted));
    let timeout = schema_at("drainTimeout").default.unwrap().0;
    assert_eq!(timeout, DRAIN_TIMEOUT_DEFAULT);
}

// Rule api-19.
#[test]
fn settings_have_the_names_that_kubelet_and_kube_proxy_read() {
    // From k8s.io/kubelet/config/v1beta1 and k8s.io/kube-proxy/config/v1alpha1.
    let names = |path: &str| schema_at(path).properties.unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(
        names("kubelet"),
        [
            "allowedUnsafeSysctls",
            "containerLogMaxFiles",
            "containerLogMaxSize",
            "cpuManagerPolicy",
            "evictionHard",
            "imageGCHighThresholdPercent",
            "imageGCLowThresholdPercent",
            "kubeAPIBurst",
            "kubeAPIQPS",
            "kubeReserved",
            "maxParallelImagePulls",
            "maxPods",
            "podPidsLimit",
            "registryBurst",
            "registryPullQPS",
            "serializeImagePulls",
            "shutdownGracePeriod",
            "shutdownGracePeriodCriticalPods",
            "systemReserved",
            "topologyManagerPolicy",
        ]
    );
    assert_eq!(
        names("kubeProxy/conntrack"),
        ["maxPerCore", "min", "tcpCloseWaitTimeout", "tcpEstablishedTimeout"]
    );
    assert_eq!(names("kubelet/systemReserved"), ["cpu", "ephemeral-storage", "memory", "pid"]);
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
        ("node-role.kubernetes.io/master", true, "the same, by its old name"),
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
        for field in [
            json!({ "labels": { key: "v" } }),
            json!({ "annotations": { key: "v" } }),
            json!({ "taints": [{ "key": key, "effect": "NoSchedule" }] }),
        ] {
            let object = with(&field);
            assert_eq!(!refusals(&compiled, &object).is_empty(), expected, "{because}: {object} by CEL");
        }
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
        let good = LabelKey::try_new(key.clone()).is_ok()
            && !reserved::is_reserved(&key)
            && LabelValue::try_new(value.clone()).is_ok();
        let object = pool("x", &json!({ "nodeNames": ["worker-a"], "labels": { key: value } }));
        let refused = COMPILED.with(|compiled| !refusals(compiled, &object).is_empty());
        prop_assert_eq!(!refused, good);
    }

    // Rule api-11.
    #[test]
    fn the_controller_and_the_api_server_agree_about_every_measure(
        duration in measure_like(),
        quantity in measure_like(),
        sysctl in "(kernel\\.|net\\.|fs\\.mqueue\\.|vm\\.)?[a-z0-9._*-]{0,6}[a-z*]?",
    ) {
        thread_local! { static COMPILED: CompiledSchema = compiled(); }
        for (fields, good) in [
            (
                json!({ "kubeProxy": { "conntrack": { "tcpCloseWaitTimeout": duration } } }),
                Duration::try_new(&duration).is_ok(),
            ),
            (
                json!({ "kubelet": { "containerLogMaxSize": quantity } }),
                Size::try_new(quantity.clone()).is_ok(),
            ),
            (
                json!({ "kubelet": { "kubeReserved": { "cpu": quantity } } }),
                Quantity::try_new(quantity.clone()).is_ok(),
            ),
            (
                json!({ "kubelet": { "evictionHard": { "pid.available": quantity } } }),
                Threshold::try_new(quantity.clone()).is_ok(),
            ),
            (
                json!({ "kubelet": { "allowedUnsafeSysctls": [sysctl] } }),
                Sysctl::try_new(sysctl.clone()).is_ok(),
            ),
        ] {
            let refused = COMPILED.with(|compiled| !refusals(compiled, &with(&fields)).is_empty());
            prop_assert_eq!(!refused, good, "{}", fields);
        }
    }
}

fn measure_like() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,3}[.]?[0-9]{0,2}(m|k|M|Ki|Mi|Ei|%|KB)?",
        "[0-9]{4,17}(k|Gi|m)?",
        "0{1,2}[.]?0{0,2}[01]?(Mi|%)?",
        "([0-9]{0,6}(h|m|s|ms|d|)){0,5}",
        "[-+ 0-9.hmsKi%]{0,6}",
    ]
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
            "boolean" => true,
            "integer" => schema.minimum.is_some(),
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
