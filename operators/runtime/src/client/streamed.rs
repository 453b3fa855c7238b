//! Watches that end too early, and those that fall silent.
//!
//! kube's watcher takes either for the end of a watch whose time is up, and begins the next one at once, without a word.
//! So a proxy that ends every watch would make of each cache a loop that nobody paces and nobody sees. Here both are errors of
//! the stream, which go the way of all others.

use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::{BodyDataStream, BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use tokio::time::Instant;
use tower::BoxError;

use crate::clock;

/// The body of an answer.
pub(super) type Streamed = UnsyncBoxBody<Bytes, BoxError>;

/// What else is meant by the end of a watch that was asked for 40 s.
const BRIEF: Duration = Duration::from_secs(1);
/// The API server counts the time of a watch from a moment before we do.
const MARGIN: Duration = Duration::from_secs(5);
/// A little less than kube waits, 45 s: the API server ends a watch after 40 s, so this is no calm.
const SILENCE: Duration = Duration::from_secs(44);

type Bytes = <Body as http_body::Body>::Data;

/// What was wrong with a watch.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Fault {
    #[error("the watch ended before its time")]
    Early,
    #[error("the watch fell silent")]
    Silent,
}

/// A watch that goes on.
struct Watch {
    chunks: BodyDataStream<Body>,
    began: Instant,
    asked: Duration,
    /// Whether anything came: an event, or a bookmark.
    told: bool,
}

/// The body of a watch that was asked for that long.
pub(super) fn watched(body: Body, asked: Duration) -> Streamed {
    let watch = Watch { chunks: body.into_data_stream(), began: clock::instant(), asked, told: false };
    let frames = stream::try_unfold(watch, |mut watch| async {
        let Ok(chunk) = tokio::time::timeout(SILENCE, watch.chunks.next()).await else {
            return Err(BoxError::from(Fault::Silent));
        };
        match chunk {
            Some(Ok(chunk)) => {
                watch.told |= !chunk.is_empty();
                Ok(Some((http_body::Frame::data(chunk), watch)))
            }
            // kube takes a connection that was cut for an end as well.
            Some(Err(error)) => Err(watch.fault().map_or_else(|| error.into(), BoxError::from)),
            None => watch.fault().map_or(Ok(None), |fault| Err(fault.into())),
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A body that is here already.
pub(super) fn whole(bytes: Bytes) -> Streamed {
    Body::from(bytes).map_err(BoxError::from).boxed_unsync()
}

impl Watch {
    /// What is wrong with its end, now.
    fn fault(&self) -> Option<Fault> {
        let lasted = self.began.elapsed();
        let early = lasted < BRIEF || !self.told && lasted + MARGIN < self.asked;
        early.then_some(Fault::Early)
    }
}
