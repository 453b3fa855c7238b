//! The requests about the Lease.

use std::fmt;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Client, Resource,
    api::{DeleteParams, GetParams, PostParams, Preconditions},
    core::{ObjectMeta, Request},
};

use super::{CONTROLLER, LEASE};
use crate::{
    Applier, Error, Key, Operation, Verb,
    applier::{Built, sent},
};

/// What is won: the Lease of one namespace.
#[derive(Clone)]
pub(super) struct Seat {
    client: Client,
    namespace: String,
}

impl Seat {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace }
    }

    /// The Lease before anybody has held it.
    pub(super) fn blank(&self) -> Lease {
        let (name, namespace) = (Some(LEASE.to_owned()), Some(self.namespace.clone()));
        Lease { metadata: ObjectMeta { name, namespace, ..ObjectMeta::default() }, spec: None }
    }

    /// The newest state: not from a cache of the API server's, which names no version.
    pub(super) async fn read(&self) -> Result<Option<Lease>, Error> {
        let request = self.leases().get(LEASE, &GetParams::default());
        match self.send(request).await {
            Err(error) if Error::is_gone(&error) => Ok(None),
            answer => Applier::decoded(self.operation(Verb::Get), answer).map(Some),
        }
    }

    /// Creates a Lease without version, replaces the state that has one. Never a patch: what it does not name it
    /// would take over from whatever is there.
    pub(super) async fn write(&self, lease: &Lease) -> Result<Lease, Error> {
        let creates = lease.metadata.resource_version.is_none();
        let verb = if creates { Verb::Create } else { Verb::Update };
        let field_manager = Some(format!("stowage/{CONTROLLER}"));
        let parameters = PostParams { field_manager, ..PostParams::default() };
        let body =
            serde_json::to_vec(lease).map_err(|error| self.error(verb, kube::Error::SerdeError(error)))?;
        let request = if creates {
            self.leases().create(&parameters, body)
        } else {
            self.leases().replace(LEASE, &parameters, body)
        };
        Applier::decoded(self.operation(verb), self.send(request).await)
    }

    /// Deletes this very state of the Lease. Gone already is success.
    pub(super) async fn remove(&self, lease: &Lease) -> Result<(), Error> {
        let preconditions = Preconditions {
            uid: lease.metadata.uid.clone(),
            resource_version: lease.metadata.resource_version.clone(),
        };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.send(self.leases().delete(LEASE, &parameters)).await {
            Err(error) if !Error::is_gone(&error) => Err(self.error(Verb::Delete, error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// What it means that no answer came in time.
    pub(super) fn silent(&self, verb: Verb) -> Error {
        self.error(verb, kube::Error::Service("no answer in time".into()))
    }

    fn leases(&self) -> Request {
        Request::new(Lease::url_path(&(), Some(&self.namespace)))
    }

    async fn send(&self, request: Built) -> Result<String, kube::Error> {
        sent(&self.client, request).await
    }

    fn operation(&self, verb: Verb) -> Operation {
        let key = Key { namespace: Some(self.namespace.clone()), name: LEASE.to_owned() };
        Operation::one::<Lease>(verb, key)
    }

    fn error(&self, verb: Verb, error: kube::Error) -> Error {
        Error::new(self.operation(verb), error)
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{LEASE}", self.namespace)
    }
}
