//! Every label, annotation and finalizer key of Stowage, and the domain they share.

/// API group of every kind, and the domain of every key.
pub const GROUP: &str = "stowage.dev";

/// Label on a node: the name of the pool that the node belongs to.
pub const NODEPOOL_LABEL: &str = "stowage.dev/nodepool";

/// Annotation on a node: what the pool has set there and what each value replaced, as JSON.
pub const NODEPOOL_LEDGER_ANNOTATION: &str = "stowage.dev/nodepool-ledger";

/// Finalizer of a NodePool: its nodes are released before it goes.
pub const NODEPOOL_FINALIZER: &str = "nodepools.stowage.dev/cleanup";

/// Label of Kubernetes on a node: its zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Label of Kubernetes on a child: who made it. Its value is [`MANAGER`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Who made a child, in the label [`MANAGED_BY_LABEL`].
pub const MANAGER: &str = "stowage";
