//! Empties the nodes of a pool whose deletion asks for that.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1;
use stowage_api::{NodePool, node_pool::DeletionPolicy};
use stowage_nodepool::{
    Evacuations, Valid,
    drain::{Answers, EVICTING, Eviction, Held, Hold, Plan, Pod, Progress, plan},
    members,
};
use stowage_runtime::{Class, Error, Evicted, Key, Projected, Selection};

use super::{Context, watches::Observation};

/// Of each pod only what a drain reads.
type Pods = Projected<v1::Pod, Pod>;

/// From so many nodes on, all pods are read at once instead of those of each node.
const NODES_ONE_BY_ONE: usize = 20;
/// Few enough that a drain of many nodes leaves the API server to others.
const REQUESTS_IN_FLIGHT: usize = 4;

/// How far the nodes are with being emptied.
#[derive(Default)]
pub(super) struct Evacuation {
    pub(super) nodes: Evacuations,
    /// What it was decided by.
    pub(super) plan: Plan,
    /// When to look again.
    pub(super) again: Duration,
}

impl Context {
    /// Evicts what may go now; nothing where the deletion does not ask for it. An eviction that fails is no error: it
    /// is told, and asked for again in the time of the drain, which has an end.
    pub(super) async fn evacuate(
        &self,
        pool: &NodePool,
        valid: Option<&Valid>,
        observation: &Observation,
    ) -> Result<Evacuation, Error> {
        let Some(valid) = valid.filter(|_| pool.spec.deletion_policy == DeletionPolicy::Drain) else {
            return Ok(Evacuation::default());
        };
        let nodes = members(valid, &observation.observed);
        if nodes.is_empty() {
            return Ok(Evacuation::default());
        }
        let pods = self.pods_on(&nodes).await?;
        let progress = Progress::new(pool, valid.drain_timeout(), self.clock.now());
        let plan = plan(&nodes, &observation.observed, pods.iter().map(|pod| &**pod), &progress);
        self.publish(pool, plan.warnings()).await;
        let answers = self.evict(&plan).await?;
        let (nodes, again) = (plan.evacuations(&answers), plan.again(&answers));
        Ok(Evacuation { nodes, plan, again })
    }

    /// The pods that these nodes have to lose. Of the pods of a whole cluster only they are kept.
    async fn pods_on(&self, nodes: &BTreeSet<String>) -> Result<Vec<Arc<Pod>>, Error> {
        let one_by_one = nodes.len() <= NODES_ONE_BY_ONE;
        let of_node = |node: &String| Selection::default().with_fields(format!("spec.nodeName={node}"));
        let selections =
            if one_by_one { nodes.iter().map(of_node).collect() } else { vec![Selection::default()] };
        let lists = stream::iter(selections).map(async |selection| {
            let mut found = Vec::new();
            let keep = |pod: Arc<Pod>| found.extend(pod.is_in_the_way(nodes).then_some(pod));
            self.applier.each::<Pods>(&selection, keep).await.map(|()| found)
        });
        lists.buffered(REQUESTS_IN_FLIGHT).try_concat().await
    }

    /// Asks for each eviction, whatever becomes of the others.
    async fn evict(&self, plan: &Plan) -> Result<Answers, Error> {
        let pods: Vec<_> = plan.evict.iter().map(addressed).collect();
        let mut answers = Answers::default();
        for (pod, evicted) in plan.evict.iter().zip(self.applier.evict_all(pods, EVICTING).await) {
            let (hold, words) = match evicted {
                Ok(Evicted::Accepted | Evicted::Gone) => {
                    answers.going += 1;
                    continue;
                }
                Ok(Evicted::Blocked(words)) => (Hold::Budget, words),
                Ok(Evicted::Refused(words)) => (Hold::Refusal, words),
                // Another process drains.
                Err(error) if error.class() == Class::NotLeading => return Err(error),
                Err(error) => (Hold::Failure, error.cause().to_owned()),
            };
            answers.held.push(Held { pod: pod.clone(), hold, words });
        }
        Ok(answers)
    }
}

/// A pod as the API server knows it.
fn addressed(Eviction { namespace, name, uid, node: _ }: &Eviction) -> (Key, String) {
    (Key { namespace: Some(namespace.clone()), name: name.clone() }, uid.clone())
}
