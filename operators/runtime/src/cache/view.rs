//! What a cache keeps of an object.

use std::marker::PhantomData;

use kube::{Resource, core::ObjectMeta};
use serde::de::DeserializeOwned;

/// Decides what a cache of one kind keeps.
pub trait View: Send + Sync + 'static {
    /// The kind that is watched.
    type Kind: Resource<DynamicType = ()>;
    /// What is kept of each object.
    type Object: Send + Sync + 'static;

    /// Reads an object as the API server spells it.
    fn decode(text: &str) -> Result<Self::Object, serde_json::Error>;

    /// Whether a reader can tell the two apart. The version alone is no difference.
    fn same(old: &Self::Object, new: &Self::Object) -> bool;

    /// `last` under other metadata, for an object whose rest is no longer readable; absent where no metadata is kept.
    fn with_metadata(last: &Self::Object, metadata: ObjectMeta) -> Option<Self::Object>;
}

/// Keeps the whole object, without managed fields: for a kind of our own.
#[derive(Debug)]
pub struct Whole<K>(PhantomData<fn() -> K>);

/// Keeps the whole object, and of the managed fields those that Stowage has applied: for an object that is wholly ours.
#[derive(Debug)]
pub struct Child<K>(PhantomData<fn() -> K>);

/// Keeps a `T`: the fields that are read, decoded straight from the stream. `T` has no resource version.
#[derive(Debug)]
pub struct Projected<K, T>(PhantomData<fn() -> (K, T)>);

impl<K> View for Whole<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static,
{
    type Kind = K;
    type Object = K;

    fn decode(text: &str) -> Result<K, serde_json::Error> {
        let mut object: K = serde_json::from_str(text)?;
        object.meta_mut().managed_fields = None;
        Ok(object)
    }

    fn same(old: &K, new: &K) -> bool {
        same_but_version(old, new)
    }

    fn with_metadata(last: &K, metadata: ObjectMeta) -> Option<K> {
        Some(under(last, metadata))
    }
}

impl<K> View for Child<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static,
{
    type Kind = K;
    type Object = K;

    fn decode(text: &str) -> Result<K, serde_json::Error> {
        let mut object: K = serde_json::from_str(text)?;
        if let Some(entries) = &mut object.meta_mut().managed_fields {
            entries.retain(|entry| entry.manager.as_ref().is_some_and(|by| by.starts_with("stowage/")));
            // When it was is nobody's business, and would make news of an apply that changed nothing.
            for entry in entries {
                entry.time = None;
            }
        }
        Ok(object)
    }

    fn same(old: &K, new: &K) -> bool {
        same_but_version(old, new)
    }

    fn with_metadata(last: &K, metadata: ObjectMeta) -> Option<K> {
        Some(under(last, metadata))
    }
}

fn same_but_version<K: Resource + Clone + PartialEq>(old: &K, new: &K) -> bool {
    let mut as_new = old.clone();
    as_new.meta_mut().resource_version.clone_from(&new.meta().resource_version);
    as_new == *new
}

fn under<K: Resource + Clone>(last: &K, metadata: ObjectMeta) -> K {
    let mut object = last.clone();
    *object.meta_mut() = metadata;
    object
}

impl<K, T> View for Projected<K, T>
where
    K: Resource<DynamicType = ()> + 'static,
    T: DeserializeOwned + PartialEq + Send + Sync + 'static,
{
    type Kind = K;
    type Object = T;

    fn decode(text: &str) -> Result<T, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn same(old: &T, new: &T) -> bool {
        old == new
    }

    fn with_metadata(_: &T, _: ObjectMeta) -> Option<T> {
        None
    }
}
