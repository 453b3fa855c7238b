//! What a cache holds, and what its readers are told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use stowage_runtime::{Cache, Key, View};
use stowage_testkit::{ApiServer, Effect, Expiry, Fault};

use crate::harbour::{Buoys, Quay, World, buoy, quay, seconds};

fn names<V: View>(cache: &Cache<V>) -> Vec<String> {
    cache.all().into_iter().map(|(key, _)| key.name).collect()
}

/// How often each way to the objects was taken: lists, watches that begin with all objects, other watches.
fn ways(server: &ApiServer) -> (usize, usize) {
    let requests = server.requests();
    let count = |verb: &str| requests.iter().filter(|request| request.verb == verb).count();
    (count("list"), count("watch"))
}

fn told(cache: &Cache<Buoys>) -> Arc<Mutex<Vec<(String, bool, bool)>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    cache.subscribe(move |change| {
        telling.lock().unwrap().push((change.key.name.clone(), change.old.is_some(), change.new.is_some()));
    });
    told
}

fn errors(world: &World) -> String {
    world.metric(r#"stowage_watch_errors_total{kind="Node"}"#).unwrap()
}

fn follow(world: &World) -> Arc<Cache<Buoys>> {
    world.runtime.follow(&world.pilot.buoys);
    Arc::clone(&world.pilot.buoys)
}

// Rule runtime-3.
#[tokio::test(start_paused = true)]
async fn one_watch_brings_every_object_and_every_change() {
    let world = World::new();
    for name in ["spit", "bar", "reef"] {
        world.server.create::<Node>(buoy(name));
    }
    let buoys = follow(&world);
    let told = told(&buoys);
    seconds(1).await;
    assert_eq!(names(&buoys), ["bar", "reef", "spit"]);
    world.server.change::<Node>("reef", &json!({"metadata": {"labels": {"light": "red"}}}));
    world.server.delete::<Node>("spit");
    world.server.create::<Node>(buoy("shoal"));
    seconds(1).await;
    assert_eq!(names(&buoys), ["bar", "reef", "shoal"]);
    let expected = [
        ("bar", false, true),
        ("reef", false, true),
        ("spit", false, true),
        ("reef", true, true),
        ("spit", true, false),
        ("shoal", false, true),
    ];
    assert_eq!(*told.lock().unwrap(), expected.map(|(name, old, new)| (name.to_owned(), old, new)));
    assert_eq!(ways(&world.server), (0, 1));
}

// Rule runtime-3.
#[tokio::test(start_paused = true)]
async fn a_server_without_streaming_lists_is_read_in_pages() {
    let world = World::with(ApiServer::default().with::<Node>().with_pages_only());
    for number in 0..250 {
        world.server.create::<Node>(buoy(&format!("buoy-{number}")));
    }
    let buoys = follow(&world);
    seconds(1).await;
    assert_eq!(buoys.all().len(), 250);
    // The refused watch, three pages, the watch that follows them.
    assert_eq!(ways(&world.server), (3, 2));
}

// Rule runtime-3.
#[tokio::test(start_paused = true)]
async fn a_version_that_changes_alone_is_kept_but_told_to_nobody() {
    let world = World::new();
    world.server.create::<Node>(buoy("bar"));
    let buoys = follow(&world);
    seconds(1).await;
    let told = told(&buoys);
    let version =
        world.server.change::<Node>("bar", &json!({"status": {"phase": "Afloat"}})).resource_version;
    seconds(1).await;
    assert_eq!(Some(&*buoys.get(&Key::cluster("bar")).unwrap().version), version.as_deref());
    assert!(told.lock().unwrap().is_empty());
}

// Rule runtime-4.
#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_decode_is_counted_and_stops_nobody_else() {
    let world = World::new();
    world.server.create::<Quay>(quay("north"));
    let mut broken = quay("south");
    broken["spec"]["metres"] = json!("many");
    world.server.create::<Quay>(broken);
    world.server.create::<Quay>(quay("west"));
    let quays = Arc::clone(&world.pilot.quays);
    world.runtime.follow(&quays);
    seconds(1).await;
    assert_eq!(names(&quays), ["north", "west"]);
    assert_eq!(quays.unreadable(), [Key::cluster("south")].into());
    assert!(
        quays.undecodable(&Key::cluster("south")).unwrap().error.contains("invalid type: string \"many\"")
    );
    assert_eq!(world.metric(r#"stowage_undecodable_objects{kind="Quay"}"#).as_deref(), Some("1"));
    world.server.change::<Quay>("south", &json!({"spec": {"metres": 9}}));
    seconds(1).await;
    assert_eq!(names(&quays), ["north", "south", "west"]);
    assert_eq!(world.metric(r#"stowage_undecodable_objects{kind="Quay"}"#).as_deref(), Some("0"));
}

// Rule runtime-4.
#[tokio::test(start_paused = true)]
async fn an_object_that_no_longer_decodes_stays_as_it_was_under_the_metadata_of_today() {
    let world = World::new();
    world.server.create::<Quay>(quay("north"));
    let quays = Arc::clone(&world.pilot.quays);
    world.runtime.follow(&quays);
    seconds(1).await;
    world.server.change::<Quay>(
        "north",
        &json!({"metadata": {"labels": {"new": "yes"}}, "spec": {"metres": "many"}}),
    );
    seconds(1).await;
    let north = quays.get(&Key::cluster("north")).unwrap().object;
    assert_eq!(north.spec.metres, 7);
    assert!(north.metadata.labels.as_ref().unwrap().contains_key("new"));
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_goes_on_where_it_was() {
    let world = World::new();
    world.server.create::<Node>(buoy("bar"));
    let buoys = follow(&world);
    seconds(1).await;
    world.server.cut_watches();
    world.server.create::<Node>(buoy("reef"));
    seconds(2).await;
    assert_eq!(names(&buoys), ["bar", "reef"]);
    assert_eq!(ways(&world.server), (0, 2));
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn a_watch_that_has_fallen_silent_is_noticed_within_45_seconds() {
    let world = World::new();
    let buoys = follow(&world);
    seconds(1).await;
    world.server.silence_watches();
    world.server.create::<Node>(buoy("reef"));
    seconds(42).await;
    assert_eq!(names(&buoys), Vec::<String>::new());
    seconds(3).await;
    assert_eq!(names(&buoys), ["reef"]);
    assert_eq!(errors(&world), "1");
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn a_watch_whose_time_is_up_is_no_error_though_nothing_has_happened() {
    let world = World::new();
    follow(&world);
    seconds(600).await;
    assert_eq!((ways(&world.server).1, errors(&world).as_str()), (15, "0"));
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_errors_and_begin_ever_more_slowly() {
    let world = World::new();
    world.server.inject(Fault::new("watch", "/nodes", Effect::Ended).after(1).times(5000));
    let buoys = follow(&world);
    seconds(30).await;
    world.server.cut_watches();
    world.server.create::<Node>(buoy("reef"));
    seconds(100).await;
    let began = ways(&world.server).1;
    assert!((8..15).contains(&began), "{began} watches in 100 s");
    assert_eq!(errors(&world), (began - 1).to_string(), "the first brought the list");
    assert_eq!(names(&buoys), Vec::<String>::new());
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_before_its_time_is_an_error_if_nothing_came_of_it() {
    let world = World::new();
    follow(&world);
    seconds(41).await;
    world.server.create::<Node>(buoy("bar"));
    seconds(20).await;
    world.server.cut_watches();
    seconds(1).await;
    assert_eq!(errors(&world), "0", "it brought an object");
    for told in ["1", "2"] {
        seconds(20).await;
        world.server.cut_watches();
        seconds(1).await;
        assert_eq!(errors(&world), told);
    }
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn a_list_that_takes_longer_than_a_watch_is_read_in_pages() {
    let server = ApiServer::default().with::<Node>().with_slow_lists(Duration::from_secs(1));
    let world = World::with(server);
    for number in 0..100 {
        world.server.create::<Node>(buoy(&format!("buoy-{number}")));
    }
    let buoys = follow(&world);
    seconds(39).await;
    assert_eq!(world.runtime.health().missing(), ["the cache of nodes is not complete"]);
    seconds(3).await;
    assert_eq!((buoys.all().len(), errors(&world).as_str()), (100, "1"));
    assert_eq!(world.runtime.health().missing(), Vec::<String>::new());
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn what_vanished_while_the_watch_was_down_is_told() {
    for expiry in [Expiry::InAnswer, Expiry::InStream] {
        let world = World::new();
        world.server.create::<Node>(buoy("bar"));
        world.server.create::<Node>(buoy("reef"));
        let buoys = follow(&world);
        seconds(1).await;
        let told = told(&buoys);
        world.server.delete::<Node>("bar");
        world.server.expire(expiry);
        seconds(5).await;
        assert_eq!(names(&buoys), ["reef"], "{expiry:?}");
        assert_eq!(*told.lock().unwrap(), [("bar".to_owned(), true, false)], "{expiry:?}");
    }
}

// Rule runtime-6.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_down_at_start_is_waited_for() {
    let world = World::new();
    world.server.create::<Node>(buoy("bar"));
    // Every try of the watch is one request and two retries.
    world.server.inject(Fault::new("watch", "/nodes", Effect::Lost).times(60));
    let buoys = follow(&world);
    seconds(60).await;
    assert_eq!(world.runtime.health().missing(), ["the cache of nodes is not complete"]);
    assert_eq!(world.runtime.health().dead(), Vec::<String>::new());
    let tried = world.server.requests().len();
    assert!((10..40).contains(&tried), "{tried} requests in a minute");
    seconds(300).await;
    assert_eq!(names(&buoys), ["bar"]);
    assert_eq!(world.runtime.health().missing(), Vec::<String>::new());
}
