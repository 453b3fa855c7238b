//! The CEL rules of the kinds. Each message names the field and the cure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use crate::reserved;

/// A label key that is none.
const KEY_IS_MALFORMED: &str = "format.qualifiedName().validate(k).hasValue()";

/// `metadata.name` of a NodePool.
pub(crate) fn pool_name() -> Vec<ValidationRule> {
    vec![
        rule(
            "self.metadata.name.size() <= 63",
            "metadata.name must have at most 63 characters, because it becomes the value of the label \
             stowage.dev/nodepool on each node",
        ),
        rule(
            "self.metadata.name != 'default'",
            "metadata.name must not be default, which is the name of the nodes in no pool: choose another",
        ),
    ]
}

/// `spec` of a NodePool.
pub(crate) fn pool_spec() -> Vec<ValidationRule> {
    vec![
        rule(
            "has(self.selector) || (has(self.nodeNames) && size(self.nodeNames) > 0)",
            "spec must select nodes: set spec.selector.matchLabels, spec.selector.matchExpressions or \
             spec.nodeNames",
        ),
        // A label that the pool sets would otherwise keep a node in it against its owner's hand.
        naming(
            "!has(self.labels) || !has(self.selector) || self.labels.all(k, !(BAD))",
            "'spec.labels has a key that spec.selector uses: ' + self.labels.filter(k, BAD)[0] + '; a pool \
             must not change what selects its nodes, so use another key'",
            "(has(self.selector.matchLabels) && k in self.selector.matchLabels) || \
             (has(self.selector.matchExpressions) && self.selector.matchExpressions.exists(e, e.key == k))",
        ),
    ]
}

/// `spec.labels` of a NodePool.
pub(crate) fn labels() -> Vec<ValidationRule> {
    vec![
        naming(
            "self.all(k, !(BAD))",
            "'spec.labels has a key that is no label key: ' + self.filter(k, BAD)[0] + '; use an optional \
             DNS prefix and a slash, then at most 63 letters, digits, -, _ or .'",
            KEY_IS_MALFORMED,
        ),
        naming(
            "self.all(k, !(BAD))",
            "'spec.labels has a value that is no label value under the key ' + self.filter(k, BAD)[0] + \
             '; use at most 63 letters, digits, -, _ or ., with a letter or digit at both ends'",
            "format.labelValue().validate(self[k]).hasValue()",
        ),
        naming(
            "self.all(k, !(BAD))",
            "'spec.labels has a key that belongs to Kubernetes, a cloud or Stowage: ' + self.filter(k, BAD)[0] \
             + '; use a prefix of your own, such as example.com/'",
            &reserved::cel("k"),
        ),
    ]
}

/// `spec.nodeNames` of a NodePool.
pub(crate) fn node_names() -> Vec<ValidationRule> {
    vec![rule(
        "self.all(n, !format.dns1123Subdomain().validate(n).hasValue())",
        "spec.nodeNames must have names of nodes: at most 253 lower-case letters, digits, - or .",
    )]
}

/// A label selector under `spec.selector`.
pub(crate) fn label_selector() -> Vec<ValidationRule> {
    vec![
        rule(
            "(has(self.matchLabels) && size(self.matchLabels) > 0) || \
             (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "spec.selector must not be empty, because it would match every node: add matchLabels or \
             matchExpressions, or remove it and use spec.nodeNames",
        ),
        naming(
            "!has(self.matchLabels) || self.matchLabels.all(k, !(BAD))",
            "'spec.selector.matchLabels has a key that is no label key: ' + \
             self.matchLabels.filter(k, BAD)[0] + '; use an optional DNS prefix and a slash, then at most 63 \
             letters, digits, -, _ or .'",
            KEY_IS_MALFORMED,
        ),
        naming(
            "!has(self.matchLabels) || self.matchLabels.all(k, !(BAD))",
            "'spec.selector.matchLabels has a value that is no label value under the key ' + \
             self.matchLabels.filter(k, BAD)[0] + '; use at most 63 letters, digits, -, _ or ., with a \
             letter or digit at both ends'",
            "format.labelValue().validate(self.matchLabels[k]).hasValue()",
        ),
        rule(
            "!has(self.matchExpressions) || \
             self.matchExpressions.all(e, !format.qualifiedName().validate(e.key).hasValue())",
            "spec.selector.matchExpressions must have label keys: an optional DNS prefix and a slash, then at most \
             63 letters, digits, -, _ or .",
        ),
        rule(
            "!has(self.matchExpressions) || self.matchExpressions.all(e, !has(e.values) || \
             e.values.all(v, !format.labelValue().validate(v).hasValue()))",
            "spec.selector.matchExpressions must have label values: at most 63 letters, digits, -, _ or ., with a \
             letter or digit at both ends",
        ),
        rule(
            "!has(self.matchExpressions) || self.matchExpressions.all(e, \
             (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
            "spec.selector.matchExpressions must have values with In and NotIn, and none with Exists and \
             DoesNotExist",
        ),
        // Membership decides our label, so our label cannot decide membership.
        rule(
            "(!has(self.matchLabels) || !('stowage.dev/nodepool' in self.matchLabels)) && \
             (!has(self.matchExpressions) || self.matchExpressions.all(e, e.key != 'stowage.dev/nodepool'))",
            "spec.selector must not use stowage.dev/nodepool, which Stowage itself sets: select by a label of your \
             own or by spec.nodeNames",
        ),
    ]
}

fn rule(rule: &str, message: &str) -> ValidationRule {
    ValidationRule { rule: rule.to_owned(), message: Some(message.to_owned()), ..ValidationRule::default() }
}

/// A rule whose message names a key that breaks it; `BAD` stands for `bad`, a question about `k`. One key:
/// the API server takes a list joined to a text for one of any length, and refuses its cost.
fn naming(rule: &str, message: &str, bad: &str) -> ValidationRule {
    ValidationRule {
        rule: rule.replace("BAD", bad),
        message_expression: Some(message.replace("BAD", bad)),
        ..ValidationRule::default()
    }
}
