use serde_json::{Value, json};
use stowage_api::node_pool::ConflictPolicy;

use super::{Entry, Ledger, Owned, Placing, Record};

fn owned(set: &str, replaced: Option<&str>, placing: Placing) -> Entry {
    Entry::Owned(Owned { set: set.to_owned(), replaced: replaced.map(str::to_owned), placing })
}

fn plain(set: &str) -> Entry {
    owned(set, None, Placing::Always)
}

fn ledger() -> Ledger {
    let labels = [("workload".to_owned(), owned("io", Some("web"), Placing::Always))].into();
    Ledger { pool: "high-io".to_owned(), labels, ..Ledger::default() }
}

fn read(text: &Value) -> Option<Ledger> {
    Record::read(Some(&text.to_string())).ledger().cloned()
}

// Rule nodepool-27.
#[test]
fn a_ledger_has_the_lowest_version_that_holds_it() {
    let cases = [
        (ledger(), 1, "labels"),
        (Ledger { uid: Some("u".to_owned()), ..ledger() }, 1, "an older reader loses nothing by the UID"),
        (Ledger { policy: ConflictPolicy::Yield, ..ledger() }, 2, "a policy"),
        (Ledger { left: true, ..ledger() }, 2, "what could not go"),
        (Ledger { annotations: [("a".to_owned(), plain("b"))].into(), ..ledger() }, 2, "annotations"),
        (Ledger { taints: [("a:NoSchedule".to_owned(), plain("b"))].into(), ..ledger() }, 2, "taints"),
        (Ledger { cordon: Some(plain("true")), ..ledger() }, 2, "the cordon"),
        (
            Ledger { cordon_beneath: Some(owned("true", None, Placing::Once)), ..ledger() },
            2,
            "a cordon beneath another",
        ),
        (Ledger { labels: [("a".to_owned(), Entry::Yielded)].into(), ..ledger() }, 2, "a label that is left"),
        (
            Ledger {
                labels: [(
                    "topology.kubernetes.io/zone".to_owned(),
                    owned("high-io", None, Placing::IfAbsent),
                )]
                .into(),
                ..ledger()
            },
            2,
            "the zone, which an older reader takes for a forgery",
        ),
    ];
    for (ledger, version, because) in cases {
        let sealed = ledger.sealed();
        assert_eq!(sealed.version, version, "{because}");
        assert_eq!(read(&json!(sealed)), Some(sealed), "{because}: it is read as it was written");
    }
}

// Rule nodepool-27.
#[test]
fn the_whole_of_each_version_as_json() {
    let first = json!({
        "version": 1, "pool": "high-io",
        "labels": { "workload": { "set": "io", "replaced": "web" } },
    });
    assert_eq!(read(&first), Some(ledger().sealed()));
    assert_eq!(json!(ledger().sealed()), first);
    let second = Ledger {
        uid: Some("0d7f".to_owned()),
        policy: ConflictPolicy::Yield,
        left: true,
        annotations: [("a".to_owned(), Entry::Yielded)].into(),
        taints: [("a:NoSchedule".to_owned(), owned("b", None, Placing::Once))].into(),
        cordon: Some(owned("true", Some("true"), Placing::Always)),
        ..ledger()
    };
    let json = json!({
        "version": 2, "pool": "high-io", "uid": "0d7f", "policy": "Yield", "left": true,
        "labels": { "workload": { "set": "io", "replaced": "web" } },
        "annotations": { "a": { "yielded": true } },
        "taints": { "a:NoSchedule": { "set": "b", "placing": "Once" } },
        "cordon": { "set": "true", "replaced": "true" },
    });
    assert_eq!(json!(second.clone().sealed()), json);
    assert_eq!(read(&json), Some(second.clone().sealed()));
    let third = Ledger { cordon_beneath: Some(owned("true", None, Placing::Once)), ..second };
    let mut json = json;
    json["cordonBeneath"] = json!({ "set": "true", "placing": "Once" });
    assert_eq!(json!(third.clone().sealed()), json);
    assert_eq!(read(&json), Some(third.sealed()));
}

// Rule nodepool-12.
#[test]
fn what_is_no_ledger_is_unreadable() {
    let entry = |entry: Value| json!({ "version": 2, "pool": "p", "labels": { "a": entry } });
    let cases = [
        (json!({ "version": 0, "pool": "p", "labels": {} }), "no version that ever was"),
        (json!({ "version": 2, "pool": "p" }), "no labels"),
        (entry(json!({})), "neither owned nor yielded"),
        (entry(json!({ "yielded": false })), "neither owned nor yielded"),
        (entry(json!({ "set": "b", "yielded": true })), "both"),
        (entry(json!({ "set": "b", "placing": "Twice" })), "no placing"),
    ];
    for (text, because) in cases {
        assert!(matches!(Record::read(Some(&text.to_string())), Record::Unreadable), "{because}");
    }
    assert!(matches!(Record::read(None), Record::Absent));
    let newer = r#"{"version":4,"pool":"p","labels":7}"#;
    assert!(matches!(Record::read(Some(newer)), Record::TooNew { pool: Some(pool) } if pool == "p"));
}

// Rules nodepool-14 and nodepool-31.
#[test]
fn what_no_pool_can_have_written_is_ignored() {
    let set = |replaced: &str| json!({ "set": "x", "replaced": replaced });
    let zone = "topology.kubernetes.io/zone";
    let forged = json!({
        "version": 2, "pool": "p",
        "labels": {
            "kubernetes.io/hostname": set("b"), "a b": set("c"), "bad": set("b c"), zone: set("eu-1"),
            "good": set("b"), "yielded": { "yielded": true },
        },
        "annotations": { "kubernetes.io/x": set("b"), "a b": set("c"), "good": set("any thing\n") },
        "taints": {
            "node.kubernetes.io/x:NoExecute": set("b"), "good": set("b"), "good:Never": set("b"),
            "good:NoExecute": set("b"), "good:NoSchedule": set("b c"), "a b:NoSchedule": set("c"),
        },
    });
    let kept = read(&forged).unwrap();
    assert_eq!(kept.labels.keys().collect::<Vec<_>>(), ["good", "yielded"]);
    assert_eq!(kept.annotations.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(kept.taints.keys().collect::<Vec<_>>(), ["good:NoExecute"]);
    for (entry, is_kept, because) in [
        (json!({ "set": "p", "placing": "IfAbsent" }), true, "as a pool writes it"),
        (json!({ "yielded": true }), true, "as a pool writes it"),
        (json!({ "set": "p" }), false, "a pool puts it only where there is none"),
        (json!({ "set": "p", "placing": "IfAbsent", "replaced": "q" }), false, "so it replaces nothing"),
    ] {
        let text = json!({ "version": 2, "pool": "p", "labels": { zone: entry } });
        assert_eq!(read(&text).unwrap().labels.contains_key(zone), is_kept, "{because}");
    }
}
