use jiff::Timestamp;
use serde_json::{Value, json};
use stowage_api::{NodeCounts, NodePool, NodePoolStatus, condition::Trouble};

use super::{Outcome, accepted, rejected, troubled};
use crate::{
    Names, Standing,
    fixtures::{Cluster, node, pool},
    validate,
};

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

// Rules nodepool-16 and nodepool-18.
#[test]
fn the_whole_status_of_a_pool_that_is_done() {
    let counts = NodeCounts { total: 3, ready: 2, not_ready: 1, unschedulable: 1 };
    let standing = Standing { nodes: counts, not_ready: names(1, 4), ..Standing::default() };
    let status = accepted(&high_io(), &standing, Outcome::Applied, at(60));
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": message,
            "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:01:00Z",
        })
    };
    let expected = json!({
        "observedGeneration": 1,
        "nodes": { "total": 3, "ready": 2, "notReady": 1, "unschedulable": 1 },
        "samples": { "notReady": ["0000"] },
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
        (standing(1), Outcome::Applied, vec!["Accepted=True Valid", "Ready=True Applied"], "done"),
        (
            standing(0),
            Outcome::Applied,
            vec!["Accepted=True Valid", "Ready=True Applied"],
            "nothing to do is done",
        ),
        (
            standing(1),
            Outcome::Pending,
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "writes are still to come",
        ),
        (
            Standing { awaited: names(1, 4), ..standing(1) },
            Outcome::Applied,
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "another pool has yet to hand a node over",
        ),
        (
            Standing { blocked: names(1, 4), ..standing(1) },
            Outcome::Applied,
            vec!["Accepted=True Valid", "Ready=False LedgerTooNew", "Stalled=True LedgerTooNew"],
            "no retry helps",
        ),
        (
            Standing { blocked: names(1, 4), ..standing(1) },
            Outcome::Pending,
            vec!["Accepted=True Valid", "Ready=False Progressing", "Reconciling=True Progressing"],
            "first what can be done",
        ),
        (
            Standing { contested: names(1, 4), ..standing(1) },
            Outcome::Applied,
            vec!["Accepted=True Valid", "Ready=True Applied", "MembershipConflict=True HeldByOtherPools"],
            "what it has is in order",
        ),
    ];
    for (standing, outcome, expected, because) in cases {
        assert_eq!(summary(&accepted(&high_io(), &standing, outcome, at(1))), expected, "{because}");
    }
}

// Rule nodepool-18.
#[test]
fn a_pool_without_nodes_says_so() {
    let status = accepted(&high_io(), &standing(0), Outcome::Applied, at(1));
    assert_eq!(message(&status, "Ready"), "No node belongs to the pool");
}

// Rule nodepool-2.
#[test]
fn a_conflict_names_at_most_ten_nodes() {
    let standing = Standing { contested: names(12, 1), ..standing(0) };
    let status = accepted(&high_io(), &standing, Outcome::Applied, at(1));
    let expected =
        "Other pools have 12 nodes that this pool asks for: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more";
    assert_eq!(message(&status, "MembershipConflict"), expected);
}

// Rules nodepool-6 and nodepool-18.
#[test]
fn a_rejected_pool_says_why_and_still_counts_what_it_holds() {
    let mut cluster = Cluster::new(&[high_io()], &[node("quay-1", &json!({})), node("quay-2", &json!({}))]);
    cluster.reconcile("high-io");
    cluster.set_spec("high-io", &json!({ "nodeNames": ["quay-1"], "labels": { "os.name": "plan9" } }));
    let rejection = validate(&cluster.pools[0]).unwrap_err();
    let status = rejected(&cluster.pools[0], &rejection, &cluster.observed(), at(1));
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
        pool.status = Some(accepted(&pool, &conflict, Outcome::Applied, at(1)));
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

        let again = accepted(&pool, &conflict, Outcome::Pending, at(3));
        assert_eq!(again, told, "the next attempt does not take it back");
        pool.metadata.generation = Some(2);
        let changed = accepted(&pool, &conflict, Outcome::Pending, at(3));
        assert!(summary(&changed).contains(&"Ready=False Progressing".to_owned()), "a new spec may cure it");
        let cured = accepted(&pool, &conflict, Outcome::Applied, at(3));
        assert!(summary(&cured).contains(&"Ready=True Applied".to_owned()), "a success does");
    }
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
    pool.status = Some(accepted(&pool, &standing(1), Outcome::Applied, at(1)));
    assert_eq!(Some(accepted(&pool, &standing(1), Outcome::Applied, at(9))), pool.status);
}

// Rule nodepool-21.
#[test]
fn a_transition_is_a_change_of_status_and_nothing_else() {
    let mut pool = high_io();
    let times = |status: &NodePoolStatus| -> Vec<i64> {
        status.conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect()
    };
    pool.status = Some(accepted(&pool, &standing(0), Outcome::Applied, at(1)));
    pool.metadata.generation = Some(2);
    let other_message = accepted(&pool, &standing(1), Outcome::Applied, at(2));
    assert_eq!(times(&other_message), [1, 1]);
    pool.status = Some(other_message);
    let other_status = accepted(&pool, &standing(1), Outcome::Pending, at(3));
    assert_eq!(times(&other_status), [1, 3, 3]);
}

// Rule nodepool-22.
#[test]
fn a_status_is_under_2_kib_whatever_the_size() {
    let largest =
        NodeCounts { total: i32::MAX, ready: i32::MAX, not_ready: i32::MAX, unschedulable: i32::MAX };
    for length in [1, 20, 25, 60, 253] {
        let all = || names(5000, length);
        let standing = Standing {
            nodes: largest,
            not_ready: all(),
            contested: all(),
            awaited: Names::default(),
            blocked: all(),
        };
        let mut pool = high_io();
        pool.metadata.generation = Some(i64::MAX);
        let blocked = accepted(&pool, &standing, Outcome::Applied, at(1));
        pool.status = Some(blocked.clone());
        let failing = troubled(&pool, Trouble::Failing, &"\u{20ac}".repeat(4096), at(1));
        for status in [blocked, failing] {
            let size = serde_json::to_vec(&status).unwrap().len();
            assert!(size < 2048, "{size} bytes with names of {length}");
        }
    }
}

// Rule nodepool-19.
#[test]
fn kstatus_never_meets_both_outlooks_and_ready_never_beside_one() {
    let mut pool = high_io();
    let standings = [
        standing(1),
        Standing { blocked: names(1, 4), ..standing(1) },
        Standing { awaited: names(1, 4), ..standing(1) },
    ];
    for standing in standings {
        for outcome in [Outcome::Applied, Outcome::Pending] {
            pool.status = Some(accepted(&pool, &standing, outcome, at(1)));
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
