use serde_json::{Value, json};

use super::{Pins, Volume};

fn affinity(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({ "metadata": {}, "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
        { "matchExpressions": [{ "key": "example.com/rack", "operator": "Exists" }] },
        { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["quay-1"] }] },
        { "matchExpressions": [{ "key": key, "operator": operator, "values": values }] },
    ] } } } })
}

// Rule nodepool-33.
#[test]
fn a_volume_is_bound_to_the_zones_that_the_scheduler_asks_for() {
    const ZONE: &str = "topology.kubernetes.io/zone";
    let labelled =
        |zones: &str| json!({ "metadata": { "labels": { ZONE: zones, "a": "high-io" } }, "spec": {} });
    let cases = [
        (affinity(ZONE, "In", &["eu-1", "high-io"]), true, "by affinity"),
        (affinity(ZONE, "NotIn", &["high-io"]), false, "it asks for any other"),
        (affinity("example.com/zone", "In", &["high-io"]), false, "another label"),
        (labelled("high-io"), true, "by label"),
        (labelled("eu-1__high-io"), true, "by label, in several zones"),
        (labelled("high-io-2"), false, "another zone"),
        (json!({ "metadata": {} }), false, "no zone"),
        (json!({ "metadata": {}, "spec": { "nodeAffinity": {} } }), false, "no zone"),
    ];
    for (volume, expected, because) in cases {
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let pins: Pins = [&volume].into_iter().collect();
        assert_eq!(pins.hold("high-io"), expected, "{because}");
        assert_eq!(
            volume.zones().iter().any(|zone| zone == "high-io"),
            expected,
            "{because}, and it says so"
        );
    }
}
