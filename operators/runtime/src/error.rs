//! What can go wrong with one request, in the classes that decide what happens next.

use std::fmt;

use kube::{Resource, core::Status};

use crate::{Key, leader::NotLeading};

/// A verb of the API, as RBAC spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Create one object.
    Create,
    /// Delete one object.
    Delete,
    /// Read one object.
    Get,
    /// Read all objects.
    List,
    /// Change one object.
    Patch,
    /// Replace one object.
    Update,
    /// Follow all objects.
    Watch,
}

/// One request, for people: what was tried on what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// What was tried.
    pub verb: Verb,
    /// The kind, for messages.
    pub kind: String,
    /// The resource as RBAC spells it: `nodes`, `nodepools.stowage.dev/status`.
    pub resource: String,
    /// The object; absent where a request is about all of them.
    pub key: Option<Key>,
}

/// What an error means for the next step. The greater wants the earlier try; whoever does not lead tries nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The API server calls the request invalid: the object says so, nothing is retried before a change.
    Rejected,
    /// An admission plugin or webhook refuses the write: the object says so, the same write is kept back for a while.
    Denied,
    /// A permission is missing: the object names it, retried slowly.
    Forbidden,
    /// It may work later: again, after a delay that grows.
    Transient,
    /// Somebody else was faster: again, at once, in silence.
    Conflict,
    /// Another process leads or soon will, so nothing was sent or awaited any longer: the object has no part in it.
    NotLeading,
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}")]
pub struct Error {
    class: Class,
    operation: Box<Operation>,
    source: Cause,
}

/// Why, in words that stay the same byte for byte while the trouble lasts: they go into conditions.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Cause {
    words: String,
    source: Box<kube::Error>,
}

impl Verb {
    /// The verb as RBAC spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Operation {
    /// A request about one object of kind `K`.
    pub(crate) fn one<K: Resource<DynamicType = ()>>(verb: Verb, key: Key) -> Self {
        Self { key: Some(key), ..Self::all::<K>(verb) }
    }

    /// A request about all objects of kind `K`.
    pub(crate) fn all<K: Resource<DynamicType = ()>>(verb: Verb) -> Self {
        let (group, plural) = (K::group(&()), K::plural(&()));
        let resource = if group.is_empty() { plural.into_owned() } else { format!("{plural}.{group}") };
        Self { verb, kind: K::kind(&()).into_owned(), resource, key: None }
    }

    /// The same about a subresource.
    pub(crate) fn of(mut self, subresource: &str) -> Self {
        self.resource = format!("{}/{subresource}", self.resource);
        self
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{} {} {key}", self.verb, self.kind),
            None => write!(f, "{} {}", self.verb, self.resource),
        }
    }
}

impl Error {
    /// What the error means for the next step.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What was tried.
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// What failed and why, in one sentence for a condition.
    pub fn sentence(&self) -> String {
        format!("{self}: {}", self.source.words)
    }

    /// Why it failed, without what was tried.
    pub fn cause(&self) -> &str {
        &self.source.words
    }

    /// Whether nothing has happened, because the object is not what the request took it for, or not there.
    pub(crate) fn is_outdated(&self) -> bool {
        self.class == Class::Conflict || Self::is_gone(&self.source.source)
    }

    /// Whether the API server does not know the object, or the whole resource.
    pub(crate) fn is_gone(error: &kube::Error) -> bool {
        matches!(error, kube::Error::Api(status) if status.code == 404)
    }

    pub(crate) fn new(operation: Operation, error: kube::Error) -> Self {
        let (class, words) = if let kube::Error::Api(status) = &error {
            answered(&operation, status)
        } else if matches!(error, kube::Error::SerdeError(_)) {
            (Class::Transient, "its JSON does not decode".to_owned())
        } else if matches!(&error, kube::Error::Service(cause) if cause.is::<NotLeading>()) {
            (Class::NotLeading, NotLeading.to_string())
        } else {
            (Class::Transient, "the API server gave no answer".to_owned())
        };
        Self { class, operation: Box::new(operation), source: Cause { words, source: Box::new(error) } }
    }
}

/// Class and cause of an answer of the API server. Its own message is quoted only where it is about the request,
/// not about the moment.
fn answered(operation: &Operation, status: &Status) -> (Class, String) {
    match status.code {
        400..=499 if is_denial(status) => (Class::Denied, status.message.clone()),
        400 | 422 => (Class::Rejected, status.message.clone()),
        403 if status.message.contains("User \"") && status.message.contains("\" cannot ") => {
            let Operation { verb, resource, .. } = operation;
            (Class::Forbidden, format!("grant the verb {verb} on {resource} to this service account"))
        }
        // Not RBAC but an admission plugin of the API server itself: its message says who and why.
        403 => (Class::Denied, status.message.clone()),
        404 if operation.key.is_none() => (
            Class::Transient,
            "the API server does not know it: is its CustomResourceDefinition installed?".to_owned(),
        ),
        404 => (Class::Transient, "it is gone".to_owned()),
        409 => (Class::Conflict, "it was changed meanwhile".to_owned()),
        code => (Class::Transient, format!("the API server answered {code} {}", status.reason)),
    }
}

/// Whether a webhook or a policy has refused the request. Each may choose the code of its answer, so only the words
/// that the API server puts around its message tell (admission/plugin/webhook/errors, admission/plugin/policy/validating).
/// "Later" and "changed meanwhile" are left to mean what they mean from anybody else.
fn is_denial(status: &Status) -> bool {
    let message = &status.message;
    let webhook = message.contains("admission webhook \"") && message.contains("denied the request");
    let policy = message.contains("ValidatingAdmissionPolicy '") && message.contains("denied request");
    (webhook || policy) && !matches!(status.code, 409 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patching() -> Operation {
        Operation {
            verb: Verb::Patch,
            kind: "Node".to_owned(),
            resource: "nodes".to_owned(),
            key: Some(Key::cluster("quay-1")),
        }
    }

    /// Class and cause of an answer to a patch.
    fn answered(code: u16, message: &str) -> (Class, String) {
        let status = Status::failure(message, "Busy").with_code(code).boxed();
        let error = Error::new(patching(), kube::Error::Api(status));
        assert_eq!(error.sentence(), format!("cannot patch Node quay-1: {}", error.cause()));
        (error.class(), error.cause().to_owned())
    }

    // Rule runtime-10.
    #[test]
    fn an_answer_decides_the_class_and_the_cause() {
        let rbac =
            r#"nodes "quay-1" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "nodes""#;
        let grant = "grant the verb patch on nodes to this service account";
        let cases = [
            (400, "", Class::Rejected, "", "the request is malformed"),
            (403, rbac, Class::Forbidden, grant, "RBAC"),
            (404, "", Class::Transient, "it is gone", "it was deleted"),
            (409, "", Class::Conflict, "it was changed meanwhile", "a newer version exists"),
            (422, "bad value", Class::Rejected, "bad value", "validation"),
            (429, "", Class::Transient, "the API server answered 429 Busy", "overload"),
            (500, "", Class::Transient, "the API server answered 500 Busy", "trouble"),
        ];
        for (code, message, class, cause, because) in cases {
            assert_eq!(answered(code, message), (class, cause.to_owned()), "{because}");
        }
    }

    // Rule runtime-10.
    #[test]
    fn a_refusal_by_admission_is_known_by_its_words_whatever_its_code() {
        let webhook = r#"admission webhook "cloud" denied the request: User "me" cannot set "a""#;
        let policy =
            r#"nodes "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#;
        let cases = [
            (400, webhook, Class::Denied, "a webhook that names no code"),
            (403, webhook, Class::Denied, "a webhook that talks like RBAC"),
            (422, policy, Class::Denied, "a policy"),
            (403, "the node is locked", Class::Denied, "an admission plugin of the API server itself"),
            (429, webhook, Class::Transient, "a webhook that asks for patience"),
            (409, webhook, Class::Conflict, "a webhook that has seen a newer version"),
            (500, r#"failed calling webhook "cloud""#, Class::Transient, "a webhook that is away"),
        ];
        for (code, message, class, because) in cases {
            let (found, cause) = answered(code, message);
            assert_eq!(found, class, "{because}");
            assert_eq!(cause == message, class == Class::Denied, "{because}: {cause}");
        }
    }
}
