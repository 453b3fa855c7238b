//! Reading once, without a watch.

use std::sync::Arc;

use kube::{Resource, api::ListParams, core::ObjectList, runtime::watcher::Event};
use tracing::warn;

use super::{Applier, all};
use crate::{Cache, Error, Operation, Selection, Verb, View, cache::Decoded};

/// A page of `list`: small in memory, few requests.
const PAGE_SIZE: u32 = 100;

impl Applier {
    /// Reads all objects once: for a command that does its work and ends. A resource that the API server does not
    /// know has no objects.
    pub async fn load<V: View>(&self) -> Result<Cache<V>, Error> {
        self.list(&Selection::default()).await
    }

    /// Reads the selected objects once: where a question is rare and a cache of all would be dear.
    pub async fn list<V: View>(&self, selection: &Selection) -> Result<Cache<V>, Error> {
        let cache = Cache::unwatched(selection.clone());
        cache.apply(Event::Init);
        self.pages(selection, |decoded| cache.apply(Event::InitApply(decoded))).await?;
        cache.apply(Event::InitDone);
        Ok(cache)
    }

    /// Shows the selected objects to `see`, and keeps no more than one page of them: where few of many matter.
    /// One that does not decode is logged and not shown.
    pub async fn each<V: View>(
        &self,
        selection: &Selection,
        mut see: impl FnMut(Arc<V::Object>),
    ) -> Result<(), Error> {
        let see = |decoded: Decoded<V>| match &decoded.object {
            Ok(object) => see(Arc::clone(object)),
            Err(error) => {
                let (kind, object) = (V::Kind::kind(&()), decoded.key());
                warn!(%kind, %object, error, "object is not readable by this version");
            }
        };
        self.pages(selection, see).await
    }

    async fn pages<V: View>(
        &self,
        selection: &Selection,
        mut take: impl FnMut(Decoded<V>),
    ) -> Result<(), Error> {
        let mut parameters = ListParams::default().limit(PAGE_SIZE);
        parameters.label_selector.clone_from(&selection.labels);
        parameters.field_selector.clone_from(&selection.fields);
        let operation = Operation::all::<V::Kind>(Verb::List);
        loop {
            let request = all::<V::Kind>(selection.namespace.as_deref()).list(&parameters);
            let page: ObjectList<Decoded<V>> = match self.send(&operation, request).await {
                Err(error) if Error::is_gone(&error) => return Ok(()),
                answer => Self::decoded(operation.clone(), answer)?,
            };
            page.items.into_iter().for_each(&mut take);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }
}
