//! A cluster as a whole: up, down, and what is in between.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::{
    cgroup::{self, Group},
    control_plane::{self, RELAY, audit_log},
    error::{Doing, Error, Result},
    faults::Fate,
    host::{self, Host, PAUSE},
    kubectl::{Access, Kubectl},
    kwok,
    node::{Machine, Node},
    preflight::{self, Findings},
    progress::Progress,
    spec::Spec,
    state::{Folder, Lock, Name, Phase, State, this_boot},
    tools::{Built, KUBERNETES},
};

/// The machine that is the switch.
pub(crate) const SWITCH: &str = "switch";

/// The crate's own programs, built static.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// `pause`: the first process of every machine and pod.
    pub pause: PathBuf,
    /// `relay`: hands connections to the API in.
    pub relay: PathBuf,
}

impl Binaries {
    /// The programs in a folder that cargo built them in.
    pub fn in_folder(folder: &Path) -> Self {
        Self { pause: folder.join(PAUSE), relay: folder.join(RELAY) }
    }
}

/// A cluster that is up.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) folder: Folder,
    pub(crate) state: State,
}

impl Cluster {
    /// Checks that this machine can run the cluster `name` of `spec`, as [`Self::up`] does first; returns what can be borne.
    pub fn check(name: &Name, spec: &Spec) -> Result<Findings> {
        spec.validate()?;
        let findings = preflight::check(&Folder::of(name.clone())?, spec, KUBERNETES.is_built())?;
        if findings.stop() {
            return Err(Error::Preflight(findings));
        }
        Ok(findings)
    }

    /// The cluster of this name, which must be up.
    pub fn open(name: Name) -> Result<Self> {
        let folder = Folder::of(name)?;
        let name = folder.name().as_str().to_owned();
        let cure = |verb: &str| format!("start it with `cluster up --name {name}`{verb}");
        let Some(state) = folder.state()? else {
            return Err(Error::refused(format!("there is no cluster {name:?}"), cure("")));
        };
        if state.phase != Phase::Up || state.boot != this_boot()? {
            return Err(Error::refused(format!("cluster {name:?} is half up"), cure(", which cleans first")));
        }
        Ok(Self { folder, state })
    }

    /// Stops a cluster and removes all that it left: processes, namespaces, mounts, control groups and files.
    ///
    /// A cluster that is half up, or half down, is removed as well; one that does not exist is success.
    pub fn down(name: Name, progress: &Progress) -> Result<()> {
        let folder = Folder::of(name)?;
        let _lock = Lock::acquire()?;
        progress.stage("stop the cluster", |_| remove(&folder))
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        self.folder.name()
    }

    /// The folder of its keys, logs and disks.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// How it was started.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its kubectl, as administrator.
    pub fn kubectl(&self) -> Kubectl {
        kubectl(&self.folder, &self.state)
    }

    /// Its administrator's kubeconfig: JSON, which every reader of YAML takes, with all keys inside.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.folder)
    }

    /// The API server's audit log, a JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(&self.folder)
    }

    /// The log of a program on one of its machines (`n1`, `control-plane`, …).
    pub fn log(&self, host: &str, program: &str) -> PathBuf {
        self.folder.log(host, program)
    }

    /// A command that will run on the machine `host` with all of its namespaces.
    pub fn command_on(&self, host: &str, program: &Path) -> Result<Command> {
        Ok(self.host(host)?.command(program))
    }

    /// Imports an image archive on all nodes; one that is off gets it when it returns.
    pub fn load_image(&self, archive: &Path, progress: &Progress) -> Result<()> {
        let nodes: Vec<Node> = self.state.spec.nodes().collect();
        if let Some(node) = nodes.iter().find(|node| matches!(self.fate(&node.name), Ok(Fate::Frozen))) {
            return Err(Error::refused(
                format!("{} is frozen", node.name),
                "return it first: `cluster node return`",
            ));
        }
        progress.stage("load the image", |_| {
            each(&nodes, |node| match self.find(&node.name)? {
                Some(host) => self.machine(node, &host).load_image(archive),
                None => Ok(()),
            })?;
            // Only now: one that cannot be loaded would keep every node from returning.
            self.keep_image(archive)
        })
    }

    /// Copies an archive beside the state, in the place of an earlier one of the same name.
    fn keep_image(&self, archive: &Path) -> Result<()> {
        let kept = self.folder.images().join(archive.file_name().unwrap_or_default());
        let copied = fs::copy(archive, &kept);
        copied.map(drop).doing(|| format!("copy {} to {}", archive.display(), kept.display()))
    }

    /// The archives that were loaded.
    pub(crate) fn images(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.images();
        let entries = fs::read_dir(&folder).doing(|| format!("read {}", folder.display()))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }

    /// Deletes all fake nodes and stops kwok.
    pub fn remove_fake_nodes(&self) -> Result<()> {
        kwok::stop(&self.host(control_plane::HOST)?, &self.kubectl())
    }

    pub(crate) fn find(&self, name: &str) -> Result<Option<Host>> {
        Host::find(&self.folder, name, group(&self.folder, &self.state, name))
    }

    pub(crate) fn host(&self, name: &str) -> Result<Host> {
        self.find(name)?.ok_or_else(|| {
            Error::refused(
                format!("{name} does not run in cluster {:?}", self.name().as_str()),
                "see `cluster status`; a node that was killed comes back with `cluster node return`",
            )
        })
    }

    pub(crate) fn machine<'a>(&'a self, node: &'a Node, host: &'a Host) -> Machine<'a> {
        Machine {
            node,
            host,
            folder: &self.folder,
            programs: &self.state.programs,
            size: &self.state.spec.size,
        }
    }
}

fn kubeconfig(folder: &Folder) -> PathBuf {
    folder.pki().join("admin.kubeconfig")
}

fn kubectl(folder: &Folder, state: &State) -> Kubectl {
    Kubectl::new(&Built::at(state.programs.clone()), Access::Kubeconfig(kubeconfig(folder)))
}

/// The control groups of one machine of a cluster.
pub(crate) fn group(folder: &Folder, state: &State, host: &str) -> Group {
    Group::new(&state.hierarchies, &folder.cgroup(), host)
}

/// Does the same for each, all at once, and returns the first error.
pub(crate) fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let running: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        let ended = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::refused("a thread panicked", "see its message above")))
        });
        // All are waited for before the first error is handed on.
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Kills what is recorded, removes its control groups, and then the folder: as long as that is there, `down` can be
/// tried again.
pub(crate) fn remove(folder: &Folder) -> Result<()> {
    // Where the file is damaged the records still say what runs, and the control groups have a name that is ours alone.
    let state = folder.state().unwrap_or_default();
    let hierarchies = match &state {
        Some(state) => state.hierarchies.clone(),
        None => cgroup::holding(&folder.cgroup())?,
    };
    let of_this_boot = state.as_ref().is_none_or(|state| this_boot().is_ok_and(|boot| boot == state.boot));
    if of_this_boot {
        let hosts: Vec<_> = folder
            .records()
            .into_iter()
            .map(|name| (name.clone(), Group::new(&hierarchies, &folder.cgroup(), &name)))
            .collect();
        host::kill(folder, &hosts)?;
        for hierarchy in &hierarchies {
            cgroup::remove_tree(&hierarchy.dir.join(folder.cgroup()))?;
        }
    }
    folder.remove()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_for_all_and_hands_the_first_error_on() {
        let seen = std::sync::Mutex::new(Vec::new());
        let error = each(&[1, 2, 3], |number| {
            seen.lock().unwrap().push(*number);
            if *number == 3 { Ok(()) } else { Err(Error::refused(format!("{number}"), "none")) }
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "1: none");
        assert_eq!(seen.into_inner().unwrap().len(), 3);
    }
}
