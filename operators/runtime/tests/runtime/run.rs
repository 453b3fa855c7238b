//! The loop: order, bounds, failures, panics, finalizers, the end.

use std::time::Duration;

use k8s_openapi::api::{core::v1::Node, events::v1::Event};
use serde_json::json;
use stowage_runtime::{DEADLINE, Failure, Key};
use stowage_testkit::{Effect, Fault};

use crate::harbour::{Quay, Step, World, quay, seconds, started};

const ERRORS: &str = r#"controller_runtime_reconcile_errors_total{controller="quays"}"#;
const PANICS: &str = r#"controller_runtime_reconcile_panics_total{controller="quays"}"#;

fn finalizers(world: &World, name: &str) -> serde_json::Value {
    world.server.get::<Quay>(name).unwrap()["metadata"]["finalizers"].clone()
}

// Rule runtime-11.
#[tokio::test(start_paused = true)]
async fn the_finalizer_is_there_before_the_first_side_effect() {
    let world = World::new();
    world.build("north", &[Step::Label("red")]);
    world.server.change::<Quay>("north", &json!({"metadata": {"finalizers": ["other.example/keep"]}}));
    world.start();
    seconds(1).await;
    assert_eq!(finalizers(&world, "north"), json!(["other.example/keep", "quays.harbour.example/cleanup"]));
    let writes = world.server.writes();
    let paths: Vec<&str> = writes.iter().map(|write| write.path.as_str()).collect();
    assert_eq!(paths, ["/apis/harbour.example/v1/quays/north", "/api/v1/nodes/north"]);
}

// Rule runtime-11.
#[tokio::test(start_paused = true)]
async fn a_finalizer_that_cannot_be_set_means_no_reconcile() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/quays/north", Effect::Refused(500, "")).times(2));
    world.build("north", &[Step::Label("red")]);
    world.start();
    seconds(2).await;
    assert_eq!(world.times("reconcile", "north"), Vec::<u64>::new());
    seconds(5).await;
    assert!(!world.times("reconcile", "north").is_empty());
}

// Rule runtime-11.
#[tokio::test(start_paused = true)]
async fn an_object_goes_only_after_its_cleanup_has_succeeded() {
    let world = World::new();
    world.build("north", &[]);
    world.start();
    seconds(1).await;
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(500, "")).times(2));
    world.script("north", &[Step::Label("off"), Step::Label("off"), Step::Label("off")]);
    world.server.delete::<Quay>("north");
    seconds(2).await;
    assert_eq!(finalizers(&world, "north"), json!(["quays.harbour.example/cleanup"]));
    seconds(5).await;
    assert!(world.server.get::<Quay>("north").is_none());
    assert_eq!(world.server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"], "off");
    assert_eq!(world.times("cleanup", "north").len(), 3);
}

// Rule runtime-8.
#[tokio::test(start_paused = true)]
async fn no_more_than_ten_run_at_once_and_each_only_once() {
    let world = World::new();
    for number in 0..30 {
        world.build(&format!("quay-{number}"), &[Step::Work(Duration::from_secs(5))]);
    }
    world.start();
    seconds(1).await;
    for number in 0..30 {
        world.queue.add(Key::cluster(format!("quay-{number}")));
    }
    seconds(60).await;
    assert_eq!(*world.pilot.most_running.lock().unwrap(), 10);
    let begun: usize = (0..30).map(|number| world.times("reconcile", &format!("quay-{number}")).len()).sum();
    let done: usize = (0..30).map(|number| world.times("done", &format!("quay-{number}")).len()).sum();
    assert_eq!((begun, done), (40, 40), "thirty, and again the ten that ran while they were asked for");
}

// Rule runtime-8.
#[tokio::test(start_paused = true)]
async fn the_same_run_sends_the_same_requests_in_the_same_order() {
    let mut logs = Vec::new();
    for _ in 0..5 {
        let world = World::new();
        for number in 0..40 {
            world.build(&format!("quay-{}", (number * 17) % 40), &[Step::Label("red")]);
        }
        world.server.inject(Fault::new("patch", "/nodes/quay-7", Effect::Refused(500, "")).times(3));
        world.start();
        seconds(60).await;
        world.stop.cancel();
        world.runtime.ended().await;
        logs.push(world.server.requests());
    }
    assert!(logs.windows(2).all(|pair| pair[0] == pair[1]));
}

// Rule runtime-12.
#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_and_told_and_stops_nobody_else() {
    let world = World::new();
    world.build("north", &[Step::Panic, Step::Panic]);
    world.build("south", &[Step::Label("red")]);
    world.start();
    seconds(10).await;
    assert_eq!(world.failures(), [Failure::Panicked, Failure::Panicked]);
    assert_eq!(world.metric(PANICS).as_deref(), Some("2"));
    assert_eq!(world.times("done", "south").len(), 1);
    // Third time lucky, and later each time.
    assert_eq!(world.times("reconcile", "north").len(), 3);
    assert_eq!(world.runtime.health().dead(), Vec::<String>::new());
}

// Rule runtime-9.
#[tokio::test(start_paused = true)]
async fn a_failing_object_is_tried_ever_more_slowly_and_alone() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(500, "")).times(99));
    world.build("north", &[const { Step::Label("red") }; 99]);
    world.build("south", &[]);
    world.start();
    seconds(3600).await;
    let times = world.times("reconcile", "north");
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 1 s, 2 s, 4 s ... 5 min, +- 20 %, in whole seconds.
    for (gap, nominal) in gaps.iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]) {
        assert!(
            *gap + 1 >= nominal * 4 / 5 && *gap <= nominal * 6 / 5 + 1,
            "{gap} s instead of {nominal} s in {gaps:?}"
        );
    }
    assert!(gaps.len() >= 15, "{gaps:?}");
    assert!(world.times("reconcile", "south").len() <= 8, "once, and every ten minutes");
}

// Rule runtime-10.
#[tokio::test(start_paused = true)]
async fn a_hiccup_is_not_told_and_the_third_failure_is() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(500, "")).times(2));
    world.server.inject(Fault::new("patch", "/nodes/south", Effect::Refused(500, "")).times(3));
    for name in ["north", "south"] {
        world.build(name, &[const { Step::Label("red") }; 9]);
    }
    world.start();
    seconds(30).await;
    let sentence = "cannot patch Node south: the API server answered 500 InternalServerError";
    assert_eq!(world.failures(), [Failure::Failing(sentence.to_owned())]);
}

// Rule runtime-10.
#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_told_at_once_and_tried_slowly() {
    let world = World::new();
    let message = r#"nodes "north" is forbidden: User "pilot" cannot patch resource "nodes" in API group """#;
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(403, message)).times(1));
    world.build("north", &[const { Step::Label("red") }; 9]);
    world.start();
    seconds(40).await;
    let sentence = "cannot patch Node north: grant the verb patch on nodes to this service account";
    assert_eq!(world.failures(), [Failure::Forbidden(sentence.to_owned())]);
    assert_eq!(world.times("reconcile", "north").len(), 1);
    seconds(60).await;
    assert_eq!(world.server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"], "red");
}

// Rule runtime-10.
#[tokio::test(start_paused = true)]
async fn what_the_server_calls_invalid_is_told_and_waits_for_a_change() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(422, "light: Invalid value")));
    world.build("north", &[const { Step::Label("red") }; 9]);
    world.start();
    seconds(300).await;
    let sentence = "cannot patch Node north: light: Invalid value";
    assert_eq!(world.failures(), [Failure::Rejected(sentence.to_owned())]);
    assert_eq!(world.times("reconcile", "north").len(), 1);
    world.server.change::<Quay>("north", &json!({"spec": {"metres": 8}}));
    seconds(1).await;
    assert_eq!(world.server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"], "red");
}

// Rule runtime-10.
#[tokio::test(start_paused = true)]
async fn a_conflict_is_tried_again_at_once_and_in_silence() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(409, "modified")).times(3));
    world.build("north", &[const { Step::Label("red") }; 9]);
    world.start();
    seconds(1).await;
    assert_eq!(world.server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"], "red");
    assert_eq!(world.failures(), []);
    assert_eq!(world.metric(ERRORS).as_deref(), Some("0"));
}

// Rule runtime-5.
#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_not_written_twice() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::AnswerLost));
    world.build("north", &[const { Step::Label("red") }; 9]);
    world.start();
    seconds(30).await;
    let patches =
        world.server.requests().iter().filter(|request| request.path == "/api/v1/nodes/north").count();
    assert_eq!(patches, 1);
    assert_eq!(world.failures(), []);
}

// Rule runtime-4.
#[tokio::test(start_paused = true)]
async fn an_object_that_no_longer_decodes_is_told_and_left_alone_until_it_is_deleted() {
    let world = World::new();
    world.build("north", &[]);
    world.start();
    seconds(1).await;
    world.server.change::<Quay>("north", &json!({"spec": {"metres": "many"}}));
    seconds(1).await;
    assert!(matches!(world.failures().as_slice(), [Failure::Undecodable(error)] if error.contains("many")));
    assert_eq!(world.server.all::<Event>()[0]["reason"], "DecodeFailed");
    let reconciles = world.times("reconcile", "north").len();
    world.queue.add(Key::cluster("north"));
    seconds(1).await;
    assert_eq!(world.times("reconcile", "north").len(), reconciles);
    world.server.delete::<Quay>("north");
    seconds(1).await;
    assert!(world.server.get::<Quay>("north").is_none());
}

// Rule runtime-4.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told_until_it_has_been_and_again_at_each_resync() {
    let world = World::new();
    world.build("north", &[]);
    world.start();
    seconds(1).await;
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(500, "")));
    world.pilot.reports.lock().unwrap().extend([Step::Label("red"), Step::Panic]);
    world.server.change::<Quay>("north", &json!({"spec": {"metres": "many"}}));
    seconds(2).await;
    assert_eq!(world.failures(), []);
    seconds(5).await;
    assert_eq!(world.failures().len(), 1);
    assert_eq!(world.server.all::<Event>().len(), 1);
    seconds(440).await;
    assert_eq!(world.failures().len(), 1);
    seconds(300).await;
    assert_eq!(world.failures().len(), 2);
}

// Rule runtime-10.
#[tokio::test(start_paused = true)]
async fn a_rejection_that_could_not_be_told_is_told_ever_more_slowly() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(422, "no")).times(99));
    world.build("north", &[const { Step::Label("red") }; 99]);
    world.pilot.reports.lock().unwrap().extend([const { Step::Panic }; 5]);
    world.start();
    seconds(10).await;
    let tries = world.times("reconcile", "north").len();
    assert!((4..=5).contains(&tries), "{tries}: at once, after about 1, 2 and 4 s");
    assert_eq!(world.failures(), []);
    seconds(60).await;
    assert_eq!(world.failures().len(), 1);
    assert_eq!(world.times("reconcile", "north").len(), 6, "and no more since it is told");
}

// Rule runtime-13.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_once_all_is_as_it_should_be() {
    let world = World::new();
    world.build("north", &[Step::Label("red"), Step::Note("lit"), Step::Label("red"), Step::Note("lit")]);
    world.start();
    seconds(1).await;
    world.queue.add(Key::cluster("north"));
    seconds(1).await;
    let writes = world.server.writes().len();
    for _ in 0..4 {
        world.queue.add(Key::cluster("north"));
        seconds(1).await;
    }
    seconds(3600).await;
    assert_eq!((writes, world.server.writes().len()), (3, 3), "finalizer, label, status");
    assert!(world.server.requests().iter().all(|request| request.verb != "list"));
}

// Rule runtime-13.
#[tokio::test(start_paused = true)]
async fn every_object_is_looked_at_again_about_every_ten_minutes() {
    let world = World::new();
    world.build("north", &[]);
    world.start();
    seconds(470).await;
    let early = world.times("reconcile", "north").len();
    seconds(270).await;
    assert_eq!(world.times("reconcile", "north").len(), early + 1);
}

// Rule runtime-15.
#[tokio::test(start_paused = true)]
async fn what_runs_at_the_stop_signal_comes_to_its_end_and_nothing_new_starts() {
    let world = World::new();
    world.build("north", &[Step::Work(Duration::from_secs(12))]);
    world.start();
    seconds(1).await;
    world.stop.cancel();
    world.server.create::<Quay>(quay("south"));
    let stopped = started();
    world.runtime.ended().await;
    assert!(stopped.elapsed() <= Duration::from_secs(11), "{:?}", stopped.elapsed());
    assert_eq!(world.times("done", "north").len(), 1);
    assert_eq!(world.times("reconcile", "south"), Vec::<u64>::new());
    assert_eq!(world.runtime.health().missing(), ["stopping"]);
    assert_eq!(world.runtime.health().dead(), Vec::<String>::new());
}

// Rule runtime-15.
#[tokio::test(start_paused = true)]
async fn what_does_not_end_after_the_stop_signal_is_given_up() {
    let world = World::new();
    world.build("north", &[Step::Work(Duration::from_secs(3600))]);
    world.start();
    seconds(1).await;
    world.stop.cancel();
    let stopped = started();
    world.runtime.ended().await;
    assert_eq!(stopped.elapsed(), DEADLINE);
}

// Rule runtime-9.
#[tokio::test(start_paused = true)]
async fn a_change_does_not_wait_for_the_backoff() {
    let world = World::new();
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(500, "")).times(7));
    world.build("north", &[const { Step::Label("red") }; 99]);
    world.start();
    // 1 + 2 + 4 + 8 + 16 + 32 s have passed; the next try is due about a minute later.
    seconds(90).await;
    let tried = world.times("reconcile", "north").len();
    world.server.change::<Quay>("north", &json!({"spec": {"metres": 8}}));
    seconds(1).await;
    assert_eq!(world.times("reconcile", "north").len(), tried + 1);
}

// Rule runtime-11.
#[tokio::test(start_paused = true)]
async fn what_is_left_of_an_object_that_vanished_without_cleanup_is_undone() {
    let world = World::new();
    world.build("north", &[Step::Label("red")]);
    world.start();
    seconds(1).await;
    // Somebody removes the finalizer by hand.
    world.server.delete::<Quay>("north");
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(500, "")));
    world.server.change::<Quay>("north", &json!({"metadata": {"finalizers": null}}));
    seconds(5).await;
    assert_eq!(world.server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"], "out");
    assert_eq!(world.times("vanished", "north").len(), 2, "failed, then done");
}
