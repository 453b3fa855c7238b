//! What kind of cluster is wanted: plain values, which every other part may know.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most nodes that a cluster can have: node addresses stand in one /24 and pod ranges in 10.244.N.0/24.
pub const NODES_LIMIT: u8 = 64;

/// What kind of cluster is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Real nodes, at most [`NODES_LIMIT`]; none is a control plane alone.
    pub nodes: u8,
    /// Zones that the nodes are spread over, in turn.
    pub zones: u8,
    /// Fake nodes.
    pub kwok: u32,
    /// Nodes of virtual-kubelets, at most [`NODES_LIMIT`].
    #[serde(default)]
    pub virtual_nodes: u8,
    /// The port of the API on 127.0.0.1; the first free one from 16443 on where it is not set.
    pub port: Option<u16>,
    /// How large each real node says it is; what is not set is the machine's own.
    pub size: Size,
    /// How large each virtual node says it is; what is not set is what virtual-kubelet says, 20 processors, 100 GiB and 20
    /// pods.
    #[serde(default)]
    pub virtual_size: Size,
    /// Whether etcd waits for the disk.
    pub disk_writes: DiskWrites,
    /// What becomes of nodes that nobody answers for.
    #[serde(default)]
    pub node_lifecycle: NodeLifecycle,
}

/// How large a node says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Processors that pods can have, in thousandths.
    pub cpu_millis: Option<u32>,
    /// Memory, in MiB.
    pub memory_mib: Option<u32>,
    /// The most pods.
    pub pods: Option<u32>,
}

/// Whether etcd waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskWrites {
    /// It does not: a crash of the machine may lose what was written, a crash of etcd does not. Several times faster.
    #[default]
    Trusted,
    /// It does, as in production.
    Synced,
}

/// What becomes of nodes that nobody answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeLifecycle {
    /// They count as lost after a while, and are marked and tainted.
    #[default]
    Watched,
    /// Nothing, and no other controller marks nodes: for measurements with thousands of nodes that are plain objects, where
    /// the marks would be most of the work.
    Unwatched,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            nodes: 3,
            zones: 3,
            kwok: 0,
            virtual_nodes: 0,
            port: None,
            size: Size::default(),
            virtual_size: Size::default(),
            disk_writes: DiskWrites::default(),
            node_lifecycle: NodeLifecycle::default(),
        }
    }
}

impl Spec {
    pub(crate) fn validate(&self) -> Result<()> {
        for (count, kind) in [(self.nodes, "nodes"), (self.virtual_nodes, "virtual nodes")] {
            if count > NODES_LIMIT {
                return Err(Error::refused(
                    format!("{count} {kind} are too many"),
                    format!("ask for at most {NODES_LIMIT}"),
                ));
            }
        }
        if self.zones == 0 {
            return Err(Error::refused("a cluster has at least one zone", "ask for --zones 1 or more"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_cannot_be_is_refused_with_the_cure() {
        let cases = [
            (Spec { nodes: 65, ..Spec::default() }, "65 nodes", "at most 64"),
            (Spec { virtual_nodes: 66, ..Spec::default() }, "66 virtual nodes", "at most 64"),
            (Spec { zones: 0, ..Spec::default() }, "one zone", "--zones 1"),
        ];
        for (spec, what, cure) in cases {
            let error = spec.validate().unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(cure), "{error}");
        }
        Spec::default().validate().unwrap();
    }

    #[test]
    fn a_spec_from_before_a_field_has_its_default() {
        let mut old = serde_json::to_value(Spec::default()).unwrap();
        for field in ["virtual_nodes", "virtual_size", "node_lifecycle"] {
            old.as_object_mut().unwrap().remove(field).expect(field);
        }
        assert_eq!(serde_json::from_value::<Spec>(old).unwrap(), Spec::default());
    }
}
