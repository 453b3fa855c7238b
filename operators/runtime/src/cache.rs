//! What the API server last said about the objects of one kind, in as few bytes as its readers need.
//!
//! kube's `watcher` brings the events; the store is ours, because kube's tells nobody about an object that vanished
//! while the watch was down, gives its contents in random order, and cannot take the answer to our own write: a
//! reconcile right after a write would decide on the state before it (docs/designs/runtime.md).

mod decoded;
mod selection;
mod view;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::{Resource, runtime::watcher::Event};
use tokio::sync::watch as flag;
use tracing::warn;

pub(crate) use self::{decoded::Decoded, watch::follow};
pub use self::{
    selection::Selection,
    view::{Child, Projected, View, Whole},
};
use crate::{
    Key,
    metrics::{Metrics, size},
};

/// One object of a cache, with what a write needs to name exactly this state of it.
#[derive(Debug)]
pub struct Held<T> {
    /// Tells it from one of the same name that was here before.
    pub uid: Arc<str>,
    /// The state that was read: a write that carries it fails where a newer one exists.
    pub version: Arc<str>,
    /// What its readers need of it.
    pub object: Arc<T>,
}

/// An object that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Where reading stops.
    pub error: String,
    pub(crate) uid: String,
    pub(crate) version: String,
}

/// One object became another; absent means not there, or never readable.
#[derive(Debug)]
pub struct Change<'a, T> {
    /// Which one.
    pub key: &'a Key,
    /// As it was.
    pub old: Option<&'a T>,
    /// As it is.
    pub new: Option<&'a T>,
}

/// Becomes true once a cache has seen every object, and stays true.
#[derive(Clone, Debug)]
pub struct Synced(flag::Receiver<bool>);

type Reader<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;

/// The objects of one kind, kept as `V` says.
pub struct Cache<V: View> {
    state: RwLock<State<V::Object>>,
    readers: RwLock<Vec<Reader<V::Object>>>,
    synced: flag::Sender<bool>,
    selection: Selection,
    /// Absent for a list that nobody keeps up to date: its numbers would stand there for ever.
    metrics: Option<Metrics>,
}

struct State<T> {
    entries: Entries<T>,
    /// How many of them cannot be read now.
    broken: usize,
    /// What a list has brought so far; takes the place of `entries` when it is complete.
    incoming: Entries<T>,
    /// The newest version that the stream has told of: the answer to a write is news only beyond it.
    seen: u64,
}

/// Who is told of our own write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everyone: others may have to act on it.
    Readers,
    /// The writer knows it, and it concerns nobody else: finalizers and status of the reconciled object.
    Nobody,
}

/// Who says what an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The watch: in order, but late.
    Stream,
    /// The API server's answer to our own write.
    Answer,
}

type Replaced<T> = (Key, Option<Entry<T>>, Entry<T>);

type Entries<T> = BTreeMap<Key, Entry<T>>;

/// An object as it was last readable, and why it no longer is.
struct Entry<T> {
    held: Option<Held<T>>,
    undecodable: Option<Undecodable>,
    /// Who said so. What an answer says the stream has still to bring.
    source: Source,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self {
            uid: Arc::clone(&self.uid),
            version: Arc::clone(&self.version),
            object: Arc::clone(&self.object),
        }
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { held: self.held.clone(), undecodable: self.undecodable.clone(), source: self.source }
    }
}

impl Synced {
    pub(crate) fn new(flag: flag::Receiver<bool>) -> Self {
        Self(flag)
    }

    /// Whether it is so now.
    pub fn is_synced(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is so.
    pub async fn wait(&mut self) {
        // An error means that the cache is gone, and with it all who could use it.
        drop(self.0.wait_for(|synced| *synced).await);
    }
}

impl<V: View> Cache<V> {
    /// One that a watch keeps up to date.
    pub(crate) fn new(metrics: Metrics, selection: Selection) -> Self {
        metrics.caches.watch_errors.with_label_values(&[&V::Kind::kind(&())]).inc_by(0);
        let cache = Self { metrics: Some(metrics), ..Self::unwatched(selection) };
        cache.count();
        cache
    }

    /// One for a single list.
    pub(crate) fn unwatched(selection: Selection) -> Self {
        let state = State { entries: Entries::new(), broken: 0, incoming: Entries::new(), seen: 0 };
        Self {
            state: RwLock::new(state),
            readers: RwLock::default(),
            synced: flag::Sender::new(false),
            selection,
            metrics: None,
        }
    }

    /// One object, in its last readable state.
    pub fn get(&self, key: &Key) -> Option<Held<V::Object>> {
        self.read().entries.get(key)?.held.clone()
    }

    /// All objects in their last readable state, in the order of their keys.
    pub fn all(&self) -> Vec<(Key, Held<V::Object>)> {
        let state = self.read();
        state.entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.held.clone()?))).collect()
    }

    /// Why one object cannot be read now.
    pub fn undecodable(&self, key: &Key) -> Option<Undecodable> {
        self.read().entries.get(key)?.undecodable.clone()
    }

    /// The objects that exist but cannot be read now.
    pub fn unreadable(&self) -> BTreeSet<Key> {
        let state = self.read();
        let unreadable = state.entries.iter().filter(|(_, entry)| entry.undecodable.is_some());
        unreadable.map(|(key, _)| key.clone()).collect()
    }

    /// Has `reader` told of every change from now on. It must be quick: the stream waits for it.
    pub fn subscribe(&self, reader: impl Fn(&Change<'_, V::Object>) + Send + Sync + 'static) {
        self.readers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(reader));
    }

    /// Tells when every object is here.
    pub fn synced(&self) -> Synced {
        Synced::new(self.synced.subscribe())
    }

    /// One event of the stream.
    pub(crate) fn apply(&self, event: Event<Decoded<V>>) {
        match event {
            Event::Init => self.write().incoming = Entries::new(),
            Event::InitApply(decoded) => self.write().collect(decoded),
            Event::InitDone => self.exchange(),
            Event::Apply(decoded) => {
                let replaced = self.write().replace(decoded, Source::Stream);
                self.tell_replaced(replaced);
            }
            Event::Delete(decoded) => {
                let (key, old) = self.write().remove(&decoded);
                self.tell(&key, old.as_ref(), None);
            }
        }
    }

    /// The answer to our own write. The stream will bring it as well, but later.
    pub(crate) fn learn(&self, decoded: Decoded<V>, audience: Audience) {
        let replaced = self.write().replace(decoded, Source::Answer);
        match audience {
            Audience::Readers => self.tell_replaced(replaced),
            Audience::Nobody => {}
        }
    }

    fn exchange(&self) {
        let (changed, old) = self.write().exchange();
        self.synced.send_replace(true);
        for key in changed {
            let new = self.read().entries.get(&key).cloned();
            self.tell(&key, old.get(&key), new.as_ref());
        }
    }

    fn tell_replaced(&self, replaced: Option<Replaced<V::Object>>) {
        if let Some((key, old, new)) = replaced {
            self.tell(&key, old.as_ref(), Some(&new));
        }
    }

    /// Tells the readers, unless nothing changed that they could see.
    fn tell(&self, key: &Key, old: Option<&Entry<V::Object>>, new: Option<&Entry<V::Object>>) {
        // Without the version: our own report on the object changes that, and must not make it news again.
        let newly_broken = broken(new).filter(|_| broken(new) != broken(old));
        if let Some((_, error)) = newly_broken {
            warn!(kind = %V::Kind::kind(&()), object = %key, error, "object is not readable by this version");
        }
        self.count();
        let stays = old.is_some() == new.is_some();
        let object = |entry: Option<&Entry<V::Object>>| Some(Arc::clone(&entry?.held.as_ref()?.object));
        let (old, new) = (object(old), object(new));
        let same = match (&old, &new) {
            (Some(old), Some(new)) => V::same(old, new),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if stays && same && newly_broken.is_none() {
            return;
        }
        let change = Change { key, old: old.as_deref(), new: new.as_deref() };
        for reader in self.readers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            reader(&change);
        }
    }

    fn count(&self) {
        let Some(metrics) = &self.metrics else { return };
        let (all, broken) = {
            let state = self.read();
            (state.entries.len(), state.broken)
        };
        let kind = V::Kind::kind(&());
        metrics.caches.objects.with_label_values(&[&kind]).set(size(all));
        metrics.caches.undecodable.with_label_values(&[&kind]).set(size(broken));
    }

    fn read(&self) -> RwLockReadGuard<'_, State<V::Object>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<V::Object>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// One object of a list.
    fn collect<V: View<Object = T>>(&mut self, decoded: Decoded<V>) {
        let key = decoded.key();
        let entry = Entry::new::<V>(decoded, self.entries.get(&key), Source::Stream);
        self.incoming.insert(key, entry);
    }

    /// Puts what the list has brought in the place of what was there. Returns whom that can concern, in order, and
    /// what was there.
    fn exchange(&mut self) -> (BTreeSet<Key>, Entries<T>) {
        let mut new = std::mem::take(&mut self.incoming);
        let listed = new.values().map(Entry::version).max().unwrap_or_default();
        self.seen = self.seen.max(listed);
        for (key, entry) in &mut new {
            let newer = self.entries.get(key).filter(|known| known.version() > entry.version());
            match newer.map(|known| (known, known.source)) {
                // Our own write may be newer than the list; the stream goes on from the list and will tell.
                Some((known, Source::Answer)) => *entry = known.clone(),
                // The server has gone back in time, as after a restore of etcd, and counts on from there.
                Some((_, Source::Stream)) => self.seen = listed,
                None => {}
            }
        }
        self.broken = new.values().filter(|entry| entry.undecodable.is_some()).count();
        let old = std::mem::replace(&mut self.entries, new);
        // Those that were there as well: nothing else tells of what vanished while the watch was down.
        (self.entries.keys().chain(old.keys()).cloned().collect(), old)
    }

    /// Puts an object in its place, unless more is known than what it says. Returns what was there and what is.
    fn replace<V: View<Object = T>>(&mut self, decoded: Decoded<V>, source: Source) -> Option<Replaced<T>> {
        let (key, version) = (decoded.key(), number(decoded.version()));
        let known = self.entries.get(&key);
        // The stream may bring what is older than our own write, and the answer to that may come after the stream.
        let outdated = version < known.map_or(0, Entry::version);
        match source {
            Source::Stream => self.seen = self.seen.max(version),
            Source::Answer if version <= self.seen => return None,
            Source::Answer => {}
        }
        if outdated && version > 0 {
            return None;
        }
        let new = Entry::new::<V>(decoded, known, source);
        self.broken += usize::from(new.undecodable.is_some());
        let old = self.entries.insert(key.clone(), new.clone());
        self.uncount(old.as_ref());
        Some((key, old, new))
    }

    fn remove<V: View<Object = T>>(&mut self, decoded: &Decoded<V>) -> (Key, Option<Entry<T>>) {
        let key = decoded.key();
        self.seen = self.seen.max(number(decoded.version()));
        let old = self.entries.remove(&key);
        self.uncount(old.as_ref());
        (key, old)
    }

    fn uncount(&mut self, old: Option<&Entry<T>>) {
        self.broken -= usize::from(old.is_some_and(|old| old.undecodable.is_some()));
    }
}

impl<T> Entry<T> {
    /// What becomes of `known` when `decoded` arrives.
    fn new<V: View<Object = T>>(decoded: Decoded<V>, known: Option<&Self>, source: Source) -> Self {
        let Decoded { metadata, object } = decoded;
        let (uid, version) =
            (metadata.uid.clone().unwrap_or_default(), metadata.resource_version.clone().unwrap_or_default());
        let error = match object {
            Ok(object) => {
                let held = Held { uid: uid.into(), version: version.into(), object };
                return Self { held: Some(held), undecodable: None, source };
            }
            Err(error) => error,
        };
        // The last readable state stays in force, under the metadata of today: a deletion must get through.
        let last = known.and_then(|known| known.held.as_ref()).filter(|held| *held.uid == *uid);
        let held = last.map(|last| Held {
            uid: Arc::clone(&last.uid),
            version: version.as_str().into(),
            object: V::with_metadata(&last.object, metadata)
                .map_or_else(|| Arc::clone(&last.object), Arc::new),
        });
        Self { held, undecodable: Some(Undecodable { error, uid, version }), source }
    }

    fn version(&self) -> u64 {
        let held = self.held.as_ref().map(|held| number(&held.version));
        held.or_else(|| self.undecodable.as_ref().map(|broken| number(&broken.version))).unwrap_or_default()
    }
}

/// Which object cannot be read, and why.
fn broken<T>(entry: Option<&Entry<T>>) -> Option<(&str, &str)> {
    let Undecodable { error, uid, .. } = entry?.undecodable.as_ref()?;
    Some((uid, error))
}

/// Versions of one resource are integers that grow: promised since Kubernetes 1.35 (KEP-5504), true before. A
/// version that is none is never newer than another, and the stream alone is believed.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests;
