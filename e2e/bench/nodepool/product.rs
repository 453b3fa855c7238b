//! The manager as a process of the bench, and the one pool that it is asked for.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::json;
use stowage_api::NodePool;
use stowage_e2e::{is_settled, pool_selecting};
use tempfile::TempDir;

use crate::Outcome;

/// The pool's name.
pub(super) const POOL: &str = "bench";
/// The domain of every key that the pool sets.
pub(super) const DOMAIN: &str = "bench.example";
/// One of the labels that it sets.
pub(super) const LABEL: &str = "bench.example/class";
/// The label that selects its nodes. Not in its domain: it stays.
pub(super) const SELECTED: &str = "selected.example/bench";

/// How long the manager may take to start, or a pool to be told of.
const LIMIT: Duration = Duration::from_secs(120);
/// How long it may take to say whether it is ready: the call holds the thread that would notice the other limit.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// Neither a limit on writes nor an election: the bare client has none either.
const CONFIGURATION: &str = "\
apiVersion: config.stowage.dev/v1alpha1
kind: OperatorConfiguration
leaderElection:
  mode: Disabled
writes:
  mode: Unlimited
";

/// A running manager. It ends with this value.
pub(super) struct Product {
    pools: Api<NodePool>,
    process: Child,
    _folder: TempDir,
}

impl Product {
    /// Starts the manager and waits until it is ready.
    pub(super) async fn start(program: &Path, kubeconfig: &Path, client: Client) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let (configuration, log) = (folder.path().join("config.yaml"), folder.path().join("log"));
        fs::write(&configuration, CONFIGURATION)?;
        // Freed at once and taken by the manager: nothing else here asks for ports.
        let address = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr()?;
        let process = Command::new(program)
            .args(["run", "--listen", &address.to_string(), "--config"])
            .arg(configuration)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut product = Self { pools: Api::all(client), process, _folder: folder };
        product.is_ready(&format!("http://{address}/readyz"), &log).await?;
        Ok(product)
    }

    async fn is_ready(&mut self, url: &str, log: &Path) -> Outcome {
        let wait = async {
            let answers = || {
                let get = ureq::get(url).config().timeout_global(Some(ANSWER)).build();
                get.call().is_ok()
            };
            while !answers() && self.process.try_wait().is_ok_and(|end| end.is_none()) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(LIMIT, wait).await;
        match (waited, self.process.try_wait()?) {
            (Ok(()), None) => Ok(()),
            (_, end) => Err(format!(
                "the manager is not ready ({end:?}); its log: {}",
                fs::read_to_string(log).unwrap_or_default()
            )
            .into()),
        }
    }

    /// Asks for two labels, an annotation and a taint on every node.
    pub(super) async fn create_pool(&self) -> Outcome {
        let fields = json!({
            "labels": {LABEL: "a", "bench.example/tier": "b"},
            "annotations": {"bench.example/note": "c"},
            "taints": [{"key": "bench.example/dedicated", "value": "d", "effect": "NoSchedule"}],
        });
        let pool = serde_json::from_value(pool_selecting(POOL, (SELECTED, "yes"), &fields))?;
        self.pools.create(&PostParams::default(), &pool).await?;
        Ok(())
    }

    /// Waits until the pool's status says that all is done.
    pub(super) async fn pool_is_ready(&self) -> Outcome {
        let ready = |pool: Option<&NodePool>| {
            pool.and_then(|pool| serde_json::to_value(pool).ok()).is_some_and(|pool| is_settled(&pool))
        };
        let waited = tokio::time::timeout(LIMIT, await_condition(self.pools.clone(), POOL, ready)).await;
        waited.map_err(|_late| "the pool is not Ready")??;
        Ok(())
    }

    /// Asks for the end of the pool.
    pub(super) async fn delete_pool(&self) -> Outcome {
        self.pools.delete(POOL, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until there is no pool.
    pub(super) async fn pool_is_gone(&self) -> Outcome {
        let gone = |pool: Option<&NodePool>| pool.is_none();
        let waited = tokio::time::timeout(LIMIT, await_condition(self.pools.clone(), POOL, gone)).await;
        waited.map_err(|_late| "the pool is not gone")??;
        Ok(())
    }

    /// Memory of the manager in MiB: what it has now, and the most that it had.
    pub(super) fn memory(&self) -> Outcome<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        Ok((mebibytes(&status, "VmRSS:")?, mebibytes(&status, "VmHWM:")?))
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // It has ended already, or it ends now: there is nothing else to do about it.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A row of `/proc/PID/status`, which has kibibytes.
fn mebibytes(status: &str, row: &str) -> Outcome<f64> {
    let row = status.lines().find_map(|line| line.strip_prefix(row));
    let number = row.and_then(|rest| rest.split_whitespace().next()).ok_or("no memory in /proc")?;
    Ok(number.parse::<f64>()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_mebibytes() {
        let status = "VmHWM:\t   30720 kB\nVmRSS:\t   20480 kB\n";
        assert_eq!(format!("{:.1}", mebibytes(status, "VmRSS:").unwrap()), "20.0");
        assert!(mebibytes("", "VmRSS:").is_err());
    }
}
