//! Nodes that look like real ones and are nothing but objects, and a watch that knows at every moment what they carry.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use stowage_api::keys::GROUP;
use tokio::sync::Notify;

use super::product::{DOMAIN, LABEL, SELECTED};
use crate::Outcome;

/// How long all nodes may take to come to one state.
const LIMIT: Duration = Duration::from_secs(600);
/// Enough to keep the API server busy while nodes are made.
const CREATIONS_IN_FLIGHT: usize = 32;
/// Images that a node says it has; a kubelet says at most 50.
const IMAGES: u32 = 20;

/// All nodes of the bench.
pub(super) struct Fleet {
    pub(super) nodes: Api<Node>,
    count: u32,
    seen: Arc<Seen>,
}

/// What the watch has brought.
#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Look>,
    /// How many carry the pool's keys, and how many carry nothing of it.
    dressed: u32,
    plain: u32,
    /// Changes since [`Fleet::begin`], and when the last came.
    changes: u32,
    last: Option<Instant>,
}

/// One node.
#[derive(Clone)]
struct Look {
    version: String,
    dress: Dress,
    outfit: Outfit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dress {
    /// It carries the pool's keys.
    Whole,
    /// It carries nothing of the pool's.
    None,
    /// It carries some.
    Part,
}

/// All that the product puts on a node, ledger and membership included.
#[derive(Clone, Debug, Default)]
pub(super) struct Outfit {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) taints: Vec<Taint>,
}

impl Fleet {
    /// Makes the nodes, and waits until the watch has seen them all.
    pub(super) async fn launch(client: Client, count: u32) -> Outcome<Self> {
        let nodes: Api<Node> = Api::all(client);
        let made = stream::iter(0..count).map(|number| create(&nodes, number));
        made.buffer_unordered(CREATIONS_IN_FLIGHT).try_collect::<Vec<()>>().await?;
        let seen = Arc::<Seen>::default();
        tokio::spawn(follow(nodes.clone(), Arc::clone(&seen)));
        let fleet = Self { nodes, count, seen };
        fleet.all_plain().await?;
        Ok(fleet)
    }

    /// Counts changes from now on, and says when now is.
    pub(super) fn begin(&self) -> Instant {
        self.seen.lock().changes = 0;
        Instant::now()
    }

    /// Changes of nodes since [`Fleet::begin`], as a share of their number.
    pub(super) fn writes_per_node(&self) -> f64 {
        f64::from(self.seen.lock().changes) / f64::from(self.count)
    }

    /// Waits until every node carries the pool's keys. Returns when the last was seen to.
    pub(super) async fn all_dressed(&self) -> Outcome<Instant> {
        self.all("carry the pool's keys", |state| state.dressed).await
    }

    /// Waits until no node carries anything of the pool's.
    pub(super) async fn all_plain(&self) -> Outcome<Instant> {
        self.all("carry nothing of the pool's", |state| state.plain).await
    }

    async fn all(&self, what: &str, reached: impl Fn(&State) -> u32) -> Outcome<Instant> {
        let waited = tokio::time::timeout(LIMIT, self.seen.when(|state| reached(state) == self.count)).await;
        waited.map_err(|_late| {
            let reached = reached(&self.seen.lock());
            format!("{reached} of {} nodes {what} after {} s", self.count, LIMIT.as_secs()).into()
        })
    }

    /// What the first node carries of the pool's.
    pub(super) fn outfit(&self) -> Outcome<Outfit> {
        let state = self.seen.lock();
        let (_, look) = state.nodes.first_key_value().ok_or("there is no node")?;
        Ok(look.outfit.clone())
    }

    /// Each node's name and version.
    pub(super) fn versions(&self) -> Vec<(String, String)> {
        let version = |(name, look): (&String, &Look)| (name.clone(), look.version.clone());
        self.seen.lock().nodes.iter().map(version).collect()
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the state is as wanted. Returns when the last change came.
    async fn when(&self, wanted: impl Fn(&State) -> bool) -> Instant {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Listening before looking: no change falls between the two.
            changed.as_mut().enable();
            if let Some(last) = self.lock().last_if(&wanted) {
                return last;
            }
            changed.await;
        }
    }
}

impl State {
    fn last_if(&self, wanted: impl Fn(&Self) -> bool) -> Option<Instant> {
        self.last.filter(|_| wanted(self))
    }

    fn take(&mut self, node: Node) {
        let look = Look::of(&node);
        let name = node.metadata.name.unwrap_or_default();
        let now = (look.dress, 1);
        let before = self.nodes.insert(name, look);
        self.changes += u32::from(before.is_some());
        self.last = Some(Instant::now());
        for (dress, more) in before.map(|look| (look.dress, -1)).into_iter().chain([now]) {
            let counter = match dress {
                Dress::Whole => &mut self.dressed,
                Dress::None => &mut self.plain,
                Dress::Part => continue,
            };
            *counter = counter.saturating_add_signed(more);
        }
    }
}

impl Look {
    fn of(node: &Node) -> Self {
        let ours = |map: &Option<BTreeMap<String, String>>| -> BTreeMap<_, _> {
            let pairs = map.iter().flatten();
            pairs.filter(|(key, _)| is_ours(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let outfit = Outfit {
            labels: ours(&node.metadata.labels),
            annotations: ours(&node.metadata.annotations),
            taints: taints.into_iter().filter(|taint| is_ours(&taint.key)).collect(),
        };
        let Outfit { labels, annotations, taints } = &outfit;
        let dress = match (labels.contains_key(LABEL), labels.len() + annotations.len() + taints.len()) {
            (true, _) if !taints.is_empty() && !annotations.is_empty() => Dress::Whole,
            (false, 0) => Dress::None,
            _ => Dress::Part,
        };
        Self { version: node.metadata.resource_version.clone().unwrap_or_default(), dress, outfit }
    }
}

/// Whether the product has put a key on a node: one of its own, or one that the pool asks for.
fn is_ours(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    domain == GROUP || domain == DOMAIN
}

async fn create(nodes: &Api<Node>, number: u32) -> Outcome {
    nodes.create(&PostParams::default(), &serde_json::from_value(node(number))?).await?;
    Ok(())
}

/// A node as a kubelet registers it, about 5 kB of JSON: what is read and thrown away costs as much as in earnest.
fn node(number: u32) -> Value {
    let name = format!("bench-{number:05}");
    let address = format!("10.{}.{}.{}", number / 65_536, number / 256 % 256, number % 256);
    let room = json!({
        "cpu": "16", "memory": "65808544Ki", "ephemeral-storage": "203056560Ki", "hugepages-2Mi": "0", "pods": "110",
    });
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        let at = "2026-01-01T00:00:00Z";
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": at, "lastTransitionTime": at})
    };
    let image = |image: u32| {
        let repository = format!("registry.example/platform/component-{image}");
        json!({"names": [format!("{repository}@sha256:{image:064x}"), format!("{repository}:v1.{image}.0")],
            "sizeBytes": 41_000_000 + image})
    };
    let conditions = [
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {
            SELECTED: "yes",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": "s6.4xlarge.4",
            "topology.kubernetes.io/region": "region-1",
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
        }},
        "spec": {"providerID": format!("example://{name}")},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "capacity": room,
            "allocatable": room,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "images": (0..IMAGES).map(image).collect::<Vec<_>>(),
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 12 (bookworm)",
                "kernelVersion": "6.1.0", "containerRuntimeVersion": "containerd://2.1.0", "kubeletVersion": "v1.36.0",
                "kubeProxyVersion": "", "bootID": format!("boot-{number}"), "machineID": name, "systemUUID": name,
            },
        },
    })
}

async fn follow(nodes: Api<Node>, seen: Arc<Seen>) {
    let config = watcher::Config::default().labels(SELECTED);
    let changes = watcher(nodes, config).default_backoff().applied_objects();
    let mut changes = pin!(changes);
    while let Some(change) = changes.next().await {
        if let Ok(node) = change {
            seen.lock().take(node);
            seen.changed.notify_waiters();
        }
    }
}
