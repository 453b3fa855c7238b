//! What a cluster could leave on a machine on which other clusters live on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use procfs::process::{Stat, all_processes};
use stowage_cluster::{Folder, Name, names, wait_for};

use crate::given::Outcome;

/// How long the kernel may take to let go of the last namespace.
const LIMIT: Duration = Duration::from_secs(30);

/// The traces of clusters on this machine, a line each.
///
/// Whatever is not provably another cluster's counts, under any name: another one is known by its state file, and what is
/// its own by the records of its processes, its folder and its control groups.
#[derive(Clone, Debug)]
pub(crate) struct Leftovers {
    tested: Name,
    counted: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Leftovers {
    /// Looks at everything, for a test of the cluster `tested`.
    pub(crate) fn of(tested: &Name) -> Outcome<Self> {
        let all = Folder::of(tested.clone())?
            .path()
            .parent()
            .ok_or("a cluster's folder stands in none")?
            .to_owned();
        // One that comes or goes while we look is known before or after it.
        let mut clusters = Others::of(tested)?;
        let traces = Traces::look(&all)?;
        clusters.add(Others::of(tested)?);
        let (others, counted) = traces.split(&clusters);
        Ok(Self { tested: tested.clone(), counted, others })
    }

    /// What is there now and was not, or was there and is no more.
    pub(crate) fn changes(&self) -> Outcome<Vec<String>> {
        let now = Self::of(&self.tested)?;
        let new = now.counted.difference(&self.counted).map(|line| format!("new {line}"));
        // What could not be told to be another's at first may be now.
        let gone = self.counted.difference(&now.counted).filter(|line| !now.others.contains(*line));
        Ok(new.chain(gone.map(|line| format!("gone {line}"))).collect())
    }

    /// Waits until the machine is as it was: nothing more, nothing less.
    pub(crate) fn wait_until_again(&self) -> Outcome {
        let found = wait_for("the machine as it was before", LIMIT, || {
            let changes = self.changes().map_err(|error| error.to_string())?;
            if changes.is_empty() { Ok(()) } else { Err(format!("{changes:?}")) }
        });
        Ok(found?)
    }
}

/// The clusters that a test is not about.
#[derive(Default)]
struct Others {
    folders: BTreeSet<PathBuf>,
    /// What the directories of their control groups are called, without the digest at the end.
    groups: BTreeSet<String>,
    /// Their recorded processes: id and start time.
    records: BTreeSet<(i32, u64)>,
}

impl Others {
    fn of(tested: &Name) -> Outcome<Self> {
        let mut others = Self::default();
        for name in names()?.into_iter().filter(|name| name != tested) {
            let folder = Folder::of(name.clone())?;
            if !matches!(folder.state(), Ok(Some(_))) {
                continue;
            }
            let records = entries(&folder.path().join("run")).into_iter();
            let texts = records.filter_map(|record| fs::read_to_string(record).ok());
            others.records.extend(texts.filter_map(|text| {
                let (pid, started) = text.trim_end().split_once(' ')?;
                Some((pid.parse().ok()?, started.parse().ok()?))
            }));
            others.folders.insert(folder.path().to_owned());
            others.groups.insert(format!("stowage-{}", name.as_str()));
        }
        Ok(others)
    }

    fn add(&mut self, more: Self) {
        self.folders.extend(more.folders);
        self.groups.extend(more.groups);
        self.records.extend(more.records);
    }

    /// The ids of their recorded processes and of all that descend from these.
    fn processes(&self, all: &[Process]) -> BTreeSet<i32> {
        let recorded =
            all.iter().filter(|process| self.records.contains(&(process.stat.pid, process.stat.starttime)));
        let mut theirs: BTreeSet<i32> = recorded.map(|process| process.stat.pid).collect();
        loop {
            let children = all.iter().filter(|process| theirs.contains(&process.stat.ppid));
            let children: Vec<i32> = children.map(|process| process.stat.pid).collect();
            let known = theirs.len();
            theirs.extend(children);
            if theirs.len() == known {
                return theirs;
            }
        }
    }

    /// Whether a path, or a command line with paths, leads into one of their folders.
    fn is_named_in(&self, text: &str) -> bool {
        self.folders.iter().any(|folder| {
            let folder = folder.to_string_lossy();
            text == folder || text.contains(&format!("{folder}/"))
        })
    }

    fn have_group(&self, directory: &Path) -> bool {
        let mut parts = directory.iter().map(|part| part.to_string_lossy());
        parts.any(|part| part.rsplit_once('-').is_some_and(|(name, _)| self.groups.contains(name)))
    }
}

/// A process that runs. One that has ended holds nothing; when it is reaped is up to the machine's own init.
struct Process {
    stat: Stat,
    line: String,
    namespaces: BTreeSet<String>,
}

/// All that a cluster could leave, whosever it is.
struct Traces {
    /// The folder of all clusters.
    folder: PathBuf,
    processes: Vec<Process>,
    groups: BTreeSet<PathBuf>,
    states: BTreeSet<PathBuf>,
    /// What no cluster has: mounts, tables and interfaces of the machine's own namespaces.
    machine: Vec<String>,
}

impl Traces {
    fn look(folder: &Path) -> Outcome<Self> {
        let nft = Command::new("nft").args(["list", "tables"]).output()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let paths = |folder: &str| {
            entries(Path::new(folder)).into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        let machine: [(&str, Vec<String>); 4] = [
            ("mount", mounts.lines().map(str::to_owned).collect()),
            ("nft table", String::from_utf8(nft.stdout)?.lines().map(str::to_owned).collect()),
            ("interface", paths("/sys/class/net")),
            // What `mount` and `ip netns` would make.
            ("in /run", paths("/run")),
        ];
        let lines = machine.iter().flat_map(|(kind, things)| lines(kind, things)).collect();
        Ok(Self {
            folder: folder.to_owned(),
            processes: processes()?,
            groups: groups(Path::new("/sys/fs/cgroup")),
            states: entries(folder),
            machine: lines,
        })
    }

    /// What is provably of these clusters, and all the rest.
    fn split(&self, clusters: &Others) -> (BTreeSet<String>, BTreeSet<String>) {
        let theirs = clusters.processes(&self.processes);
        let own = namespaces(Path::new("/proc/self"));
        let of_process = |process: &&Process| theirs.contains(&process.stat.pid);
        let held: BTreeSet<_> = self.processes.iter().flat_map(|process| &process.namespaces).collect();
        let their_namespaces: BTreeSet<_> =
            self.processes.iter().filter(of_process).flat_map(|process| &process.namespaces).collect();
        // A lost process would hold one.
        let foreign = held.into_iter().filter(|namespace| !own.contains(*namespace));
        let folder = self.folder.to_string_lossy();
        let naming =
            self.processes.iter().map(|process| &process.line).filter(|line| line.contains(&*folder));
        let states = self.states.iter().map(|path| path.to_string_lossy().into_owned());

        let mut judged = Vec::new();
        judged.extend(foreign.map(|name| (their_namespaces.contains(name), format!("namespace {name}"))));
        judged.extend(naming.map(|line| (clusters.is_named_in(line), format!("process {line}"))));
        judged.extend(
            self.groups
                .iter()
                .map(|group| (clusters.have_group(group), format!("cgroup {}", group.display()))),
        );
        judged.extend(states.map(|path| (clusters.is_named_in(&path), format!("state {path}"))));
        judged.extend(self.machine.iter().map(|line| (false, line.clone())));
        let (others, counted): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(is_theirs, _)| *is_theirs);
        let lines = |judged: Vec<(bool, String)>| judged.into_iter().map(|(_, line)| line).collect();
        (lines(others), lines(counted))
    }
}

fn lines(kind: &str, things: &[String]) -> Vec<String> {
    things.iter().map(|thing| format!("{kind} {thing}")).collect()
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// One that ends while we look is left out.
fn processes() -> Outcome<Vec<Process>> {
    let found = all_processes()?.flatten().filter_map(|process| {
        let stat = process.stat().ok().filter(|stat| !matches!(stat.state, 'Z' | 'X'))?;
        let line = process.cmdline().ok()?.join(" ");
        Some(Process {
            stat,
            line,
            namespaces: namespaces(&Path::new("/proc").join(process.pid.to_string())),
        })
    });
    Ok(found.collect())
}

fn namespaces(process: &Path) -> BTreeSet<String> {
    let links = entries(&process.join("ns")).into_iter().filter_map(|link| fs::read_link(link).ok());
    links.map(|link| link.to_string_lossy().into_owned()).collect()
}

/// The directories of clusters, in every hierarchy.
fn groups(folder: &Path) -> BTreeSet<PathBuf> {
    let folders = entries(folder).into_iter().filter(|path| path.is_dir() && !path.is_symlink());
    let found = folders.flat_map(|path| {
        let mut below = groups(&path);
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("stowage-")) {
            below.insert(path);
        }
        below
    });
    found.collect()
}
