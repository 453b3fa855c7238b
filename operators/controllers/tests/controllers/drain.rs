//! How a drain goes on when the API server does not let every pod go.

use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use serde_json::{Value, json};
use stowage_api::NodePool;
use stowage_testkit::{Effect, Fault};

use crate::yard::{BUDGET, LABEL, Yard, seconds};

/// A pool over so many nodes, that drains them when it is deleted.
async fn yard_of(nodes: usize) -> Yard {
    let yard = Yard::new();
    for number in 1..=nodes {
        yard.add_node(&format!("quay-{number}"), &[("row", "a")]);
    }
    yard.add_pool("gantry", "a");
    change_spec(&yard, &json!({"deletionPolicy": "Drain"}));
    yard.start().await;
    yard
}

fn change_spec(yard: &Yard, spec: &Value) {
    yard.server.change::<NodePool>("gantry", &json!({"spec": spec}));
}

fn add_pod(yard: &Yard, node: &str, name: &str) {
    let owners = json!([{"kind": "ReplicaSet", "name": "o", "controller": true}]);
    yard.server.create::<Pod>(json!({
        "metadata": {"namespace": "sea", "name": name, "ownerReferences": owners},
        "spec": {"nodeName": node},
    }));
}

fn refuse_for_ever(yard: &Yard, path: &'static str, code: u16, words: &'static str) {
    yard.server.inject(Fault::new("create", path, Effect::Refused(code, words)).times(usize::MAX));
}

/// What the condition Draining says.
fn draining(yard: &Yard) -> String {
    let pool = yard.server.get::<NodePool>("gantry").unwrap();
    let conditions = pool["status"]["conditions"].as_array().unwrap();
    let draining = conditions.iter().find(|condition| condition["type"] == "Draining").unwrap();
    format!("{}: {}", draining["reason"].as_str().unwrap(), draining["message"].as_str().unwrap())
}

/// How often the drain said that its time was over.
fn endings(yard: &Yard) -> usize {
    let told = yard.server.all::<Event>();
    told.iter().filter(|event| event["reason"] == "DrainTimedOut").count()
}

fn count(yard: &Yard, verb: &str, path: &str) -> usize {
    let requests = yard.server.requests();
    requests.iter().filter(|request| request.verb == verb && request.path.ends_with(path)).count()
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn what_is_not_let_go_is_told_in_its_words_and_holds_up_nothing_else() {
    let budgets =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let webhook = "admission webhook \"crew\" denied the request: not at sea";
    let failing = "an eviction fails: sea/bosun: the API server answered 500";
    for (code, words, expected, because) in [
        (500, "failed calling webhook", failing.to_owned(), "a webhook that is away"),
        (403, webhook, format!("an eviction is refused: sea/bosun: {webhook}"), "a webhook that says no"),
        (500, budgets, format!("an eviction is refused: sea/bosun: {budgets}"), "two budgets"),
        (429, BUDGET, "a PodDisruptionBudget keeps 1 pod there: sea/bosun".to_owned(), "a budget"),
    ] {
        let yard = yard_of(2).await;
        change_spec(&yard, &json!({"drainTimeout": "10m"}));
        add_pod(&yard, "quay-1", "bosun");
        add_pod(&yard, "quay-2", "mate");
        refuse_for_ever(&yard, "bosun/eviction", code, words);
        yard.server.delete::<NodePool>("gantry");
        seconds(20).await;
        assert!(yard.server.get::<Pod>("mate").is_none(), "{because}");
        assert_eq!(yard.labels("quay-2")[LABEL], Value::Null, "{because}: an empty node is let go");
        let told = draining(&yard);
        let expected = format!("and some may not yet: quay-1: {expected}");
        assert!(told.starts_with("EvictionBlocked: ") && told.contains(&expected), "{because}: {told}");
        seconds(570).await;
        assert_eq!(yard.labels("quay-1")[LABEL], "gantry", "{because}: there is time");
        seconds(30).await;
        assert!(yard.server.get::<NodePool>("gantry").is_none(), "{because}: the drain ends in time");
        assert_eq!(endings(&yard), 1, "{because}");
        yard.stopped().await;
    }
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn a_drain_of_many_pods_stops_when_the_policy_does() {
    let yard = yard_of(1).await;
    for number in 0..400 {
        add_pod(&yard, "quay-1", &format!("hand-{number}"));
    }
    yard.server.delete::<NodePool>("gantry");
    seconds(2).await;
    change_spec(&yard, &json!({"deletionPolicy": "Refuse"}));
    seconds(1).await;
    let asked = count(&yard, "create", "/eviction");
    assert!((100..400).contains(&asked), "{asked}");
    seconds(120).await;
    assert_eq!(count(&yard, "create", "/eviction"), asked);
    assert_eq!(yard.server.all::<Pod>().len(), 400 - asked);

    change_spec(&yard, &json!({"deletionPolicy": "Drain"}));
    seconds(60).await;
    assert!(yard.server.get::<NodePool>("gantry").is_none());
    assert_eq!(count(&yard, "create", "/eviction"), 400, "each once");
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn a_drain_looks_at_all_pods_less_often_while_nothing_moves() {
    let yard = yard_of(21).await;
    add_pod(&yard, "quay-1", "bosun");
    refuse_for_ever(&yard, "bosun/eviction", 429, BUDGET);
    yard.server.delete::<NodePool>("gantry");
    seconds(600).await;
    let looks = count(&yard, "list", "/pods");
    assert!((20..=60).contains(&looks), "{looks}");
    yard.server.delete::<Pod>("bosun");
    seconds(40).await;
    assert!(yard.server.get::<NodePool>("gantry").is_none());
}

// Rule controllers-11.
#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_told_once_and_only_when_it_was() {
    let yard = yard_of(1).await;
    change_spec(&yard, &json!({"drainTimeout": "1m"}));
    add_pod(&yard, "quay-1", "bosun");
    refuse_for_ever(&yard, "bosun/eviction", 429, BUDGET);
    yard.server.delete::<NodePool>("gantry");
    seconds(50).await;
    yard.server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(500, "down")).times(5));
    seconds(20).await;
    assert_eq!((yard.labels("quay-1")[LABEL].as_str(), endings(&yard)), (Some("gantry"), 0));
    seconds(120).await;
    assert_eq!((yard.labels("quay-1")[LABEL].as_str(), endings(&yard)), (None, 1));
    assert!(yard.server.get::<NodePool>("gantry").is_none());
}
