//! What concerns the process as a whole: the version of the cluster, the configuration file, the metrics.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::{core::v1::Node, events::v1::Event};
use stowage_testkit::{ApiServer, Effect, Fault};

use crate::harbour::{Step, World, seconds};

fn of_minor(minor: &'static str) -> World {
    World::with(ApiServer::default().with::<Node>().with::<Event>().with_minor(minor))
}

// Rule runtime-25.
#[tokio::test(start_paused = true)]
async fn the_version_of_the_cluster_decides_whether_work_begins() {
    for good in ["33", "33+", "40"] {
        assert_eq!(of_minor(good).runtime.supported(33).await, Ok(()), "{good}");
    }
    let old = of_minor("32+").runtime.supported(33).await.unwrap_err().to_string();
    assert_eq!(
        old,
        "this is Kubernetes 1.32+, and this version of Stowage needs 1.33 or newer: upgrade the cluster, or install an \
         older Stowage"
    );
}

// Rule runtime-25.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_away_is_waited_for_unready() {
    let world = of_minor("36");
    world.server.inject(Fault::new("list", "/version", Effect::Lost).times(12));
    let mut asking = pin!(world.runtime.supported(33));
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut asking).await.is_err());
    assert_eq!(world.runtime.health().missing(), ["the version of the API server is not known"]);
    assert_eq!(asking.await, Ok(()));
    assert_eq!(world.runtime.health().missing(), Vec::<String>::new());
}

// Rule runtime-26.
#[tokio::test(start_paused = true)]
async fn a_file_that_changes_is_adopted_and_one_that_is_refused_is_told_once() {
    let world = of_minor("36");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings");
    std::fs::write(&file, "calm").unwrap();
    let adopted = Arc::new(Mutex::new(Vec::new()));
    let adopting = Arc::clone(&adopted);
    world.runtime.follow_file(file.clone(), "calm".to_owned(), move |text| {
        adopting.lock().unwrap().push(text.to_owned());
        if text.starts_with("storm") { Err("wind: too much".to_owned()) } else { Ok(()) }
    });
    let reloads =
        |result: &str| world.metric(&format!("stowage_config_reloads_total{{result=\"{result}\"}}")).unwrap();
    seconds(20).await;
    assert_eq!((reloads("success"), reloads("failure")), ("0".to_owned(), "0".to_owned()));
    std::fs::write(&file, "storm").unwrap();
    seconds(20).await;
    assert_eq!((reloads("success"), reloads("failure")), ("0".to_owned(), "1".to_owned()));
    assert_eq!(world.metric("stowage_config_last_reload_successful").as_deref(), Some("0"));
    let event = &world.server.all::<Event>()[0];
    let note = format!(
        "{} was not reloaded, the configuration before stays in force: wind: too much",
        file.display()
    );
    assert_eq!((&event["reason"], &event["note"]), (&"ConfigurationRejected".into(), &note.into()));
    assert_eq!(
        (&event["regarding"]["kind"], &event["regarding"]["name"]),
        (&"Pod".into(), &"pilot-0".into())
    );
    std::fs::remove_file(&file).unwrap();
    seconds(20).await;
    std::fs::write(&file, "breeze").unwrap();
    seconds(20).await;
    assert_eq!((reloads("success"), reloads("failure")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(world.metric("stowage_config_last_reload_successful").as_deref(), Some("1"));
    assert_eq!(*adopted.lock().unwrap(), ["storm", "breeze"]);
    assert_eq!(world.runtime.health().dead(), Vec::<String>::new());
}

// Rule runtime-27.
#[tokio::test(start_paused = true)]
async fn the_metrics_that_dashboards_of_other_controllers_ask_for_are_there() {
    let world = World::new();
    world.build("north", &[Step::Label("red"), Step::Work(Duration::from_secs(60))]);
    world.server.inject(Fault::new("patch", "/nodes/north", Effect::Refused(422, "light: Invalid value")));
    world.start();
    seconds(1).await;
    world.queue.add(stowage_runtime::Key::cluster("north"));
    seconds(30).await;
    let value = |series: &str| world.metric(series).unwrap_or_else(|| panic!("{series} is missing"));
    let quays = |name: &str| value(&format!("{name}{{name=\"quays\"}}"));
    assert_eq!(value(r#"controller_runtime_terminal_reconcile_errors_total{controller="quays"}"#), "1");
    assert_eq!(value(r#"controller_runtime_active_workers{controller="quays"}"#), "1");
    assert_eq!(quays("workqueue_work_duration_seconds_count"), "1");
    assert_eq!(quays("workqueue_longest_running_processor_seconds"), "30");
    assert_eq!(quays("workqueue_unfinished_work_seconds"), "30");
    assert_eq!(quays("workqueue_depth"), "0");
    let adds = quays("workqueue_adds_total");
    assert_eq!(quays("workqueue_adds_total"), adds, "reading adds nothing");
    assert!(
        adds.parse::<u32>().unwrap() >= 3,
        "it came, it was to be looked at again, it was asked for: {adds}"
    );
    assert!(value("process_resident_memory_bytes").parse::<f64>().unwrap() > 1e6);
    assert_eq!(value(&format!("stowage_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), "1");
}
