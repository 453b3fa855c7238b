//! A pool with nodes is deleted: refused, or drained.

use k8s_openapi::api::{
    core::v1::{ConfigMap, Node, Pod},
    events::v1::Event,
};
use serde_json::{Value, json};
use stowage_api::NodePool;
use stowage_testkit::{Effect, Fault};

use crate::yard::{BUDGET, LABEL, Yard, seconds};

const PLUGIN: &str = "admission webhook \"nodes.cloud.example\" denied the request: not yours";

fn pod(name: &str, owner: Option<&str>) -> Value {
    let owners: Vec<_> =
        owner.map(|kind| json!({"kind": kind, "name": "o", "controller": true})).into_iter().collect();
    json!({
        "metadata": {"namespace": "sea", "name": name, "ownerReferences": owners},
        "spec": {"nodeName": "quay-1"},
    })
}

/// A pool over one node, whose deletion goes by `policy`.
async fn yard_with(policy: &str) -> Yard {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a"), ("crane", "by-hand")]);
    yard.add_pool("gantry", "a");
    set_policy(&yard, policy);
    yard.start().await;
    yard
}

fn set_policy(yard: &Yard, policy: &str) {
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"deletionPolicy": policy}}));
}

fn is_cordoned(yard: &Yard) -> bool {
    yard.server.get::<Node>("quay-1").unwrap()["spec"]["unschedulable"] == true
}

fn reasons(yard: &Yard) -> Vec<String> {
    yard.server
        .all::<Event>()
        .iter()
        .filter_map(|event| event["reason"].as_str().map(str::to_owned))
        .collect()
}

// Rule controllers-10.
#[tokio::test(start_paused = true)]
async fn a_refused_deletion_keeps_the_nodes_says_so_and_ends_when_the_policy_does() {
    let yard = yard_with("Refuse").await;
    yard.server.delete::<NodePool>("gantry");
    seconds(5).await;
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("False DeletionRefused"));
    assert_eq!(yard.condition("gantry", "Stalled").as_deref(), Some("True DeletionRefused"));
    // Drift is repaired meanwhile, and nothing else is written.
    yard.server.change::<Node>("quay-1", &json!({"metadata": {"labels": {"crane": null}}}));
    seconds(1).await;
    assert_eq!(yard.labels("quay-1")["crane"], "gantry");
    let writes = yard.server.writes().len();
    seconds(300).await;
    assert_eq!(yard.server.writes().len(), writes);

    set_policy(&yard, "Release");
    seconds(1).await;
    assert!(yard.server.get::<NodePool>("gantry").is_none());
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "by-hand"}));
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn a_drain_cordons_first_tells_what_will_be_lost_and_waits_for_a_budget() {
    let yard = yard_with("Drain").await;
    yard.server.create::<Pod>(pod("stowaway", None));
    yard.server.create::<Pod>(pod("crew", Some("ReplicaSet")));
    yard.server.create::<Pod>(pod("rat", Some("DaemonSet")));
    yard.server.inject(Fault::new("create", "crew/eviction", Effect::Refused(429, BUDGET)).times(usize::MAX));
    yard.server.delete::<NodePool>("gantry");
    seconds(20).await;
    assert!(is_cordoned(&yard));
    assert!(yard.server.get::<Pod>("stowaway").is_none() && yard.server.get::<Pod>("rat").is_some());
    assert_eq!(yard.condition("gantry", "Draining").as_deref(), Some("True EvictionBlocked"));
    assert_eq!(yard.server.get::<NodePool>("gantry").unwrap()["status"]["nodes"]["draining"], 1);
    let told = reasons(&yard);
    assert!(told.contains(&"BarePodsFound".to_owned()), "{told:?}");

    // What keeps it there goes by itself.
    yard.server.delete::<Pod>("crew");
    seconds(10).await;
    assert!(yard.server.get::<NodePool>("gantry").is_none());
    assert!(!is_cordoned(&yard));
    assert_eq!(yard.labels("quay-1"), json!({"row": "a", "crane": "by-hand"}));
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn a_drain_that_takes_too_long_lets_go_and_names_what_is_left() {
    let yard = yard_with("Drain").await;
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"drainTimeout": "1m"}}));
    yard.server.create::<Pod>(pod("crew", Some("ReplicaSet")));
    yard.server.inject(Fault::new("create", "crew/eviction", Effect::Refused(429, BUDGET)).times(usize::MAX));
    yard.server.delete::<NodePool>("gantry");
    seconds(50).await;
    assert!(yard.server.get::<NodePool>("gantry").is_some());
    seconds(30).await;
    assert!(yard.server.get::<NodePool>("gantry").is_none());
    assert!(yard.server.get::<Pod>("crew").is_some());
    assert!(reasons(&yard).contains(&"DrainTimedOut".to_owned()));
    assert!(!is_cordoned(&yard));
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn a_drain_whose_end_fails_is_not_begun_again() {
    for refusal in [Effect::Refused(503, "busy"), Effect::Refused(403, PLUGIN)] {
        let yard = yard_with("Drain").await;
        yard.server.change::<NodePool>("gantry", &json!({"spec": {"drainTimeout": "1m"}}));
        yard.server.create::<Pod>(pod("crew", Some("ReplicaSet")));
        yard.server
            .inject(Fault::new("create", "crew/eviction", Effect::Refused(429, BUDGET)).times(usize::MAX));
        yard.server.delete::<NodePool>("gantry");
        seconds(50).await;
        let began = || {
            let pool = yard.server.get::<NodePool>("gantry").unwrap();
            let conditions = pool["status"]["conditions"].as_array().unwrap().clone();
            let draining = conditions.into_iter().find(|condition| condition["type"] == "Draining");
            draining.map(|condition| condition["lastTransitionTime"].clone())
        };
        let first = began();
        assert!(first.is_some());
        yard.server.inject(Fault::new("patch", "/nodes/quay-1", refusal.clone()).times(usize::MAX));
        seconds(60).await;
        assert_eq!(began(), first, "{refusal:?}");
        assert_eq!(yard.server.get::<NodePool>("gantry").unwrap()["status"]["nodes"]["total"], 1);
        yard.stopped().await;
    }
}

// Rules controllers-6 and controllers-13.
#[tokio::test(start_paused = true)]
async fn a_pool_whose_release_is_refused_says_what_it_still_holds() {
    let yard = yard_with("Release").await;
    yard.server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(403, PLUGIN)).times(usize::MAX));
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"labels": {"os.name": "plan9"}}}));
    yard.server.delete::<NodePool>("gantry");
    seconds(1).await;
    let status = yard.server.get::<NodePool>("gantry").unwrap()["status"].clone();
    assert_eq!((&status["nodes"]["total"], &status["samples"]["rejected"]), (&json!(1), &json!(["quay-1"])));
    assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some("False RejectedByProvider"));
    assert!(status.to_string().contains("not yours"), "{status}");
}

// Rule controllers-12.
#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_published_are_told_without_a_break() {
    for (refusal, reason) in [
        (Effect::Refused(500, "down"), "False ProgressingWithRetry"),
        (Effect::Refused(403, PLUGIN), "False Denied"),
    ] {
        let yard = yard_with("Release").await;
        let map = "/configmaps/nodepool-gantry";
        yard.server.inject(Fault::new("patch", map, refusal).times(usize::MAX));
        let before = yard.server.writes().len();
        yard.server.change::<NodePool>("gantry", &json!({"spec": {"kubelet": {"maxPods": 9}}}));
        seconds(1200).await;
        assert_eq!(yard.condition("gantry", "Ready").as_deref(), Some(reason));
        let writes = yard.server.writes();
        let statuses: Vec<_> =
            writes[before..].iter().filter(|write| write.path.ends_with("/gantry/status")).collect();
        let says_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        for status in &statuses {
            let conditions = status.body["status"]["conditions"].as_array().unwrap();
            assert!(!conditions.iter().any(says_ready), "{conditions:?}");
        }
        assert!((1..=2).contains(&statuses.len()), "what is known is not told again: {statuses:?}");
        yard.stopped().await;
    }
}

// Rules controllers-10 and controllers-12.
#[tokio::test(start_paused = true)]
async fn settings_are_kept_while_a_deletion_is_refused() {
    let yard = yard_with("Refuse").await;
    let map = || yard.server.get::<ConfigMap>("nodepool-gantry");
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"kubelet": {"maxPods": 9}}}));
    seconds(1).await;
    yard.server.delete::<NodePool>("gantry");
    seconds(1).await;
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"kubelet": {"maxPods": 8}}}));
    seconds(1).await;
    assert!(map().unwrap().to_string().contains("\\\"maxPods\\\": 8"), "{:?}", map());
    yard.server.delete::<ConfigMap>("nodepool-gantry");
    seconds(1).await;
    assert!(map().is_some());

    // The API server deletes first what the pool owns, and would do it again and again.
    let finalizers = json!(["nodepools.stowage.dev/cleanup", "foregroundDeletion"]);
    yard.server.change::<NodePool>("gantry", &json!({"metadata": {"finalizers": finalizers}}));
    yard.server.delete::<ConfigMap>("nodepool-gantry");
    seconds(1).await;
    assert!(map().is_none());
    assert_eq!(yard.labels("quay-1")[LABEL], "gantry");
}

// Rule controllers-12.
#[tokio::test(start_paused = true)]
async fn settings_are_published_once_repaired_and_withdrawn() {
    let yard = yard_with("Release").await;
    let map = || yard.server.get::<ConfigMap>("nodepool-gantry");
    assert!(map().is_none());
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"localDNS": true, "kubelet": {"maxPods": 9}}}));
    seconds(1).await;
    let published = map().unwrap()["data"].clone();
    let file = published["kubelet.conf"].as_str().unwrap();
    assert!(file.contains("169.254.7.7") && file.contains("\"maxPods\": 9"), "{file}");
    let writes = yard.server.writes().len();
    seconds(1200).await;
    assert_eq!(yard.server.writes().len(), writes, "nothing is written at rest");

    yard.server.change::<ConfigMap>("nodepool-gantry", &json!({"data": {"kubelet.conf": "x"}}));
    seconds(1).await;
    assert_eq!(map().unwrap()["data"], published);
    yard.server.delete::<ConfigMap>("nodepool-gantry");
    seconds(1).await;
    assert_eq!(map().unwrap()["data"], published);
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"localDNS": null, "kubelet": null}}));
    seconds(1).await;
    assert!(map().is_none());
}

// Rule controllers-13.
#[tokio::test(start_paused = true)]
async fn a_node_that_a_plugin_refuses_is_named_and_the_others_are_done() {
    let yard = Yard::new();
    for node in ["quay-1", "quay-2"] {
        yard.add_node(node, &[("row", "a")]);
    }
    yard.server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(403, PLUGIN)).times(usize::MAX));
    yard.add_pool("gantry", "a");
    yard.start().await;
    assert_eq!(yard.labels("quay-2")[LABEL], "gantry");
    assert_eq!(yard.condition("gantry", "RejectedByProvider").as_deref(), Some("True RejectedByProvider"));
    let pool = yard.server.get::<NodePool>("gantry").unwrap();
    assert_eq!(pool["status"]["samples"]["rejected"], json!(["quay-1"]));
    assert!(pool.to_string().contains("not yours"));
    let tries = || {
        let requests = yard.server.requests();
        requests
            .iter()
            .filter(|request| request.verb == "patch" && request.path.ends_with("/nodes/quay-1"))
            .count()
    };
    // Other news wakes the controller, and it does not ask again before its time.
    for round in 0..10 {
        yard.server.change::<Node>("quay-2", &json!({"metadata": {"labels": {"crane": round.to_string()}}}));
        seconds(5).await;
    }
    assert_eq!(tries(), 1);
    seconds(600).await;
    assert!((2..=3).contains(&tries()), "{}", tries());
}
