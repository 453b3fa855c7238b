//! What is wholly ours, and what is asked of pods.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Pod},
    events::v1::Event,
};
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use stowage_runtime::{Applier, Cache, Child, Class, DEADLINE, Evicted, Key, Selection, Severity, Written};
use stowage_testkit::{ApiServer, Effect, Fault};

use crate::harbour::{World, seconds, started};

const SEA: &str = "sea";

fn world() -> World {
    World::with(ApiServer::default().with::<ConfigMap>().with::<Pod>().with::<Event>())
}

fn key(name: &str) -> Key {
    Key { namespace: Some(SEA.to_owned()), name: name.to_owned() }
}

/// The chart of a bay: what the tide does there.
fn chart(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data: BTreeMap<_, _> = data.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let labels = BTreeMap::from([("made-by".to_owned(), "pilot".to_owned())]);
    let metadata = ObjectMeta {
        namespace: Some(SEA.to_owned()),
        name: Some(name.to_owned()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
}

async fn followed(world: &World) -> Arc<Cache<Child<ConfigMap>>> {
    let charts = world.runtime.cache_in(SEA, Selection::default().with_labels("made-by=pilot"));
    world.runtime.follow(&charts);
    seconds(1).await;
    charts
}

fn pod(name: &str, node: &str) -> Value {
    json!({"metadata": {"namespace": SEA, "name": name}, "spec": {"nodeName": node}})
}

async fn evict(world: &World, fault: Fault) -> (Result<Evicted, Class>, usize) {
    let uid = world.server.create::<Pod>(pod("crew", "boat")).uid.unwrap();
    world.server.inject(fault);
    let result = world.runtime.applier("quays").evict(&key("crew"), &uid).await;
    let sent = world.server.requests().iter().filter(|request| request.verb == "create").count();
    (result.map_err(|error| error.class()), sent)
}

// Rule runtime-21.
#[tokio::test(start_paused = true)]
async fn a_child_is_written_when_it_differs_and_not_at_rest() {
    let world = world();
    let charts = followed(&world).await;
    let applier = world.runtime.applier("quays");
    let wish = chart("bay", &[("ebb", "4"), ("flood", "10")]);
    assert_eq!(applier.apply(&charts, &wish).await.unwrap(), Written::Done);
    let made = world.server.get::<ConfigMap>("bay").unwrap();
    assert_eq!(made["data"], json!({"ebb": "4", "flood": "10"}));
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "stowage/quays");
    for _ in 0..3 {
        assert_eq!(applier.apply(&charts, &wish).await.unwrap(), Written::Unchanged);
        seconds(1).await;
    }
    world.server.change::<ConfigMap>("bay", &json!({"data": {"ebb": "5", "wind": "west"}}));
    seconds(1).await;
    assert_eq!(applier.apply(&charts, &wish).await.unwrap(), Written::Done);
    let less = chart("bay", &[("ebb", "4")]);
    assert_eq!(applier.apply(&charts, &less).await.unwrap(), Written::Done);
    let left = world.server.get::<ConfigMap>("bay").unwrap();
    assert_eq!(left["data"], json!({"ebb": "4", "wind": "west"}), "what others have added stays");
    assert_eq!(applier.apply(&charts, &less).await.unwrap(), Written::Unchanged);
    assert_eq!(world.server.writes().len(), 3);
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn a_child_that_has_changed_meanwhile_is_not_written_on_what_is_known_of_it() {
    let world = world();
    let charts = followed(&world).await;
    let applier = world.runtime.applier("quays");
    applier.apply(&charts, &chart("bay", &[("ebb", "4")])).await.unwrap();
    world.server.silence_watches();
    world.server.change::<ConfigMap>("bay", &json!({"data": {"ebb": "5"}}));
    let late = applier.apply(&charts, &chart("bay", &[("ebb", "6")])).await.unwrap_err();
    assert_eq!(late.class(), Class::Conflict);
    assert_eq!(world.server.get::<ConfigMap>("bay").unwrap()["data"], json!({"ebb": "5"}));
    // Until the silence is noticed.
    seconds(60).await;
    assert_eq!(applier.apply(&charts, &chart("bay", &[("ebb", "6")])).await.unwrap(), Written::Done);
}

// Rule runtime-20.
#[tokio::test(start_paused = true)]
async fn a_refused_child_is_kept_back_whatever_its_version_has_become() {
    let world = world();
    let charts = followed(&world).await;
    let applier = world.runtime.applier("quays");
    applier.apply(&charts, &chart("bay", &[("ebb", "4")])).await.unwrap();
    let no = "admission webhook \"sea\" denied the request: not this tide";
    world.server.inject(Fault::new("patch", "/configmaps/bay", Effect::Refused(403, no)));
    for by in ["hand", "foot"] {
        let denied = applier.apply(&charts, &chart("bay", &[("ebb", "5")])).await.unwrap_err();
        assert_eq!(denied.class(), Class::Denied);
        world.server.change::<ConfigMap>("bay", &json!({"metadata": {"annotations": {"by": by}}}));
        seconds(1).await;
    }
    assert_eq!(world.server.requests().iter().filter(|request| request.verb == "patch").count(), 2);
}

// Rule runtime-21.
#[tokio::test(start_paused = true)]
async fn a_child_is_not_written_into_a_namespace_that_is_gone() {
    let world = world();
    let charts = followed(&world).await;
    world.server.inject(Fault::new("patch", "/configmaps/bay", Effect::Refused(404, "no such namespace")));
    let applier = world.runtime.applier("quays");
    assert_eq!(applier.apply(&charts, &chart("bay", &[("ebb", "4")])).await.unwrap(), Written::Gone);
}

// Rule runtime-22.
#[tokio::test(start_paused = true)]
async fn a_cache_of_a_part_sees_only_that_part() {
    let world = world();
    let charts = followed(&world).await;
    let made = |namespace: &str, name: &str, by: &str| json!({"metadata": {"namespace": namespace, "name": name, "labels": {"made-by": by}}});
    world.server.create::<ConfigMap>(made(SEA, "bay", "pilot"));
    world.server.create::<ConfigMap>(made(SEA, "cove", "hand"));
    world.server.create::<ConfigMap>(made("land", "hill", "pilot"));
    seconds(1).await;
    let seen = || charts.all().into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
    assert_eq!(seen(), ["sea/bay"]);
    world.server.change::<ConfigMap>("bay", &json!({"metadata": {"labels": {"made-by": "hand"}}}));
    world.server.change::<ConfigMap>("cove", &json!({"metadata": {"labels": {"made-by": "pilot"}}}));
    seconds(1).await;
    assert_eq!(seen(), ["sea/cove"]);
    let watches = world.server.requests();
    assert!(watches.iter().all(|watch| watch.path == "/api/v1/namespaces/sea/configmaps"), "{watches:?}");
}

// Rule runtime-22.
#[tokio::test(start_paused = true)]
async fn the_pods_of_one_node_are_read_without_the_others() {
    let world = world();
    for (name, node) in [("cook", "boat"), ("mate", "boat"), ("porter", "quay")] {
        world.server.create::<Pod>(pod(name, node));
    }
    let applier: Applier = world.runtime.applier("quays");
    let selection = Selection::default().with_fields("spec.nodeName=boat");
    let pods: Cache<stowage_runtime::Whole<Pod>> = applier.list(&selection).await.unwrap();
    let names: Vec<_> = pods.all().into_iter().map(|(key, _)| key.name).collect();
    assert_eq!(names, ["cook", "mate"]);
    assert_eq!(world.metric(r#"stowage_cached_objects{kind="Pod"}"#), None, "nobody keeps them up to date");
}

// Rule runtime-22.
#[tokio::test(start_paused = true)]
async fn all_of_a_kind_are_shown_page_by_page_without_those_that_do_not_decode() {
    let world = world();
    for number in 0..250 {
        world.server.create::<Pod>(pod(&format!("hand-{number:03}"), "boat"));
    }
    world.server.change::<Pod>("hand-120", &json!({"spec": {"nodeName": 7}}));
    let applier = world.runtime.applier("quays");
    let mut seen = Vec::new();
    let see = |pod: Arc<Pod>| seen.push(pod.metadata.name.clone().unwrap());
    applier.each::<stowage_runtime::Whole<Pod>>(&Selection::default(), see).await.unwrap();
    let all = (0..250).filter(|number| *number != 120).map(|number| format!("hand-{number:03}"));
    assert_eq!(seen, all.collect::<Vec<_>>());
    assert_eq!(world.server.requests().iter().filter(|request| request.verb == "list").count(), 3);
}

// Rule runtime-23.
#[tokio::test(start_paused = true)]
async fn an_evicted_pod_is_the_one_that_was_looked_at() {
    let world = world();
    let old = world.server.create::<Pod>(pod("crew", "boat")).uid.unwrap();
    world.server.delete::<Pod>("crew");
    let applier = world.runtime.applier("quays");
    assert_eq!(applier.evict(&key("crew"), &old).await.unwrap(), Evicted::Gone);
    let new = world.server.create::<Pod>(pod("crew", "boat")).uid.unwrap();
    assert_eq!(applier.evict(&key("crew"), &old).await.unwrap(), Evicted::Gone);
    assert!(world.server.get::<Pod>("crew").is_some());
    assert_eq!(applier.evict(&key("crew"), &new).await.unwrap(), Evicted::Accepted);
    assert!(world.server.get::<Pod>("crew").is_none());
}

// Rule runtime-23.
#[tokio::test(start_paused = true)]
async fn an_eviction_is_sent_once_and_what_blocks_it_is_said_in_the_words_of_the_server() {
    let blocked = |words: &str| Ok(Evicted::Blocked(words.to_owned()));
    let refused = |words: &str| Ok(Evicted::Refused(words.to_owned()));
    let budget = "Cannot evict pod as it would violate the pod's disruption budget.";
    let two =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let webhook = "admission webhook \"crew\" denied the request: not at sea";
    let rbac = "pods \"crew\" is forbidden: User \"me\" cannot create resource \"pods/eviction\"";
    let cases = [
        (429, budget, blocked(budget), "a budget"),
        (500, two, refused(two), "two budgets, which no wait mends"),
        (403, webhook, refused(webhook), "a webhook"),
        (429, "too many requests", Err(Class::Transient), "a busy server blocks no drain"),
        (500, "etcd", Err(Class::Transient), "trouble blocks no drain"),
        (409, "the budget was modified", Err(Class::Conflict), "another eviction came first"),
        (403, rbac, Err(Class::Forbidden), "RBAC"),
    ];
    for (code, message, expected, because) in cases {
        let fault = Fault::new("create", "/pods/crew/eviction", Effect::Refused(code, message)).times(9);
        assert_eq!(evict(&world(), fault).await, (expected, 1), "{because}");
    }
}

// Rule runtime-23.
#[tokio::test(start_paused = true)]
async fn each_of_many_pods_is_asked_whatever_becomes_of_the_others() {
    let world = world();
    let pods: Vec<_> = ["bosun", "cook", "mate"]
        .map(|name| (key(name), world.server.create::<Pod>(pod(name, "boat")).uid.unwrap()))
        .into();
    world.server.inject(Fault::new("create", "/bosun/eviction", Effect::Refused(500, "no answer")));
    let applier = world.runtime.applier("quays");
    let answers = applier.evict_all(pods, Duration::from_secs(60)).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|error| error.class())).collect();
    assert_eq!(answers, [Err(Class::Transient), Ok(Evicted::Accepted), Ok(Evicted::Accepted)]);
}

// Rule runtime-23.
#[tokio::test(start_paused = true)]
async fn no_pod_is_asked_after_the_time_for_it() {
    let world = world();
    let pods: Vec<_> = (0..20)
        .map(|number| {
            let name = format!("hand-{number}");
            (key(&name), world.server.create::<Pod>(pod(&name, "boat")).uid.unwrap())
        })
        .collect();
    world.server.inject(Fault::new("create", "/eviction", Effect::Hang).times(usize::MAX));
    let began = started();
    let answers = world.runtime.applier("quays").evict_all(pods, Duration::from_secs(10)).await;
    assert_eq!((answers.len(), began.elapsed()), (4, DEADLINE), "those in flight are waited for");
}

// Rule runtime-14.
#[tokio::test(start_paused = true)]
async fn an_event_can_be_about_an_object_that_is_known_by_name_alone_and_fits_its_field() {
    let world = world();
    let note = format!("{}é", "x".repeat(1023));
    let event =
        stowage_runtime::Event { severity: Severity::Warning, action: "Drain", reason: "DrainBlocked", note };
    world.runtime.applier("quays").publish_about::<Pod>(&key("crew"), "uid-9", event).await;
    let sent = &world.server.all::<Event>()[0];
    let about = json!({"apiVersion": "v1", "kind": "Pod", "namespace": SEA, "name": "crew", "uid": "uid-9"});
    assert_eq!(sent["regarding"], about);
    assert_eq!(sent["note"], "x".repeat(1023), "the API server takes 1,024 bytes, whole characters here");
}
