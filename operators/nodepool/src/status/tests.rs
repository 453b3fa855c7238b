use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use stowage_api::{NodeCounts, NodePool, NodePoolStatus, condition::Trouble, node_pool::DeletionPolicy};

use super::{Publication, Written, accepted, rejected, troubled};
use crate::{
    Names, Standing, Sums, Wait,
    fixtures::{Cluster, going, node, pinned, pool},
    held, validate,
};

/// The status of the one pool, which is invalid.
fn rejected_now(cluster: &Cluster) -> NodePoolStatus {
    let pool = &cluster.pools[0];
    let rejection = validate(pool).unwrap_err();
    let is_leaving = pool.metadata.deletion_timestamp.is_some();
    let standing =
        if is_leaving { cluster.desired("high-io").standing } else { held("high-io", &cluster.observed()) };
    rejected(pool, &rejection, &standing, &Written::default(), at(1))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millisecond(second * 1000 + 250).unwrap()
}

fn names(count: usize, length: usize) -> Names {
    let mut names = Names::default();
    for index in 0..count {
        names.push(&format!("{index:0length$}"));
    }
    names
}

/// So many pools that have to hand over three nodes each.
fn awaited(count: usize) -> BTreeMap<String, usize> {
    (0..count).map(|index| (format!("jib-{index:059}"), 3)).collect()
}

fn high_io() -> NodePool {
    pool("high-io", 1, &json!({ "nodeNames": ["quay-1"] }))
}

/// Type, status and reason of each condition.
fn summary(status: &NodePoolStatus) -> Vec<String> {
    let line = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        format!("{}={} {}", condition.type_, condition.status, condition.reason)
    };
    status.conditions.iter().map(line).collect()
}

fn message<'a>(status: &'a NodePoolStatus, type_: &str) -> &'a str {
    &status.conditions.iter().find(|condition| condition.type_ == type_).unwrap().message
}

fn standing(total: i32) -> Standing {
    Standing { nodes: NodeCounts { total, ready: total, ..NodeCounts::default() }, ..Standing::default() }
}

fn applied() -> Written {
    Written { done: ["quay-1".to_owned()].into(), ..Written::default() }
}

fn pending() -> Written {
    Written { pending: ["quay-1".to_owned()].into(), ..Written::default() }
}

fn unpublished() -> Written {
    Written { settings: Publication::Pending, ..applied() }
}

fn denied(count: usize, length: usize) -> Written {
    let answer = "admission webhook \"aks-node-validating-webhook.azmk8s.io\" denied the request".to_owned();
    let names = (0..count).map(|index| (format!("{index:0length$}"), answer.clone()));
    Written { denied: names.collect(), ..Written::default() }
}

fn drain(blocked: Option<&str>) -> Wait {
    Wait::Drain { nodes: ["quay-1".to_owned()].into(), blocked: blocked.map(str::to_owned) }
}

/// What `count` nodes with many resources of their own have.
fn resources(count: usize) -> Sums {
    let mut sums = Sums::default();
    let names: Vec<String> = (0..20).map(|index| format!("example.com/{index:040}")).collect();
    for _ in 0..count {
        sums.add(names.iter().map(|name| (name.as_str(), "9223372036854775807")));
        sums.add([("cpu", "8"), ("memory", "32Gi"), ("pods", "110"), ("hugepages-2Mi", "0")].into_iter());
    }
    sums
}

// Rules nodepool-16 and nodepool-18.
#[test]
fn the_whole_status_of_a_pool_that_is_done() {
    let counts = NodeCounts { total: 3, ready: 2, not_ready: 1, unschedulable: 1, draining: 0 };
    let standing = Standing { nodes: counts, not_ready: names(1, 4), ..Standing::default() };
    let status = accepted(&high_io(), &standing, &applied(), at(60));
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:01:00Z",
        })
    };
    let expected = json!({
        "observedGeneration": 1,
        "nodes": { "total": 3, "ready": 2, "notReady": 1, "unschedulable": 1, "draining": 0 },
        "samples": { "notReady": ["0000"], "rejected": [] },
        "conditions": [
            condition("Accepted", "Valid", "The spec is valid"),
            condition("Ready", "Applied", "Every node of the pool carries its configuration"),
        ],
    });
    assert_eq!(serde_json::to_value(&status).unwrap(), expected);
}

// Rules nodepool-18, nodepool-19 and nodepool-13.
#[test]
fn each_state_has_its_conditions() {
    let cases = [
        (standing(1), applied(), vec!["Accepted=True Valid", "Ready=True Applied"], "done"),
        (standing(0), applied(), vec!["Accepted=True Valid", "Ready=True Applied"], "nothing to do is done"),
        (
            standing(1),
            pending(),
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "writes are still to come",
        ),
        (
            standing(1),
            unpublished(),
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "what nodes read is a part of it",
        ),
        (
            Standing { awaited: awaited(1), ..standing(1) },
            applied(),
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "another pool has yet to hand a node over",
        ),
        (
            Standing { blocked: names(1, 4), ..standing(1) },
            applied(),
            vec!["Accepted=True Valid", "Ready=False LedgerTooNew", "Stalled=True LedgerTooNew"],
            "no retry helps",
        ),
        (
            Standing { blocked: names(1, 4), ..standing(1) },
            pending(),
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "first what can be done",
        ),
        (
            Standing { contested: names(1, 4), ..standing(1) },
            applied(),
            vec!["Accepted=True Valid", "Ready=True Applied", "MembershipConflict=True HeldByOtherPools"],
            "what it has is in order",
        ),
    ];
    for (standing, written, expected, because) in cases {
        assert_eq!(summary(&accepted(&high_io(), &standing, &written, at(1))), expected, "{because}");
    }
}

// Rule nodepool-18.
#[test]
fn a_pool_without_nodes_says_so() {
    let status = accepted(&high_io(), &standing(0), &applied(), at(1));
    assert_eq!(message(&status, "Ready"), "No node belongs to the pool");
}

// Rule nodepool-2.
#[test]
fn a_conflict_names_at_most_ten_nodes() {
    let standing = Standing { contested: names(12, 1), ..standing(0) };
    let status = accepted(&high_io(), &standing, &applied(), at(1));
    let expected = "Other pools have 12 nodes that this pool asks for, narrow one of the two selections: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more";
    assert_eq!(message(&status, "MembershipConflict"), expected);
}

// Rules nodepool-6 and nodepool-18.
#[test]
fn a_rejected_pool_says_why_and_still_counts_what_it_holds() {
    let mut cluster = Cluster::new(&[high_io()], &[node("quay-1", &json!({})), node("quay-2", &json!({}))]);
    cluster.reconcile("high-io");
    cluster.set_spec("high-io", &json!({ "nodeNames": ["quay-1"], "labels": { "os.name": "plan9" } }));
    let status = rejected_now(&cluster);
    let expected = ["Accepted=False ReservedKey", "Ready=False NotAccepted", "Stalled=True NotAccepted"];
    assert_eq!(summary(&status), expected);
    assert!(message(&status, "Accepted").starts_with("Invalid: spec.labels[os.name] is a key"));
    assert_eq!((status.nodes.unwrap().total, status.observed_generation), (1, Some(1)));
}

// Rules nodepool-20 and nodepool-19.
#[test]
fn a_trouble_stays_until_a_success() {
    for trouble in Trouble::ALL {
        let mut pool = high_io();
        let conflict = Standing { contested: names(1, 4), ..standing(2) };
        pool.status = Some(accepted(&pool, &conflict, &applied(), at(1)));
        pool.status = Some(troubled(&pool, trouble, "cannot patch Node quay-1: it hurts", at(2)));
        let told = pool.status.clone().unwrap();
        let reason = trouble.reason().as_str();
        let outlook = if trouble == Trouble::Failing { "Reconciling" } else { "Stalled" };
        let expected = [
            "Accepted=True Valid".to_owned(),
            format!("Ready=False {reason}"),
            "MembershipConflict=True HeldByOtherPools".to_owned(),
            format!("{outlook}=True {reason}"),
        ];
        assert_eq!(summary(&told), expected, "nothing else is lost");
        assert_eq!(told.nodes.unwrap().total, 2, "nothing else is lost");

        for written in [pending(), unpublished()] {
            let again = accepted(&pool, &conflict, &written, at(3));
            assert_eq!(again, told, "the next attempt does not take it back");
        }
        pool.metadata.generation = Some(2);
        let changed = accepted(&pool, &conflict, &pending(), at(3));
        assert!(summary(&changed).contains(&"Ready=False Progressing".to_owned()), "a new spec may cure it");
        let cured = accepted(&pool, &conflict, &applied(), at(3));
        assert!(summary(&cured).contains(&"Ready=True Applied".to_owned()), "a success does");
    }
}

// Rules nodepool-20 and nodepool-34.
#[test]
fn a_trouble_stays_while_a_deletion_waits() {
    for wait in [Wait::Members, Wait::Pins, drain(None)] {
        let mut pool = going(high_io(), DeletionPolicy::Drain);
        let standing = Standing { wait, ..standing(1) };
        pool.status = Some(accepted(&pool, &standing, &pending(), at(1)));
        pool.status = Some(troubled(&pool, Trouble::Failing, "cannot patch Node quay-1: it hurts", at(2)));
        let told = pool.status.clone().unwrap();
        assert_eq!(accepted(&pool, &standing, &pending(), at(3)), told);
        let waits = accepted(&pool, &standing, &applied(), at(3));
        assert_ne!(summary(&waits), summary(&told), "a success ends it");
    }
}

// Rule nodepool-5.
#[test]
fn an_heir_names_the_pools_that_it_waits_for() {
    let awaited = [("gantry".to_owned(), 1), ("jib".to_owned(), 2)].into();
    let status = accepted(&high_io(), &Standing { awaited, ..standing(3) }, &applied(), at(1));
    let expected = "Waits for 3 nodes that pools which are being deleted still hand over: gantry, jib";
    assert_eq!(message(&status, "Ready"), expected);
}

// Rule nodepool-20.
#[test]
fn a_trouble_can_be_the_first_thing_that_is_known() {
    let status = troubled(&high_io(), Trouble::Undecodable, "no field nodes", at(1));
    assert_eq!(summary(&status), ["Ready=False Undecodable", "Stalled=True Undecodable"]);
    assert_eq!(status.observed_generation, Some(1));
}

// Rule nodepool-21.
#[test]
fn the_same_facts_later_are_no_change() {
    let mut pool = high_io();
    pool.status = Some(accepted(&pool, &standing(1), &applied(), at(1)));
    assert_eq!(Some(accepted(&pool, &standing(1), &applied(), at(9))), pool.status);
}

// Rule nodepool-21.
#[test]
fn a_transition_is_a_change_of_status_and_nothing_else() {
    let mut pool = high_io();
    let times = |status: &NodePoolStatus| -> Vec<i64> {
        status.conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect()
    };
    pool.status = Some(accepted(&pool, &standing(0), &applied(), at(1)));
    pool.metadata.generation = Some(2);
    let other_message = accepted(&pool, &standing(1), &applied(), at(2));
    assert_eq!(times(&other_message), [1, 1]);
    pool.status = Some(other_message);
    let other_status = accepted(&pool, &standing(1), &pending(), at(3));
    assert_eq!(times(&other_status), [1, 3, 3]);
}

// Rule nodepool-36.
#[test]
fn what_is_refused_by_a_provider_is_named_and_all_else_is_done() {
    let written = Written { done: ["quay-1".to_owned()].into(), ..denied(12, 4) };
    let status = accepted(&high_io(), &standing(13), &written, at(1));
    let expected = [
        "Accepted=True Valid",
        "Ready=False RejectedByProvider",
        "RejectedByProvider=True RejectedByProvider",
        "Stalled=True RejectedByProvider",
    ];
    assert_eq!(summary(&status), expected);
    let expected = "The change of 12 nodes is refused (0000, 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008, 0009 and \
                    2 more): admission webhook \"aks-node-validating-webhook.azmk8s.io\" denied the request";
    assert_eq!(message(&status, "RejectedByProvider"), expected);
    assert_eq!(status.samples.unwrap().rejected.len(), 10);

    let meanwhile = Written { denied: denied(1, 4).denied, ..pending() };
    let status = accepted(&high_io(), &standing(13), &meanwhile, at(1));
    let expected = [
        "Accepted=True Valid",
        "Ready=False Progressing",
        "RejectedByProvider=True RejectedByProvider",
        "Reconciling=True Progressing",
    ];
    assert_eq!(summary(&status), expected, "what can still be done comes first");
}

// Rules nodepool-34 and nodepool-35.
#[test]
fn a_deletion_that_waits_says_for_what() {
    let cases = [
        (
            Wait::Members,
            vec!["Accepted=True Valid", "Ready=False DeletionRefused", "Stalled=True DeletionRefused"],
            "The deletion waits, because the pool has 3 nodes and spec.deletionPolicy is Refuse",
        ),
        (
            drain(None),
            vec![
                "Accepted=True Valid",
                "Ready=False Draining",
                "Draining=True Draining",
                "Reconciling=True Draining",
            ],
            "Pods are still to leave 1 node: quay-1",
        ),
        (
            drain(Some("quay-1: the PodDisruptionBudget web forbids it")),
            vec![
                "Accepted=True Valid",
                "Ready=False EvictionBlocked",
                "Draining=True EvictionBlocked",
                "Reconciling=True EvictionBlocked",
            ],
            "Pods are still to leave 1 node, and some may not yet: quay-1: the PodDisruptionBudget web forbids it",
        ),
    ];
    for (wait, expected, words) in cases {
        let status = accepted(&high_io(), &Standing { wait, ..standing(3) }, &pending(), at(1));
        assert_eq!(summary(&status), expected);
        assert!(message(&status, "Ready").starts_with(words), "{}", message(&status, "Ready"));
    }
}

// Rule nodepool-35.
#[test]
fn a_drain_has_begun_when_it_was_first_told() {
    let mut pool = high_io();
    let began = |status: &NodePoolStatus| {
        let draining = status.conditions.iter().find(|condition| condition.type_ == "Draining").unwrap();
        draining.last_transition_time.0.as_second()
    };
    pool.status = Some(accepted(&pool, &Standing { wait: drain(None), ..standing(1) }, &applied(), at(5)));
    let blocked = Standing { wait: drain(Some("web")), ..standing(1) };
    pool.status = Some(accepted(&pool, &blocked, &applied(), at(9)));
    assert_eq!(began(pool.status.as_ref().unwrap()), 5, "a budget does not give it more time");
    pool.metadata.generation = Some(2);
    pool.status = Some(troubled(&pool, Trouble::Failing, "it hurts", at(11)));
    assert_eq!(began(pool.status.as_ref().unwrap()), 5, "nor does a trouble");
}

// Rule nodepool-53.
#[test]
fn a_drain_goes_on_until_the_last_node_is_let_go() {
    let drained = |policy: DeletionPolicy, was: Wait| {
        let mut pool = going(high_io(), policy);
        pool.status = Some(accepted(&pool, &Standing { wait: was, ..standing(1) }, &applied(), at(5)));
        pool
    };
    let draining = |pool: &NodePool, wait: Wait, written: &Written| {
        let status = accepted(pool, &Standing { wait, ..standing(1) }, written, at(9));
        let conditions = json!(status.conditions);
        let known =
            conditions.as_array().unwrap().iter().find(|known| known["type"] == "Draining").cloned()?;
        Some((known["lastTransitionTime"].clone(), known["message"].clone()))
    };
    let going_on =
        Some((json!("1970-01-01T00:00:05Z"), json!("The pool has still to let go of 1 node: quay-1")));
    let refused = Written { denied: [("quay-1".to_owned(), "no".to_owned())].into(), ..Written::default() };
    let pool = drained(DeletionPolicy::Drain, drain(None));
    for wait in [Wait::Nothing, Wait::Pins] {
        for written in [pending(), refused.clone()] {
            assert_eq!(draining(&pool, wait.clone(), &written), going_on, "{wait:?} {written:?}");
        }
        assert_eq!(draining(&pool, wait, &applied()), None, "it has come to its end");
    }
    for (pool, because) in [
        (drained(DeletionPolicy::Release, drain(None)), "it was called off"),
        (drained(DeletionPolicy::Drain, Wait::Nothing), "it had not begun"),
        (NodePool { metadata: high_io().metadata, ..pool }, "it is not being deleted"),
    ] {
        assert_eq!(draining(&pool, Wait::Nothing, &pending()), None, "{because}");
    }
}

// Rules nodepool-34 and nodepool-36.
#[test]
fn a_pool_that_lets_go_says_of_what() {
    let answer = ("quay-1".to_owned(), "not yours".to_owned());
    let refused = || Written { denied: [answer.clone()].into(), ..Written::default() };
    let both = || Written { pending: ["quay-2".to_owned()].into(), ..refused() };
    let mut cluster = Cluster::new(&[high_io()], &[node("quay-1", &json!({})), node("quay-2", &json!({}))]);
    cluster.set_spec("high-io", &json!({ "nodeNames": ["quay-1", "quay-2"], "topologyZone": "IfAbsent" }));
    cluster.reconcile("high-io");
    cluster.pools[0] = going(cluster.pools[0].clone(), DeletionPolicy::Release);
    let mut invalid = cluster.clone();
    invalid.pools[0].spec.node_names.clear();
    for cluster in [cluster, invalid] {
        let pool = &cluster.pools[0];
        let standing = cluster.desired("high-io").standing;
        let status = |standing: &Standing, written: &Written| match validate(pool) {
            Ok(_) => accepted(pool, standing, written, at(1)),
            Err(rejection) => rejected(pool, &rejection, standing, written, at(1)),
        };
        let pending = status(&standing, &both());
        assert_eq!(pending.nodes.unwrap().total, 2);
        assert_eq!(message(&pending, "Ready"), "The pool has still to let go of 2 nodes: quay-1, quay-2");
        assert_eq!(message(&pending, "Reconciling"), message(&pending, "Ready"));
        let denied = status(&standing, &refused());
        let expected = "The change of 1 node is refused (quay-1): not yours";
        for type_ in ["RejectedByProvider", "Ready", "Stalled"] {
            assert_eq!(message(&denied, type_), expected);
        }

        let pinned = Cluster { pins: pinned("high-io"), ..cluster.clone() };
        let pinned = status(&pinned.desired("high-io").standing, &applied());
        assert!(message(&pinned, "ZonePinned").ends_with(": quay-1, quay-2"));
        assert!(summary(&pinned).contains(&"Ready=False PinnedByVolumes".to_owned()));
    }
}

// Rule nodepool-33.
#[test]
fn a_zone_that_stays_is_told() {
    let standing = Standing { pinned: names(1, 4), ..standing(2) };
    let status = accepted(&high_io(), &standing, &applied(), at(1));
    let expected = ["Accepted=True Valid", "Ready=True Applied", "ZonePinned=True PinnedByVolumes"];
    assert_eq!(summary(&status), expected);
    let expected = "PersistentVolumes are bound to the zone of 1 node, which therefore stays: 0000";
    assert_eq!(message(&status, "ZonePinned"), expected);
    let standing = Standing { wait: Wait::Pins, ..standing };
    let status = accepted(&high_io(), &standing, &applied(), at(1));
    let expected = [
        "Accepted=True Valid",
        "Ready=False PinnedByVolumes",
        "ZonePinned=True PinnedByVolumes",
        "Stalled=True PinnedByVolumes",
    ];
    assert_eq!(summary(&status), expected, "a deletion waits for the volumes");
}

// Rule nodepool-37.
#[test]
fn a_start_script_is_reported_as_not_rendered() {
    let spec = json!({ "nodeNames": ["quay-1"], "bootstrap": { "script": "#!/bin/sh" } });
    let status = accepted(&pool("high-io", 1, &spec), &standing(1), &applied(), at(1));
    let expected = ["Accepted=True Valid", "Ready=True Applied", "BootstrapRendered=False Unsupported"];
    assert_eq!(summary(&status), expected);
}

// Rules nodepool-34 and nodepool-6.
#[test]
fn a_rejected_pool_that_is_deleted_says_how_it_can_go() {
    let mut cluster = Cluster::new(&[high_io()], &[node("quay-1", &json!({}))]);
    cluster.reconcile("high-io");
    cluster.set_spec("high-io", &json!({ "nodeNames": ["quay-1"], "labels": { "os.name": "plan9" } }));
    cluster.pools[0] = going(cluster.pools[0].clone(), DeletionPolicy::Drain);
    let status = rejected_now(&cluster);
    let expected =
        ["Accepted=False ReservedKey", "Ready=False DeletionRefused", "Stalled=True DeletionRefused"];
    assert_eq!(summary(&status), expected);
    cluster.nodes.clear();
    let status = rejected_now(&cluster);
    let expected = ["Accepted=False ReservedKey", "Ready=False NotAccepted", "Stalled=True NotAccepted"];
    assert_eq!(summary(&status), expected, "an empty one waits for nothing");
}

// Rule nodepool-16.
#[test]
fn resources_are_the_exact_sums_of_the_first_sixteen() {
    let standing = Standing { capacity: resources(2), ..standing(2) };
    let status = accepted(&high_io(), &standing, &applied(), at(1));
    let capacity: BTreeMap<_, _> =
        status.capacity.iter().map(|(name, sum)| (name.as_str(), sum.0.as_str())).collect();
    assert_eq!((capacity["cpu"], capacity["memory"], capacity["pods"]), ("16", "64Gi", "220"));
    assert_eq!(capacity[format!("example.com/{:040}", 0).as_str()], "18446744073709551614");
    assert!(status.allocatable.is_empty());
}

// Rule nodepool-22.
#[test]
fn a_status_is_under_2_kib_whatever_the_size() {
    const MOST: i32 = i32::MAX;
    let largest =
        NodeCounts { total: MOST, ready: MOST, not_ready: MOST, unschedulable: MOST, draining: MOST };
    let sums = resources(5000);
    for length in [1, 4, 20, 25, 60, 253] {
        let all = || names(5000, length);
        let standing = |wait| Standing {
            nodes: largest,
            capacity: sums.clone(),
            allocatable: sums.clone(),
            not_ready: all(),
            contested: all(),
            awaited: awaited(5000),
            blocked: all(),
            pinned: all(),
            wait,
        };
        let drain = Wait::Drain {
            nodes: (0..5000).map(|index| format!("{index:0length$}")).collect(),
            blocked: Some("\"\\\u{7}".repeat(1000)),
        };
        let spec = json!({ "nodeNames": ["quay-1"], "bootstrap": { "script": "#!/bin/sh" } });
        let mut pool = pool("high-io", 1, &spec);
        pool.metadata.generation = Some(i64::MAX);
        for wait in [Wait::Nothing, Wait::Members, Wait::Pins, drain] {
            let standing = standing(wait);
            let written = Written {
                pending: denied(5000, length).denied.into_keys().collect(),
                ..denied(5000, length)
            };
            let told = accepted(&pool, &standing, &written, at(1));
            pool.status = Some(told.clone());
            let failing = troubled(&pool, Trouble::Failing, &"\u{20ac}\n\"".repeat(4096), at(1));
            for status in [told, failing] {
                let size = serde_json::to_vec(&status).unwrap().len();
                assert!(size < 2048, "{size} bytes with names of {length}");
                let says_something = |message: &str| !message.ends_with("...") || message.len() >= 20;
                assert!(status.conditions.iter().all(|condition| says_something(&condition.message)));
            }
        }
    }
}

// Rule nodepool-22.
#[test]
fn a_status_with_little_to_tell_tells_it_whole() {
    let standing = Standing { contested: names(12, 15), pinned: names(12, 15), ..standing(12) };
    let status = accepted(&high_io(), &standing, &applied(), at(1));
    for type_ in ["MembershipConflict", "ZonePinned"] {
        assert!(message(&status, type_).ends_with("and 2 more"), "{}", message(&status, type_));
    }
}

// Rule nodepool-19.
#[test]
fn kstatus_never_meets_both_outlooks_and_ready_never_beside_one() {
    let mut pool = high_io();
    let standings = [
        standing(1),
        Standing { blocked: names(1, 4), ..standing(1) },
        Standing { awaited: awaited(1), ..standing(1) },
        Standing { wait: Wait::Members, ..standing(1) },
        Standing { wait: Wait::Pins, ..standing(1) },
        Standing { wait: drain(None), ..standing(1) },
    ];
    for standing in standings {
        for written in [applied(), pending(), denied(1, 4)] {
            pool.status = Some(accepted(&pool, &standing, &written, at(1)));
            let conditions = json!(pool.status.as_ref().unwrap().conditions);
            let is_true = |type_: &str| {
                let holds = |condition: &Value| condition["type"] == type_ && condition["status"] == "True";
                conditions.as_array().unwrap().iter().any(holds)
            };
            let exactly_one =
                ["Ready", "Reconciling", "Stalled"].into_iter().filter(|type_| is_true(type_)).count();
            assert_eq!(exactly_one, 1, "{conditions}");
        }
    }
}
