//! What bounds our writes: a rate, and the refusals of others.

use std::{num::NonZeroU32, time::Duration};

use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use stowage_runtime::{Cache, Class, Cleanup, Decided, Failure, Key, Tuning, WriteLimit};
use stowage_testkit::{Effect, Fault};

use crate::harbour::{Buoys, Quay, Step, World, buoy, seconds, started};

const NO: &str = "admission webhook \"cloud\" denied the request: not this label";

/// A world with that many buoys, and what is known of them.
async fn buoys(count: usize) -> (World, Cache<Buoys>) {
    let world = World::new();
    for number in 0..count {
        world.server.create::<Node>(buoy(&format!("buoy-{number}")));
    }
    let buoys = world.runtime.applier("quays").load().await.unwrap();
    (world, buoys)
}

fn light(buoys: &Cache<Buoys>, colour: &str) -> Vec<Decided<crate::harbour::Buoy>> {
    let patch = serde_json::from_value(json!({"metadata": {"labels": {"light": colour}}}));
    let patch: serde_json::Map<_, _> = patch.unwrap();
    buoys.all().into_iter().map(|(key, on)| Decided { key, on, patch: patch.clone() }).collect()
}

async fn timed(world: &World, buoys: &Cache<Buoys>, colour: &str) -> Duration {
    let began = started();
    let lit = light(buoys, colour);
    world.runtime.applier("quays").patch_all(buoys, lit).await.all_done().unwrap();
    began.elapsed()
}

fn limited(per_second: u32, burst: u32) -> Tuning {
    let count = |count| NonZeroU32::new(count).unwrap();
    let writes = WriteLimit::Bucket { per_second: count(per_second), burst: count(burst) };
    Tuning { writes, ..Tuning::default() }
}

fn patches(world: &World, name: &str) -> usize {
    let path = format!("/api/v1/nodes/{name}");
    world.server.requests().iter().filter(|request| request.path == path).count()
}

// Rule runtime-24.
#[tokio::test(start_paused = true)]
async fn a_hundred_writes_go_at_once_and_then_fifty_in_a_second() {
    let (world, buoys) = buoys(400).await;
    let took = timed(&world, &buoys, "red").await;
    assert!((5900..=6100).contains(&took.as_millis()), "{took:?} for 300 more than the burst");
    let waited = world.metric(r#"stowage_write_wait_seconds_count{controller="quays"}"#);
    assert_eq!(waited.as_deref(), Some("400"));
}

// Rule runtime-24.
#[tokio::test(start_paused = true)]
async fn all_controllers_share_one_limit_that_can_change_and_be_off() {
    let (world, buoys) = buoys(20).await;
    world.runtime.tune(limited(1, 1));
    let lit = light(&buoys, "red");
    let (first, second) = (world.runtime.applier("quays"), world.runtime.applier("cranes"));
    let began = started();
    first.patch_all(&buoys, lit.into_iter().take(3)).await.all_done().unwrap();
    second.patch_all(&buoys, light(&buoys, "red").into_iter().take(3)).await.all_done().unwrap();
    assert_eq!(began.elapsed().as_secs(), 5, "six writes, the first of them free");
    world.runtime.tune(limited(10, 1));
    assert_eq!(timed(&world, &buoys, "green").await.as_millis(), 1900);
    world.runtime.tune(Tuning { writes: WriteLimit::Disabled, ..Tuning::default() });
    assert_eq!(timed(&world, &buoys, "white").await, Duration::ZERO);
}

// Rule runtime-24.
#[tokio::test(start_paused = true)]
async fn the_events_of_a_limited_process_do_not_wait() {
    let world = World::new();
    world.runtime.tune(limited(1, 1));
    world.build("north", &[Step::Label("red"), Step::Publish]);
    world.start();
    seconds(2).await;
    world.queue.add(Key::cluster("north"));
    let before = started();
    while world.server.all::<k8s_openapi::api::events::v1::Event>().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

// Rule runtime-20.
#[tokio::test(start_paused = true)]
async fn a_refused_write_is_not_sent_again_but_another_is_and_so_are_those_to_others() {
    let (world, buoys) = buoys(2).await;
    world.server.inject(Fault::new("patch", "/buoy-0", Effect::Refused(400, NO)).times(2));
    let applier = world.runtime.applier("quays");
    let mut outcomes = applier.patch_all(&buoys, light(&buoys, "red")).await;
    let denied = outcomes.take_denied();
    let told: Vec<_> = denied.iter().map(|(key, error)| (key.name.as_str(), error.cause())).collect();
    assert_eq!(told, [("buoy-0", NO)]);
    outcomes.all_done().unwrap();
    for _ in 0..5 {
        let denied = applier.patch_all(&buoys, light(&buoys, "red")).await.take_denied();
        assert_eq!(
            denied.iter().map(|(_, error)| error.sentence()).collect::<Vec<_>>(),
            [format!("cannot patch Node buoy-0: {NO}")]
        );
        seconds(59).await;
    }
    assert_eq!(patches(&world, "buoy-0"), 1);
    assert_eq!(
        world
            .metric(r#"stowage_writes_total{controller="quays",result="kept_back",verb="patch"}"#)
            .as_deref(),
        Some("5")
    );
    assert!(applier.patch(&buoys, light(&buoys, "green").remove(0)).await.is_err(), "another, refused too");
    assert_eq!(patches(&world, "buoy-0"), 2);
    seconds(301).await;
    applier.patch_all(&buoys, light(&buoys, "green")).await.all_done().unwrap();
    assert_eq!(patches(&world, "buoy-0"), 3);
}

// Rule runtime-10.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once_and_tried_again_slowly() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(403, NO)));
    world.build("north", &[const { Step::Label("red") }; 9]);
    world.start();
    seconds(290).await;
    assert_eq!(world.failures(), [Failure::Denied(format!("cannot patch Node north: {NO}"))]);
    assert_eq!(world.times("reconcile", "north").len(), 1);
    seconds(170).await;
    assert_eq!(world.server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"], "red");
}

// Rule runtime-20.
#[tokio::test(start_paused = true)]
async fn a_delete_that_is_refused_is_kept_back_as_well() {
    let (world, _) = buoys(1).await;
    world.server.inject(Fault::new("delete", "/buoy-0", Effect::Refused(403, NO)));
    let uid = world.server.get::<Node>("buoy-0").unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    let applier = world.runtime.applier("quays");
    for _ in 0..3 {
        let error = applier.delete::<Node>(&Key::cluster("buoy-0"), &uid).await.unwrap_err();
        assert_eq!(error.class(), Class::Denied);
    }
    assert!(world.server.get::<Node>("buoy-0").is_some());
    seconds(301).await;
    applier.delete::<Node>(&Key::cluster("buoy-0"), &uid).await.unwrap();
    assert!(world.server.get::<Node>("buoy-0").is_none());
}

// Rule runtime-11.
#[tokio::test(start_paused = true)]
async fn an_object_whose_cleanup_is_not_done_keeps_its_finalizer() {
    let world = World::new();
    world.build("north", &[]);
    world.start();
    seconds(1).await;
    let wait = Cleanup::RequeueAfter(Duration::from_secs(30));
    world
        .script("north", &[Step::Clean(wait), Step::Clean(Cleanup::AwaitChange), Step::Clean(Cleanup::Done)]);
    world.server.delete::<Quay>("north");
    seconds(20).await;
    assert_eq!(world.times("cleanup", "north").len(), 1);
    seconds(400).await;
    assert_eq!(world.times("cleanup", "north").len(), 2, "after the time it asked for, then not by itself");
    assert!(world.server.get::<Quay>("north").is_some());
    world.queue.add(Key::cluster("north"));
    seconds(1).await;
    assert!(world.server.get::<Quay>("north").is_none());
}

// Rule runtime-8.
#[tokio::test(start_paused = true)]
async fn how_many_run_at_once_and_how_often_all_is_looked_at_can_change() {
    let world = World::new();
    for number in 0..6 {
        world.build(&format!("quay-{number}"), &[Step::Work(Duration::from_secs(5))]);
    }
    let two = std::num::NonZeroUsize::new(2).unwrap();
    let resync = Duration::from_secs(60);
    world.runtime.tune(Tuning { concurrency: two, resync, ..Tuning::default() });
    world.start();
    seconds(20).await;
    assert_eq!(*world.pilot.most_running.lock().unwrap(), 2);
    let most = r#"controller_runtime_max_concurrent_reconciles{controller="quays"}"#;
    assert_eq!(world.metric(most).as_deref(), Some("2"));
    assert_eq!(world.times("reconcile", "quay-0").len(), 1);
    seconds(75).await;
    assert_eq!(world.times("reconcile", "quay-0").len(), 2);
    world.runtime.tune(Tuning::default());
    seconds(60).await;
    assert_eq!(world.metric(most).as_deref(), Some("10"));
}
