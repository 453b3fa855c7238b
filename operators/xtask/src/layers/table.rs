//! Who may import whom, a row per room.

use self::Outside::{AllBut, Pure};

/// A room of the house, and the arrows that may leave it.
#[derive(Debug)]
pub(crate) struct Room {
    /// Its folder, without `operators/`.
    pub(crate) name: &'static str,
    /// The rooms that it may import.
    pub(crate) ours: &'static [&'static str],
    /// The crates of others.
    pub(crate) outside: Outside,
}

/// Which crates of others a room may import.
#[derive(Debug)]
pub(crate) enum Outside {
    /// These and [`EVERYWHERE`], and nothing of [`IMPURE`] even below them.
    Pure(&'static [&'static str]),
    /// Any but these.
    AllBut(&'static [&'static str]),
}

/// Crates that every room may import. JSON is serde's, and what the API speaks.
pub(crate) const EVERYWHERE: &[&str] = &["serde", "serde_json", "thiserror", "tracing"];

/// What a pure room must not reach by any way: sockets, an async runtime, the client.
pub(crate) const IMPURE: &[&str] =
    &["futures", "hyper", "kube", "kube-client", "kube-runtime", "mio", "rustls", "tokio", "tower"];

/// What the rooms that decide are written in: Kubernetes' own types, and time as a value.
const DECIDES: Outside = Pure(&["jiff", "k8s-openapi", "kube-core"]);

/// The table. An import that stands only in tests is no arrow, so `testkit` stands in one row: `simulate` is no product.
pub(crate) const ROOMS: &[Room] = &[
    Room {
        name: "api",
        ours: &[],
        outside: Pure(&["jiff", "k8s-openapi", "kube-core", "kube-derive", "schemars"]),
    },
    Room { name: "cloud", ours: &["api"], outside: DECIDES },
    Room { name: "nodepool", ours: &["api", "cloud"], outside: DECIDES },
    Room { name: "scheduleprofile", ours: &["api", "cloud"], outside: DECIDES },
    Room { name: "servicegroup", ours: &["api", "cloud"], outside: DECIDES },
    Room { name: "securitygrouppolicy", ours: &["api", "cloud"], outside: DECIDES },
    Room { name: "logconfig", ours: &["api", "cloud"], outside: DECIDES },
    Room {
        name: "admission",
        ours: &["api", "cloud"],
        outside: Pure(&["jiff", "json-patch", "k8s-openapi", "kube-core"]),
    },
    Room { name: "runtime", ours: &[], outside: AllBut(&[]) },
    Room {
        name: "controllers",
        ours: &[
            "api",
            "cloud",
            "nodepool",
            "scheduleprofile",
            "servicegroup",
            "securitygrouppolicy",
            "logconfig",
            "runtime",
        ],
        outside: AllBut(&["kube", "kube-client"]),
    },
    Room { name: "webhook", ours: &["api", "admission", "runtime"], outside: AllBut(&[]) },
    Room { name: "manager", ours: &["controllers", "webhook", "runtime"], outside: AllBut(&[]) },
    Room {
        name: "kubectl-stowage",
        ours: &[
            "api",
            "cloud",
            "nodepool",
            "scheduleprofile",
            "servicegroup",
            "securitygrouppolicy",
            "logconfig",
            "admission",
        ],
        outside: AllBut(&[]),
    },
    Room { name: "testkit", ours: &["api", "runtime"], outside: AllBut(&[]) },
    Room { name: "simulate", ours: &["testkit", "manager", "controllers", "webhook"], outside: AllBut(&[]) },
    Room { name: "xtask", ours: &["api", "e2e/cluster"], outside: AllBut(&[]) },
    Room { name: "e2e/cluster", ours: &[], outside: AllBut(&[]) },
    Room { name: "e2e", ours: &["api", "e2e/cluster"], outside: AllBut(&[]) },
];
