//! The `CustomResourceDefinition`s, complete as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, ValidationRule,
};
use kube_core::CustomResourceExt;

use crate::{NodePool, rules};

/// What the derive of one kind gives, and what it cannot say.
struct Kind {
    derived: fn() -> CustomResourceDefinition,
    /// Rules about the whole object: those about `metadata.name` have no other place.
    rules: fn() -> Vec<ValidationRule>,
}

/// One row per kind, in the order of their files.
const KINDS: [Kind; 1] = [Kind { derived: NodePool::crd, rules: rules::pool_name }];

/// `observedGeneration` of an object that no controller has seen. It differs from every generation,
/// so that kstatus never takes a new object for a finished one.
const NEVER_OBSERVED: i64 = -1;

/// Every `CustomResourceDefinition` of Stowage.
pub fn crds() -> Vec<CustomResourceDefinition> {
    KINDS.iter().map(Kind::complete).collect()
}

impl Kind {
    fn complete(&self) -> CustomResourceDefinition {
        let mut crd = (self.derived)();
        for version in &mut crd.spec.versions {
            if let Some(schema) =
                version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                schema.x_kubernetes_validations = Some((self.rules)());
                default_status(schema);
            }
        }
        crd
    }
}

/// The default stands on the whole `status`: that of a field inside it does nothing while its parent
/// is absent.
fn default_status(schema: &mut JSONSchemaProps) {
    if let Some(status) = schema.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
        status.nullable = None;
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": NEVER_OBSERVED })));
    }
}
