//! Who may import whom, a row per room.

use self::Outside::{AllBut, Pure};

/// Rooms of the house that have the same arrows.
#[derive(Debug)]
pub(crate) struct Room {
    /// Their folders, without `operators/`.
    pub(crate) names: &'static [&'static str],
    /// The rooms that each may import.
    pub(crate) ours: &'static [&'static [&'static str]],
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

/// What each kind decides, a room each.
const KINDS: &[&str] = &["nodepool", "scheduleprofile", "servicegroup", "securitygrouppolicy", "logconfig"];

/// The table. An import that stands only in tests is no arrow, so `testkit` stands in one row: `simulate` is no product.
pub(crate) const ROOMS: &[Room] = &[
    Room {
        names: &["api"],
        ours: &[],
        outside: Pure(&["jiff", "k8s-openapi", "kube-core", "kube-derive", "schemars"]),
    },
    Room { names: &["cloud"], ours: &[&["api"]], outside: DECIDES },
    Room { names: KINDS, ours: &[&["api", "cloud"]], outside: DECIDES },
    Room {
        names: &["admission"],
        ours: &[&["api", "cloud"]],
        outside: Pure(&["jiff", "json-patch", "k8s-openapi", "kube-core"]),
    },
    Room { names: &["runtime"], ours: &[], outside: AllBut(&[]) },
    Room {
        names: &["controllers"],
        ours: &[&["api", "cloud", "runtime"], KINDS],
        outside: AllBut(&["kube", "kube-client"]),
    },
    Room { names: &["webhook"], ours: &[&["api", "admission", "runtime"]], outside: AllBut(&[]) },
    Room { names: &["manager"], ours: &[&["controllers", "webhook", "runtime"]], outside: AllBut(&[]) },
    Room {
        names: &["kubectl-stowage"],
        ours: &[&["api", "cloud", "admission"], KINDS],
        outside: AllBut(&[]),
    },
    Room { names: &["testkit"], ours: &[&["api", "runtime"]], outside: AllBut(&[]) },
    Room {
        names: &["simulate"],
        ours: &[&["testkit", "manager", "controllers", "webhook"]],
        outside: AllBut(&[]),
    },
    Room { names: &["xtask"], ours: &[&["api", "e2e/cluster"]], outside: AllBut(&[]) },
    Room { names: &["e2e/cluster"], ours: &[], outside: AllBut(&[]) },
    Room { names: &["e2e"], ours: &[&["api", "e2e/cluster"]], outside: AllBut(&[]) },
];

impl Room {
    /// The row of a room.
    pub(crate) fn find(table: &'static [Self], name: &str) -> Option<&'static Self> {
        table.iter().find(|room| room.names.contains(&name))
    }

    /// The rooms that it may import.
    pub(crate) fn imports(&self) -> Vec<&'static str> {
        self.ours.concat()
    }
}
