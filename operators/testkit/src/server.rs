//! An API server in memory, behind a tower service.

mod apply;
mod filter;
mod request;
mod store;
mod watch;

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::{
    Client, Resource,
    client::Body,
    core::{ObjectMeta, Status},
};
use serde_json::Value;
use tokio::sync::Notify;
use tower::{BoxError, Service};

use self::{
    filter::Filter,
    request::Call,
    store::{Refusal, Store},
};
use crate::{Effect, Fault};

/// How the server says that it has forgotten a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As the answer to the request for a watch.
    InAnswer,
    /// As an event of the watch, which is what the real one mostly does.
    InStream,
}

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// As RBAC spells it.
    pub verb: &'static str,
    /// Without the query.
    pub path: String,
    /// The code of the answer; 0 where none was sent.
    pub code: u16,
    /// Whether it was carried out, though perhaps nobody was told.
    pub done: bool,
    /// The body.
    pub body: Value,
}

/// The server. Clones are the same server; when the last goes, the test fails if there was a request that is not answered.
#[derive(Clone, Default)]
pub struct ApiServer(Arc<Held>);

/// What tests hold. Clients hold only the connection: they live on in tasks, where nobody would see a panic.
#[derive(Default)]
struct Held(Connection);

/// What clients hold.
#[derive(Clone, Default)]
struct Connection(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    store: Store,
    faults: Vec<Fault>,
    log: Vec<Logged>,
    unknown: Vec<String>,
    /// Watches that began before this count are cut.
    cuts: usize,
    /// Watches that began before this count say nothing any more, and never end.
    silences: usize,
    expiry: Option<(u64, Expiry)>,
    /// How long each object of an initial list in a watch takes.
    trickle: Duration,
    pages_only: bool,
    /// The minor version of Kubernetes, as text: it may have a suffix.
    minor: Option<&'static str>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl ApiServer {
    /// Has the resource of `K`. Every other is unknown, as without its definition.
    #[must_use]
    pub fn with<K: Resource<DynamicType = ()>>(self) -> Self {
        self.state().store.add_resource(K::url_path(&(), None), K::kind(&()).into_owned());
        self
    }

    /// Without streaming lists, as Kubernetes 1.33 is by default.
    #[must_use]
    pub fn with_pages_only(self) -> Self {
        self.state().pages_only = true;
        self
    }

    /// Each object at the beginning of a watch takes so long.
    #[must_use]
    pub fn with_slow_lists(self, each: Duration) -> Self {
        self.state().trickle = each;
        self
    }

    /// Of Kubernetes 1.`minor`.
    #[must_use]
    pub fn with_minor(self, minor: &'static str) -> Self {
        self.state().minor = Some(minor);
        self
    }

    /// A transport to this server.
    pub fn transport(&self) -> Client {
        Client::new(self.0.0.clone(), "default")
    }

    /// From now on the matching requests go wrong.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Somebody creates an object of kind `K`.
    pub fn create<K: Resource<DynamicType = ()>>(&self, object: Value) -> ObjectMeta {
        let created = self.state().store.create(&K::url_path(&(), None), object);
        self.changed();
        metadata(&answered(created))
    }

    /// Somebody changes the object, by a merge patch without precondition.
    pub fn change<K: Resource<DynamicType = ()>>(&self, name: &str, patch: &Value) -> ObjectMeta {
        let changed = self.state().store.patch(&K::url_path(&(), None), name, None, patch);
        self.changed();
        metadata(&answered(changed))
    }

    /// Somebody deletes the object.
    pub fn delete<K: Resource<DynamicType = ()>>(&self, name: &str) {
        let deleted = self.state().store.delete(&K::url_path(&(), None), name, None, None);
        self.changed();
        answered(deleted);
    }

    /// The object as it is stored.
    pub fn get<K: Resource<DynamicType = ()>>(&self, name: &str) -> Option<Value> {
        self.state().store.get(&K::url_path(&(), None), name)
    }

    /// All stored objects of kind `K`, in all namespaces.
    pub fn all<K: Resource<DynamicType = ()>>(&self) -> Vec<Value> {
        self.state().store.list(&K::url_path(&(), None))
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// Every write that was carried out so far, without events and the Lease of the election.
    pub fn writes(&self) -> Vec<Logged> {
        let mut writes = self.requests();
        writes.retain(|Logged { verb, path, done, .. }| {
            matches!(*verb, "create" | "update" | "patch" | "delete")
                && *done
                && !path.contains("/events")
                && !path.contains("/leases")
        });
        writes
    }

    /// Ends every watch that is open.
    pub fn cut_watches(&self) {
        self.state().cuts += 1;
        self.changed();
    }

    /// Every watch that is open stays open and says nothing more.
    pub fn silence_watches(&self) {
        self.state().silences += 1;
    }

    /// Forgets all versions before the present one, and ends every watch.
    pub fn expire(&self, expiry: Expiry) {
        let mut state = self.state();
        state.expiry = Some((state.store.version(), expiry));
        state.cuts += 1;
        drop(state);
        self.changed();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.state()
    }

    /// Wakes every watch.
    fn changed(&self) {
        self.0.0.0.changed.notify_waiters();
    }
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self, request: Request<Body>) -> Result<Answer, BoxError> {
        let call = Call::read(request).await?;
        let effect = self.effect(&call);
        let carried_out = match effect {
            Some(Effect::Lost | Effect::Hang | Effect::Ended | Effect::Refused(..) | Effect::Late(_)) => None,
            Some(Effect::AnswerLost) | None => Some(self.carry_out(&call)),
        };
        let done = carried_out.as_ref().is_some_and(|answer| answer.status().is_success());
        let answer = match effect {
            Some(Effect::Lost | Effect::Hang | Effect::AnswerLost) => None,
            Some(Effect::Refused(code, message)) => {
                Some(refused(&Refusal { code, message: message.to_owned() }))
            }
            Some(Effect::Ended) => Some(Response::new(Full::default().boxed_unsync())),
            Some(Effect::Late(delay)) => {
                self.arrive_late(call, delay);
                return pending().await;
            }
            None => carried_out,
        };
        let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        self.record(call, code, done);
        match (answer, effect) {
            (Some(answer), _) => Ok(answer),
            (None, Some(Effect::Hang)) => pending().await,
            (None, _) => Err("connection lost".into()),
        }
    }

    fn record(&self, call: Call, code: u16, done: bool) {
        let Call { verb, path, body, .. } = call;
        self.state().log.push(Logged { verb, path, code, done, body });
    }

    /// A request in a slow network arrives whether or not its sender still waits.
    fn arrive_late(&self, call: Call, delay: Duration) {
        let server = self.clone();
        drop(tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let status = server.carry_out(&call).status();
            server.record(call, status.as_u16(), status.is_success());
        }));
    }

    fn effect(&self, call: &Call) -> Option<Effect> {
        let mut state = self.state();
        state.faults.iter_mut().find_map(|fault| fault.hits(call.verb, &call.path))
    }

    fn carry_out(&self, call: &Call) -> Answer {
        if call.verb == "watch" {
            return self.watch(call);
        }
        let result = self.state().execute(call);
        self.0.changed.notify_waiters();
        match result {
            Ok(object) => json(200, &object),
            Err(refusal) => refused(&refusal),
        }
    }
}

impl State {
    fn execute(&mut self, call: &Call) -> Result<Value, Refusal> {
        let Call { verb, collection, namespace, name, subresource, body, .. } = call;
        match (*verb, name.as_deref()) {
            ("list", None) if collection == "/version" => Ok(self.version()),
            ("list", None) => {
                let (limit, after) = (call.number("limit"), call.value("continue"));
                self.store.page(collection, &Filter::of(call), limit, after)
            }
            ("get", Some(name)) => self.store.read(collection, name),
            ("create", None) => self.store.create(collection, body.clone()),
            ("update", Some(name)) => self.store.replace(collection, name, body),
            ("patch", Some(name)) if call.is_merge_patch() && subresource.as_deref() == Some("scale") => {
                self.store.scale(collection, name, body)
            }
            ("patch", Some(name)) if call.is_merge_patch() => {
                self.store.patch(collection, name, subresource.as_deref(), body)
            }
            ("patch", Some(name)) if call.is_forced_apply() && subresource.is_none() => {
                let manager = call.value("fieldManager").unwrap_or_default();
                self.store.apply(collection, (namespace.as_deref(), name), manager, body)
            }
            ("create", Some(name)) if subresource.as_deref() == Some("eviction") => {
                let uid = body.pointer("/deleteOptions/preconditions/uid").and_then(Value::as_str);
                self.store.delete(collection, name, uid, None)
            }
            ("delete", Some(name)) => {
                let precondition = |path| body.pointer(path).and_then(Value::as_str);
                let uid = precondition("/preconditions/uid");
                self.store.delete(collection, name, uid, precondition("/preconditions/resourceVersion"))
            }
            _ => {
                self.unknown.push(format!("{} {}", call.verb, call.path));
                Err(Refusal {
                    code: 501,
                    message: "the testkit's server does not know this request".to_owned(),
                })
            }
        }
    }
}

impl State {
    fn version(&self) -> Value {
        let minor = self.minor.unwrap_or("36");
        let text =
            ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"];
        let mut version: serde_json::Map<String, Value> =
            text.into_iter().map(|name| (name.to_owned(), Value::from(""))).collect();
        version.insert("major".to_owned(), "1".into());
        version.insert("minor".to_owned(), minor.into());
        Value::Object(version)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let unknown = std::mem::take(&mut self.0.state().unknown);
        assert!(
            std::thread::panicking() || unknown.is_empty(),
            "requests that the testkit does not answer: {unknown:?}"
        );
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

fn json(code: u16, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *answer.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    let Refusal { code, message } = refusal;
    let reason =
        http::StatusCode::from_u16(*code).ok().and_then(|code| code.canonical_reason()).unwrap_or_default();
    let status = Status::failure(message, &reason.replace(' ', "")).with_code(*code);
    json(*code, &serde_json::to_value(status).unwrap_or_default())
}

fn metadata(object: &Value) -> ObjectMeta {
    serde_json::from_value(object.get("metadata").cloned().unwrap_or_default()).unwrap_or_default()
}

#[expect(clippy::panic, reason = "the test itself asked for something impossible")]
fn answered(result: Result<Value, Refusal>) -> Value {
    match result {
        Ok(object) => object,
        Err(Refusal { code, message }) => panic!("{code}: {message}"),
    }
}
