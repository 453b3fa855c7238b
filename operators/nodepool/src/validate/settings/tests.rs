use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};
use stowage_api::{condition::Reason, crds};

use crate::{Rejection, Valid, fixtures::pool, validate};

fn validated(fields: &Value) -> Result<Valid, Rejection> {
    let mut spec = json!({ "nodeNames": ["quay-1"] });
    spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    validate(&pool("high-io", 1, &spec))
}

fn each_is_rejected(cases: &[(Value, &str, &str)]) {
    for (fields, expected, because) in cases {
        let rejection = validated(fields).unwrap_err();
        assert_eq!(rejection.reason, Reason::InvalidSettings, "{because}: {rejection}");
        assert!(rejection.to_string().starts_with(expected), "{because}: {rejection}");
    }
}

fn kubelet(kubelet: &Value) -> Value {
    json!({ "kubelet": kubelet })
}

// Rule nodepool-41.
#[test]
fn settings_that_a_kubelet_does_not_start_with_are_rejected() {
    let pulls = "spec.kubelet.maxParallelImagePulls must be 1 unless";
    let images = "spec.kubelet.imageGCHighThresholdPercent must be more than";
    let critical = "spec.kubelet.shutdownGracePeriodCriticalPods must be at most";
    each_is_rejected(&[
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
            kubelet(&json!({ "shutdownGracePeriodCriticalPods": "0s" })),
            critical,
            "as the rule of the CRD has it",
        ),
        (
            kubelet(&json!({ "shutdownGracePeriod": "1m", "shutdownGracePeriodCriticalPods": "61s" })),
            critical,
            "more than the whole",
        ),
        (
            kubelet(&json!({ "shutdownGracePeriod": "999ms" })),
            "spec.kubelet.shutdownGracePeriod must be 0s or at least 1s",
            "the kubelet counts seconds",
        ),
        (
            kubelet(&json!({ "shutdownGracePeriod": "1m", "shutdownGracePeriodCriticalPods": "x" })),
            "spec.kubelet.shutdownGracePeriodCriticalPods must be 1 to 4 numbers",
            "no time",
        ),
        (
            kubelet(&json!({ "containerLogMaxSize": "10m" })),
            "spec.kubelet.containerLogMaxSize must be a whole number of bytes",
            "a hundredth of a byte",
        ),
    ]);
}

// Rule nodepool-41.
#[test]
fn lists_and_maps_that_a_kubelet_does_not_start_with_are_rejected() {
    let many: Vec<String> = (0..33).map(|index| format!("net.a{index}")).collect();
    let sysctls = |sysctls: &Value| kubelet(&json!({ "allowedUnsafeSysctls": sysctls }));
    each_is_rejected(&[
        (
            kubelet(&json!({ "systemReserved": { "cpu": "-1" } })),
            "spec.kubelet.systemReserved.cpu must be a quantity",
            "less than nothing",
        ),
        (
            kubelet(&json!({ "systemReserved": { "gpu": "1" } })),
            "spec.kubelet.systemReserved[gpu] is not known to the kubelet: use one of cpu, memory, ephemeral-storage, pid",
            "it would not be kept back",
        ),
        (
            kubelet(&json!({ "kubeReserved": { "memory": "5%" } })),
            "spec.kubelet.kubeReserved.memory must be a quantity that",
            "only evictions know percentages",
        ),
        (
            kubelet(&json!({ "evictionHard": { "memory.available": "100%" } })),
            "spec.kubelet.evictionHard.memory.available must be a quantity of more than 0",
            "a node that is always full",
        ),
        (
            kubelet(&json!({ "evictionHard": { "memory.available": "0" } })),
            "spec.kubelet.evictionHard.memory.available must be a quantity of more than 0",
            "only a percentage switches off",
        ),
        (
            kubelet(&json!({ "evictionHard": { "cpu": "1" } })),
            "spec.kubelet.evictionHard[cpu] is not known to the kubelet: use one of memory.available,",
            "nobody watches it",
        ),
        (
            sysctls(&json!(["net.core.somaxconn", "vm.swappiness"])),
            "spec.kubelet.allowedUnsafeSysctls[1] must be kernel.sem or begin with",
            "it is the node's",
        ),
        (
            sysctls(&json!(["net.*", "kernel.sem", "net.*"])),
            "spec.kubelet.allowedUnsafeSysctls[2] is there twice",
            "as the rule of the CRD has it",
        ),
        (sysctls(&json!(many)), "spec.kubelet.allowedUnsafeSysctls has 33 entries", "cost"),
    ]);
}

// Rule nodepool-41.
#[test]
fn times_and_texts_that_cannot_be_are_rejected() {
    let draining = |text: &str| json!({ "drainTimeout": text });
    let conntrack = |name: &str| json!({ "kubeProxy": { "conntrack": { name: "soon" } } });
    let range = "spec.drainTimeout must be between 1s and 24h";
    each_is_rejected(&[
        (draining(""), "spec.drainTimeout must be 1 to 4 numbers", "nothing is not the default"),
        (draining("999ms"), range, "shorter than a second"),
        (draining("24h1ms"), range, "longer than a day"),
        (
            conntrack("tcpCloseWaitTimeout"),
            "spec.kubeProxy.conntrack.tcpCloseWaitTimeout must be 1 to 4",
            "no time",
        ),
        (
            conntrack("tcpEstablishedTimeout"),
            "spec.kubeProxy.conntrack.tcpEstablishedTimeout must be 1 to 4",
            "no time",
        ),
        (
            json!({ "bootstrap": { "script": "a".repeat(16_385) } }),
            "spec.bootstrap.script must have at most 16384 bytes",
            "one byte more",
        ),
    ]);
}

/// The numbers below `schema`, by path, with the least and the most that they may be.
fn numbers(path: &str, schema: &JSONSchemaProps, found: &mut BTreeMap<String, (i64, Option<i64>)>) {
    let whole = |number: f64| format!("{number}").parse::<i64>().unwrap();
    if schema.type_.as_deref() == Some("integer") {
        found.insert(path.to_owned(), (whole(schema.minimum.unwrap()), schema.maximum.map(whole)));
    }
    for (name, property) in schema.properties.iter().flatten() {
        numbers(&format!("{path}/{name}"), property, found);
    }
}

// Rule nodepool-41.
#[test]
fn a_number_may_be_what_the_crd_lets_it_be() {
    let schema = crds()[0].spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    let mut found = BTreeMap::new();
    numbers("", &schema.properties.unwrap()["spec"], &mut found);
    assert_eq!(found.len(), 12, "{found:?}");
    for (path, (least, most)) in found {
        let field = format!("spec{}", path.replace('/', "."));
        let with = |number: i64| {
            let value = path.rsplit('/').filter(|name| !name.is_empty());
            validated(&value.fold(json!(number), |inner, name| json!({ name: inner })))
        };
        let refused =
            |number: i64| with(number).err().map(|rejection| (rejection.reason, rejection.to_string()));
        // What it has to be beside other numbers is another rule.
        let refused = |number: i64| refused(number).filter(|(_, words)| words.contains(" must be at "));
        let (accepted, bad) = (None, Reason::InvalidSettings);
        assert_eq!(refused(least), accepted, "{field}");
        assert_eq!(refused(least - 1), Some((bad, format!("{field} must be at least {least}"))));
        if let Some(most) = most {
            assert_eq!(refused(most), accepted, "{field}");
            assert_eq!(refused(most + 1), Some((bad, format!("{field} must be at most {most}"))));
        }
    }
}

#[test]
fn the_largest_good_settings_are_accepted() {
    let sysctls: Vec<String> = (0..32).map(|index| format!("net.a{index}")).collect();
    let all = json!({
        "drainTimeout": "24h",
        "kubelet": {
            "maxParallelImagePulls": 2, "serializeImagePulls": false,
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
            "shutdownGracePeriod": "1m", "shutdownGracePeriodCriticalPods": "60s",
            "containerLogMaxSize": "10Mi", "allowedUnsafeSysctls": sysctls,
            "systemReserved": { "cpu": "0.5", "memory": "1Gi", "ephemeral-storage": "1Gi", "pid": "1000" },
            "evictionHard": { "memory.available": "200Mi", "nodefs.available": "10%" },
        },
        "kubeProxy": { "conntrack": { "tcpEstablishedTimeout": "24h", "tcpCloseWaitTimeout": "0s" } },
        "bootstrap": { "script": "a".repeat(16_384) },
    });
    assert_eq!(validated(&all).err(), None);
    for edge in [
        kubelet(&json!({ "maxParallelImagePulls": 1 })),
        kubelet(&json!({ "shutdownGracePeriod": "1s" })),
        kubelet(&json!({ "shutdownGracePeriod": "0s", "shutdownGracePeriodCriticalPods": "0s" })),
        kubelet(&json!({ "imageGCHighThresholdPercent": 81 })),
        kubelet(&json!({ "imageGCLowThresholdPercent": 84 })),
        kubelet(&json!({ "imageGCHighThresholdPercent": 1, "imageGCLowThresholdPercent": 0 })),
    ] {
        assert_eq!(validated(&edge).err(), None, "{edge}");
    }
}

// Rule nodepool-41.
#[test]
fn a_drain_takes_15_minutes_at_most_unless_told_otherwise() {
    for (text, expected) in [(None, 900), (Some("1s"), 1), (Some("1h30m"), 5_400)] {
        assert_eq!(super::check_drain_timeout(text), Ok(Duration::from_secs(expected)), "{text:?}");
    }
}
