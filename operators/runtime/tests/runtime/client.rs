//! Deadline and retry.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use stowage_runtime::{Class, DEADLINE, Decided, Key};
use stowage_testkit::{Effect, Fault};

use crate::harbour::{Buoys, World, buoy, started};

/// Patches a buoy once, and says how long it took, how it ended and how many requests arrived.
async fn patch(fault: Fault) -> (Duration, Result<(), Class>, usize) {
    let world = World::new();
    world.server.create::<Node>(buoy("bar"));
    let applier = world.runtime.applier("quays");
    let buoys = applier.load::<Buoys>().await.unwrap();
    let bar = buoys.get(&Key::cluster("bar")).unwrap();
    world.server.inject(fault);
    let began = started();
    let patch = serde_json::from_str(r#"{"metadata": {"labels": {"light": "red"}}}"#).unwrap();
    let result = applier.patch(&buoys, Decided { key: Key::cluster("bar"), on: bar, patch }).await;
    let sent = world.server.requests().iter().filter(|request| request.verb == "patch").count();
    (began.elapsed(), result.map(drop).map_err(|error| error.class()), sent)
}

// Rule runtime-1.
#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_up_at_the_deadline() {
    let (took, result, _) = patch(Fault::new("patch", "/bar", Effect::Hang)).await;
    assert_eq!((took, result), (DEADLINE, Err(Class::Transient)));
}

// Rule runtime-2.
#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_been_carried_out_is_not_sent_again() {
    let cases = [
        (Effect::Lost, "it may have arrived"),
        (Effect::AnswerLost, "it has been carried out"),
        (Effect::Refused(500, ""), "it may have been stored"),
        (Effect::Refused(503, ""), "a proxy may have spoken"),
        (Effect::Refused(504, ""), "it may have been stored"),
    ];
    for (effect, because) in cases {
        let (_, result, sent) = patch(Fault::new("patch", "/bar", effect).times(9)).await;
        assert_eq!((result, sent), (Err(Class::Transient), 1), "{because}");
    }
}

// Rule runtime-2.
#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_unread_is_sent_again_twice() {
    let once = patch(Fault::new("patch", "/bar", Effect::Refused(429, ""))).await;
    assert_eq!((once.1, once.2), (Ok(()), 2));
    let (took, result, sent) = patch(Fault::new("patch", "/bar", Effect::Refused(429, "")).times(9)).await;
    assert_eq!((result, sent), (Err(Class::Transient), 3));
    assert!(took < Duration::from_secs(1), "{took:?}: a hiccup is bridged, not an outage");
}

// Rule runtime-2.
#[tokio::test(start_paused = true)]
async fn a_read_is_sent_again_twice() {
    for effect in [Effect::Lost, Effect::Refused(503, ""), Effect::Refused(504, "")] {
        let world = World::new();
        world.server.create::<Node>(buoy("bar"));
        world.server.inject(Fault::new("list", "/nodes", effect.clone()).times(2));
        let buoys = world.runtime.applier("quays").load::<Buoys>().await.unwrap();
        assert_eq!(buoys.all().len(), 1, "{effect:?}");
        world.server.inject(Fault::new("list", "/nodes", effect.clone()).times(3));
        assert!(world.runtime.applier("quays").load::<Buoys>().await.is_err(), "{effect:?}");
    }
}
