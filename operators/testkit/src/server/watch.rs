//! Watches: initial events, bookmarks, expiry, and the ways in which they fall silent.

use std::{collections::VecDeque, convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Connection, Expiry, filter::Filter, refused, request::Call, store::Refusal};

/// One open watch.
struct Watch {
    server: Connection,
    collection: String,
    filter: Filter,
    /// The version it has told of.
    told: u64,
    ahead: VecDeque<String>,
    trickle: Duration,
    cuts: usize,
    silences: usize,
    ends: Instant,
}

impl Connection {
    pub(super) fn watch(&self, call: &Call) -> Answer {
        let state = self.state();
        let filter = Filter::of(call);
        let initial = call.value("sendInitialEvents") == Some("true");
        if let Err(refusal) = state.store.check(&call.collection) {
            return refused(&refusal);
        }
        if initial && state.pages_only {
            let message =
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            return refused(&Refusal { code: 422, message: message.to_owned() });
        }
        let from = call
            .number("resourceVersion")
            .and_then(|version| u64::try_from(version).ok())
            .unwrap_or_default();
        let expired = state.expiry.filter(|(oldest, _)| !initial && from < *oldest).map(|(_, expiry)| expiry);
        let gone = Refusal { code: 410, message: "too old resource version".to_owned() };
        let mut ahead = VecDeque::new();
        match expired {
            Some(Expiry::InAnswer) => return refused(&gone),
            Some(Expiry::InStream) => {
                let status = json!({"kind": "Status", "status": "Failure", "code": gone.code, "message": gone.message});
                ahead.push_back(event("ERROR", &status));
            }
            None if initial => {
                let mut objects = state.store.list(&call.collection);
                objects.retain(|object| filter.matches(object));
                ahead.extend(objects.into_iter().map(|object| event("ADDED", &object)));
                ahead.push_back(bookmark(
                    state.store.version(),
                    &json!({"k8s.io/initial-events-end": "true"}),
                ));
            }
            None => {}
        }
        let seconds =
            call.number("timeoutSeconds").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(290);
        let watch = Watch {
            server: self.clone(),
            collection: call.collection.clone(),
            filter,
            told: if initial { state.store.version() } else { from },
            ahead,
            trickle: state.trickle,
            cuts: state.cuts,
            silences: state.silences,
            ends: Instant::now() + Duration::from_secs(seconds),
        };
        let lines = stream::unfold(watch, async |mut watch| {
            let line = watch.next().await?;
            let frame = http_body::Frame::data(Bytes::from(line + "\n"));
            Some((Ok::<_, Infallible>(frame), watch))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl Watch {
    async fn next(&mut self) -> Option<String> {
        if let Some(line) = self.ahead.pop_front() {
            let sent = tokio::time::timeout_at(self.ends, tokio::time::sleep(self.trickle)).await;
            return sent.is_ok().then_some(line);
        }
        let server = self.server.clone();
        loop {
            // Registered before the look, so that nothing slips in between.
            let changed = server.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (silent, cut) = {
                let state = server.state();
                (state.silences > self.silences, state.cuts > self.cuts)
            };
            if silent {
                pending::<()>().await;
            }
            if cut {
                return None;
            }
            let news = server.state().store.after(&self.collection, self.told, &self.filter);
            if let Some(happened) = news {
                self.told = happened.version;
                return Some(event(happened.kind, &happened.object));
            }
            if tokio::time::timeout_at(self.ends, changed).await.is_err() {
                return self.end();
            }
        }
    }

    /// The real server tells where it stands shortly before it ends a watch.
    fn end(&mut self) -> Option<String> {
        let version = self.server.state().store.version();
        if self.told >= version {
            return None;
        }
        self.told = version;
        Some(bookmark(version, &json!({})))
    }
}

/// The real server writes the type first, and the guard of the cache relies on it.
fn event(kind: &str, object: &Value) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

fn bookmark(version: u64, annotations: &Value) -> String {
    let metadata = json!({"resourceVersion": version.to_string(), "annotations": annotations});
    event("BOOKMARK", &json!({"kind": "Node", "apiVersion": "v1", "metadata": metadata}))
}
