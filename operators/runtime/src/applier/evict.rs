//! Asking pods to go, through the API that honours disruption budgets.

use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kube::{
    api::PostParams,
    core::{ObjectMeta, Status},
};

use super::{Applier, all};
use crate::{Class, Error, Key, Operation, Verb, metrics::WriteResult};

/// Few enough that a drain of many nodes leaves the API server to others.
const EVICTIONS_IN_FLIGHT: usize = 4;

/// How an eviction ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// The pod ends, within the time that it asks for itself.
    Accepted,
    /// It is no longer there, or another has its name.
    Gone,
    /// A disruption budget does not let it go now: the words of the API server.
    Blocked(String),
    /// No wait alone lets it go, because an admission plugin refuses it or it has two budgets: the words of the API
    /// server.
    Refused(String),
}

impl Applier {
    /// Evicts pods by key and UID, several at once. Each is tried, whatever becomes of the others, but none is begun
    /// after `limit`, within which a webhook that hangs answers a few only. Returns the answers to the first of them,
    /// in order: to all, if there was time.
    pub async fn evict_all(
        &self,
        pods: impl IntoIterator<Item = (Key, String)>,
        limit: Duration,
    ) -> Vec<Result<Evicted, Error>> {
        let in_time = stream::iter(pods).take_until(tokio::time::sleep(limit));
        let answers = in_time.map(async |(pod, uid)| self.evict(&pod, &uid).await);
        answers.buffered(EVICTIONS_IN_FLIGHT).collect().await
    }

    /// Evicts the pod if it still is the one with this UID. Nothing below tries it again: what blocks it has to change
    /// first, and whoever drains asks again in its own time.
    pub async fn evict(&self, pod: &Key, uid: &str) -> Result<Evicted, Error> {
        let operation = Operation::one::<Pod>(Verb::Create, pod.clone()).of("eviction");
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(pod.name.clone()),
                namespace: pod.namespace.clone(),
                ..ObjectMeta::default()
            },
            delete_options: Some(options),
        };
        // Not kube's `evict`: it spells the options in a way that the API server does not read.
        let request = serde_json::to_vec(&eviction).map_err(kube::core::request::Error::SerializeBody);
        let request = request.and_then(|body| {
            let pods = all::<Pod>(pod.namespace.as_deref());
            pods.create_subresource("eviction", &pod.name, &PostParams::default(), body)
        });
        self.pace().await;
        match self.send(&operation, request).await {
            Ok(_) => {
                self.wrote(&operation, WriteResult::Done);
                Ok(Evicted::Accepted)
            }
            Err(kube::Error::Api(status)) if is_gone(&status) => {
                self.wrote(&operation, WriteResult::Gone);
                Ok(Evicted::Gone)
            }
            Err(kube::Error::Api(status)) if names_a_budget(&status) => {
                self.wrote(&operation, WriteResult::Blocked);
                let words = status.message.clone();
                Ok(if status.code == 429 { Evicted::Blocked(words) } else { Evicted::Refused(words) })
            }
            Err(error) => self.refused(operation, error),
        }
    }

    fn refused(&self, operation: Operation, error: kube::Error) -> Result<Evicted, Error> {
        let error = self.failed(operation, error);
        match error.class() {
            Class::Denied => Ok(Evicted::Refused(error.cause().to_owned())),
            Class::Rejected | Class::Forbidden | Class::Transient | Class::Conflict | Class::NotLeading => {
                Err(error)
            }
        }
    }
}

/// 409 is also a budget that was changed meanwhile; only the other speaks of a precondition.
fn is_gone(status: &Status) -> bool {
    status.code == 404 || status.code == 409 && status.message.contains("recondition")
}

/// 429 is also an API server that is busy; 500 is also one that is in trouble. Of the words for a budget, the cause is
/// for machines, but not every answer has one: a pod with two budgets cannot be evicted at all.
fn names_a_budget(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let words = status.message.to_lowercase();
    matches!(status.code, 429 | 500)
        && (causes.into_iter().any(|cause| cause.reason == "DisruptionBudget")
            || words.contains("disruption budget")
            || words.contains("disruptionbudget"))
}
