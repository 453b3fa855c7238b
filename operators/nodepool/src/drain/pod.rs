//! What a drain reads of a Pod, and nothing more of it.

use std::collections::BTreeSet;

use serde::{Deserialize, de::IgnoredAny};

use super::Eviction;

/// A Pod, decoded straight from the API server's JSON.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "Wire")]
pub struct Pod {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    node: Option<Box<str>>,
    owner: Owner,
    life: Life,
    host_path: bool,
}

/// What makes a pod again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    /// Nothing.
    None,
    /// A DaemonSet, on the same node, cordoned or not.
    DaemonSet,
    /// The kubelet, from a file.
    File,
    /// Anything else, on any node.
    Other,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Life {
    Running,
    /// Being deleted.
    Ending,
    /// Succeeded or failed.
    Finished,
}

impl Pod {
    /// Whether one of `nodes` is not empty with it. A pod that returns to the same node whatever one does, or that
    /// has ended, is not in the way.
    pub fn is_in_the_way(&self, nodes: &BTreeSet<String>) -> bool {
        let is_there = self.node.as_deref().is_some_and(|node| nodes.contains(node));
        is_there && self.has_to_leave()
    }

    fn has_to_leave(&self) -> bool {
        match self.owner {
            Owner::DaemonSet | Owner::File => false,
            Owner::None | Owner::Other => self.life != Life::Finished,
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.life == Life::Ending
    }

    pub(super) fn is_bare(&self) -> bool {
        self.owner == Owner::None
    }

    pub(super) fn uses_host_path(&self) -> bool {
        self.host_path
    }

    /// How it is evicted; not at all while it is on no node.
    pub(super) fn eviction(&self) -> Option<Eviction> {
        let Self { namespace, name, uid, node, .. } = self;
        let [namespace, name, uid, node] = [namespace, name, uid, node.as_ref()?].map(ToString::to_string);
        Some(Eviction { namespace, name, uid, node })
    }
}

/// A Pod as the API server spells it; whatever is not named here is skipped while reading.
#[derive(Deserialize)]
struct Wire {
    metadata: WireMetadata,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata {
    namespace: String,
    name: String,
    uid: String,
    annotations: Option<WireAnnotations>,
    owner_references: Option<Vec<WireOwner>>,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireAnnotations {
    /// Kubernetes' mark on the image that the API server has of a pod which the kubelet runs from a file.
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct WireOwner {
    kind: String,
    controller: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireSpec {
    node_name: Option<String>,
    volumes: Option<Vec<WireVolume>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireVolume {
    host_path: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct WireStatus {
    phase: Option<String>,
}

impl From<Wire> for Pod {
    fn from(wire: Wire) -> Self {
        let Wire { metadata, spec, status } = wire;
        let WireMetadata { namespace, name, uid, annotations, owner_references, deletion_timestamp } =
            metadata;
        let WireSpec { node_name, volumes } = spec;
        let is_mirror = annotations.is_some_and(|annotations| annotations.mirror.is_some());
        let controller = owner_references.into_iter().flatten().find(|owner| owner.controller == Some(true));
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
            node: node_name.map(Into::into),
            owner: match controller {
                _ if is_mirror => Owner::File,
                None => Owner::None,
                Some(owner) if owner.kind == "DaemonSet" => Owner::DaemonSet,
                Some(_) => Owner::Other,
            },
            life: match status.phase.as_deref() {
                Some("Succeeded" | "Failed") => Life::Finished,
                _ if deletion_timestamp.is_some() => Life::Ending,
                _ => Life::Running,
            },
            host_path: volumes.into_iter().flatten().any(|volume| volume.host_path.is_some()),
        }
    }
}
