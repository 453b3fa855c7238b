//! The API client: a fence before each write, a deadline for each request, a small retry, and whatever transport is
//! handed in.
//!
//! kube 5 on its own retries every verb 15 times (about 164 s), so that a write whose answer was lost is sent
//! again behind the controller's back, and waits for ever for an answer that does not come. Both are replaced here,
//! above the transport, so that tests and the simulator drive the very same code.

mod streamed;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER, request::Parts};
use kube::{
    Client, Config, Error,
    client::{Body, ClientBuilder},
};
use tokio::time::Instant;
use tower::Service;

use self::streamed::Streamed;
use crate::{
    Jitter,
    backoff::Growth,
    clock,
    leader::{Fence, NotLeading},
    metrics::Metrics,
};

/// One request ends within this time, retries included; of a watch, the start.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// A host that does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Retries bridge a hiccup; anything longer is the business of the reconcile's own backoff.
const RETRIES: u32 = 2;
const RETRY: Growth = Growth { first: Duration::from_millis(100), most: Duration::from_secs(1) };
/// An overloaded server may ask for more patience than `RETRY` has, but not for more than this.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(5);

type Answer = Result<Response<Streamed>, Error>;

/// The deadline passed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", DEADLINE.as_secs())]
struct DeadlineExceeded;

/// Fence, deadline, retry and metrics above a transport.
#[derive(Clone)]
struct Patient {
    transport: Client,
    fence: Fence,
    jitter: Jitter,
    metrics: Metrics,
}

/// The transport to the cluster that a kubeconfig names, or to the one that this process runs in: TLS and
/// credentials, neither deadline nor retry.
pub async fn transport() -> Result<Client, Error> {
    let mut config = Config::infer().await.map_err(Error::InferConfig)?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // A watch may rightly be silent for longer than any read timeout; its silence is measured by the cache.
    config.read_timeout = None;
    config.write_timeout = Some(DEADLINE);
    Ok(ClientBuilder::try_from(config)?.build())
}

/// The client that the rest of this room uses, over any transport: a cluster, a server in memory, a fault layer. What
/// `fence` does not admit is not sent.
pub(crate) fn over(transport: Client, fence: Fence, jitter: Jitter, metrics: Metrics) -> Client {
    let namespace = transport.default_namespace().to_owned();
    Client::new(Patient { transport, fence, jitter, metrics }, namespace)
}

impl Service<Request<Body>> for Patient {
    type Response = Response<Streamed>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let patient = self.clone();
        Box::pin(async move { patient.send(request).await })
    }
}

impl Patient {
    async fn send(self, request: Request<Body>) -> Answer {
        let (started, method) = (clock::instant(), request.method().clone());
        let bound = self.admit(&method)?.filter(|bound| *bound < started + DEADLINE);
        let answer = match bound {
            // What is not answered by then must not be taken for done: it counts for the next leader.
            Some(bound) => tokio::time::timeout_at(bound, self.try_often(request))
                .await
                .unwrap_or_else(|_| Err(Error::Service(NotLeading.into()))),
            None => tokio::time::timeout(DEADLINE, self.try_often(request))
                .await
                .unwrap_or_else(|_| Err(Error::Service(DeadlineExceeded.into()))),
        };
        let code = answer.as_ref().map_or(0, |response| response.status().as_u16());
        self.metrics.requested(&method, code, started.elapsed());
        answer
    }

    /// Whether a request may be sent now, and by when it must have ended if not only by the deadline.
    fn admit(&self, method: &Method) -> Result<Option<Instant>, Error> {
        let admitted =
            if *method == Method::GET { self.fence.admit_read().map(|()| None) } else { self.fence.admit() };
        admitted.map_err(|refused| Error::Service(refused.into()))
    }

    async fn try_often(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut tried = 0;
        loop {
            // Every body of ours is one piece of bytes, and such a body can be cloned.
            let copy = body.try_clone().unwrap_or_else(Body::empty);
            let answer = self.try_once(Request::from_parts(parts.clone(), copy)).await;
            tried += 1;
            match pause(&parts, &answer).filter(|_| tried <= RETRIES) {
                Some(asked) => self.fence.pause(self.jitter.spread(RETRY.after(tried)).max(asked)).await,
                None => return answer,
            }
        }
    }

    /// One answer, whole: the deadline is for the last byte, not for the first. Only a watch streams.
    async fn try_once(&self, request: Request<Body>) -> Answer {
        let watched = watch_time(&request);
        // Again: the process may have stood still since it was admitted.
        self.admit(request.method())?;
        let response = self.transport.send(request).await?;
        let (parts, body): (_, Body) = response.into_parts();
        let body = match watched.filter(|_| parts.status.is_success()) {
            Some(asked) => streamed::watched(body, asked),
            None => streamed::whole(body.collect_bytes().await?),
        };
        Ok(Response::from_parts(parts, body))
    }
}

/// How long a watch is to last; absent where it is none.
fn watch_time(request: &Request<Body>) -> Option<Duration> {
    let query = request.uri().query()?;
    let value = |name| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let seconds = || value("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
    (value("watch") == Some("true")).then(|| Duration::from_secs(seconds().unwrap_or_default()))
}

/// How long the server wants to be left alone, if trying again can do no harm: it refused the request unread
/// (429), or the request only reads. A write that may have been carried out is not sent again. For an eviction 429 says
/// that a disruption budget forbids it, which no hiccup is.
fn pause(request: &Parts, answer: &Answer) -> Option<Duration> {
    let reads = request.method == Method::GET;
    let evicts = request.uri.path().ends_with("/eviction");
    let Ok(response) = answer else {
        return reads.then_some(Duration::ZERO);
    };
    let again = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => !evicts,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => reads,
        _ => false,
    };
    again.then(|| retry_after(response).unwrap_or_default().min(MOST_RETRY_AFTER))
}

fn retry_after(response: &Response<Streamed>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
