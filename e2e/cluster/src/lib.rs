//! A real multi-node Kubernetes on one Linux machine, without a container engine.
//!
//! API server, controller-manager, scheduler, kubelets, kube-proxies and containerd are the real ones: Kubernetes is
//! built from its published Go modules, containerd and runc come from Debian. The control plane and every node run in
//! namespaces of their own, joined by a bridge that leads nowhere else. [`Cluster::up`] starts it, [`Cluster::down`]
//! leaves nothing behind, and between the two nodes can be killed, frozen, cut off and returned.
//!
//! It needs Linux on amd64 or arm64, root, Go 1.26 and, for what is missing, `apt-get`; [`Cluster::up`] says what a
//! machine lacks.

mod cgroup;
mod cluster;
mod control_plane;
mod error;
mod faults;
mod host;
mod image;
mod kubectl;
mod kwok;
mod network;
mod node;
mod packages;
mod pki;
mod port;
mod preflight;
mod process;
mod program;
mod progress;
mod spec;
mod state;
mod status;
mod tools;
mod up;
mod virtual_node;

pub use cluster::{Binaries, Cluster};
pub use error::{Error, Result};
pub use faults::Fate;
pub use image::Image;
pub use kubectl::{Access, Helm, Kubectl};
pub use node::PAUSE_IMAGE;
pub use port::PORT;
pub use preflight::{Finding, Findings, Weight};
pub use program::wait_for;
pub use progress::{Progress, Stage};
pub use spec::{DiskWrites, NODES_LIMIT, NodeLifecycle, Size, Spec};
pub use state::{Folder, Name, Phase, State, names};
pub use status::MachineStatus;
pub use tools::{
    Built, ETCD, HELM, HELM3, KUBERNETES, KUBERNETES_VERSION, KWOK, Tool, VIRTUAL_KUBELET, cache_folder,
};
