//! The managers: their pods, who of them leads, and what that one says.

use jiff::Timestamp;
use serde_json::Value;
use stowage_cluster::wait_for;

use crate::{LIMIT, Lab, NAMESPACE, Outcome, RELEASE, lab::is_ready};

/// One time of leading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Who holds the Lease.
    pub holder: String,
    /// When it was acquired.
    pub since: Timestamp,
}

impl Lab {
    /// Scales the manager and waits until as many of its pods run.
    pub fn scale_manager(&self, replicas: u8) -> Outcome {
        let (count, deployment) = (format!("--replicas={replicas}"), format!("deployment/{RELEASE}"));
        self.kubectl.run(&["--namespace", NAMESPACE, "scale", &deployment, &count])?;
        wait_for(&format!("{replicas} managers"), LIMIT, || {
            let pods = self.manager_pods().map_err(|error| error.to_string())?;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            let settled = pods.len() == usize::from(replicas) && ready == pods.len();
            if settled { Ok(()) } else { Err(format!("{} pods, {ready} ready", pods.len())) }
        })?;
        Ok(())
    }

    /// The manager's pods, those that end included.
    pub fn manager_pods(&self) -> Outcome<Vec<Value>> {
        let selector = format!("app.kubernetes.io/name=stowage,app.kubernetes.io/instance={RELEASE}");
        let list = self.kubectl.get(&["pods", "--namespace", NAMESPACE, "--selector", &selector])?;
        Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Who leads by the Lease, and since when.
    pub fn term(&self) -> Outcome<Term> {
        let lease = self.kubectl.get(&["--namespace", NAMESPACE, "lease", RELEASE])?;
        let text = |field: &str| {
            let text = lease.pointer(&format!("/spec/{field}")).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let holder = text("holderIdentity").ok_or_else(|| format!("nobody leads: {lease}"))?;
        let since = text("acquireTime").ok_or_else(|| format!("no time: {lease}"))?;
        Ok(Term { holder, since: since.parse()? })
    }

    /// The node that the leading manager runs on, and the name of its pod.
    pub fn manager_place(&self) -> Outcome<(String, String)> {
        let holder = self.term()?.holder;
        let pods = self.manager_pods()?;
        let text = |pod: &Value, path: &str| pod.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let leads = |pod: &&Value| text(pod, "/metadata/name").is_some_and(|name| holder.starts_with(&name));
        let pod = pods.iter().find(leads).ok_or_else(|| format!("the leader {holder} is no pod"))?;
        let place = text(pod, "/spec/nodeName").zip(text(pod, "/metadata/name"));
        place.ok_or_else(|| format!("the leader is nowhere: {pod}").into())
    }

    /// The manager's metrics, as Prometheus reads them.
    pub fn manager_metrics(&self) -> Outcome<String> {
        let (_, pod) = self.manager_place()?;
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics");
        Ok(self.kubectl.run(&["get", "--raw", &path])?)
    }

    /// The log of the leading manager.
    pub fn manager_log(&self) -> Outcome<String> {
        let (_, pod) = self.manager_place()?;
        Ok(self.kubectl.run(&["--namespace", NAMESPACE, "logs", &pod, "--tail=-1"])?)
    }

    /// Waits until the leading manager's log has a line with all of these words.
    pub fn wait_for_log(&self, words: &[&str]) -> Outcome {
        let found = wait_for(&format!("a line with {words:?} in the log"), LIMIT, || {
            let log = self.manager_log().map_err(|error| error.to_string())?;
            let found = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
            if found { Ok(()) } else { Err(log) }
        });
        Ok(found?)
    }

    /// Waits until a series has this value in the leading manager's metrics.
    pub fn wait_for_metric(&self, series: &str, value: &str) -> Outcome {
        let line = format!("{series} {value}");
        let found = wait_for(&format!("{line} in the metrics"), LIMIT, || {
            let metrics = self.manager_metrics().map_err(|error| error.to_string())?;
            let seen: Vec<_> = metrics.lines().filter(|line| line.starts_with(series)).collect();
            if seen.contains(&line.as_str()) { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        Ok(found?)
    }
}
