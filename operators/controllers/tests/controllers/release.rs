//! The way out of a cluster.

use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use stowage_api::NodePool;
use stowage_controllers::{KINDS, Released};
use stowage_testkit::{ApiServer, Effect, Fault};

use crate::yard::{Yard, seconds};

async fn release(server: &ApiServer) -> Released {
    let yard = Yard::over(server.clone());
    let mut sum = Released::default();
    for kind in KINDS {
        let Released { targets, finalizers } = (kind.release)(&yard.runtime).await.unwrap();
        sum.targets += targets;
        sum.finalizers += finalizers;
    }
    sum
}

/// A cluster in which the manager has worked and is gone.
async fn left_behind() -> ApiServer {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a"), ("crane", "by-hand")]);
    yard.add_node("quay-2", &[("row", "b")]);
    yard.add_node("quay-3", &[("row", "none")]);
    yard.add_pool("gantry", "a");
    yard.add_pool("jib", "b");
    yard.start().await;
    yard.restarted().await.server
}

// Rule controllers-8.
#[tokio::test(start_paused = true)]
async fn a_release_leaves_nothing_of_ours_and_the_second_finds_nothing() {
    let server = left_behind().await;
    server.change::<NodePool>(
        "jib",
        &json!({"metadata": {"finalizers": ["other.example/keep", "nodepools.stowage.dev/cleanup"]}}),
    );
    server.delete::<NodePool>("gantry");
    assert_eq!(release(&server).await, Released { targets: 2, finalizers: 2 });
    let labels = |name: &str| server.get::<Node>(name).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels("quay-1"), json!({"row": "a", "crane": "by-hand"}));
    assert_eq!(labels("quay-2"), json!({"row": "b"}));
    assert!(server.all::<Node>().iter().all(|node| !node.to_string().contains("stowage.dev")));
    assert!(server.get::<NodePool>("gantry").is_none(), "its deletion had waited for us");
    assert_eq!(
        server.get::<NodePool>("jib").unwrap()["metadata"]["finalizers"],
        json!(["other.example/keep"])
    );
    assert_eq!(release(&server).await, Released::default());
}

// Rule controllers-8.
#[tokio::test(start_paused = true)]
async fn a_release_bears_that_the_kind_is_gone() {
    let server = ApiServer::default().with::<Node>();
    assert_eq!(release(&server).await, Released::default());
}

// Rule controllers-8.
#[tokio::test(start_paused = true)]
async fn a_pool_that_does_not_decode_is_released_as_well() {
    let server = left_behind().await;
    server.change::<NodePool>("jib", &json!({"spec": "nothing"}));
    assert_eq!(release(&server).await.finalizers, 2);
}

// Rule controllers-8.
#[tokio::test(start_paused = true)]
async fn a_release_that_fails_half_way_is_completed_by_the_next() {
    let server = left_behind().await;
    server.inject(Fault::new("patch", "/nodes/quay-1", Effect::Refused(500, "")));
    let yard = Yard::over(server.clone());
    let errors: Vec<_> =
        futures::future::join_all(KINDS.iter().map(|kind| (kind.release)(&yard.runtime))).await;
    assert!(errors.iter().all(Result::is_err));
    assert!(server.all::<NodePool>().iter().all(|pool| pool["metadata"]["finalizers"].is_array()));
    seconds(1).await;
    assert_eq!(release(&server).await, Released { targets: 1, finalizers: 2 });
}
