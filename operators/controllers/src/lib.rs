//! One file per kind, and the list of them. Nothing here decides anything: that is done in the room of the kind.

pub mod node_pool;

use std::net::IpAddr;

use futures::future::BoxFuture;
use stowage_runtime::{Error, Permission, Runtime};

/// A kind, as the manager sees it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The plural: in logs, metrics and as field manager.
    pub name: &'static str,
    /// What its code may do.
    pub permissions: &'static [Permission],
    /// Starts its watches and its loop.
    pub start: fn(&Runtime, &Settings),
    /// Takes everything of the kind's from the cluster, for an uninstall. Bears that nothing is there.
    pub release: fn(&Runtime) -> BoxFuture<'static, Result<Released, Error>>,
}

/// What the installation says about the objects of every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address of the DNS cache on each node of a pool with `localDNS`.
    pub local_dns: IpAddr,
}

/// What an uninstall has undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Objects that carried something of ours.
    pub targets: usize,
    /// Objects of the kind that had our finalizer.
    pub finalizers: usize,
}

/// Every kind.
pub const KINDS: &[Kind] = &[node_pool::KIND];
