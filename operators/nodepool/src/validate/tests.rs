use serde_json::{Value, json};
use stowage_api::condition::Reason;

use crate::{Rejection, fixtures::pool, validate};

fn rejection(name: &str, spec: &Value) -> Option<(Reason, String)> {
    let rejection: Rejection = validate(&pool(name, 1, spec)).err()?;
    Some((rejection.reason, rejection.to_string()))
}

fn each_is_rejected(cases: &[(Value, Reason, &str, &str)]) {
    for (spec, reason, expected, because) in cases {
        let (found, message) = rejection("high-io", spec).unwrap();
        assert_eq!(found, *reason, "{because}: {message}");
        assert!(message.starts_with(expected), "{because}: {message}");
    }
}

// Rule nodepool-17.
#[test]
fn a_selection_that_cannot_be_is_rejected() {
    use Reason::InvalidSelection as Bad;
    each_is_rejected(&[
        (json!({}), Bad, "spec must select nodes", "a pool of nothing is a mistake"),
        (json!({ "nodeNames": [] }), Bad, "spec must select nodes", "an empty list names no node"),
        (json!({ "selector": {} }), Bad, "spec.selector must not be empty", "it would match every node"),
        (
            json!({ "selector": {}, "nodeNames": ["quay-1"] }),
            Bad,
            "spec.selector must not be empty",
            "names beside it do not make it smaller",
        ),
        (
            json!({ "selector": { "matchLabels": {}, "matchExpressions": [] } }),
            Bad,
            "spec.selector must not be empty",
            "empty parts make an empty whole",
        ),
        (
            json!({ "selector": { "matchLabels": { "stowage.dev/nodepool": "x" } } }),
            Bad,
            "spec.selector must not use stowage.dev/nodepool",
            "membership would decide membership",
        ),
        (
            json!({ "nodeNames": ["quay-1", "Quay_2"] }),
            Bad,
            "spec.nodeNames[1] must be a DNS name",
            "no node has such a name",
        ),
        (
            json!({ "nodeNames": (0..513).map(|index| format!("quay-{index}")).collect::<Vec<_>>() }),
            Bad,
            "spec.nodeNames has 513 entries and must have at most 512",
            "a larger pool has a label",
        ),
        (
            json!({ "selector": { "matchLabels": (0..17).map(|i| (format!("k{i}"), "v")).collect::<std::collections::BTreeMap<_, _>>() } }),
            Bad,
            "spec.selector.matchLabels has 17 entries",
            "cost",
        ),
        (
            json!({ "selector": { "matchLabels": { "a b": "c" } } }),
            Bad,
            "spec.selector.matchLabels[a b] is no label key: it must have at most 63",
            "no node can carry it",
        ),
        (
            json!({ "selector": { "matchLabels": { "Example.com/a": "c" } } }),
            Bad,
            "spec.selector.matchLabels[Example.com/a] is no label key: it must be a DNS name",
            "no node can carry it",
        ),
        (
            json!({ "selector": { "matchLabels": { "a": "b c" } } }),
            Bad,
            "spec.selector.matchLabels[a] is no label value",
            "no node can carry it",
        ),
    ]);
}

// Rule nodepool-17.
#[test]
fn an_expression_that_cannot_be_is_rejected() {
    let field = "spec.selector.matchExpressions[1]";
    let many: Vec<String> = (0..33).map(|index| index.to_string()).collect();
    for (expression, expected, because) in [
        (json!({ "key": "-", "operator": "Exists" }), ".key must have", "no node can carry it"),
        (
            json!({ "key": "a", "operator": "In", "values": ["b", "-"] }),
            ".values[1] must have",
            "no node can carry it",
        ),
        (json!({ "key": "a", "operator": "In" }), ".values must not be empty", "In nothing matches nothing"),
        (
            json!({ "key": "a", "operator": "NotIn", "values": [] }),
            ".values must not be empty",
            "it matches everything",
        ),
        (
            json!({ "key": "a", "operator": "Exists", "values": ["b"] }),
            ".values must be empty",
            "it is ignored",
        ),
        (
            json!({ "key": "a", "operator": "DoesNotExist", "values": ["b"] }),
            ".values must be empty",
            "it is ignored",
        ),
        (
            json!({ "key": "a", "operator": "Like", "values": ["b"] }),
            ".operator must be",
            "Kubernetes has four",
        ),
        (json!({ "key": "a", "operator": "In", "values": many }), ".values has 33 entries", "cost"),
    ] {
        let good = json!({ "key": "disk", "operator": "Exists" });
        let spec = json!({ "selector": { "matchExpressions": [good, expression] } });
        let (reason, message) = rejection("high-io", &spec).unwrap();
        assert_eq!(reason, Reason::InvalidSelection, "{because}");
        assert!(message.starts_with(&format!("{field}{expected}")), "{because}: {message}");
    }
    let many = vec![json!({ "key": "a", "operator": "Exists" }); 17];
    let (_, message) = rejection("x", &json!({ "selector": { "matchExpressions": many } })).unwrap();
    assert!(message.starts_with("spec.selector.matchExpressions has 17 entries"), "{message}");
}

// Rule nodepool-17.
#[test]
fn labels_that_cannot_be_are_rejected() {
    let labels = |labels: Value| json!({ "nodeNames": ["quay-1"], "labels": labels });
    let many: std::collections::BTreeMap<String, &str> =
        (0..33).map(|index| (format!("k{index}"), "v")).collect();
    let long = "k".repeat(300);
    each_is_rejected(&[
        (
            labels(json!({ "a/b/c": "d" })),
            Reason::InvalidLabels,
            "spec.labels[a/b/c] is no label key",
            "two slashes",
        ),
        (labels(json!({ "a": "b c" })), Reason::InvalidLabels, "spec.labels[a] is no label value", "a space"),
        (
            labels(json!(many)),
            Reason::InvalidLabels,
            "spec.labels has 33 entries and must have at most 32",
            "cost",
        ),
        (
            labels(json!({ "os.name": "plan9" })),
            Reason::ReservedKey,
            "spec.labels[os.name] is a key that belongs to Kubernetes, a cloud or Stowage: use a prefix",
            "a cloud has set it at birth",
        ),
        (
            labels(json!({ "stowage.dev/nodepool": "x" })),
            Reason::ReservedKey,
            "spec.labels[stowage.dev/nodepool] is a key that belongs to",
            "two writers on one key",
        ),
        (
            json!({ "selector": { "matchLabels": { "disk": "nvme" } }, "labels": { "disk": "hdd" } }),
            Reason::InvalidLabels,
            "spec.labels[disk] is a key that spec.selector uses",
            "the pool would hold its nodes for ever",
        ),
        (
            labels(json!({ long.as_str(): "v" })),
            Reason::InvalidLabels,
            &format!("spec.labels[{}] is no label key", "k".repeat(100)),
            "a message repeats only so much",
        ),
    ]);
}

// Rule nodepool-17.
#[test]
fn a_name_that_cannot_be_is_rejected() {
    let spec = json!({ "nodeNames": ["quay-1"] });
    let long = "n".repeat(64);
    for (name, expected, because) in [
        (long.as_str(), Some("metadata.name must have at most 63"), "it becomes a label value"),
        (&"n".repeat(63), None, "63 characters are a label value"),
        ("default", Some("metadata.name must not be default"), "the nodes in no pool are called so"),
        ("defaults", None, "only that one name is taken"),
    ] {
        let found = rejection(name, &spec);
        assert_eq!(
            found.as_ref().map(|(reason, _)| *reason),
            expected.map(|_| Reason::InvalidName),
            "{because}"
        );
        assert!(found.is_none_or(|(_, message)| message.starts_with(expected.unwrap())), "{because}");
    }
}

#[test]
fn the_largest_good_pool_is_accepted() {
    let labels: std::collections::BTreeMap<String, &str> =
        (0..32).map(|index| (format!("k{index}"), "v")).collect();
    let terms: std::collections::BTreeMap<String, &str> =
        (0..16).map(|index| (format!("m{index}"), "v")).collect();
    let values: Vec<String> = (0..32).map(|index| index.to_string()).collect();
    let spec = json!({
        "selector": {
            "matchLabels": terms,
            "matchExpressions": vec![json!({ "key": "e", "operator": "NotIn", "values": values }); 16],
        },
        "nodeNames": (0..512).map(|index| format!("quay-{index}")).collect::<Vec<_>>(),
        "labels": labels,
    });
    assert_eq!(rejection("high-io", &spec), None);
}

// Rule nodepool-17.
#[test]
fn annotations_that_cannot_be_are_rejected() {
    use Reason::InvalidAnnotations as Bad;
    let annotations = |annotations: Value| json!({ "nodeNames": ["quay-1"], "annotations": annotations });
    let many: std::collections::BTreeMap<String, &str> =
        (0..33).map(|index| (format!("k{index}"), "v")).collect();
    each_is_rejected(&[
        (annotations(json!({ "a b": "c" })), Bad, "spec.annotations[a b] is no annotation key", "a space"),
        (
            annotations(json!({ "a": "b".repeat(1025) })),
            Bad,
            "spec.annotations[a] has a value of more",
            "memory",
        ),
        (annotations(json!(many)), Bad, "spec.annotations has 33 entries and must have at most 32", "cost"),
        (
            annotations(json!({ "node.alpha.kubernetes.io/ttl": "0" })),
            Reason::ReservedKey,
            "spec.annotations[node.alpha.kubernetes.io/ttl] is a key that belongs to Kubernetes",
            "two writers on one key",
        ),
    ]);
    let good = annotations(json!({ "a": "any thing, \n".repeat(1024).get(..1024) }));
    assert_eq!(rejection("high-io", &good), None, "an annotation may have any value of at most 1024 bytes");
}

// Rule nodepool-17.
#[test]
fn taints_that_cannot_be_are_rejected() {
    use Reason::InvalidTaints as Bad;
    let good = || json!({ "key": "a", "value": "b", "effect": "NoSchedule" });
    let taint = |taint: Value| json!({ "nodeNames": ["quay-1"], "taints": [good(), taint] });
    let many: Vec<Value> =
        (0..11).map(|index| json!({ "key": format!("k{index}"), "effect": "NoExecute" })).collect();
    each_is_rejected(&[
        (
            taint(json!({ "key": "a b", "effect": "NoSchedule" })),
            Bad,
            "spec.taints[1].key must have",
            "a space",
        ),
        (
            taint(json!({ "key": "b", "value": "b c", "effect": "NoSchedule" })),
            Bad,
            "spec.taints[1].value must have",
            "a space",
        ),
        (taint(good()), Bad, "spec.taints[1] has the key and effect of another entry", "one identity"),
        (
            json!({ "nodeNames": ["quay-1"], "taints": many }),
            Bad,
            "spec.taints has 11 entries",
            "CCSE's limit",
        ),
        (
            taint(json!({ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" })),
            Reason::ReservedKey,
            "spec.taints[1].key is a key that belongs to Kubernetes",
            "it decides where the control plane runs",
        ),
    ]);
    let other = taint(json!({ "key": "a", "effect": "NoExecute", "propagation": "OnInitialization" }));
    assert_eq!(rejection("high-io", &other), None, "another effect is another taint");
}

// Rule nodepool-17.
#[test]
fn a_zone_that_would_select_its_own_nodes_is_rejected() {
    let spec = |zone: &str| {
        let selector = json!({ "matchLabels": { "topology.kubernetes.io/zone": "eu-1" } });
        json!({ "selector": selector, "topologyZone": zone })
    };
    let expected = "spec.topologyZone must be Never while spec.selector uses topology.kubernetes.io/zone";
    each_is_rejected(&[(
        spec("IfAbsent"),
        Reason::InvalidSelection,
        expected,
        "membership would decide itself",
    )]);
    assert_eq!(rejection("high-io", &spec("Never")), None);
}

// Rule nodepool-17.
#[test]
fn settings_and_the_time_for_a_drain_are_checked_and_kept() {
    let with = |part: Value| {
        let mut spec = json!({ "nodeNames": ["quay-1"] });
        json_patch::merge(&mut spec, &part);
        spec
    };
    each_is_rejected(&[
        (
            with(json!({ "kubelet": { "maxPods": 0 } })),
            Reason::InvalidSettings,
            "spec.kubelet.maxPods must be",
            "no kubelet starts with it",
        ),
        (
            with(json!({ "drainTimeout": "15" })),
            Reason::InvalidSettings,
            "spec.drainTimeout must be",
            "no unit",
        ),
    ]);
    for (timeout, seconds) in [(json!({}), 900), (json!({ "drainTimeout": "1h30m" }), 5400)] {
        let valid = validate(&pool("high-io", 1, &with(timeout))).unwrap();
        assert_eq!(valid.drain_timeout().as_secs(), seconds);
    }
}
