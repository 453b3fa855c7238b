//! Processes beside each other on one API server: of them one writes.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node, events::v1::Event};
use serde_json::{Map, Value, json};
use stowage_runtime::{Candidate, Class, Decided, Error, Farewell, Key, Spawn, Timing, Written};
use stowage_testkit::{ApiServer, Effect, Fault, MovingClock, Process};

use crate::harbour::{Buoys, Quay, Step, World, buoy, quay, seconds, started};

const LEADER: &str = r#"stowage_leader{name="stowage"}"#;

/// One of several processes that want to lead.
struct Ship {
    world: World,
    process: Process,
}

fn sea() -> ApiServer {
    ApiServer::default().with::<Quay>().with::<Node>().with::<Event>().with::<Lease>()
}

impl Ship {
    /// A candidate with controller and caches, on a clock of this rate.
    fn launch(server: &ApiServer, name: &str, rate: f64) -> Self {
        Self::bound(server, name, rate, Farewell::Release)
    }

    fn bound(server: &ApiServer, name: &str, rate: f64, farewell: Farewell) -> Self {
        let process = Process::default();
        let spawn = Arc::new(process.clone());
        let world = World::of(server.clone(), MovingClock::with_rate(rate), spawn);
        let (namespace, identity) = ("sea".to_owned(), name.to_owned());
        world.runtime.campaign(Candidate { namespace, identity, farewell, timing: Timing::STANDARD });
        world.start();
        Self { world, process }
    }

    /// One that leads for some seconds already, and one that stands by.
    async fn pair(server: &ApiServer, rates: [f64; 2]) -> (Self, Self) {
        let first = Self::launch(server, "first", rates[0]);
        seconds(1).await;
        let second = Self::launch(server, "second", rates[1]);
        seconds(3).await;
        assert_eq!(holder(server), "first");
        (first, second)
    }

    fn reconciles(&self) -> usize {
        self.world.times("reconcile", "north").len()
    }

    /// Labels a buoy, as decided on `on`.
    async fn label(&self, on: &Seen, light: &str) -> Result<Written, Error> {
        let applier = self.world.runtime.applier("quays");
        let patch = serde_json::from_value(json!({"metadata": {"labels": {"light": light}}})).unwrap();
        let on = on.get(&Key::cluster("north")).unwrap();
        applier.patch(&self.world.pilot.buoys, Decided { key: Key::cluster("north"), on, patch }).await
    }

    async fn look(&self) -> Seen {
        self.world.runtime.applier("quays").load::<Buoys>().await.unwrap()
    }
}

type Seen = stowage_runtime::Cache<Buoys>;

fn lease(server: &ApiServer) -> Map<String, Value> {
    server.get::<Lease>("stowage").unwrap()["spec"].as_object().unwrap().clone()
}

fn holder(server: &ApiServer) -> String {
    lease(server)["holderIdentity"].as_str().unwrap().to_owned()
}

fn light(server: &ApiServer) -> Value {
    server.get::<Node>("north").unwrap()["metadata"]["labels"]["light"].clone()
}

/// Waits until the Lease has this holder. Returns how long it took.
async fn held_by(server: &ApiServer, name: &str) -> Duration {
    let began = started();
    while holder(server) != name {
        assert!(began.elapsed() < Duration::from_secs(60), "{name} does not lead");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

fn lists(server: &ApiServer) -> usize {
    server.requests().iter().filter(|request| matches!(request.verb, "list" | "watch")).count()
}

fn patches(server: &ApiServer) -> usize {
    server.requests().iter().filter(|request| request.path == "/api/v1/nodes/north").count()
}

// Rule runtime-32.
#[tokio::test(start_paused = true)]
async fn one_works_the_other_stands_by_ready_and_takes_over_with_warm_caches() {
    let server = sea();
    let (first, second) = Ship::pair(&server, [1.0, 1.0]).await;
    second.world.script("north", &[Step::Label("red"), Step::Label("green")]);
    first.world.build("north", &[Step::Label("red")]);
    seconds(5).await;
    assert_eq!((first.reconciles(), second.reconciles()), (1, 0));
    assert_eq!(light(&server), "red");
    assert_eq!(second.world.runtime.health().missing(), Vec::<String>::new());
    assert_eq!(second.world.metric(LEADER).as_deref(), Some("0"));
    assert_eq!(second.world.metric(r#"workqueue_depth{name="quays"}"#).as_deref(), Some("0"));
    let asked = lists(&server);

    first.process.kill();
    let gap = held_by(&server, "second").await;
    assert!(gap > Duration::from_secs(12) && gap <= Duration::from_secs(20), "{gap:?}");
    seconds(1).await;
    assert_eq!(second.reconciles(), 1, "what the first may have left half done is looked at again");
    assert_eq!(second.world.metric(LEADER).as_deref(), Some("1"));
    let master = second.world.metric(r#"leader_election_master_status{name="stowage"}"#);
    assert_eq!(master.as_deref(), Some("1"));
    let waited = second.world.metric(r#"workqueue_queue_duration_seconds_sum{name="quays"}"#);
    assert!(waited.unwrap().parse::<f64>().unwrap() < 1.0, "it did not wait for this process");
    assert_eq!(lists(&server), asked, "nothing is listed or watched anew");
}

// Rule runtime-31.
#[tokio::test(start_paused = true)]
async fn a_stop_under_load_gives_the_lease_back_at_once_and_what_waits_for_its_turn_is_not_sent() {
    let server = sea();
    for number in 0..500 {
        server.create::<Node>(buoy(&format!("buoy-{number}")));
    }
    let (first, second) = Ship::pair(&server, [1.0, 1.0]).await;
    first.world.build("north", &[Step::LabelAll("red")]);
    seconds(3).await;
    let before = server.writes().len();
    assert!((200..300).contains(&before), "{before}: the burst, 50 in each second, and more to come");
    first.world.stop.cancel();
    let gap = held_by(&server, "second").await;
    assert!(gap <= Duration::from_secs(2), "{gap:?}");
    first.world.runtime.ended().await;
    seconds(30).await;
    assert_eq!(server.writes().len(), before, "the second finds nothing to do");
    assert_eq!(second.reconciles(), 1);
    assert_eq!(first.world.failures(), [], "the object has no part in it");
    let transitions = &lease(&server)["leaseTransitions"];
    assert_eq!(transitions, 1);
}

// Rule runtime-31.
#[tokio::test(start_paused = true)]
async fn a_refusal_for_a_while_is_not_waited_for_after_the_stop_signal() {
    let server = sea();
    let (first, _second) = Ship::pair(&server, [1.0, 1.0]).await;
    server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(429, "")).times(9));
    first.world.build("north", &[Step::Label("red")]);
    // It is tried again after about 100 ms.
    while patches(&server) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.world.stop.cancel();
    first.world.runtime.ended().await;
    assert_eq!(patches(&server), 1);
}

// Rule runtime-31.
#[tokio::test(start_paused = true)]
async fn the_lease_is_kept_for_a_request_that_is_under_way() {
    let server = sea();
    let (first, _second) = Ship::pair(&server, [1.0, 1.0]).await;
    server.inject(Fault::new("patch", "/nodes/north", Effect::Hang));
    first.world.build("north", &[Step::Label("red")]);
    seconds(1).await;
    assert_eq!(patches(&server), 1);
    first.world.stop.cancel();
    // Until then nobody knows whether it is carried out: as long as the right to write lasted when it was sent.
    seconds(6).await;
    assert_eq!(holder(&server), "first", "it is renewed while something runs");
    let gap = held_by(&server, "second").await;
    assert!(gap <= Duration::from_secs(6), "{gap:?}");
    first.world.runtime.ended().await;
    assert_eq!(first.world.runtime.health().dead(), Vec::<String>::new());
}

// Rule runtime-31.
#[tokio::test(start_paused = true)]
async fn one_that_stops_while_it_stands_by_leaves_the_leader_alone() {
    let server = sea();
    let (_first, second) = Ship::pair(&server, [1.0, 1.0]).await;
    let before = lease(&server)["acquireTime"].clone();
    server.inject(Fault::new("get", "/leases/stowage", Effect::Hang).times(99));
    seconds(3).await;
    let began = started();
    second.world.stop.cancel();
    second.world.runtime.ended().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    seconds(30).await;
    assert_eq!((holder(&server).as_str(), &lease(&server)["acquireTime"]), ("first", &before));
}

// Rule runtime-31.
#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_given_back_holds_up_the_end_for_5_s() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    seconds(3).await;
    server.inject(Fault::new("update", "/leases/stowage", Effect::Hang).times(99));
    let began = started();
    only.world.stop.cancel();
    only.world.runtime.ended().await;
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

// Rule runtime-31.
#[tokio::test(start_paused = true)]
async fn the_last_of_all_takes_the_lease_with_it() {
    let server = sea();
    let only = Ship::bound(&server, "only", 1.0, Farewell::Remove);
    only.world.runtime.elected().await;
    only.world.stop.cancel();
    only.world.runtime.ended().await;
    assert_eq!(server.all::<Lease>(), Vec::<Value>::new());
}

// Rule runtime-32.
#[tokio::test(start_paused = true)]
async fn one_that_loses_the_lease_pauses_and_goes_on_when_it_has_it_again() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    only.world.build("north", &[Step::Work(Duration::from_secs(60)), Step::Label("red")]);
    only.world.build("west", &[]);
    seconds(3).await;
    assert_eq!((only.reconciles(), only.world.times("done", "west").len()), (1, 1));
    server.inject(Fault::new("update", "/leases/stowage", Effect::Refused(500, "")).times(8));
    seconds(12).await;
    assert_eq!(only.world.metric(LEADER).as_deref(), Some("0"));
    let writes = server.writes().len();
    only.world.queue.add(Key::cluster("north"));
    server.create::<Quay>(quay("south"));
    seconds(1).await;
    assert_eq!((only.reconciles(), server.writes().len()), (1, writes), "paused");
    seconds(20).await;
    assert_eq!(only.world.metric(LEADER).as_deref(), Some("1"));
    assert_eq!(light(&server), "red");
    assert_eq!(
        only.world.times("done", "north").len(),
        1,
        "what ran at the loss was dropped, and begun anew"
    );
    assert_eq!(only.world.times("reconcile", "south").len(), 1);
    assert_eq!(only.world.times("done", "west").len(), 2, "another may have led meanwhile");
    assert_eq!(only.world.failures(), [], "the objects have no part in it");
    assert_eq!(only.world.runtime.health().dead(), Vec::<String>::new());
}

// Rule runtime-32.
#[tokio::test(start_paused = true)]
async fn gain_and_loss_are_told_on_the_lease() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    seconds(3).await;
    server.inject(Fault::new("update", "/leases/stowage", Effect::Lost).times(5));
    seconds(15).await;
    only.world.stop.cancel();
    only.world.runtime.ended().await;
    let events = server.all::<Event>();
    let told: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(told, ["LeadershipGained", "LeadershipLost", "LeadershipReleased"]);
    let about = &events[1]["regarding"];
    assert_eq!(
        (&about["kind"], &about["namespace"], &about["name"]),
        (&json!("Lease"), &json!("sea"), &json!("stowage"))
    );
    assert_eq!(about["uid"], server.get::<Lease>("stowage").unwrap()["metadata"]["uid"]);
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_deleted_is_there_again_with_the_next_renewal() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    seconds(3).await;
    let before = lease(&server)["renewTime"].clone();
    while lease(&server)["renewTime"] == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.delete::<Lease>("stowage");
    tokio::time::sleep(Duration::from_millis(2010)).await;
    assert_eq!(holder(&server), "only");
    assert_eq!(only.world.metric(LEADER).as_deref(), Some("1"));
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn a_write_waits_no_longer_than_the_right_to_it_lasts() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    server.create::<Node>(buoy("north"));
    let seen = only.look().await;
    seconds(3).await;
    server.inject(Fault::new("update", "/leases/stowage", Effect::Lost).times(99));
    server.inject(Fault::new("patch", "/nodes/north", Effect::Hang));
    seconds(4).await;
    let began = started();
    let late = only.label(&seen, "red").await.unwrap_err();
    assert_eq!(late.class(), Class::NotLeading);
    assert_eq!(late.sentence(), "cannot patch Node north: this process does not lead");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    let sent = patches(&server);
    assert_eq!(only.label(&seen, "red").await.unwrap_err().class(), Class::NotLeading);
    assert_eq!(patches(&server), sent, "it is not even sent");
}

// Rule runtime-32.
#[tokio::test(start_paused = true)]
async fn a_reconcile_that_the_end_of_the_term_catches_has_not_failed() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    seconds(3).await;
    server.inject(Fault::new("update", "/leases/stowage", Effect::Lost).times(5));
    server.inject(Fault::new("patch", "/nodes/north", Effect::Hang));
    only.world.build("north", &[Step::Label("red"), Step::Label("red")]);
    seconds(40).await;
    assert_eq!((only.reconciles(), light(&server)), (2, json!("red")));
    let errors = r#"controller_runtime_reconcile_errors_total{controller="quays"}"#;
    assert_eq!(only.world.metric(errors).as_deref(), Some("0"));
    let ended = r#"stowage_writes_total{controller="quays",result="not_leading",verb="patch"}"#;
    assert_eq!(only.world.metric(ended).as_deref(), Some("1"));
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_between_two_tries_does_not_send_the_second() {
    let server = sea();
    let only = Ship::launch(&server, "only", 1.0);
    server.create::<Node>(buoy("north"));
    seconds(3).await;
    let seen = only.look().await;
    server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(429, "")));
    let world = only.world;
    let applier = world.runtime.applier("quays");
    let (said, heard) = tokio::sync::oneshot::channel();
    only.process.spawn(Box::pin(async move {
        let patch = serde_json::from_value(json!({"metadata": {"labels": {"light": "red"}}})).unwrap();
        let (key, on) = (Key::cluster("north"), seen.get(&Key::cluster("north")).unwrap());
        let written = applier.patch(&seen, Decided { key, on, patch }).await;
        said.send(written.map_err(|error| error.class())).unwrap();
    }));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(patches(&server), 1, "refused, and about to be tried again");
    only.process.pause();
    seconds(30).await;
    only.process.resume();
    assert_eq!(heard.await.unwrap(), Err(Class::NotLeading));
    assert_eq!(patches(&server), 1);
}

/// The leader stands still until another leads, and writes then what it had decided before.
async fn late_write(rates: [f64; 2]) -> (Class, usize, Value) {
    let server = sea();
    server.create::<Node>(buoy("north"));
    let (first, second) = Ship::pair(&server, rates).await;
    let before = first.look().await;
    first.process.pause();
    held_by(&server, "second").await;
    second.label(&second.look().await, "green").await.unwrap();
    let sent = patches(&server);
    let class = first.label(&before, "red").await.unwrap_err().class();
    (class, patches(&server) - sent, light(&server))
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn a_late_write_is_not_sent_and_where_the_clocks_allow_it_fails_by_its_version() {
    for rates in [[1.0, 1.0], [0.9, 1.1], [1.1, 0.9]] {
        assert_eq!(late_write(rates).await, (Class::NotLeading, 0, json!("green")), "{rates:?}");
    }
    // No lease can keep these two apart.
    assert_eq!(late_write([0.5, 2.0]).await, (Class::Conflict, 1, json!("green")));
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn a_write_that_arrives_after_the_term_fails_by_its_version() {
    let server = sea();
    server.create::<Node>(buoy("north"));
    let (first, second) = Ship::pair(&server, [1.0, 1.0]).await;
    let before = first.look().await;
    server.inject(Fault::new("patch", "/nodes/north", Effect::Late(Duration::from_secs(40))));
    first.process.pause();
    assert_eq!(first.label(&before, "red").await.unwrap_err().class(), Class::NotLeading);
    held_by(&server, "second").await;
    second.label(&second.look().await, "green").await.unwrap();
    seconds(60).await;
    let arrived = server.requests().into_iter().filter(|request| request.path == "/api/v1/nodes/north");
    assert_eq!(arrived.map(|request| request.code).collect::<Vec<_>>(), [200, 409]);
    assert_eq!(light(&server), "green");
}

// Rule runtime-30.
#[tokio::test(start_paused = true)]
async fn of_many_that_see_a_free_lease_one_gets_it() {
    let server = sea();
    let ships = ["first", "second", "third"].map(|name| Ship::launch(&server, name, 1.0));
    seconds(60).await;
    let leaders = ships.iter().filter(|ship| ship.world.metric(LEADER).as_deref() == Some("1"));
    assert_eq!(leaders.count(), 1);
    assert_eq!(lease(&server)["leaseTransitions"], 0);
}
