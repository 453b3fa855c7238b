//! The CEL rules of the kinds. Each message names the field and the cure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;

use crate::{
    Syntax,
    keys::ZONE_LABEL,
    node_pool::{ANNOTATION_LENGTH, DRAIN_TIMEOUT_RANGE, IMAGE_GC_DEFAULTS, SCRIPT_LIMIT},
    reserved,
    syntax::measures::SIZE_DIGITS,
};

/// A [`crate::Duration`]. In RE2, as CEL has it; backslashes would need escaping twice.
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// A [`crate::Quantity`], within an expression.
const QUANTITY: &str = "[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?";

/// A map or list of keys with values, and the words for it in CEL and in messages.
struct Entries {
    field: &'static str,
    noun: &'static str,
    /// The map; none where the rule stands on one entry.
    all: Option<&'static str>,
    /// What holds where there is no map.
    absent: &'static str,
    /// The key and the value of one entry, which is `k` in a map.
    key: &'static str,
    value: &'static str,
}

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
            &selector_uses("k"),
        ),
        rule(
            &format!(
                "!has(self.topologyZone) || self.topologyZone != 'IfAbsent' || !has(self.selector) || !({})",
                selector_uses(&format!("'{ZONE_LABEL}'"))
            ),
            &format!(
                "spec.topologyZone must be Never while spec.selector uses {ZONE_LABEL}: a pool must not change what \
                 selects its nodes"
            ),
        ),
    ]
}

/// Whether `spec.selector`, which is there, uses a key.
fn selector_uses(key: &str) -> String {
    format!(
        "(has(self.selector.matchLabels) && {key} in self.selector.matchLabels) || \
         (has(self.selector.matchExpressions) && self.selector.matchExpressions.exists(e, e.key == {key}))"
    )
}

/// `spec.labels` of a NodePool.
pub(crate) fn labels() -> Vec<ValidationRule> {
    let labels = Entries { field: "spec.labels", noun: "label", ..Entries::MAP };
    vec![labels.have_keys(), labels.have_label_values(), labels.have_keys_of_their_own()]
}

/// `spec.annotations` of a NodePool.
pub(crate) fn annotations() -> Vec<ValidationRule> {
    let annotations = Entries { field: "spec.annotations", noun: "annotation", ..Entries::MAP };
    vec![
        annotations.have_keys(),
        annotations.never(
            &format!("a value of more than {ANNOTATION_LENGTH} bytes under the key"),
            &format!("bytes(self[k]).size() > {ANNOTATION_LENGTH}"),
            "keep what is longer in a ConfigMap",
        ),
        annotations.have_keys_of_their_own(),
    ]
}

/// One of `spec.taints` of a NodePool. On the entry and not on the list, of which the API server would take the key in a
/// message for one of any length.
pub(crate) fn taint() -> Vec<ValidationRule> {
    let taint = Entries {
        field: "spec.taints",
        noun: "taint",
        all: None,
        key: "self.key",
        value: "(has(self.value) ? self.value : '')",
        ..Entries::MAP
    };
    vec![taint.have_keys(), taint.have_label_values(), taint.have_keys_of_their_own()]
}

/// `spec.drainTimeout` of a NodePool.
pub(crate) fn drain_timeout() -> Vec<ValidationRule> {
    let field = "spec.drainTimeout";
    let (least, most) = DRAIN_TIMEOUT_RANGE;
    let range = format!("duration(self) >= duration('{least}') && duration(self) <= duration('{most}')");
    let mut rules = duration(field);
    rules.push(rule(&in_case_of_a_duration(&range), &format!("{field} must be between {least} and {most}")));
    rules
}

/// Each shutdown period of the kubelet, which must be 0 or a second.
pub(crate) fn grace_period(field: &str) -> Vec<ValidationRule> {
    let range = "duration(self) == duration('0s') || duration(self) >= duration('1s')";
    let mut rules = duration(field);
    rules.push(rule(&in_case_of_a_duration(range), &format!("{field} must be 0s or at least 1s")));
    rules
}

/// A span of time.
pub(crate) fn duration(field: &str) -> Vec<ValidationRule> {
    vec![rule(&format!("self.matches('{DURATION}')"), &format!("{field} {}", Syntax::Duration))]
}

/// A quantity.
pub(crate) fn quantity(field: &str) -> Vec<ValidationRule> {
    vec![rule(&format!("self.matches('^{QUANTITY}$')"), &format!("{field} {}", Syntax::Quantity))]
}

/// A number of bytes.
pub(crate) fn size(field: &str) -> Vec<ValidationRule> {
    let (alone, with_suffix) = SIZE_DIGITS;
    let pattern = format!("^([0-9]{{1,{alone}}}|[0-9]{{1,{with_suffix}}}(k|M|G|Ki|Mi|Gi))$");
    vec![rule(&format!("self.matches('{pattern}')"), &format!("{field} {}", Syntax::Size))]
}

/// A quantity that is not 0, or a percentage.
pub(crate) fn threshold(field: &str) -> Vec<ValidationRule> {
    let pattern = format!("^({QUANTITY}|[0-9]{{1,2}}([.][0-9]+)?%)$");
    vec![rule(
        &format!("self.matches('{pattern}') && (self.endsWith('%') || self.matches('[1-9]'))"),
        &format!("{field} {}", Syntax::Threshold),
    )]
}

/// `spec.kubelet.allowedUnsafeSysctls` of a NodePool. Two rules: the kubelet checks both by themselves.
pub(crate) fn sysctls() -> Vec<ValidationRule> {
    let part = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    vec![rule(
        &format!(
            "self.all(s, s.matches('^(kernel[.]sem$|kernel[.]shm|kernel[.]msg|fs[.]mqueue[.]|net[.])') && \
             s.matches('^({part}[.])+({part}|([a-z0-9][-_a-z0-9]*)?[*])$'))"
        ),
        &format!("spec.kubelet.allowedUnsafeSysctls has an entry that is none: each {}", Syntax::Sysctl),
    )]
}

/// `spec.kubelet` of a NodePool: what the kubelet refuses to start with although each value is right.
pub(crate) fn kubelet() -> Vec<ValidationRule> {
    let critical = "spec.kubelet.shutdownGracePeriodCriticalPods";
    let (high, low) = IMAGE_GC_DEFAULTS;
    vec![
        rule(
            "!has(self.maxParallelImagePulls) || self.maxParallelImagePulls <= 1 || \
             (has(self.serializeImagePulls) && !self.serializeImagePulls)",
            "spec.kubelet.maxParallelImagePulls must be 1 unless spec.kubelet.serializeImagePulls is false: set that",
        ),
        rule(
            &format!(
                "(has(self.imageGCHighThresholdPercent) ? self.imageGCHighThresholdPercent : {high}) > \
                 (has(self.imageGCLowThresholdPercent) ? self.imageGCLowThresholdPercent : {low})"
            ),
            &format!(
                "spec.kubelet.imageGCHighThresholdPercent must be more than \
                 spec.kubelet.imageGCLowThresholdPercent, and they are {high} and {low} by default: set both"
            ),
        ),
        rule(
            &format!(
                "!has(self.shutdownGracePeriodCriticalPods) || (has(self.shutdownGracePeriod) && \
                 (!self.shutdownGracePeriod.matches('{DURATION}') || \
                 !self.shutdownGracePeriodCriticalPods.matches('{DURATION}') || \
                 duration(self.shutdownGracePeriodCriticalPods) <= duration(self.shutdownGracePeriod)))"
            ),
            &format!(
                "{critical} must be at most spec.kubelet.shutdownGracePeriod, of which it is a part: set both"
            ),
        ),
    ]
}

/// `spec.bootstrap.script` of a NodePool.
pub(crate) fn script() -> Vec<ValidationRule> {
    vec![rule(
        &format!("bytes(self).size() <= {SCRIPT_LIMIT}"),
        &format!(
            "spec.bootstrap.script must have at most {SCRIPT_LIMIT} bytes, because clouds take no more: have it fetch \
             the rest"
        ),
    )]
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
    let match_labels = Entries {
        field: "spec.selector.matchLabels",
        noun: "label",
        all: Some("self.matchLabels"),
        absent: "!has(self.matchLabels) || ",
        value: "self.matchLabels[k]",
        ..Entries::MAP
    };
    vec![
        rule(
            "(has(self.matchLabels) && size(self.matchLabels) > 0) || \
             (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "spec.selector must not be empty, because it would match every node: add matchLabels or \
             matchExpressions, or remove it and use spec.nodeNames",
        ),
        match_labels.have_keys(),
        match_labels.have_label_values(),
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

impl Entries {
    /// Those of a map that `self` is.
    const MAP: Self = Self { field: "", noun: "", all: Some("self"), absent: "", key: "k", value: "self[k]" };

    fn have_keys(&self) -> ValidationRule {
        self.never(
            &format!("a key that is no {} key:", self.noun),
            &format!("format.qualifiedName().validate({}).hasValue()", self.key),
            "use an optional DNS prefix and a slash, then at most 63 letters, digits, -, _ or .",
        )
    }

    fn have_label_values(&self) -> ValidationRule {
        self.never(
            &format!("a value that is no {} value under the key", self.noun),
            &format!("format.labelValue().validate({}).hasValue()", self.value),
            "use at most 63 letters, digits, -, _ or ., with a letter or digit at both ends",
        )
    }

    fn have_keys_of_their_own(&self) -> ValidationRule {
        self.never(
            "a key that belongs to Kubernetes, a cloud or Stowage:",
            &reserved::cel(self.key),
            "use a prefix of your own, such as example.com/",
        )
    }

    /// No entry is `bad`. The message says what it has then, and the key.
    fn never(&self, what: &str, bad: &str, cure: &str) -> ValidationRule {
        let Self { field, noun: _, all, absent, key, value: _ } = self;
        let (rule, culprit) = match all {
            Some(all) => (format!("{absent}{all}.all(k, !(BAD))"), format!("{all}.filter(k, BAD)[0]")),
            None => ("!(BAD)".to_owned(), (*key).to_owned()),
        };
        naming(&rule, &format!("'{field} has {what} ' + {culprit} + '; {cure}'"), bad)
    }
}

/// A rule for a text that says nothing where that is no [`crate::Duration`]: CEL could not read it.
fn in_case_of_a_duration(rule: &str) -> String {
    format!("!self.matches('{DURATION}') || {rule}")
}

fn rule(rule: &str, message: &str) -> ValidationRule {
    ValidationRule { rule: rule.to_owned(), message: Some(message.to_owned()), ..ValidationRule::default() }
}

/// A rule whose message names a key that breaks it; `BAD` stands for `bad`, a question about one entry. One key:
/// the API server takes a list joined to a text for one of any length, and refuses its cost.
fn naming(rule: &str, message: &str, bad: &str) -> ValidationRule {
    ValidationRule {
        rule: rule.replace("BAD", bad),
        message_expression: Some(message.replace("BAD", bad)),
        ..ValidationRule::default()
    }
}
