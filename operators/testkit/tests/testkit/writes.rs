//! What a write makes of an object.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use stowage_testkit::{ApiServer, node};

use crate::{nodes, refusal};

fn params() -> PatchParams {
    PatchParams::default()
}

/// Generation and version of a stored node.
fn revision(server: &ApiServer, name: &str) -> (u64, u64) {
    let node = server.get::<Node>(name).unwrap();
    let version = node["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    (node["metadata"]["generation"].as_u64().unwrap(), version)
}

// Rule testkit-4.
#[tokio::test(start_paused = true)]
async fn a_new_object_has_what_the_server_gives_and_keeps_what_it_brings() {
    let (server, nodes) = nodes(&[]);
    let given = nodes
        .create(&PostParams::default(), &serde_json::from_value(node("bar", &[])).unwrap())
        .await
        .unwrap();
    assert_eq!((given.uid().as_deref(), given.metadata.generation), (Some("uid-1"), Some(1)));
    assert!(given.creation_timestamp().is_some());
    let mut old = node("reef", &[]);
    old["metadata"]["creationTimestamp"] = json!("1999-12-31T00:00:00Z");
    server.create::<Node>(old);
    let stored = server.get::<Node>("reef").unwrap();
    assert_eq!(stored["metadata"]["creationTimestamp"], "1999-12-31T00:00:00Z");
    let again = nodes.create(&PostParams::default(), &given).await;
    assert_eq!(refusal(again), Some(409));
}

// Rule testkit-4.
#[tokio::test(start_paused = true)]
async fn each_change_has_a_version_and_only_one_of_the_spec_a_generation() {
    let (server, nodes) = nodes(&["bar"]);
    let cases = [
        (json!({"metadata": {"labels": {"tide": "low"}}}), (1, 2), "labels are no spec"),
        (json!({"metadata": {"labels": {"tide": "low"}}}), (1, 2), "nothing has changed"),
        (json!({"spec": {"unschedulable": true}}), (2, 3), "the spec has changed"),
        (json!({"metadata": {"labels": {"tide": null}}}), (2, 4), "null takes away"),
    ];
    for (patch, expected, because) in cases {
        nodes.patch("bar", &params(), &Patch::Merge(patch)).await.unwrap();
        assert_eq!(revision(&server, "bar"), expected, "{because}");
    }
    assert_eq!(server.get::<Node>("bar").unwrap()["metadata"].get("labels"), Some(&json!({})));
}

// Rule testkit-4.
#[tokio::test(start_paused = true)]
async fn a_patch_of_the_status_changes_nothing_else() {
    let (server, nodes) = nodes(&["bar"]);
    let patch =
        json!({"metadata": {"labels": {"tide": "low"}}, "spec": null, "status": {"phase": "Running"}});
    nodes.patch_status("bar", &params(), &Patch::Merge(patch)).await.unwrap();
    let stored = server.get::<Node>("bar").unwrap();
    let rest = (&stored["metadata"]["labels"], &stored["spec"]["podCIDR"], &stored["status"]["phase"]);
    assert_eq!(rest, (&json!({}), &json!("10.1.0.0/24"), &json!("Running")));
    assert_eq!(revision(&server, "bar").0, 1);
}

// Rule testkit-5.
#[tokio::test(start_paused = true)]
async fn a_write_that_was_decided_on_another_state_is_a_conflict() {
    let (server, nodes) = nodes(&["bar"]);
    let patch = |version: &str| json!({"metadata": {"resourceVersion": version, "labels": {"tide": "low"}}});
    let before = server.get::<Node>("bar");
    for status in [false, true] {
        let (stale, params) = (Patch::Merge(patch("7")), params());
        let answer = if status {
            nodes.patch_status("bar", &params, &stale).await
        } else {
            nodes.patch("bar", &params, &stale).await
        };
        assert_eq!(refusal(answer), Some(409));
    }
    let uid = |uid: &str| {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }
    };
    assert_eq!(refusal(nodes.delete("bar", &uid("uid-7")).await), Some(409));
    assert_eq!(server.get::<Node>("bar"), before);
    nodes.patch("bar", &params(), &Patch::Merge(patch("1"))).await.unwrap();
    drop(nodes.delete("bar", &uid("uid-1")).await.unwrap());
    assert_eq!(server.get::<Node>("bar"), None);
    assert_eq!(refusal(nodes.delete("bar", &uid("uid-1")).await), Some(404));
}

// Rule testkit-6.
#[tokio::test(start_paused = true)]
async fn an_object_with_finalizers_goes_with_the_last_of_them() {
    let (server, nodes) = nodes(&["bar"]);
    let finalizers = |list: Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    let held = finalizers(json!(["a.example/x", "b.example/y"]));
    nodes.patch("bar", &params(), &held).await.unwrap();
    drop(nodes.delete("bar", &DeleteParams::default()).await.unwrap());
    assert!(server.get::<Node>("bar").unwrap()["metadata"].get("deletionTimestamp").is_some());
    nodes.patch("bar", &params(), &finalizers(json!(["b.example/y"]))).await.unwrap();
    assert!(server.get::<Node>("bar").is_some());
    nodes.patch("bar", &params(), &finalizers(json!([]))).await.unwrap();
    assert_eq!(server.get::<Node>("bar"), None);
}

// Rule testkit-6.
#[tokio::test(start_paused = true)]
async fn a_scale_changes_the_replicas_and_says_whose_pods_they_are() {
    let server = ApiServer::default().with::<Deployment>();
    let labels = json!({"app": "crane", "tide": "low"});
    server.create::<Deployment>(json!({
        "metadata": {"name": "crane", "namespace": "quay"},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}},
    }));
    let deployments: Api<Deployment> = Api::namespaced(server.transport(), "quay");
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let scale = deployments.patch_scale("crane", &params(), &patch).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(0));
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=crane,tide=low"));
    assert_eq!(server.get::<Deployment>("crane").unwrap()["spec"]["replicas"], 0);
}
