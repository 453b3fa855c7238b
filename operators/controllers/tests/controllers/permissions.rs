//! What is declared is what is used.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use serde_json::json;
use stowage_api::NodePool;
use stowage_controllers::KINDS;
use stowage_runtime::Permission;
use stowage_testkit::Logged;

use crate::yard::{Yard, seconds};

/// Group, resource and verb of a request, as RBAC spells them.
fn needed(request: &Logged) -> (String, String, String) {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        other => panic!("{other:?}"),
    };
    let rest = match rest {
        ["namespaces", _namespace, rest @ ..] => rest,
        rest => rest,
    };
    let resource = match rest {
        [resource] | [resource, _] => (*resource).to_owned(),
        [resource, _, part] => format!("{resource}/{part}"),
        other => panic!("{other:?}"),
    };
    (group.to_owned(), resource, request.verb.to_owned())
}

/// Of the kinds; what the runtime itself needs is its own business, but for events.
fn declared() -> BTreeSet<(String, String, String)> {
    let all = KINDS.iter().flat_map(|kind| kind.permissions);
    let verbs = |Permission { group, resource, verbs, .. }: &Permission| {
        verbs
            .iter()
            .map(|verb| ((*group).to_owned(), (*resource).to_owned(), verb.to_string()))
            .collect::<Vec<_>>()
    };
    all.flat_map(verbs).collect()
}

// Rule controllers-9.
#[tokio::test(start_paused = true)]
async fn every_request_is_declared_and_every_permission_is_used() {
    let yard = Yard::new();
    yard.add_node("quay-1", &[("row", "a")]);
    yard.server.create::<PersistentVolume>(json!({"metadata": {"name": "hold"}}));
    let pod = json!({"metadata": {"namespace": "sea", "name": "crew"}, "spec": {"nodeName": "quay-1"}});
    yard.server.create::<Pod>(pod);
    yard.add_pool("gantry", "a");
    let spec = json!({"deletionPolicy": "Drain", "kubelet": {"maxPods": 9}});
    yard.server.change::<NodePool>("gantry", &json!({"spec": spec}));
    yard.start().await;
    yard.server.change::<Node>("quay-1", &json!({"metadata": {"labels": {"crane": null}}}));
    yard.server.change::<NodePool>("gantry", &json!({"spec": {"kubelet": null}}));
    seconds(1).await;
    yard.server.delete::<NodePool>("gantry");
    seconds(30).await;
    assert!(yard.server.get::<NodePool>("gantry").is_none());
    for kind in KINDS {
        (kind.release)(&yard.runtime).await.unwrap();
    }
    let mut used: BTreeSet<_> = yard.server.requests().iter().map(needed).collect();
    used.retain(|(group, ..)| group != "events.k8s.io");
    // An apply that makes an object is a patch by its request, and asks for the right to create as well.
    let [applied, created] =
        ["patch", "create"].map(|verb| (String::new(), "configmaps".into(), verb.into()));
    if used.contains(&applied) {
        used.insert(created);
    }
    assert_eq!(used, declared());
}

// Rule controllers-9.
#[test]
fn no_permission_is_a_wildcard() {
    for (group, resource, verb) in declared() {
        assert!(
            ![&group, &resource, &verb].iter().any(|part| part.contains('*')),
            "{group} {resource} {verb}"
        );
        assert_ne!(resource, "secrets");
    }
}
