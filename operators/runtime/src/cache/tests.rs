//! Which of two versions is believed: the stream's, the list's, or the answer's to our own write.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use super::*;

type Nodes = Cache<Whole<Node>>;

fn empty() -> Nodes {
    Cache::new(Metrics::new().unwrap(), Selection::default())
}

fn node(name: &str, version: u64) -> Decoded<Whole<Node>> {
    let metadata = json!({"name": name, "uid": name, "resourceVersion": version.to_string()});
    Decoded::read(&json!({ "metadata": metadata }).to_string()).unwrap()
}

fn list(nodes: &Nodes, listed: &[(&str, u64)]) {
    nodes.apply(Event::Init);
    for (name, version) in listed {
        nodes.apply(Event::InitApply(node(name, *version)));
    }
    nodes.apply(Event::InitDone);
}

fn versions(nodes: &Nodes) -> Vec<(String, String)> {
    nodes.all().into_iter().map(|(key, held)| (key.name, held.version.to_string())).collect()
}

fn are(nodes: &Nodes, expected: &[(&str, u64)], because: &str) {
    let expected: Vec<_> =
        expected.iter().map(|(name, version)| ((*name).to_owned(), version.to_string())).collect();
    assert_eq!(versions(nodes), expected, "{because}");
}

// Rule runtime-7.
#[test]
fn the_answer_to_our_own_write_outlives_a_list_and_a_stream_that_are_older() {
    let nodes = empty();
    list(&nodes, &[("bar", 5), ("reef", 6)]);
    nodes.learn(node("bar", 9), Audience::Nobody);
    nodes.apply(Event::Apply(node("bar", 8)));
    are(&nodes, &[("bar", 9), ("reef", 6)], "the stream is late");
    list(&nodes, &[("bar", 8), ("reef", 6)]);
    are(&nodes, &[("bar", 9), ("reef", 6)], "the list is late");
    nodes.apply(Event::Apply(node("bar", 9)));
    nodes.learn(node("bar", 7), Audience::Nobody);
    are(&nodes, &[("bar", 9), ("reef", 6)], "the answer is late");
}

// Rule runtime-6.
#[test]
fn a_server_that_went_back_in_time_is_believed() {
    let nodes = empty();
    list(&nodes, &[("bar", 500), ("reef", 600)]);
    nodes.learn(node("bar", 700), Audience::Nobody);
    nodes.apply(Event::Apply(node("bar", 700)));
    // An etcd that was restored counts on from an earlier version.
    list(&nodes, &[("bar", 300), ("reef", 310)]);
    are(&nodes, &[("bar", 300), ("reef", 310)], "the stream had confirmed our write");
    nodes.learn(node("bar", 320), Audience::Nobody);
    are(&nodes, &[("bar", 320), ("reef", 310)], "our next write is news");
    nodes.apply(Event::Apply(node("reef", 330)));
    nodes.learn(node("bar", 325), Audience::Nobody);
    are(&nodes, &[("bar", 320), ("reef", 330)], "what the stream has passed is none");
}
