//! Asking the API server what this process may do.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Resource, api::PostParams, core::Request};

use crate::{Applier, Error, Operation, Permission, Scope, Verb};

impl Applier {
    /// The verbs of `permission` that this process does not have. Everybody may ask this for themselves.
    pub async fn denied(&self, permission: &Permission) -> Result<Vec<Verb>, Error> {
        let mut denied = Vec::new();
        for verb in permission.verbs {
            let operation = Operation::all::<SelfSubjectAccessReview>(Verb::Create);
            let review = serde_json::to_vec(&review(permission, *verb, self.namespace()))
                .map_err(|error| Error::new(operation.clone(), kube::Error::SerdeError(error)))?;
            let reviews = Request::new(SelfSubjectAccessReview::url_path(&(), None));
            let answer = self.send(&operation, reviews.create(&PostParams::default(), review)).await;
            let answer: SelfSubjectAccessReview = Self::decoded(operation, answer)?;
            if !answer.status.is_some_and(|status| status.allowed) {
                denied.push(*verb);
            }
        }
        Ok(denied)
    }
}

/// The question whether `permission` with `verb` is granted to a process in the namespace `own`.
fn review(permission: &Permission, verb: Verb, own: &str) -> SelfSubjectAccessReview {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let (namespace, name) = match permission.scope {
        Scope::Cluster => (None, None),
        Scope::Namespace(namespace) => (Some(namespace), None),
        Scope::Own(name) => (Some(own), name),
    };
    let attributes = ResourceAttributes {
        group: Some(permission.group.to_owned()),
        namespace: namespace.map(ToOwned::to_owned),
        name: name.map(ToOwned::to_owned),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.as_str().to_owned()),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // Rule runtime-19.
    #[test]
    fn a_question_names_what_a_rule_of_rbac_names() {
        let ask = |scope, resource| Permission { scope, group: "harbour.example", resource, verbs: &[] };
        let cases = [
            (
                ask(Scope::Cluster, "quays/status"),
                json!({"group": "harbour.example", "resource": "quays", "subresource": "status", "verb": "patch"}),
            ),
            (
                ask(Scope::Namespace("dock"), "cranes"),
                json!({"group": "harbour.example", "namespace": "dock", "resource": "cranes", "verb": "patch"}),
            ),
            (
                ask(Scope::Own(Some("north")), "cranes"),
                json!({"group": "harbour.example", "namespace": "sea", "name": "north", "resource": "cranes", "verb": "patch"}),
            ),
        ];
        for (permission, expected) in cases {
            let asked = serde_json::to_value(review(&permission, Verb::Patch, "sea")).unwrap();
            assert_eq!(asked["spec"]["resourceAttributes"], expected);
        }
    }
}
