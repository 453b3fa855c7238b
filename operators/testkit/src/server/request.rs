//! A request, taken apart.

use std::collections::BTreeMap;

use http::{Method, Request, header::CONTENT_TYPE};
use kube::client::Body;
use serde_json::Value;
use tower::BoxError;

/// One request of the API, as its verb and its object.
pub(super) struct Call {
    pub(super) verb: &'static str,
    pub(super) path: String,
    /// The path of all objects of the resource, without namespace: `/api/v1/nodes`.
    pub(super) collection: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    pub(super) body: Value,
    query: BTreeMap<String, String>,
    content_type: String,
}

impl Call {
    pub(super) async fn read(request: Request<Body>) -> Result<Self, BoxError> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await?;
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default();
        let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Address { collection, namespace, name, subresource } = split(&path);
        let verb = match (&parts.method, &name) {
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) if query.get("watch").is_some_and(|watch| watch == "true") => "watch",
            (&Method::GET, None) => "list",
            (&Method::POST, _) => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, Some(_)) => "delete",
            _ => "unknown",
        };
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? };
        let content_type = content_type.unwrap_or_default().to_owned();
        Ok(Self { verb, path, collection, namespace, name, subresource, body, query, content_type })
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<usize> {
        self.value(key)?.parse().ok()
    }

    /// The only patch with a precondition that answers 409.
    pub(super) fn is_merge_patch(&self) -> bool {
        self.content_type == "application/merge-patch+json"
    }

    /// An apply that takes what others own; one that would ask first is unknown here.
    pub(super) fn is_forced_apply(&self) -> bool {
        self.content_type == "application/apply-patch+yaml" && self.value("force") == Some("true")
    }
}

/// The parts of a path: `/api/v1/nodes/quay-1/status`.
struct Address {
    collection: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

fn split(path: &str) -> Address {
    let mut parts = path.trim_matches('/').split('/');
    let length = if path.starts_with("/api/") { 2 } else { 3 };
    let mut collection: Vec<&str> = parts.by_ref().take(length).collect();
    let mut rest: Vec<&str> = parts.collect();
    let mut namespace = None;
    if rest.len() > 2 && rest.first() == Some(&"namespaces") {
        namespace = rest.drain(..2).nth(1).map(ToOwned::to_owned);
    }
    let mut rest = rest.into_iter();
    collection.extend(rest.next());
    let mut next = || rest.next().map(ToOwned::to_owned);
    let collection = format!("/{}", collection.join("/"));
    Address { collection, namespace, name: next(), subresource: next() }
}
