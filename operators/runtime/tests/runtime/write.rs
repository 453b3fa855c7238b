//! What the applier sends.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod},
    events::v1::Event,
};
use serde_json::json;
use stowage_runtime::{Class, Decided, Key, Written};
use stowage_testkit::{ApiServer, Effect, Fault};

use crate::harbour::{Buoys, Quay, QuayStatus, Step, World, buoy, quay, seconds};

// Rule runtime-5.
#[tokio::test(start_paused = true)]
async fn a_patch_names_the_state_it_was_decided_on() {
    let world = World::new();
    world.server.create::<Node>(buoy("bar"));
    let applier = world.runtime.applier("quays");
    let buoys = applier.load::<Buoys>().await.unwrap();
    let (key, patch) =
        (Key::cluster("bar"), serde_json::from_str(r#"{"metadata": {"labels": {"light": "red"}}}"#).unwrap());
    let bar = buoys.get(&key).unwrap();
    world.server.change::<Node>("bar", &json!({"metadata": {"labels": {"by-hand": "yes"}}}));
    let stale = applier.patch(&buoys, Decided { key, on: bar, patch }).await.unwrap_err();
    assert_eq!(stale.class(), Class::Conflict);
    assert_eq!(world.server.get::<Node>("bar").unwrap()["metadata"]["labels"], json!({"by-hand": "yes"}));
}

// Rule runtime-5.
#[tokio::test(start_paused = true)]
async fn of_many_patches_each_is_tried_and_the_most_urgent_error_is_returned() {
    let world = World::new();
    for name in ["bar", "reef", "shoal", "spit"] {
        world.server.create::<Node>(buoy(name));
    }
    world.server.inject(Fault::new("patch", "/bar", Effect::Refused(422, "")));
    world.server.inject(Fault::new("patch", "/reef", Effect::Refused(500, "")));
    world.server.inject(Fault::new("patch", "/shoal", Effect::Refused(403, "")));
    let applier = world.runtime.applier("quays");
    let buoys = applier.load::<Buoys>().await.unwrap();
    let patch =
        serde_json::from_str::<serde_json::Map<_, _>>(r#"{"metadata": {"labels": {"light": "red"}}}"#)
            .unwrap();
    let seen = buoys.all();
    let patches = || seen.iter().cloned().map(|(key, on)| Decided { key, on, patch: patch.clone() });
    let error = applier.patch_all(&buoys, patches()).await.all_done().unwrap_err();
    assert_eq!(error.sentence(), "cannot patch Node reef: the API server answered 500 InternalServerError");
    assert_eq!(world.server.get::<Node>("spit").unwrap()["metadata"]["labels"]["light"], "red");
    let again = applier.patch_all(&buoys, patches()).await.all_done();
    assert!(again.is_err_and(|error| error.class() == Class::Conflict));
}

// Rule runtime-5.
#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_needs_no_write() {
    let world = World::new();
    world.server.create::<Node>(buoy("bar"));
    let applier = world.runtime.applier("quays");
    let buoys = applier.load::<Buoys>().await.unwrap();
    let (key, bar) = (Key::cluster("bar"), buoys.get(&Key::cluster("bar")).unwrap());
    world.server.delete::<Node>("bar");
    let gone = Decided { key, on: bar, patch: serde_json::Map::new() };
    assert_eq!(applier.patch(&buoys, gone).await.unwrap(), Written::Gone);
}

// Rule runtime-5.
#[tokio::test(start_paused = true)]
async fn a_status_is_sent_only_if_it_differs_and_only_what_differs() {
    let world = World::new();
    world.server.create::<Quay>({
        let mut quay = quay("north");
        quay["status"] = json!({"note": "free"});
        quay
    });
    let applier = world.runtime.applier("quays");
    let quays = Arc::new(applier.load::<stowage_runtime::Whole<Quay>>().await.unwrap());
    let north = quays.get(&Key::cluster("north")).unwrap().object;
    applier.report(&quays, &*north, &QuayStatus { note: Some("free".to_owned()) }).await.unwrap();
    assert_eq!(world.server.writes(), []);
    applier.report(&quays, &*north, &QuayStatus { note: None }).await.unwrap();
    let writes = world.server.writes();
    let version = north.metadata.resource_version.clone().unwrap();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].path, "/apis/harbour.example/v1/quays/north/status");
    assert_eq!(writes[0].body, json!({"metadata": {"resourceVersion": version}, "status": {"note": null}}));
}

// Rule runtime-5.
#[tokio::test(start_paused = true)]
async fn a_delete_spares_another_object_of_the_same_name() {
    let world = World::new();
    let old = world.server.create::<Node>(buoy("bar")).uid.unwrap();
    world.server.delete::<Node>("bar");
    let applier = world.runtime.applier("quays");
    assert_eq!(applier.delete::<Node>(&Key::cluster("bar"), &old).await.unwrap(), Written::Gone);
    let new = world.server.create::<Node>(buoy("bar")).uid.unwrap();
    assert_eq!(applier.delete::<Node>(&Key::cluster("bar"), &old).await.unwrap(), Written::Gone);
    assert!(world.server.get::<Node>("bar").is_some());
    assert_eq!(applier.delete::<Node>(&Key::cluster("bar"), &new).await.unwrap(), Written::Done);
    assert!(world.server.get::<Node>("bar").is_none());
}

// Rule runtime-7.
#[tokio::test(start_paused = true)]
async fn the_next_reconcile_sees_our_own_write_before_the_stream_brings_it() {
    let world = World::new();
    world.build("north", &[]);
    world.start();
    seconds(1).await;
    world.server.silence_watches();
    world.script("north", &[const { Step::Label("red") }; 3]);
    for _ in 0..3 {
        world.queue.add(Key::cluster("north"));
        seconds(1).await;
    }
    assert_eq!(world.times("reconcile", "north").len(), 4);
    let patches =
        world.server.requests().iter().filter(|request| request.path == "/api/v1/nodes/north").count();
    assert_eq!(patches, 1, "decided on the state before the first write");
}

// Rule runtime-14.
#[tokio::test(start_paused = true)]
async fn an_event_is_sent_once_and_then_counted() {
    let world = World::new();
    world.build("north", &[Step::Publish, Step::Publish, Step::Publish, Step::Publish]);
    world.start();
    seconds(1).await;
    for wait in [60, 60, 400] {
        world.queue.add(Key::cluster("north"));
        seconds(wait).await;
    }
    world.queue.add(Key::cluster("north"));
    seconds(1).await;
    let events = world.server.all::<Event>();
    let counts: Vec<_> = events.iter().map(|event| event["series"]["count"].as_i64()).collect();
    assert_eq!(counts, [Some(4)], "the resync in between publishes nothing");
    let event = &events[0];
    assert_eq!(event["regarding"]["name"], "north");
    assert_eq!((&event["reason"], &event["type"]), (&json!("ShipMoored"), &json!("Normal")));
    assert_eq!(event["reportingController"], "stowage/quays");
}

// Rule runtime-14.
#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_sent_fails_nothing() {
    let world = World::new();
    world.server.inject(Fault::new("create", "/events", Effect::Refused(403, "no")).times(9));
    world.build("north", &[Step::Publish]);
    world.start();
    seconds(1).await;
    assert_eq!(world.failures(), []);
    assert_eq!(
        world.metric(r#"controller_runtime_reconcile_errors_total{controller="quays"}"#).as_deref(),
        Some("0")
    );
}

// Rule runtime-18.
#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_scaled_to_zero_still_has_pods_until_they_are_gone() {
    let server = ApiServer::default().with::<Deployment>().with::<Pod>();
    let world = World::with(server.clone());
    let (applier, tug) =
        (world.runtime.applier("quays"), Key { namespace: Some("sea".to_owned()), name: "tug".to_owned() });
    assert_eq!(applier.scale_to_zero(&tug).await.unwrap(), 0, "there is none");
    server.create::<Deployment>(json!({
        "metadata": {"name": "tug"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"harbour.example/boat": "tug", "deck": "lower"}}},
    }));
    for (name, deck) in [("tug-1", "lower"), ("other", "upper")] {
        server.create::<Pod>(
            json!({"metadata": {"namespace": "sea", "name": name, "labels": {"harbour.example/boat": "tug", "deck": deck}}}),
        );
    }
    assert_eq!(applier.scale_to_zero(&tug).await.unwrap(), 1);
    assert_eq!(server.get::<Deployment>("tug").unwrap()["spec"]["replicas"], 0);
    server.delete::<Pod>("tug-1");
    assert_eq!(applier.scale_to_zero(&tug).await.unwrap(), 0);
}
