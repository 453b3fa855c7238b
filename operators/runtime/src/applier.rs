//! The only writer to the cluster.
//!
//! A write names the state it was decided on, so a late or doubled one fails instead of undoing what came after.
//! What the API server answers goes into the cache at once, so the next reconcile does not decide on the past.

mod child;
mod denials;
mod evict;
mod limit;
mod load;
mod many;

use std::sync::Arc;

use kube::{
    Client, Resource,
    api::{DeleteParams, Patch, PatchParams, Preconditions, ValidationDirective},
    core::{Request, object::HasStatus},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::denials::{Fingerprint, Target};
pub use self::{denials::AFTER_DENIAL, evict::Evicted, limit::WriteLimit, many::Outcomes};
pub(crate) use self::{denials::Denials, limit::Bucket};
use crate::{
    Cache, Class, Error, Held, Key, Operation, Verb, View, Whole,
    cache::{Audience, Decoded},
    clock,
    events::{Recorder, regarding},
    metrics::{Metrics, WriteResult},
};

/// Writes in the name of one controller.
#[derive(Clone)]
pub struct Applier {
    controller: &'static str,
    shared: Shared,
}

/// What all that write have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) denials: Arc<Denials>,
    pub(crate) stop: CancellationToken,
}

/// A JSON merge patch, and the state of the object that it was decided on.
#[derive(Debug)]
pub struct Decided<T> {
    /// The object.
    pub key: Key,
    /// Its state.
    pub on: Held<T>,
    /// What is to change; the version is added when it is sent.
    pub patch: Map<String, Value>,
}

/// How a write ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The API server has it.
    Done,
    /// It was so already, and nothing was sent.
    Unchanged,
    /// The object is no longer there: nothing is left to write.
    Gone,
}

/// A request that writes, and what it is known by if it is refused.
struct Write {
    target: Target,
    written: Fingerprint,
    request: Built,
}

impl Applier {
    pub(crate) fn new(controller: &'static str, shared: Shared) -> Self {
        Self { controller, shared }
    }

    /// Sends one patch. A newer state than the one it was decided on makes it a conflict.
    pub async fn patch<V: View>(
        &self,
        cache: &Cache<V>,
        decided: Decided<V::Object>,
    ) -> Result<Written, Error> {
        let Decided { key, on, patch } = decided;
        let written = Fingerprint::of(&patch);
        let patch = pinned(patch, &on.version);
        let request = objects::<V::Kind>(&key).patch(&key.name, &self.parameters(), &Patch::Merge(patch));
        let target =
            Target { operation: Operation::one::<V::Kind>(Verb::Patch, key), uid: on.uid.to_string() };
        self.write(cache, Write { target, written, request }, Audience::Readers).await
    }

    /// Brings the status of `object` to `status`; sends only what differs, and nothing where nothing does.
    pub async fn report<K>(
        &self,
        cache: &Cache<Whole<K>>,
        object: &K,
        status: &K::Status,
    ) -> Result<(), Error>
    where
        Whole<K>: View<Kind = K, Object = K>,
        K: Resource<DynamicType = ()> + HasStatus,
        K::Status: Serialize,
    {
        let key = Key::of(object.meta());
        let operation = Operation::one::<K>(Verb::Patch, key.clone()).of("status");
        let json =
            serde_json::to_value(object.status()).and_then(|old| Ok((old, serde_json::to_value(status)?)));
        let (old, new) =
            json.map_err(|error| Error::new(operation.clone(), kube::Error::SerdeError(error)))?;
        let Some(difference) = difference(&old, &new) else {
            return Ok(());
        };
        let version = object.meta().resource_version.as_deref().unwrap_or_default();
        let patch = Map::from_iter([("status".to_owned(), difference)]);
        let written = Fingerprint::of(&patch);
        let patch = Patch::Merge(pinned(patch, version));
        let request = objects::<K>(&key).patch_subresource("status", &key.name, &self.parameters(), &patch);
        let target = Target { operation, uid: uid(object) };
        self.write(cache, Write { target, written, request }, Audience::Nobody).await.map(drop)
    }

    /// Deletes one object if it still is the one with this UID. Gone already is success.
    pub async fn delete<K: Resource<DynamicType = ()>>(
        &self,
        key: &Key,
        uid: &str,
    ) -> Result<Written, Error> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let operation = Operation::one::<K>(Verb::Delete, key.clone());
        let request = objects::<K>(key).delete(&key.name, &parameters);
        let target = Target { operation, uid: uid.to_owned() };
        match self.carry_out(Write { target, written: Fingerprint::of(""), request }).await {
            Ok(Some(_)) => Ok(Written::Done),
            // A conflict: another object has taken the name, so ours is gone.
            Ok(None) => Ok(Written::Gone),
            Err(error) if error.class() == Class::Conflict => Ok(Written::Gone),
            Err(error) => Err(error),
        }
    }

    /// Tells the users of `object` what has happened to it. An event that cannot be sent is logged, never retried:
    /// events are a help for people, the truth is in the status.
    pub async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, event: crate::Event) {
        self.shared.recorder.publish(self.controller, object.object_ref(&()), event).await;
    }

    /// The same about an object that is known by name and UID only.
    pub async fn publish_about<K: Resource<DynamicType = ()>>(
        &self,
        key: &Key,
        uid: &str,
        event: crate::Event,
    ) {
        self.shared.recorder.publish(self.controller, regarding::<K>(key, uid), event).await;
    }

    /// Sets the finalizers of `object`.
    pub(crate) async fn set_finalizers<K>(
        &self,
        cache: &Cache<Whole<K>>,
        object: &K,
        finalizers: &[String],
    ) -> Result<Written, Error>
    where
        Whole<K>: View<Kind = K, Object = K>,
        K: Resource<DynamicType = ()>,
    {
        let key = Key::of(object.meta());
        let version = object.meta().resource_version.as_deref().unwrap_or_default();
        let patch = Map::from_iter([("metadata".to_owned(), json!({"finalizers": finalizers}))]);
        let written = Fingerprint::of(&patch);
        let patch = Patch::Merge(pinned(patch, version));
        let request = objects::<K>(&key).patch(&key.name, &self.parameters(), &patch);
        let target = Target { operation: Operation::one::<K>(Verb::Patch, key), uid: uid(object) };
        self.write(cache, Write { target, written, request }, Audience::Nobody).await
    }

    /// The namespace that this process runs in.
    pub(crate) fn namespace(&self) -> &str {
        self.shared.client.default_namespace()
    }

    pub(crate) fn parameters(&self) -> PatchParams {
        PatchParams {
            field_manager: Some(self.field_manager()),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        }
    }

    fn field_manager(&self) -> String {
        format!("stowage/{}", self.controller)
    }

    /// A write to an object that is there, or need not be written.
    async fn write<V: View>(
        &self,
        cache: &Cache<V>,
        write: Write,
        audience: Audience,
    ) -> Result<Written, Error> {
        let Some(text) = self.carry_out(write).await? else {
            return Ok(Written::Gone);
        };
        Self::learn(cache, &text, audience);
        Ok(Written::Done)
    }

    /// Puts an answer into the cache. One that does not decode is no failure of the write; the stream will bring the
    /// object.
    fn learn<V: View>(cache: &Cache<V>, text: &str, audience: Audience) {
        if let Ok(decoded) = Decoded::read(text) {
            cache.learn(decoded, audience);
        }
    }

    /// Sends a write in its turn, unless the same was refused a moment ago. Absent where the object is gone.
    async fn carry_out(&self, write: Write) -> Result<Option<String>, Error> {
        let Write { target, written, request } = write;
        if let Some(answer) = self.shared.denials.standing(&target, written, clock::instant()) {
            self.wrote(&target.operation, WriteResult::KeptBack);
            return Err(Error::new(target.operation, kube::Error::Api(answer)));
        }
        self.pace().await;
        let error = match self.send(&target.operation, request).await {
            Ok(text) => {
                self.wrote(&target.operation, WriteResult::Done);
                return Ok(Some(text));
            }
            Err(error) => error,
        };
        if Error::is_gone(&error) {
            self.wrote(&target.operation, WriteResult::Gone);
            return Ok(None);
        }
        let answer = if let kube::Error::Api(answer) = &error { Some(answer.clone()) } else { None };
        let error = self.failed(target.operation.clone(), error);
        if let Some(answer) = answer.filter(|_| error.class() == Class::Denied) {
            self.shared.denials.remember(target, written, answer, clock::instant());
        }
        Err(error)
    }

    /// Returns when a write may be sent, or when none may be any more: then the fence refuses it.
    async fn pace(&self) {
        if let Some(waited) = self.shared.stop.run_until_cancelled(self.shared.bucket.take()).await {
            self.shared.metrics.waited(self.controller, waited);
        }
    }

    pub(crate) async fn send(&self, operation: &Operation, request: Built) -> Result<String, kube::Error> {
        tracing::debug!(%operation, "request");
        sent(&self.shared.client, request).await
    }

    /// An answer as what it should be.
    pub(crate) fn decoded<T: DeserializeOwned>(
        operation: Operation,
        answer: Result<String, kube::Error>,
    ) -> Result<T, Error> {
        let decoded = answer.and_then(|text| serde_json::from_str(&text).map_err(kube::Error::SerdeError));
        decoded.map_err(|error| Error::new(operation, error))
    }

    fn wrote(&self, operation: &Operation, result: WriteResult) {
        self.shared.metrics.wrote(self.controller, operation.verb, result);
    }

    fn failed(&self, operation: Operation, error: kube::Error) -> Error {
        let error = Error::new(operation, error);
        self.wrote(error.operation(), WriteResult::Failed(error.class()));
        error
    }
}

/// A request, where it could be made.
pub(crate) type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

/// Sends a request. Returns the answer as its text.
pub(crate) async fn sent(client: &Client, request: Built) -> Result<String, kube::Error> {
    client.request_text(request.map_err(kube::Error::BuildRequest)?).await
}

fn objects<K: Resource<DynamicType = ()>>(key: &Key) -> Request {
    all::<K>(key.namespace.as_deref())
}

fn all<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> Request {
    Request::new(K::url_path(&(), namespace))
}

fn uid<K: Resource>(object: &K) -> String {
    object.meta().uid.clone().unwrap_or_default()
}

/// `patch`, valid only for the state with this version.
fn pinned(mut patch: Map<String, Value>, version: &str) -> Value {
    let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        metadata.insert("resourceVersion".to_owned(), json!(version));
    }
    Value::Object(patch)
}

/// The merge patch that makes `new` of `old`; null counts as absent, as it does for a merge patch.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let removed =
        before.iter().filter(|(key, value)| !value.is_null() && after.get(*key).is_none_or(Value::is_null));
    let removed = removed.map(|(key, _)| (key.clone(), Value::Null));
    let set = after.iter().filter(|(_, value)| !value.is_null()).filter_map(|(key, value)| {
        Some((key.clone(), difference(before.get(key).unwrap_or(&Value::Null), value)?))
    });
    let changes: Map<String, Value> = removed.chain(set).collect();
    (!changes.is_empty()).then_some(Value::Object(changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule runtime-5.
    #[test]
    fn the_difference_of_two_states_is_the_smallest_merge_patch_between_them() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None, "nothing changed"),
            (json!({"a": 1}), json!({"a": 2}), Some(json!({"a": 2})), "a value changed"),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), Some(json!({"b": null})), "a key went"),
            (json!({"a": 1}), json!({"a": 1, "b": null}), None, "null is absent"),
            (json!({"a": null}), json!({}), None, "absent is null"),
            (
                json!({"n": {"a": 1, "b": 2}}),
                json!({"n": {"a": 1, "b": 3}}),
                Some(json!({"n": {"b": 3}})),
                "deep inside",
            ),
            (json!({"l": [1, 2]}), json!({"l": [2]}), Some(json!({"l": [2]})), "a list is one value"),
            (Value::Null, json!({"a": 1}), Some(json!({"a": 1})), "there was none"),
        ];
        for (old, new, expected, because) in cases {
            assert_eq!(difference(&old, &new), expected, "{because}");
        }
    }
}
