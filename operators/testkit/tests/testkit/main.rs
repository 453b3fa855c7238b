//! What the other rooms' tests rely on, seen through the client that the product has too.

#[cfg(test)]
mod clock;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod server;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod writes;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use stowage_testkit::{ApiServer, node};

/// A server of nodes that has these, and a client for them.
fn nodes(names: &[&str]) -> (ApiServer, Api<Node>) {
    let server = ApiServer::default().with::<Node>();
    for name in names {
        server.create::<Node>(node(name, &[]));
    }
    let nodes = Api::all(server.transport());
    (server, nodes)
}

/// The code with which a request was refused; nothing where it was not, or had no answer.
fn refusal<T>(answer: kube::Result<T>) -> Option<u16> {
    if let Err(kube::Error::Api(status)) = answer { Some(status.code) } else { None }
}
