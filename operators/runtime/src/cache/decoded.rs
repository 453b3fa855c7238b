//! The guard between the stream and the cache: an object that does not decode is still an object with a name.
//!
//! kube's `DeserializeGuard` first builds a tree of the whole object and clones it. This one reads the text in place.

use std::{borrow::Cow, fmt, sync::Arc};

use kube::{
    Resource,
    core::{DynamicResourceScope, ObjectMeta},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use super::View;
use crate::Key;

/// An object of the stream, readable or not.
pub(crate) struct Decoded<V: View> {
    /// Of a readable object only what the watcher and the cache need; else all of it but managed fields.
    pub(crate) metadata: ObjectMeta,
    pub(crate) object: Result<Arc<V::Object>, String>,
}

#[derive(Deserialize)]
struct Envelope<M> {
    metadata: M,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl<V: View> Decoded<V> {
    /// Fails only where not even the metadata can be read: then there is nothing to name.
    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        match V::decode(text) {
            Ok(object) => {
                let Envelope { metadata } = serde_json::from_str(text)?;
                let Identity { name, namespace, uid, resource_version } = metadata;
                let metadata = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
                Ok(Self { metadata, object: Ok(Arc::new(object)) })
            }
            Err(error) => {
                let Envelope::<ObjectMeta> { mut metadata } = serde_json::from_str(text)?;
                metadata.managed_fields = None;
                Ok(Self { metadata, object: Err(error.to_string()) })
            }
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::of(&self.metadata)
    }

    pub(crate) fn version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }
}

impl<'de, V: View> Deserialize<'de> for Decoded<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Lists and watch events come as text, and both hand an object's text through unbuffered.
        let text = <&RawValue>::deserialize(deserializer)?;
        Self::read(text.get()).map_err(D::Error::custom)
    }
}

impl<V: View> Clone for Decoded<V> {
    fn clone(&self) -> Self {
        Self { metadata: self.metadata.clone(), object: self.object.clone() }
    }
}

impl<V: View> fmt::Debug for Decoded<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", V::Kind::kind(&()), self.key())
    }
}

impl<V: View> Resource for Decoded<V> {
    type DynamicType = ();
    // Whether it has a namespace was checked when the cache was made.
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        V::Kind::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        V::Kind::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        V::Kind::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        V::Kind::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
