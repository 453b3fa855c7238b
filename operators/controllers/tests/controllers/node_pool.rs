//! Nodes and pools, as an administrator sees them.

use std::time::Duration;

use k8s_openapi::api::{core::v1::Node, events::v1::Event};
use serde_json::json;
use stowage_api::NodePool;
use stowage_testkit::{Effect, Fault};

use crate::yard::{LABEL, LEDGER, Yard, pool, seconds};

// Rule controllers-1.
#[tokio::test(start_paused = true)]
async fn a_node_that_joins_gets_its_labels_in_one_patch_within_a_second() {
    let yard = Yard::new();
    yard.add_pool("gantry", "a");
    yard.start().await;
    yard.add_node("quay-1", &[("row", "a")]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "gantry", LABEL: "gantry"}));
    seconds(60).await;
    assert_eq!(yard.writes_of_node("quay-1"), 1);
    let status = yard.server.get::<NodePool>("gantry").unwrap()["status"].clone();
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(
        status["nodes"],
        json!({"total": 1, "ready": 1, "notReady": 0, "unschedulable": 0, "draining": 0})
    );
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("True Applied"));
    assert_eq!(yard.condition("gantry", "Reconciling"), None);
    assert_eq!(yard.server.all::<Event>()[0]["reason"], "NodesUpdated");
}

// Rule controllers-2.
#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_is_not_written_to() {
    let yard = Yard::new();
    for number in 0..20 {
        yard.add_node(&format!("quay-{number}"), &[("row", if number % 2 == 0 { "a" } else { "b" })]);
    }
    yard.add_pool("gantry", "a");
    yard.add_pool("jib", "b");
    yard.start().await;
    seconds(60).await;
    let writes = yard.server.writes().len();
    // A finalizer and a status for each pool, one patch for each node.
    assert_eq!(writes, 24);
    for beat in 0..100 {
        yard.server.change::<Node>("quay-3", &json!({"status": {"beat": beat}}));
        seconds(10).await;
    }
    seconds(3600).await;
    assert_eq!(yard.server.writes().len(), writes);
    assert!(yard.server.requests().iter().all(|request| request.verb != "list"));
}

// Rule controllers-2.
#[tokio::test(start_paused = true)]
async fn a_restart_writes_nothing() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    let writes = yard.server.writes().len();
    let yard = yard.restarted().await;
    yard.start().await;
    seconds(60).await;
    assert_eq!(yard.server.writes().len(), writes);
}

// Rule controllers-3.
#[tokio::test(start_paused = true)]
async fn two_pools_over_one_node_do_not_fight() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("older", "a");
    yard.add_pool("newer", "a");
    yard.start().await;
    for beat in 0..100 {
        yard.server.change::<Node>("quay-1", &json!({"spec": {"unschedulable": beat % 2 == 0}}));
        seconds(1).await;
    }
    assert_eq!(yard.writes_of_node("quay-1"), 1);
    assert_eq!(yard.labels("quay-1")[LABEL], "older");
    assert_eq!(yard.condition("newer", "MembershipConflict").as_deref(), Some("True HeldByOtherPools"));
    assert_eq!(yard.condition("older", "MembershipConflict"), None);
}

// Rule controllers-3.
#[tokio::test(start_paused = true)]
async fn a_pool_that_goes_hands_its_nodes_to_the_next_in_one_patch() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a"), ("crane", "by-hand")]);
    yard.add_pool("older", "a");
    yard.add_pool("newer", "a");
    yard.start().await;
    yard.server.delete::<NodePool>("older");
    seconds(1).await;
    assert!(yard.server.get::<NodePool>("older").is_none());
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "newer", LABEL: "newer"}));
    assert_eq!(yard.writes_of_node("quay-1"), 2);
    assert_eq!(yard.condition("newer", "MembershipConflict"), None);
    yard.server.delete::<NodePool>("newer");
    seconds(1).await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "by-hand"}));
    assert_eq!(yard.server.get::<Node>("quay-1").unwrap()["metadata"]["annotations"][LEDGER], json!(null));
}

// Rule controllers-3.
#[tokio::test(start_paused = true)]
async fn a_node_that_no_longer_matches_moves_in_one_patch() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.add_pool("jib", "b");
    yard.start().await;
    yard.server.change::<Node>("quay-1", &json!({"metadata": {"labels": {"row": "b"}}}));
    seconds(1).await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "b", "crane": "jib", LABEL: "jib"}));
    assert_eq!(yard.writes_of_node("quay-1"), 2);
    let total = |pool: &str| yard.server.get::<NodePool>(pool).unwrap()["status"]["nodes"]["total"].clone();
    assert_eq!((total("gantry"), total("jib")), (json!(0), json!(1)));
}

// Rule controllers-3.
#[tokio::test(start_paused = true)]
async fn a_pool_that_asks_for_less_wakes_the_pool_that_waits_for_it() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("older", "a");
    yard.add_pool("newer", "a");
    yard.start().await;
    yard.server.change::<NodePool>("older", &json!({"spec": {"selector": {"matchLabels": {"row": "b"}}}}));
    seconds(1).await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "newer", LABEL: "newer"}));
    assert_eq!(yard.writes_of_node("quay-1"), 2);
}

// Rule controllers-4.
#[tokio::test(start_paused = true)]
async fn a_label_that_a_hand_changes_comes_back() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    for change in
        [json!({"crane": "mine"}), json!({"crane": null}), json!({LABEL: null}), json!({LABEL: "jib"})]
    {
        yard.server.change::<Node>("quay-1", &json!({"metadata": {"labels": change}}));
        seconds(1).await;
        assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "gantry", LABEL: "gantry"}));
    }
}

// Rule controllers-5.
#[tokio::test(start_paused = true)]
async fn a_spec_that_becomes_invalid_leaves_the_nodes_as_they_were() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    yard.server
        .change::<NodePool>("gantry", &json!({"spec": {"labels": {"kubernetes.io/hostname": "mine"}}}));
    seconds(1).await;
    assert_eq!(yard.condition("gantry", "Accepted").as_deref(), Some("False ReservedKey"));
    assert_eq!(yard.condition("gantry", "Stalled").as_deref(), Some("True NotAccepted"));
    assert_eq!(yard.labels("quay-1")["crane"], "gantry");
    assert_eq!(yard.writes_of_node("quay-1"), 1);
}

// Rule controllers-5.
#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_decode_keeps_its_nodes_and_disturbs_no_other() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    let yard = yard.restarted().await;
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"selector": "everything"}}));
    yard.add_pool("jib", "a");
    yard.add_node("quay-2", &[("row", "a")]);
    yard.start().await;
    assert_eq!(yard.labels("quay-1")[LABEL], "gantry");
    assert_eq!(yard.labels("quay-2")[LABEL], "jib");
    assert_eq!(yard.condition("jib", "MembershipConflict").as_deref(), Some("True HeldByOtherPools"));
    assert!(yard.server.all::<Event>().iter().any(|event| event["reason"] == "DecodeFailed"));
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"selector": {"matchLabels": {"row": "a"}}}}));
    seconds(1).await;
    assert_eq!(yard.labels("quay-2")[LABEL], "gantry");
}

// Rule controllers-6.
#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_named_in_the_condition_until_it_is_granted() {
    let yard = Yard::new();
    let message = r#"nodes "quay-1" is forbidden: User "a" cannot patch resource "nodes" in API group """#;
    yard.server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(403, message)).times(2));
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_node("quay-2", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    assert_eq!(yard.labels("quay-2")[LABEL], "gantry", "the other node does not wait");
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("False Forbidden"));
    let text = yard.server.get::<NodePool>("gantry").unwrap().to_string();
    assert!(text.contains("grant the verb patch on nodes"), "{text}");
    seconds(120).await;
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("True Applied"));
}

// Rule controllers-6.
#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_told_by_the_first_attempt() {
    let yard = Yard::new();
    let message = r#"nodes "quay-1" is forbidden: User "a" cannot patch resource "nodes" in API group """#;
    yard.server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(403, message)));
    // The only node: no write to another one wakes the pool again.
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("False Forbidden"));
}

// Rule controllers-6.
#[tokio::test(start_paused = true)]
async fn a_conflict_leaves_no_trace_in_the_status() {
    let yard = Yard::new();
    yard.add_pool("gantry", "a");
    yard.start().await;
    yard.server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(409, "modified")).times(2));
    let statuses = yard.server.writes().len();
    yard.add_node("quay-1", &[("row", "a")]);
    seconds(1).await;
    assert_eq!(yard.labels("quay-1")[LABEL], "gantry");
    assert_eq!(yard.server.writes().len(), statuses + 2, "the node, and the new count of nodes");
}

// Rule controllers-7.
#[tokio::test(start_paused = true)]
async fn nodes_of_a_pool_that_is_no_longer_there_are_released() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a"), ("crane", "by-hand")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    let yard = yard.restarted().await;
    yard.server.change::<NodePool>("gantry", &json!({"metadata": {"finalizers": null}}));
    yard.server.delete::<NodePool>("gantry");
    yard.start().await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "by-hand"}));
}

// Rule controllers-7.
#[tokio::test(start_paused = true)]
async fn nodes_of_a_pool_that_goes_without_ever_being_readable_are_released() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    let yard = yard.restarted().await;
    let broken = json!({"metadata": {"finalizers": null}, "spec": {"selector": "everything"}});
    yard.server.change::<NodePool>("gantry", &broken);
    yard.start().await;
    assert_eq!(yard.labels("quay-1")[LABEL], "gantry");
    yard.server.delete::<NodePool>("gantry");
    seconds(1).await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "a"}));
}

// Rule controllers-7.
#[tokio::test(start_paused = true)]
async fn a_pool_that_is_recreated_under_its_name_begins_anew() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.add_pool("gantry", "a");
    yard.start().await;
    yard.server.delete::<NodePool>("gantry");
    seconds(1).await;
    yard.server.create::<NodePool>(pool("gantry", "b"));
    seconds(1).await;
    assert_eq!(yard.labels("quay-1"), json!({"row": "a"}));
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("True Applied"));
}
