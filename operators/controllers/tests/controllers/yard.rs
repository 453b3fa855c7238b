//! A cluster with nodes and pools, and the controllers in it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Node, PersistentVolume, Pod},
    events::v1::Event,
};
use serde_json::{Value, json};
use stowage_api::NodePool;
use stowage_controllers::{KINDS, Settings};
use stowage_runtime::{Jitter, Parts, Runtime, TokioTasks};
use stowage_testkit::{ApiServer, MovingClock, node};
use tokio_util::sync::CancellationToken;

pub(crate) const LABEL: &str = "stowage.dev/nodepool";
pub(crate) const LEDGER: &str = "stowage.dev/nodepool-ledger";

/// What the API server says of an eviction that a budget forbids for now.
pub(crate) const BUDGET: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Unlike the product's own.
const SETTINGS: Settings = Settings { local_dns: IpAddr::V4(Ipv4Addr::new(169, 254, 7, 7)) };

pub(crate) struct Yard {
    pub(crate) server: ApiServer,
    pub(crate) runtime: Runtime,
    pub(crate) stop: CancellationToken,
    clock: Arc<MovingClock>,
}

/// A pool that gives `crane=NAME` to the nodes with `row=ROW`.
pub(crate) fn pool(name: &str, row: &str) -> Value {
    json!({
        "apiVersion": "stowage.dev/v1alpha1",
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"row": row}}, "labels": {"crane": name}, "deletionPolicy": "Release",
        },
        "status": {"observedGeneration": -1},
    })
}

impl Yard {
    pub(crate) fn new() -> Self {
        let core = ApiServer::default().with::<Node>().with::<PersistentVolume>().with::<ConfigMap>();
        Self::over(core.with::<Pod>().with::<NodePool>().with::<Event>())
    }

    pub(crate) fn over(server: ApiServer) -> Self {
        Self::at(server, Arc::new(MovingClock::new()))
    }

    /// Ends the process and makes another over the same cluster, which is not started yet.
    pub(crate) async fn restarted(self) -> Self {
        self.stopped().await;
        Self::at(self.server, self.clock)
    }

    /// Ends the process: another may take its place in the same test.
    pub(crate) async fn stopped(&self) {
        self.stop.cancel();
        self.runtime.ended().await;
    }

    fn at(server: ApiServer, clock: Arc<MovingClock>) -> Self {
        let stop = CancellationToken::new();
        let runtime = Runtime::new(Parts {
            transport: server.transport(),
            clock: Arc::<MovingClock>::clone(&clock),
            jitter: Jitter::seeded(4),
            spawn: Arc::new(TokioTasks),
            instance: "stowage-0".to_owned(),
            stop: stop.clone(),
        })
        .unwrap();
        Self { server, runtime, stop, clock }
    }

    pub(crate) async fn start(&self) {
        for kind in KINDS {
            (kind.start)(&self.runtime, &SETTINGS);
        }
        seconds(1).await;
    }

    pub(crate) fn add_node(&self, name: &str, labels: &[(&str, &str)]) {
        self.server.create::<Node>(node(name, labels));
    }

    pub(crate) fn add_pool(&self, name: &str, row: &str) {
        self.server.create::<NodePool>(pool(name, row));
    }

    /// The labels of a node, of which there always are some.
    pub(crate) fn labels(&self, name: &str) -> Value {
        self.server.get::<Node>(name).unwrap()["metadata"]["labels"].clone()
    }

    /// Status and reason of a condition of a pool.
    pub(crate) fn condition(&self, pool: &str, type_: &str) -> Option<String> {
        let pool = self.server.get::<NodePool>(pool)?;
        let conditions = pool["status"]["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == type_)?;
        Some(format!("{} {}", condition["status"].as_str()?, condition["reason"].as_str()?))
    }

    /// How often a node was written.
    pub(crate) fn writes_of_node(&self, name: &str) -> usize {
        let path = format!("/api/v1/nodes/{name}");
        self.server.writes().iter().filter(|write| write.path == path).count()
    }
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
