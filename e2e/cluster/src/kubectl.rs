//! kubectl and Helm of known versions, against the project's own cluster or one that the user has.

use std::{
    ffi::OsStr,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    error::{Doing, Result},
    program::{command, command_line, finished, run},
    tools::Built,
};

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
        run(helm.args(arguments))
    }
}

impl Kubectl {
    /// kubectl for a cluster.
    pub fn new(kubernetes: &Built, access: Access) -> Self {
        Self { program: kubernetes.program("kubectl"), access }
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
        run(self.quiet().args(arguments))
    }

    /// Runs it with `-o json` and returns the object or list.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = run(self.quiet().arg("get").args(arguments).args(["-o", "json"]))?;
        serde_json::from_str(&text).doing(|| format!("read what kubectl get {} printed", arguments.join(" ")))
    }

    /// Runs `kubectl VERB -f -` on an object or list.
    pub fn send(&self, verb: &str, objects: &Value) -> Result<String> {
        let mut kubectl = self.quiet();
        kubectl.args([verb, "-f", "-"]);
        let line = command_line(&kubectl);
        let action = || format!("run `{line}`");
        kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().doing(action)?;
        if let Some(mut input) = child.stdin.take() {
            // A kubectl that refuses its arguments closes its input early; its own words say more than our broken pipe.
            match input.write_all(objects.to_string().as_bytes()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    return Err(error).doing(action);
                }
                Ok(()) | Err(_) => {}
            }
        }
        let output = child.wait_with_output().doing(action)?;
        finished(line, &output)
    }

    fn quiet(&self) -> Command {
        self.reaching(command(&self.program))
    }

    fn reaching(&self, mut kubectl: Command) -> Command {
        match &self.access {
            Access::Kubeconfig(path) => kubectl.arg("--kubeconfig").arg(path),
            Access::Context(name) => kubectl.arg("--context").arg(name),
        };
        kubectl
    }
}
