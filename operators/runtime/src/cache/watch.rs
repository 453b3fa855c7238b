//! Keeps a cache fed: list, watch, and start again after whatever went wrong.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, Client, Error as ClientError, Resource,
    runtime::watcher::{self, Error as WatchError, Event},
};
use tokio::task::coop::consume_budget;
use tracing::{debug, warn};

use super::{Cache, Decoded, Selection, View};
use crate::{Error, Jitter, Operation, Verb, backoff::AWAY, clock, metrics::Metrics};

/// The server ends a watch after this time; the client gives up a little later. So a connection that died in silence is
/// noticed within 45 s, where kube's default takes 295 s.
const WATCH_SECONDS: u32 = 40;
/// A page stays small in memory; only a server without streaming lists is asked for pages.
const PAGE_SIZE: u32 = 100;
/// After so long without trouble the next is the first. A request that hangs takes 15 s to be one.
const CALM: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// One watch that begins with every object: the least memory on both sides.
    Streamed,
    /// For a server that refuses the above: it is on by default only since Kubernetes 1.34.
    Paged,
}

/// Why a watch has to begin again.
enum Trouble {
    /// An initial list that did not come to its end.
    Unfinished,
    Watch(WatchError),
}

/// Feeds `cache` for ever.
pub(crate) async fn follow<V: View>(cache: Arc<Cache<V>>, client: Client, jitter: Jitter, metrics: Metrics) {
    let (mut listing, mut failures, mut began) = (Listing::Streamed, 0, clock::instant());
    let selection = cache.selection.clone();
    let start = |listing| start::<V>(&client, &selection, listing);
    let (mut events, mut unfinished) = (start(listing), false);
    while let Some(event) = events.next().await {
        // A list that has arrived whole is much work, and must not keep the probes of the kubelet waiting.
        consume_budget().await;
        let error = match event {
            // The server ended the watch before all was told. Another one would come no further, but pages do.
            Ok(Event::Init) if unfinished => {
                listing = Listing::Paged;
                events = start(listing);
                Trouble::Unfinished
            }
            Ok(event) => {
                unfinished = matches!(event, Event::Init | Event::InitApply(_));
                cache.apply(event);
                continue;
            }
            Err(error) if listing == Listing::Streamed && refuses_streaming(&error) => {
                listing = Listing::Paged;
                events = start(listing);
                continue;
            }
            Err(error) => {
                if is_expired(&error) {
                    // kube goes on with the expired version where the answer to the request itself is 410.
                    events = start(listing);
                }
                Trouble::Watch(error)
            }
        };
        unfinished = false;
        failures = if began.elapsed() < CALM { failures + 1 } else { 1 };
        let delay = jitter.spread(AWAY.after(failures));
        tell::<V>(error, failures, delay, &metrics);
        tokio::time::sleep(delay).await;
        began = clock::instant();
    }
}

fn tell<V: View>(trouble: Trouble, failures: u32, delay: Duration, metrics: &Metrics) {
    let kind = V::Kind::kind(&());
    metrics.caches.watch_errors.with_label_values(&[&kind]).inc();
    warn!(%kind, failures, ?delay, error = explain::<V>(trouble), "watch failed, trying again");
}

fn start<V: View>(
    client: &Client,
    selection: &Selection,
    listing: Listing,
) -> BoxStream<'static, watcher::Result<Event<Decoded<V>>>> {
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let config = match listing {
        Listing::Streamed => config.streaming_lists(),
        Listing::Paged => config.page_size(PAGE_SIZE),
    };
    let Selection { namespace, labels, fields } = selection;
    let config = watcher::Config { label_selector: labels.clone(), field_selector: fields.clone(), ..config };
    let objects = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &()),
        None => Api::all(client.clone()),
    };
    debug!(kind = %V::Kind::kind(&()), ?listing, "starting to watch");
    watcher::watcher(objects, config).boxed()
}

fn refuses_streaming(error: &WatchError) -> bool {
    matches!(error, WatchError::WatchStartFailed(ClientError::Api(status)) if matches!(status.code, 400 | 422))
}

fn is_expired(error: &WatchError) -> bool {
    match error {
        WatchError::WatchError(status)
        | WatchError::WatchStartFailed(ClientError::Api(status))
        | WatchError::WatchFailed(ClientError::Api(status)) => status.code == 410,
        WatchError::InitialListFailed(_)
        | WatchError::WatchStartFailed(_)
        | WatchError::WatchFailed(_)
        | WatchError::NoResourceVersion => false,
    }
}

/// The sentence for the log: it names the verb and the resource.
fn explain<V: View>(trouble: Trouble) -> String {
    let (verb, error) = match trouble {
        Trouble::Unfinished => {
            let watch = Operation::all::<V::Kind>(Verb::Watch);
            return format!(
                "cannot {watch}: it ended before all objects were told, which are now read in pages"
            );
        }
        // The client's own words: the watch ended too early, or fell silent.
        Trouble::Watch(WatchError::WatchFailed(ClientError::ReadEvents(error))) => {
            return format!("cannot {}: {error}", Operation::all::<V::Kind>(Verb::Watch));
        }
        Trouble::Watch(WatchError::InitialListFailed(error)) => (Verb::List, error),
        Trouble::Watch(WatchError::WatchStartFailed(error) | WatchError::WatchFailed(error)) => {
            (Verb::Watch, error)
        }
        Trouble::Watch(WatchError::WatchError(status)) => (Verb::Watch, ClientError::Api(status)),
        Trouble::Watch(error @ WatchError::NoResourceVersion) => return error.to_string(),
    };
    Error::new(Operation::all::<V::Kind>(verb), error).sentence()
}
