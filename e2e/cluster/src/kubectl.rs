//! kubectl and Helm of known versions, against the project's own cluster or one that the user has.

use std::{ffi::OsStr, path::PathBuf, process::Command, time::Duration};

use serde_json::Value;

use crate::{
    error::{Doing, Result},
    program::{command, run_within, unnamed_file},
    tools::Built,
};

/// How long one kubectl may run: longer than any wait that it is asked for here, 120 s.
const LIMIT: Duration = Duration::from_secs(180);

/// How long the API server may take over one answer, the last of a watch included: a wait that goes on asks again.
const REQUEST_LIMIT: &str = "--request-timeout=60s";

/// Longer than Helm's own limit for its waits, 5 min.
const HELM_LIMIT: Duration = Duration::from_secs(600);

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// With this kubeconfig and its current context.
    Kubeconfig(PathBuf),
    /// With this context of the user's own kubeconfig.
    Context(String),
}

/// kubectl of [`crate::KUBERNETES_VERSION`]: never the one in PATH, which may be of any version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubectl {
    program: PathBuf,
    access: Access,
    limit: Duration,
}

/// Helm of the version that [`crate::HELM`] pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helm {
    program: PathBuf,
    access: Access,
}

impl Helm {
    /// Helm for a cluster.
    pub fn new(built: &Built, access: Access) -> Self {
        Self { program: built.program("helm"), access }
    }

    /// Runs it and returns what it printed.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let mut helm = command(&self.program);
        match &self.access {
            Access::Kubeconfig(path) => helm.arg("--kubeconfig").arg(path),
            Access::Context(name) => helm.arg("--kube-context").arg(name),
        };
        run_within(helm.args(arguments), HELM_LIMIT)
    }
}

impl Kubectl {
    /// kubectl for a cluster.
    pub fn new(kubernetes: &Built, access: Access) -> Self {
        Self { program: kubernetes.program("kubectl"), access, limit: LIMIT }
    }

    /// How it reaches its cluster.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// A command to which arguments can be added; it runs in the caller's folder, where file names of theirs count.
    pub fn command(&self) -> Command {
        self.reaching(Command::new(&self.program))
    }

    /// Runs it and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run_within(self.quiet().args(arguments), self.limit)
    }

    /// Runs it with `-o json` and returns the object or list.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = run_within(self.quiet().arg("get").args(arguments).args(["-o", "json"]), self.limit)?;
        serde_json::from_str(&text).doing(|| format!("read what kubectl get {} printed", arguments.join(" ")))
    }

    /// Runs `kubectl VERB -f -` on an object or list.
    pub fn send(&self, verb: &str, objects: &Value) -> Result<String> {
        let mut kubectl = self.quiet();
        kubectl.args([verb, "-f", "-"]).stdin(unnamed_file(objects.to_string().as_bytes())?);
        run_within(&mut kubectl, self.limit)
    }

    /// For calls that nobody watches: they end, whatever the API server does.
    fn quiet(&self) -> Command {
        let mut kubectl = self.reaching(command(&self.program));
        kubectl.arg(REQUEST_LIMIT);
        kubectl
    }

    fn reaching(&self, mut kubectl: Command) -> Command {
        match &self.access {
            Access::Kubeconfig(path) => kubectl.arg("--kubeconfig").arg(path),
            Access::Context(name) => kubectl.arg("--context").arg(name),
        };
        kubectl
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use serde_json::json;

    use super::*;
    use crate::program;

    /// A kubectl that does what this script says.
    fn kubectl(folder: &Path, script: &str) -> Kubectl {
        let program = folder.join("kubectl");
        program::script(&program, script);
        let access = Access::Context("lab".to_owned());
        Kubectl { program, access, limit: Duration::from_millis(500) }
    }

    // Rule cluster-15.
    #[test]
    fn a_kubectl_that_hangs_ends_with_an_error_that_says_what_was_run() {
        let folder = tempfile::tempdir().unwrap();
        // It does not even read what it is given, which is more than a pipe holds.
        let hanging = kubectl(folder.path(), "echo dialling >&2; exec sleep 60");
        let large = json!({"data": "x".repeat(1 << 20)});
        let start = Instant::now();
        let cases = [
            ("get nodes", hanging.run(&["get", "nodes"]).map(drop)),
            ("get pods -o json", hanging.get(&["pods"]).map(drop)),
            ("apply -f -", hanging.send("apply", &large).map(drop)),
        ];
        for (line, outcome) in cases {
            let error = outcome.expect_err(line).to_string();
            for part in [line, "--context lab", "had not ended", "dialling"] {
                assert!(error.contains(part), "{part} is missing in: {error}");
            }
        }
        assert!(start.elapsed() < Duration::from_secs(30), "it was waited for");
    }

    // Rule cluster-15.
    #[test]
    fn a_request_has_a_limit_which_the_caller_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let echo = kubectl(folder.path(), "echo \"$@\"");
        let line = echo.run(&["get", "nodes", "--request-timeout=5s"]).unwrap();
        // The last one counts.
        assert_eq!(line, "--context lab --request-timeout=60s get nodes --request-timeout=5s\n");
    }

    #[test]
    fn objects_are_sent_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cat = kubectl(folder.path(), "cat");
        let objects = json!({"data": "x".repeat(1 << 20)});
        assert_eq!(cat.send("create", &objects).unwrap(), objects.to_string());
    }
}
