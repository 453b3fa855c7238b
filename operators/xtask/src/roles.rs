//! What users may do with the kinds: rules for roles that view, edit and admin of every cluster take in.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::{
    api::rbac::v1::PolicyRule,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::Serialize;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// The rules of each role.
///
/// The larger take in the smaller, as Kubernetes' own do. An object of a cluster-scoped kind decides about everybody's
/// nodes, so only admins write one; and who is admin of a namespace only, by a `RoleBinding`, may not, since such a binding
/// says nothing about what is outside of namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Roles {
    view: Vec<PolicyRule>,
    edit: Vec<PolicyRule>,
    admin: Vec<PolicyRule>,
}

impl Roles {
    /// The rules for these kinds.
    pub(crate) fn of(kinds: &[CustomResourceDefinition]) -> Self {
        let (namespaced, cluster): (Vec<_>, Vec<_>) =
            kinds.iter().partition(|kind| kind.spec.scope == "Namespaced");
        Self {
            view: rules(kinds.iter(), READ),
            edit: rules(namespaced.into_iter(), WRITE),
            admin: rules(cluster.into_iter(), WRITE),
        }
    }

    /// As the chart reads them.
    pub(crate) fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self).context("cannot write the roles of users")
    }
}

/// A rule for each API group.
fn rules<'a>(kinds: impl Iterator<Item = &'a CustomResourceDefinition>, verbs: &[&str]) -> Vec<PolicyRule> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        groups.entry(&kind.spec.group).or_default().push(kind.spec.names.plural.clone());
    }
    let rule = |(group, mut resources): (&str, Vec<String>)| {
        resources.sort();
        PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(resources),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            ..PolicyRule::default()
        }
    };
    groups.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kind(plural: &str, scope: &str) -> CustomResourceDefinition {
        let names = json!({"kind": "Any", "plural": plural});
        let spec = json!({"group": "harbour.example", "names": names, "scope": scope, "versions": []});
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    // Rule xtask-13.
    #[test]
    fn all_view_every_kind_editors_write_in_namespaces_and_admins_what_is_outside() {
        let kinds = [kind("ships", "Namespaced"), kind("piers", "Cluster"), kind("boats", "Namespaced")];
        let rule = |resources: &[&str], verbs: &[&str]| json!({"apiGroups": ["harbour.example"], "resources": resources, "verbs": verbs});
        let wanted = json!({
            "view": [rule(&["boats", "piers", "ships"], READ)],
            "edit": [rule(&["boats", "ships"], WRITE)],
            "admin": [rule(&["piers"], WRITE)],
        });
        assert_eq!(serde_json::to_value(Roles::of(&kinds)).unwrap(), wanted);
    }

    // Rule xtask-13.
    #[test]
    fn nobody_but_an_admin_writes_a_pool() {
        let roles: Value =
            serde_saphyr::from_str(&Roles::of(&stowage_api::crds()).to_yaml().unwrap()).unwrap();
        let has = |role: &str| roles[role].to_string().contains("\"nodepools\"");
        assert_eq!(["view", "edit", "admin"].map(has), [true, false, true]);
        assert!(!roles["view"].to_string().contains("patch"), "{roles}");
    }
}
