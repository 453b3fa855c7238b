//! The permissions that code needs, declared beside the code that needs them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Serialize;

use crate::Verb;

/// Where a permission holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// On cluster-scoped objects, or in all namespaces.
    Cluster,
    /// In one namespace.
    Namespace(&'static str),
    /// In the namespace that this process runs in; on the one object of this name, or on all.
    Own(Option<&'static str>),
}

/// One rule of RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Where.
    pub scope: Scope,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, with its subresource: `nodepools/status`.
    pub resource: &'static str,
    /// What is done to it.
    pub verbs: &'static [Verb],
}

/// Permissions as the rules of RBAC objects. The same permissions give the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Roles {
    /// The rules of the one `ClusterRole`.
    pub cluster_role: Vec<PolicyRule>,
    /// The rules of the `Role` in each namespace.
    pub roles: BTreeMap<&'static str, Vec<PolicyRule>>,
    /// The rules of the `Role` in the namespace that the process runs in.
    pub own_role: Vec<PolicyRule>,
}

/// What this room itself needs, whatever the kinds.
pub const PERMISSIONS: &[Permission] = &[
    events(Scope::Namespace(crate::events::DEFAULT_NAMESPACE)),
    events(Scope::Own(None)),
    crate::leader::HOLD,
    crate::leader::CREATE,
];

/// Events of cluster-scoped objects live in a namespace of their own, those about the Lease beside it.
const fn events(scope: Scope) -> Permission {
    Permission { scope, group: "events.k8s.io", resource: "events", verbs: &[Verb::Create, Verb::Patch] }
}

impl Roles {
    /// One rule for each resource, with every verb that any permission names.
    pub fn new<'a>(permissions: impl IntoIterator<Item = &'a Permission>) -> Self {
        let mut granted: BTreeMap<(Scope, &str, &str), BTreeSet<Verb>> = BTreeMap::new();
        for Permission { scope, group, resource, verbs } in permissions {
            granted.entry((*scope, group, resource)).or_default().extend(*verbs);
        }
        let mut roles = Self::default();
        for ((scope, group, resource), verbs) in granted {
            let named = match scope {
                Scope::Own(Some(name)) => Some(vec![name.to_owned()]),
                Scope::Cluster | Scope::Namespace(_) | Scope::Own(None) => None,
            };
            let rule = PolicyRule {
                resource_names: named,
                api_groups: Some(vec![group.to_owned()]),
                resources: Some(vec![resource.to_owned()]),
                verbs: verbs.into_iter().map(|verb| verb.as_str().to_owned()).collect(),
                ..PolicyRule::default()
            };
            match scope {
                Scope::Cluster => roles.cluster_role.push(rule),
                Scope::Namespace(namespace) => roles.roles.entry(namespace).or_default().push(rule),
                Scope::Own(_) => roles.own_role.push(rule),
            }
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // Rule runtime-17.
    #[test]
    fn permissions_become_one_rule_for_each_resource_in_each_scope() {
        let ask = |scope, resource, verbs| Permission { scope, group: "harbour.example", resource, verbs };
        let permissions = [
            ask(Scope::Cluster, "quays", &[Verb::Watch, Verb::Get]),
            ask(Scope::Namespace("dock"), "quays", &[Verb::Patch]),
            ask(Scope::Cluster, "quays", &[Verb::Get, Verb::Patch]),
            ask(Scope::Cluster, "cranes/status", &[Verb::Patch]),
            ask(Scope::Own(None), "quays", &[Verb::Create]),
            ask(Scope::Own(Some("north")), "quays", &[Verb::Update]),
        ];
        let mut north =
            json!({"apiGroups": ["harbour.example"], "resources": ["quays"], "verbs": ["update"]});
        north["resourceNames"] = json!(["north"]);
        let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["harbour.example"], "resources": [resource], "verbs": verbs});
        assert_eq!(
            serde_json::to_value(Roles::new(&permissions)).unwrap(),
            json!({
                "clusterRole": [rule("cranes/status", &["patch"]), rule("quays", &["get", "patch", "watch"])],
                "roles": {"dock": [rule("quays", &["patch"])]},
                "ownRole": [rule("quays", &["create"]), north],
            })
        );
    }
}
