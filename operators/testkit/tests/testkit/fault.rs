//! Requests that go wrong.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use stowage_testkit::{Effect, Fault};
use tokio::time::timeout;

use crate::nodes;

/// How a request came back.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Well,
    Refused(u16, String),
    /// The connection broke.
    Broken,
    /// Not within an hour.
    Never,
}

/// Patches one node under a fault: how the answer came back, and whether the node was changed.
async fn patched(effect: Effect) -> (Came, bool) {
    let (server, nodes) = nodes(&["bar"]);
    server.inject(Fault::new("patch", "/bar", effect));
    let change = Patch::Merge(json!({"metadata": {"labels": {"tide": "low"}}}));
    let answer =
        timeout(Duration::from_secs(3600), nodes.patch("bar", &PatchParams::default(), &change)).await;
    let came = match answer {
        Err(_) => Came::Never,
        Ok(Ok(_)) => Came::Well,
        Ok(Err(kube::Error::Api(status))) => Came::Refused(status.code, status.message.clone()),
        Ok(Err(_)) => Came::Broken,
    };
    let labels = server.get::<Node>("bar").unwrap()["metadata"]["labels"].clone();
    (came, labels == json!({"tide": "low"}))
}

// Rule testkit-9.
#[tokio::test(start_paused = true)]
async fn each_effect_is_seen_by_the_client_and_by_the_object() {
    assert_eq!(patched(Effect::Lost).await, (Came::Broken, false));
    assert_eq!(patched(Effect::AnswerLost).await, (Came::Broken, true));
    assert_eq!(patched(Effect::Hang).await, (Came::Never, false));
    let (came, changed) = patched(Effect::Refused(429, "too many ships")).await;
    assert_eq!((came, changed), (Came::Refused(429, "too many ships".to_owned()), false));
}

// Rule testkit-10.
#[tokio::test(start_paused = true)]
async fn a_fault_lets_some_pass_and_then_hits_as_many_as_it_says() {
    let (server, nodes) = nodes(&["bar"]);
    server.inject(Fault::new("list", "/nodes", Effect::Refused(503, "")).after(1).times(2));
    let mut worked = Vec::new();
    for _ in 0..5 {
        worked.push(nodes.list(&ListParams::default()).await.is_ok());
    }
    assert_eq!(worked, [true, false, false, true, true]);
}

// Rule testkit-10.
#[tokio::test(start_paused = true)]
async fn a_fault_hits_only_its_own_verb_and_path() {
    let (server, nodes) = nodes(&["bar", "reef"]);
    server.inject(Fault::new("delete", "/bar", Effect::Lost));
    let change = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes.patch("bar", &PatchParams::default(), &change).await.unwrap();
    drop(nodes.delete("reef", &DeleteParams::default()).await.unwrap());
    nodes.delete("bar", &DeleteParams::default()).await.map(drop).unwrap_err();
}
