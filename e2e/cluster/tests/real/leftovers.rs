//! What a cluster could leave on a machine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use stowage_cluster::wait_for;

use crate::given::Outcome;

/// How long the kernel may take to let go of the last namespace.
const LIMIT: Duration = Duration::from_secs(30);

/// The traces of clusters on this machine, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftovers(BTreeSet<String>);

impl Leftovers {
    /// Looks at everything; `state` is the folder of all clusters.
    pub(crate) fn of_machine(state: &Path) -> Outcome<Self> {
        let nft = Command::new("nft").args(["list", "tables"]).output()?;
        let nft = String::from_utf8(nft.stdout)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let paths = |folder: &Path| entries(folder).into_iter().map(text).collect::<Vec<_>>();
        let kinds = [
            // A lost process would hold one.
            ("namespace", foreign_namespaces().into_iter().collect()),
            ("process", processes(&state.to_string_lossy())),
            ("mount", mounts.lines().map(str::to_owned).collect()),
            ("cgroup", cgroups(Path::new("/sys/fs/cgroup")).into_iter().map(text).collect()),
            ("nft table", nft.lines().map(str::to_owned).collect()),
            ("interface", paths(Path::new("/sys/class/net"))),
            // What `mount` and `ip netns` would make.
            ("in /run", paths(Path::new("/run"))),
            ("state", paths(state)),
        ];
        let lines = kinds.into_iter().flat_map(|(kind, things)| {
            let things: Vec<String> = things;
            things.into_iter().map(move |thing| format!("{kind} {thing}"))
        });
        Ok(Self(lines.collect()))
    }

    /// Waits until the machine is as it was: nothing more, nothing less.
    pub(crate) fn wait_until_again(&self, state: &Path) -> Outcome {
        let found = wait_for("the machine as it was before", LIMIT, || {
            let now = Self::of_machine(state).map_err(|error| error.to_string())?;
            let changed: Vec<_> = self.0.symmetric_difference(&now.0).collect();
            if changed.is_empty() { Ok(()) } else { Err(format!("{changed:?}")) }
        });
        Ok(found?)
    }
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The processes that run. One that has ended holds nothing; when it is reaped is up to the machine's own init.
fn process_folders() -> impl Iterator<Item = PathBuf> {
    let runs = |path: &PathBuf| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
    };
    entries(Path::new("/proc")).into_iter().filter(runs)
}

/// The namespaces that some process is in, this one's own excepted.
fn foreign_namespaces() -> BTreeSet<String> {
    let own = namespaces(Path::new("/proc/self"));
    let all = process_folders().flat_map(|process| namespaces(&process)).collect::<BTreeSet<_>>();
    all.difference(&own).cloned().collect()
}

/// A process that ends meanwhile is in none.
fn namespaces(process: &Path) -> BTreeSet<String> {
    let links = entries(&process.join("ns")).into_iter().filter_map(|link| fs::read_link(link).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// The command lines that name the folder of clusters.
fn processes(folder: &str) -> Vec<String> {
    let lines = process_folders().filter_map(|process| fs::read(process.join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder)).collect()
}

/// The directories of clusters, in every hierarchy.
fn cgroups(folder: &Path) -> BTreeSet<PathBuf> {
    let folders = entries(folder).into_iter().filter(|path| path.is_dir() && !path.is_symlink());
    let found = folders.flat_map(|path| {
        let mut below = cgroups(&path);
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("stowage-")) {
            below.insert(path);
        }
        below
    });
    found.collect()
}
