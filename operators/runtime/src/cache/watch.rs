//! Keeps a cache fed: list, watch, and start again after whatever went wrong.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, Client, Error as ClientError, Resource,
    runtime::watcher::{self, Error as WatchError, Event},
};
use tracing::{debug, warn};

use super::{Cache, Decoded, View};
use crate::{Error, Jitter, Operation, Verb, backoff::Growth, metrics::Metrics};

/// The server ends a watch after this time; kube gives up 5 s later. So a connection that died in silence is
/// noticed within 45 s, where kube's default takes 295 s.
const WATCH_SECONDS: u32 = 40;
/// A page stays small in memory; only a server without streaming lists is asked for pages.
const PAGE_SIZE: u32 = 100;
/// An API server that is away is asked often enough to be found soon, and not so often that its start hurts.
const RETRY: Growth = Growth { first: Duration::from_millis(500), most: Duration::from_secs(15) };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// One watch that begins with every object: the least memory on both sides.
    Streamed,
    /// For a server that refuses the above: it is on by default only since Kubernetes 1.34.
    Paged,
}

/// Feeds `cache` for ever.
pub(crate) async fn follow<V: View>(cache: Arc<Cache<V>>, client: Client, jitter: Jitter, metrics: Metrics) {
    let (mut listing, mut failures) = (Listing::Streamed, 0);
    let mut events = start::<V>(&client, listing);
    while let Some(event) = events.next().await {
        let error = match event {
            Ok(event) => {
                failures = if matches!(event, Event::Init | Event::InitApply(_)) { failures } else { 0 };
                cache.apply(event);
                continue;
            }
            Err(error) => error,
        };
        if listing == Listing::Streamed && refuses_streaming(&error) {
            listing = Listing::Paged;
            events = start::<V>(&client, listing);
            continue;
        }
        if is_expired(&error) {
            // kube goes on with the expired version where the answer to the request itself is 410.
            events = start::<V>(&client, listing);
        }
        failures += 1;
        let delay = jitter.spread(RETRY.after(failures));
        tell::<V>(error, failures, delay, &metrics);
        tokio::time::sleep(delay).await;
    }
}

fn tell<V: View>(error: WatchError, failures: u32, delay: Duration, metrics: &Metrics) {
    let kind = V::Kind::kind(&());
    metrics.caches.watch_errors.with_label_values(&[&kind]).inc();
    warn!(%kind, failures, ?delay, error = explain::<V>(error), "watch failed, trying again");
}

fn start<V: View>(
    client: &Client,
    listing: Listing,
) -> BoxStream<'static, watcher::Result<Event<Decoded<V>>>> {
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let config = match listing {
        Listing::Streamed => config.streaming_lists(),
        Listing::Paged => config.page_size(PAGE_SIZE),
    };
    debug!(kind = %V::Kind::kind(&()), ?listing, "starting to watch");
    watcher::watcher(Api::all(client.clone()), config).boxed()
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
fn explain<V: View>(error: WatchError) -> String {
    let (verb, error) = match error {
        WatchError::InitialListFailed(error) => (Verb::List, error),
        WatchError::WatchStartFailed(error) | WatchError::WatchFailed(error) => (Verb::Watch, error),
        WatchError::WatchError(status) => (Verb::Watch, ClientError::Api(status)),
        WatchError::NoResourceVersion => return error.to_string(),
    };
    Error::new(Operation::all::<V::Kind>(verb), error).sentence()
}
