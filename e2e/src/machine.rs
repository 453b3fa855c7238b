//! What a test does to the programs on the machines of the project's own cluster.

use std::path::Path;

use crate::{Lab, Outcome};

/// The machine of the control plane.
const CONTROL_PLANE: &str = "control-plane";

/// The API server, as long as it stands still: its connections are open, and nothing comes back.
#[derive(Debug)]
pub struct FrozenApi<'a>(&'a Lab);

impl Lab {
    /// Stops the API server where it stands, until what is returned is dropped. kubectl hangs meanwhile.
    pub fn freeze_api(&self) -> Outcome<FrozenApi<'_>> {
        self.signal("STOP", CONTROL_PLANE, "kube-apiserver")?;
        Ok(FrozenApi(self))
    }

    /// Kills all processes of a program on a node.
    pub fn kill_program(&self, node: &str, program: &str) -> Outcome {
        self.signal("KILL", node, program)
    }

    /// What the manager says on a node, since the last time that it was started there; the API server is not asked.
    pub fn manager_log_on(&self, node: &str) -> Outcome<String> {
        self.run_on(
            node,
            r"cat $(ls -t /var/log/pods/stowage-system_stowage-*/manager/*.log | head -n 1)",
            &[],
        )
    }

    /// Every machine sees only its own processes, so that a name is enough.
    fn signal(&self, signal: &str, machine: &str, program: &str) -> Outcome {
        self.run_on(machine, r#"kill -s "$0" $(pidof "$1")"#, &[signal, program]).map(drop)
    }

    fn run_on(&self, machine: &str, script: &str, arguments: &[&str]) -> Outcome<String> {
        let mut shell = self.own()?.command_on(machine, Path::new("sh"))?;
        let output = shell.args(["-c", script]).args(arguments).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("`{script}` on {machine}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

impl Drop for FrozenApi<'_> {
    fn drop(&mut self) {
        // A test that has failed has said so; one that goes on notices at its next request.
        drop(self.0.signal("CONT", CONTROL_PLANE, "kube-apiserver"));
    }
}
