//! What a watch brings, and how it ends.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{WatchEvent, WatchParams},
};
use serde_json::json;
use stowage_testkit::{ApiServer, Expiry, node};
use tokio::time::{Instant, timeout};

use crate::{nodes, refusal};

/// Longer than any watch lives.
const LONG: Duration = Duration::from_secs(3600);

/// One line of a watch, in short.
fn short(event: WatchEvent<Node>) -> String {
    let named = |what: &str, node: Node| format!("{what} {}", node.name_any());
    match event {
        WatchEvent::Added(node) => named("added", node),
        WatchEvent::Modified(node) => named("modified", node),
        WatchEvent::Deleted(node) => named("deleted", node),
        WatchEvent::Bookmark(bookmark) => {
            let marks = bookmark.metadata.annotations.keys().map(String::as_str).collect::<Vec<_>>();
            format!("bookmark {} {}", bookmark.metadata.resource_version, marks.join(" "))
                .trim_end()
                .to_owned()
        }
        WatchEvent::Error(status) => format!("error {}", status.code),
    }
}

/// A watch of 40 s that begins with every object.
fn whole() -> WatchParams {
    WatchParams::default().initial_events().timeout(40)
}

/// All lines of a watch to its end; nothing where it has none.
async fn lines(nodes: &Api<Node>, params: &WatchParams, from: &str) -> Option<Vec<String>> {
    let watch = nodes.watch(params, from).await.unwrap();
    let all = watch.map(|event| short(event.unwrap())).collect::<Vec<_>>();
    timeout(LONG, all).await.ok()
}

// Rule testkit-7.
#[tokio::test(start_paused = true)]
async fn a_watch_brings_what_is_there_a_mark_and_then_every_change_in_order() {
    let (server, nodes) = nodes(&["reef", "bar"]);
    let change = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.change::<Node>("bar", &json!({"metadata": {"labels": {"tide": "low"}}}));
        server.change::<Node>("bar", &json!({"metadata": {"labels": {"tide": "low"}}}));
        server.create::<Node>(node("spit", &[]));
        server.delete::<Node>("reef");
    };
    let (params, began) = (whole(), Instant::now());
    let (lines, ()) = tokio::join!(lines(&nodes, &params, "0"), change);
    let expected = [
        "added bar",
        "added reef",
        "bookmark 2 k8s.io/initial-events-end",
        "modified bar",
        "added spit",
        "deleted reef",
    ];
    assert_eq!(
        (lines.unwrap(), began.elapsed()),
        (expected.map(str::to_owned).to_vec(), Duration::from_secs(40))
    );
}

// Rule testkit-7.
#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_brings_what_came_after_and_a_mark_where_it_lags() {
    let server = ApiServer::default().with::<Node>().with::<k8s_openapi::api::core::v1::Pod>();
    for name in ["bar", "reef"] {
        server.create::<Node>(node(name, &[]));
    }
    server.create::<k8s_openapi::api::core::v1::Pod>(
        json!({"metadata": {"name": "ship", "namespace": "quay"}}),
    );
    let nodes = Api::all(server.transport());
    let params = WatchParams::default().timeout(40);
    assert_eq!(lines(&nodes, &params, "1").await.unwrap(), ["added reef", "bookmark 3"]);
}

// Rule testkit-7.
#[tokio::test(start_paused = true)]
async fn a_server_with_pages_only_refuses_to_begin_a_watch_with_every_object() {
    let server = ApiServer::default().with::<Node>().with_pages_only();
    let nodes: Api<Node> = Api::all(server.transport());
    assert_eq!(refusal(nodes.watch(&whole(), "0").await), Some(422));
    assert_eq!(refusal(nodes.watch(&WatchParams::default(), "0").await), None);
}

// Rule testkit-8.
#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_ends_at_once_and_one_that_is_silenced_never() {
    for (because, expected) in [("cut", Some(0)), ("silenced", None)] {
        let (server, nodes) = nodes(&[]);
        let watch = nodes.watch(&WatchParams::default().timeout(40), "0").await.unwrap();
        match because {
            "cut" => server.cut_watches(),
            _ => server.silence_watches(),
        }
        server.create::<Node>(node("bar", &[]));
        let began = Instant::now();
        let ended = timeout(LONG, watch.count()).await.ok();
        assert_eq!(ended.map(|_| began.elapsed().as_secs()), expected, "{because}");
        // The next one is a good one.
        let next = lines(&nodes, &whole(), "0").await.unwrap();
        assert_eq!(next.first().map(String::as_str), Some("added bar"), "{because}");
    }
}

// Rule testkit-8.
#[tokio::test(start_paused = true)]
async fn a_version_that_is_forgotten_is_told_in_either_way_and_a_whole_watch_needs_none() {
    let (server, nodes) = nodes(&["bar", "reef"]);
    let params = WatchParams::default().timeout(40);
    server.expire(Expiry::InAnswer);
    assert_eq!(refusal(nodes.watch(&params, "1").await), Some(410));
    server.expire(Expiry::InStream);
    assert_eq!(lines(&nodes, &params, "1").await.unwrap().first().map(String::as_str), Some("error 410"));
    assert_eq!(lines(&nodes, &params, "2").await.unwrap(), Vec::<String>::new());
    assert_eq!(lines(&nodes, &whole(), "1").await.unwrap().len(), 3);
}
