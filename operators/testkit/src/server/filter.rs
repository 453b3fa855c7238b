//! Which objects a list or a watch is about.

use serde_json::Value;

use super::request::Call;

/// Namespace, label selector and field selector of a request. Selectors are lists of `key=value`.
pub(super) struct Filter {
    namespace: Option<String>,
    labels: Vec<(String, String)>,
    fields: Vec<(String, String)>,
}

impl Filter {
    pub(super) fn of(call: &Call) -> Self {
        Self {
            namespace: call.namespace.clone(),
            labels: pairs(call.value("labelSelector")),
            fields: pairs(call.value("fieldSelector")),
        }
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let labels = object.pointer("/metadata/labels");
        self.namespace
            .as_ref()
            .is_none_or(|namespace| text(object.pointer("/metadata/namespace")) == *namespace)
            && self
                .labels
                .iter()
                .all(|(key, value)| text(labels.and_then(|labels| labels.get(key))) == *value)
            && self.fields.iter().all(|(path, value)| {
                text(path.split('.').try_fold(object, |object, part| object.get(part))) == *value
            })
    }
}

fn pairs(selector: Option<&str>) -> Vec<(String, String)> {
    let pairs = selector.unwrap_or_default().split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
