//! The cluster of the run.

use std::{
    env,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value, json};
use stowage_cluster::{Access, Cluster, HELM, HELM3, Helm, KUBERNETES, Kubectl, Name, Progress, wait_for};

use crate::Audit;

/// Where the product is installed.
pub const NAMESPACE: &str = "stowage-system";

/// The name of its release, and so of its Deployment.
pub const RELEASE: &str = "stowage";

/// The user that the product is to the API server.
pub const SERVICE_ACCOUNT: &str = "system:serviceaccount:stowage-system:stowage";

/// How long anything may take that takes a second: a wait ends as soon as it sees what it waits for.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How many managers the chart installs.
pub const MANAGERS: u8 = 2;

/// What a test or a helper of one comes to.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A cluster with the product on it.
#[derive(Debug)]
pub struct Lab {
    /// Its kubectl, as administrator.
    pub kubectl: Kubectl,
    /// Helm, for the same cluster.
    pub helm: Helm,
    /// The Helm before this one.
    pub helm3: Helm,
    cluster: Option<Cluster>,
}

impl Lab {
    /// The cluster that `cargo xtask test` names: its own in `STOWAGE_CLUSTER`, or the user's in `STOWAGE_CONTEXT`.
    pub fn open() -> Outcome<Self> {
        let progress = Progress::new();
        if let Ok(context) = env::var("STOWAGE_CONTEXT") {
            let access = Access::Context(context);
            return Self::with(Kubectl::new(&KUBERNETES.ensure(&progress)?, access), None, &progress);
        }
        let name = env::var("STOWAGE_CLUSTER")
            .map_err(|error| format!("STOWAGE_CLUSTER: {error}; run these tests with `cargo xtask test`"))?;
        let cluster = Cluster::open(Name::try_new(&name)?)?;
        Self::with(cluster.kubectl(), Some(cluster), &progress)
    }

    fn with(kubectl: Kubectl, cluster: Option<Cluster>, progress: &Progress) -> Outcome<Self> {
        let helm = Helm::new(&HELM.ensure(progress)?, kubectl.access().clone());
        let helm3 = Helm::new(&HELM3.ensure(progress)?, kubectl.access().clone());
        Ok(Self { kubectl, helm, helm3, cluster })
    }

    /// The project's own cluster: for what only it can do, as losing a node or showing its audit log.
    pub fn own(&self) -> Outcome<&Cluster> {
        self.cluster.as_ref().ok_or_else(|| "this needs the project's own cluster".into())
    }

    /// The names of three real nodes that are ready: fake ones have no operating system.
    pub fn nodes(&self) -> Outcome<[String; 3]> {
        let list = self.kubectl.get(&["nodes", "--selector", "kubernetes.io/os=linux,type!=kwok"])?;
        let nodes = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let name = |node: &Value| node.pointer("/metadata/name")?.as_str().map(str::to_owned);
        let mut names: Vec<_> = nodes.iter().filter(|node| is_ready(node)).filter_map(name).collect();
        names.sort();
        names.truncate(3);
        names.try_into().map_err(|names| format!("three ready nodes are needed, there are {names:?}").into())
    }

    /// What the API server is asked from now on.
    pub fn audit(&self) -> Outcome<Audit> {
        Audit::from_now(self.own()?.audit_log())
    }

    /// An object without a namespace as it is now; nothing where there is none.
    pub fn find(&self, kind: &str, name: &str) -> Outcome<Option<Value>> {
        // For such a kind no namespace is asked for, whatever is said.
        self.find_in("default", kind, name)
    }

    /// An object of a namespace as it is now; nothing where there is none.
    pub fn find_in(&self, namespace: &str, kind: &str, name: &str) -> Outcome<Option<Value>> {
        let get = ["--namespace", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"];
        let text = self.kubectl.run(&get)?;
        Ok(if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text)?) })
    }

    /// Creates or changes an object.
    pub fn apply(&self, object: &Value) -> Outcome {
        Ok(self.kubectl.send("apply", object).map(drop)?)
    }

    /// Puts an object in the place of the one that is there, whatever that has become.
    pub fn replace(&self, object: &Value) -> Outcome {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        Ok(self.kubectl.send("replace", &object).map(drop)?)
    }

    /// Deletes an object and waits until it is gone; one that is not there is success.
    pub fn delete(&self, kind: &str, name: &str) -> Outcome {
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        Ok(self.kubectl.run(&["delete", kind, name, "--ignore-not-found", &limit]).map(drop)?)
    }

    /// Waits until an object is as `look` wants it; the last state that was not is in the error.
    pub fn wait_for<T>(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        look: impl Fn(&Value) -> Option<T>,
    ) -> Outcome<T> {
        let found = wait_for(what, LIMIT, || {
            let object = self.find(kind, name).map_err(|error| error.to_string())?.unwrap_or_default();
            look(&object).ok_or_else(|| format!("{:#}", without_noise(&object)))
        });
        Ok(found?)
    }

    /// The notes of the events with this reason about an object that has no namespace.
    pub fn events(&self, reason: &str, object: &Value) -> Outcome<Vec<String>> {
        let uid = object.pointer("/metadata/uid").ok_or("the object was never stored")?;
        let list = self.kubectl.get(&["events.events.k8s.io", "--namespace", "default"])?;
        let events = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let ours = events.iter().filter(|event| {
            event.get("reason") == Some(&json!(reason)) && event.pointer("/regarding/uid") == Some(uid)
        });
        Ok(ours.filter_map(|event| Some(event.get("note")?.as_str()?.to_owned())).collect())
    }

    /// Runs the chart's own test; what its pod printed is in the error where it fails.
    pub fn helm_test(&self) -> Outcome<String> {
        let tested = self.helm.run(&["test", RELEASE, "--namespace", NAMESPACE, "--logs"]);
        tested.map_err(|error| {
            let pod = format!("{RELEASE}-check");
            let log = self.kubectl.run(&["--namespace", NAMESPACE, "logs", &pod]);
            format!("{error}\n{}", log.unwrap_or_else(|error| error.to_string())).into()
        })
    }

    /// A chart of this repository.
    pub fn chart(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../charts").join(name)
    }
}

/// Does `work`, and then `after` in any case: what a test takes from all others it gives back, whatever it finds.
pub fn finally(work: impl FnOnce() -> Outcome, after: impl FnOnce() -> Outcome) -> Outcome {
    let worked = catch_unwind(AssertUnwindSafe(work));
    let ended = after();
    match worked {
        Ok(worked) => worked.and(ended),
        Err(panic) => resume_unwind(panic),
    }
}

pub(crate) fn is_ready(object: &Value) -> bool {
    crate::condition(object, "Ready").is_some_and(|ready| ready.get("status") == Some(&json!("True")))
}

fn without_noise(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_finally_comes_after_success_failure_and_panic() {
        let works: [fn() -> Outcome; 3] = [|| Ok(()), || Err("failure".into()), || panic!("panic")];
        let ends = works.map(|work| {
            let mut after = 0;
            let counted = || {
                after += 1;
                Ok(())
            };
            let ended = catch_unwind(AssertUnwindSafe(|| finally(work, counted).is_ok()));
            (ended.ok(), after)
        });
        assert_eq!(ends, [(Some(true), 1), (Some(false), 1), (None, 1)]);
        assert_eq!(finally(|| Ok(()), || Err("late".into())).unwrap_err().to_string(), "late");
    }
}
