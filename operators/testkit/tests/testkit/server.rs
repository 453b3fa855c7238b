//! Which requests are answered, and what is remembered of them.

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use stowage_testkit::{Effect, Fault, Logged, node};

use crate::{nodes, refusal};

// Rule testkit-1.
#[tokio::test(start_paused = true)]
#[should_panic(expected = r#"["unknown /api/v1/nodes"]"#)]
async fn a_request_that_the_product_never_sends_fails_the_test_by_name() {
    let (_server, nodes) = nodes(&["bar"]);
    let deleted = nodes.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    assert_eq!(refusal(deleted), Some(501));
}

// Rule testkit-2.
#[tokio::test(start_paused = true)]
async fn a_resource_that_was_not_added_is_unknown() {
    let (server, _) = nodes(&[]);
    let pods: Api<Pod> = Api::all(server.transport());
    assert_eq!(refusal(pods.list(&ListParams::default()).await), Some(404));
}

// Rule testkit-3.
#[tokio::test(start_paused = true)]
async fn a_list_has_the_order_of_names_its_pages_and_its_labels() {
    let (server, nodes) = nodes(&[]);
    for (name, tide) in [("reef", "low"), ("bar", "high"), ("spit", "low")] {
        server.create::<Node>(node(name, &[("tide", tide)]));
    }
    let mut pages = Vec::new();
    let mut after = ListParams::default().limit(2);
    loop {
        let page = nodes.list(&after).await.unwrap();
        pages.push(page.items.iter().filter_map(|node| node.metadata.name.clone()).collect::<Vec<_>>());
        match page.metadata.continue_ {
            Some(token) => after = ListParams::default().limit(2).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(pages, [vec!["bar", "reef"], vec!["spit"]]);
    let low = nodes.list(&ListParams::default().labels("tide=low")).await.unwrap();
    assert_eq!(low.items.len(), 2);
}

// Rule testkit-11.
#[tokio::test(start_paused = true)]
async fn every_request_is_remembered_and_only_what_changed_something_is_a_write() {
    let (server, nodes) = nodes(&["bar", "reef", "shoal"]);
    server.inject(Fault::new("patch", "/reef", Effect::Lost));
    server.inject(Fault::new("patch", "/shoal", Effect::AnswerLost));
    let change = json!({"metadata": {"labels": {"tide": "low"}}});
    for name in ["bar", "reef", "shoal", "spit"] {
        drop(nodes.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await);
    }
    let asked: Vec<_> =
        server.requests().into_iter().map(|Logged { verb, path, code, .. }| (verb, path, code)).collect();
    let of = |name: &str| format!("/api/v1/nodes/{name}");
    let codes = [("bar", 200), ("reef", 0), ("shoal", 0), ("spit", 404)];
    assert_eq!(asked, codes.map(|(name, code)| ("patch", of(name), code)));
    let write =
        |name: &str, code| Logged { verb: "patch", path: of(name), code, done: true, body: change.clone() };
    assert_eq!(server.writes(), [write("bar", 200), write("shoal", 0)]);
}

// Rule testkit-11.
#[tokio::test(start_paused = true)]
async fn an_event_is_no_write() {
    let (server, _) = nodes(&[]);
    let server = server.with::<Event>();
    let events: Api<Event> = Api::namespaced(server.transport(), "default");
    let event = Event {
        metadata: node("bar.1", &[])
            .get("metadata")
            .cloned()
            .map(|metadata| serde_json::from_value(metadata).unwrap())
            .unwrap(),
        ..Event::default()
    };
    events.create(&PostParams::default(), &event).await.unwrap();
    assert_eq!((server.requests().len(), server.writes().len()), (1, 0));
}
