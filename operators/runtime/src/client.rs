//! The API client: a deadline for each request, a small retry, and whatever transport is handed in.
//!
//! kube 5 on its own retries every verb 15 times (about 164 s), so that a write whose answer was lost is sent
//! again behind the controller's back, and waits for ever for an answer that does not come. Both are replaced here,
//! above the transport, so that tests and the simulator drive the very same code.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::{
    Client, Config, Error,
    client::{Body, ClientBuilder},
};
use tower::Service;

use crate::{Jitter, backoff::Growth, clock, metrics::Metrics};

/// One request ends within this time, retries included; of a watch, the start.
pub const DEADLINE: Duration = Duration::from_secs(15);
/// A host that does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Retries bridge a hiccup; anything longer is the business of the reconcile's own backoff.
const RETRIES: u32 = 2;
const RETRY: Growth = Growth { first: Duration::from_millis(100), most: Duration::from_secs(1) };
/// An overloaded server may ask for more patience than `RETRY` has, but not for more than this.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(5);

type Answer = Result<Response<Body>, Error>;

/// The deadline passed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", DEADLINE.as_secs())]
struct DeadlineExceeded;

/// Deadline, retry and metrics above a transport.
#[derive(Clone)]
struct Patient {
    transport: Client,
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

/// The client that the rest of this room uses, over any transport: a cluster, a server in memory, a fault layer.
pub(crate) fn over(transport: Client, jitter: Jitter, metrics: Metrics) -> Client {
    let namespace = transport.default_namespace().to_owned();
    Client::new(Patient { transport, jitter, metrics }, namespace)
}

impl Service<Request<Body>> for Patient {
    type Response = Response<Body>;
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
        let answer = tokio::time::timeout(DEADLINE, self.try_often(request))
            .await
            .unwrap_or_else(|_| Err(Error::Service(DeadlineExceeded.into())));
        let code = answer.as_ref().map_or(0, |response| response.status().as_u16());
        self.metrics.requested(&method, code, started.elapsed());
        answer
    }

    async fn try_often(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut tried = 0;
        loop {
            // Every body of ours is one piece of bytes, and such a body can be cloned.
            let copy = body.try_clone().unwrap_or_else(Body::empty);
            let answer = self.try_once(Request::from_parts(parts.clone(), copy)).await;
            tried += 1;
            match pause(&parts.method, &answer).filter(|_| tried <= RETRIES) {
                Some(asked) => tokio::time::sleep(self.jitter.spread(RETRY.after(tried)).max(asked)).await,
                None => return answer,
            }
        }
    }

    /// One answer, whole: the deadline is for the last byte, not for the first. Only a watch streams.
    async fn try_once(&self, request: Request<Body>) -> Answer {
        let streams = is_watch(&request);
        let response = self.transport.send(request).await?;
        if streams && response.status().is_success() {
            return Ok(response);
        }
        let (parts, body): (_, Body) = response.into_parts();
        Ok(Response::from_parts(parts, Body::from(body.collect_bytes().await?)))
    }
}

fn is_watch(request: &Request<Body>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"))
}

/// How long the server wants to be left alone, if trying again can do no harm: it refused the request unread
/// (429), or the request only reads. A write that may have been carried out is not sent again.
fn pause(method: &Method, answer: &Answer) -> Option<Duration> {
    let reads = *method == Method::GET;
    let Ok(response) = answer else {
        return reads.then_some(Duration::ZERO);
    };
    let again = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => reads,
        _ => false,
    };
    again.then(|| retry_after(response).unwrap_or_default().min(MOST_RETRY_AFTER))
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
