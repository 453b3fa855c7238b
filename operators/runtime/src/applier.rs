//! The only writer to the cluster.
//!
//! A write names the state it was decided on, so a late or doubled one fails instead of undoing what came after.
//! What the API server answers goes into the cache at once, so the next reconcile does not decide on the past.

use std::sync::Arc;

use futures::{StreamExt, stream};
use kube::{
    Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions, ValidationDirective},
    core::{ObjectList, Request, object::HasStatus},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    Cache, Error, Held, Key, Operation, Verb, View, Whole,
    cache::{Audience, Decoded},
    events::Recorder,
    metrics::{Metrics, WriteResult},
};

/// Enough to keep an API server busy that takes 30 ms for one, and no more than it gives one client at once.
const WRITES_IN_FLIGHT: usize = 16;
/// A page of `list`: small in memory, few requests.
const PAGE_SIZE: u32 = 100;

/// Writes in the name of one controller.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    controller: &'static str,
    metrics: Metrics,
    recorder: Arc<Recorder>,
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
    /// The object is no longer there: nothing is left to write.
    Gone,
}

impl Applier {
    pub(crate) fn new(
        client: Client,
        controller: &'static str,
        metrics: Metrics,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self { client, controller, metrics, recorder }
    }

    /// Sends one patch. A newer state than the one it was decided on makes it a conflict.
    pub async fn patch<V: View>(
        &self,
        cache: &Cache<V>,
        decided: Decided<V::Object>,
    ) -> Result<Written, Error> {
        let Decided { key, on, patch } = decided;
        let patch = pinned(patch, &on.version);
        let request = objects::<V::Kind>(&key).patch(&key.name, &self.parameters(), &Patch::Merge(patch));
        self.write(cache, Operation::one::<V::Kind>(Verb::Patch, key), request, Audience::Readers).await
    }

    /// Sends many patches, several at once. Each is tried, whatever becomes of the others; of the errors, the one
    /// that wants the earliest try is returned, so that none waits for longer than it would alone.
    pub async fn patch_all<V: View>(
        &self,
        cache: &Cache<V>,
        decided: Vec<Decided<V::Object>>,
    ) -> Result<(), Error> {
        let writes = stream::iter(decided.into_iter().map(|decided| self.patch(cache, decided)));
        let errors = writes.buffered(WRITES_IN_FLIGHT).filter_map(async |result| result.err());
        let worst = errors.fold(None, async |worst: Option<Error>, error| match worst {
            Some(worst) if worst.class() >= error.class() => Some(worst),
            _ => Some(error),
        });
        worst.await.map_or(Ok(()), Err)
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
        let patch = pinned(Map::from_iter([("status".to_owned(), difference)]), version);
        let patch = Patch::Merge(patch);
        let request = objects::<K>(&key).patch_subresource("status", &key.name, &self.parameters(), &patch);
        self.write(cache, operation, request, Audience::Nobody).await.map(drop)
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
        match self.send(&operation, objects::<K>(key).delete(&key.name, &parameters)).await {
            Ok(_) => Ok(self.done(&operation, Written::Done)),
            // 409: another object has taken the name, so ours is gone.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Ok(self.done(&operation, Written::Gone))
            }
            Err(error) => Err(self.failed(operation, error)),
        }
    }

    /// Reads all objects once, page by page: for a command that does its work and ends. A resource that the API
    /// server does not know has no objects.
    pub async fn load<V: View>(&self) -> Result<Cache<V>, Error> {
        let cache = Cache::new(self.metrics.clone());
        let mut parameters = ListParams::default().limit(PAGE_SIZE);
        let operation = Operation::all::<V::Kind>(Verb::List);
        cache.apply(kube::runtime::watcher::Event::Init);
        loop {
            let request = Request::new(V::Kind::url_path(&(), None)).list(&parameters);
            let page: ObjectList<Decoded<V>> = match self.send(&operation, request).await {
                Err(error) if Error::is_gone(&error) => break,
                answer => Self::decoded(operation.clone(), answer)?,
            };
            for decoded in page.items {
                cache.apply(kube::runtime::watcher::Event::InitApply(decoded));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => break,
            }
        }
        cache.apply(kube::runtime::watcher::Event::InitDone);
        Ok(cache)
    }

    /// Tells the users of `object` what has happened to it. An event that cannot be sent is logged, never retried:
    /// events are a help for people, the truth is in the status.
    pub async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, event: crate::Event) {
        self.recorder.publish(self.controller, object.object_ref(&()), event).await;
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
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        let request = objects::<K>(&key).patch(&key.name, &self.parameters(), &Patch::Merge(patch));
        self.write(cache, Operation::one::<K>(Verb::Patch, key), request, Audience::Nobody).await
    }

    pub(crate) fn parameters(&self) -> PatchParams {
        PatchParams {
            field_manager: Some(format!("stowage/{}", self.controller)),
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        }
    }

    async fn write<V: View>(
        &self,
        cache: &Cache<V>,
        operation: Operation,
        request: Built,
        audience: Audience,
    ) -> Result<Written, Error> {
        match self.send(&operation, request).await {
            Ok(text) => {
                // An answer that does not decode is no failure of the write; the stream will bring the object.
                if let Ok(decoded) = Decoded::read(&text) {
                    cache.learn(decoded, audience);
                }
                Ok(self.done(&operation, Written::Done))
            }
            Err(error) if Error::is_gone(&error) => Ok(self.done(&operation, Written::Gone)),
            Err(error) => Err(self.failed(operation, error)),
        }
    }

    pub(crate) async fn send(&self, operation: &Operation, request: Built) -> Result<String, kube::Error> {
        tracing::debug!(%operation, "request");
        self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// An answer as what it should be.
    pub(crate) fn decoded<T: DeserializeOwned>(
        operation: Operation,
        answer: Result<String, kube::Error>,
    ) -> Result<T, Error> {
        let decoded = answer.and_then(|text| serde_json::from_str(&text).map_err(kube::Error::SerdeError));
        decoded.map_err(|error| Error::new(operation, error))
    }

    fn done(&self, operation: &Operation, written: Written) -> Written {
        let result = match written {
            Written::Done => WriteResult::Done,
            Written::Gone => WriteResult::Gone,
        };
        self.metrics.wrote(self.controller, operation.verb, result);
        written
    }

    fn failed(&self, operation: Operation, error: kube::Error) -> Error {
        let error = Error::new(operation, error);
        self.metrics.wrote(self.controller, error.operation().verb, WriteResult::Failed(error.class()));
        error
    }
}

type Built = Result<http::Request<Vec<u8>>, kube::core::request::Error>;

fn objects<K: Resource<DynamicType = ()>>(key: &Key) -> Request {
    Request::new(K::url_path(&(), key.namespace.as_deref()))
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
