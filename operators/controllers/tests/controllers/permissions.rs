//! What is declared is what is used.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use stowage_api::NodePool;
use stowage_controllers::KINDS;
use stowage_runtime::{PERMISSIONS, Permission};
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

fn declared() -> BTreeSet<(String, String, String)> {
    let all = KINDS.iter().flat_map(|kind| kind.permissions).chain(PERMISSIONS);
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
    yard.add_pool("gantry", "a");
    yard.start().await;
    for _ in 0..2 {
        // The same event again is counted on the first.
        yard.server.change::<Node>("quay-1", &json!({"metadata": {"labels": {"crane": null}}}));
        seconds(1).await;
    }
    yard.server.delete::<NodePool>("gantry");
    seconds(1).await;
    for kind in KINDS {
        (kind.release)(&yard.runtime).await.unwrap();
    }
    let used: BTreeSet<_> = yard.server.requests().iter().map(needed).collect();
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
