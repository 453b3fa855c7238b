use serde_json::{Value, json};
use stowage_api::node_pool::TaintEffect;

use super::{Taints, id, key_of};

fn live() -> Value {
    json!([
        { "key": "a", "effect": "NoSchedule", "value": "1" },
        { "key": "not-ours", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z", "future": { "x": [1] } },
        { "key": "a", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z" },
    ])
}

fn changed(changes: &[(&str, Option<&str>)]) -> Value {
    let owned = |(id, value): &(&str, Option<&str>)| ((*id).to_owned(), value.map(str::to_owned));
    Taints::read(&live().to_string()).changed(changes.iter().map(owned).collect())
}

// Rule nodepool-26.
#[test]
fn a_taint_is_known_by_its_key_and_effect() {
    let values = Taints::read(&live().to_string()).values();
    let expected = [("a:NoExecute", ""), ("a:NoSchedule", "1"), ("not-ours:NoExecute", "")];
    assert_eq!(values.iter().map(|(id, value)| (id.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(id("x/y", TaintEffect::PreferNoSchedule), "x/y:PreferNoSchedule");
    let keys = ["x/y:NoSchedule", "x:NoExecute", "x:PreferNoSchedule", "x:Never", "x"].map(key_of);
    assert_eq!(keys, [Some("x/y"), Some("x"), Some("x"), None, None]);
}

// Rule nodepool-26.
#[test]
fn what_is_not_ours_keeps_its_place_and_every_field() {
    let list = changed(&[("a:NoSchedule", None), ("b:NoSchedule", Some("2"))]);
    let live = live();
    let expected = json!([live[1], live[2], { "key": "b", "effect": "NoSchedule", "value": "2" }]);
    assert_eq!(list, expected);
}

// Rule nodepool-26.
#[test]
fn what_changes_is_put_anew_in_its_place() {
    let list = changed(&[("a:NoExecute", Some("2")), ("a:NoSchedule", Some(""))]);
    assert_eq!(list[0], json!({ "key": "a", "effect": "NoSchedule" }));
    assert_eq!(list[2], json!({ "key": "a", "effect": "NoExecute", "value": "2" }), "the time was another's");
}

// Rule nodepool-26.
#[test]
fn no_taint_is_no_list() {
    let all = [("a:NoSchedule", None), ("a:NoExecute", None), ("not-ours:NoExecute", None)];
    assert_eq!(changed(&all), Value::Null);
    assert_eq!(Taints::read("").values(), [].into());
}
