//! Control groups: where each machine of the cluster gets its own, below the caller's.
//!
//! Version 1 has a hierarchy for each controller, and the caller may stand at a different path in each (its memory group
//! often differs from shell to shell), so the paths are worked out once, when a cluster is made, and recorded.
//! Version 2 has one hierarchy; a group there may hold processes or controlled children, never both, so the processes of
//! a machine move to a leaf `init` before its own root hands controllers down. Version 2 is tested for its paths and
//! writes only: the machines that this crate was developed on offer no controllers there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Doing, Error, Result},
    program::wait_for,
};

/// The controllers that a kubelet insists on.
pub(crate) const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// How long the kernel may take to let go of the last process of a group.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// The leaf that holds a machine's own processes under version 2.
const LEAF: &str = "init";

/// A mounted cgroup hierarchy and the caller's place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    /// The version, and what version 1 needs to mount it again.
    pub(crate) kind: Kind,
    /// The caller's own directory.
    pub(crate) dir: PathBuf,
}

/// The two versions of cgroups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// One hierarchy of version 1.
    V1 {
        /// The name of its mount point, as in `cpu,cpuacct`.
        name: String,
        /// The mount options that give it again, as in `cpu,cpuacct` or `none,name=systemd`.
        options: String,
    },
    /// The unified hierarchy.
    V2,
}

/// The control groups of one machine of the cluster: a directory in each hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    hierarchies: Vec<(Kind, PathBuf)>,
}

/// A directory of each hierarchy.
#[derive(Clone, Copy)]
enum Place {
    /// The caller's own.
    Caller,
    /// The topmost.
    Top,
}

/// The hierarchies that the caller stands in.
pub(crate) fn of_caller() -> Result<Vec<Hierarchy>> {
    let (place, mounts) = snapshot()?;
    Ok(parse(&place, &mounts, Place::Caller))
}

/// The directories of any hierarchy that hold one called `name`, wherever the caller stands.
pub(crate) fn holding(name: &str) -> Result<Vec<Hierarchy>> {
    let (place, mounts) = snapshot()?;
    Ok(holding_below(parse(&place, &mounts, Place::Top), name))
}

fn holding_below(roots: Vec<Hierarchy>, name: &str) -> Vec<Hierarchy> {
    let places = roots.into_iter().flat_map(|Hierarchy { kind, dir }| {
        directories(&dir).into_iter().map(move |dir| Hierarchy { kind: kind.clone(), dir })
    });
    places.filter(|place| place.dir.join(name).is_dir()).collect()
}

/// A directory and all those below it.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let children = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let below = children.flat_map(|child| directories(&child.path()));
    std::iter::once(dir.to_owned()).chain(below).collect()
}

/// Where the caller stands, and what is mounted. One reading: the first file is garbled while a process moves.
fn snapshot() -> Result<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).doing(|| format!("read {path}"));
    Ok((read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?))
}

/// Joins cgroups(7)'s /proc/PID/cgroup with `proc_pid_mountinfo(5)`. Where any hierarchy of version 1 is mounted, an empty
/// unified one beside it is left alone: kubelet, too, then takes the machine for version 1.
fn parse(place: &str, mountinfo: &str, which: Place) -> Vec<Hierarchy> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
    let lines = place.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    let found: Vec<Hierarchy> = lines
        .filter_map(|(controllers, path)| {
            let mount = mounts.iter().find(|mount| mount.holds(controllers))?;
            let dir = match which {
                Place::Caller => mount.directory(path),
                Place::Top => mount.point.into(),
            };
            Some(Hierarchy { kind: kind(controllers), dir })
        })
        .collect();
    let version_1 = found.iter().any(|hierarchy| hierarchy.kind != Kind::V2);
    found.into_iter().filter(|hierarchy| !version_1 || hierarchy.kind != Kind::V2).collect()
}

fn kind(controllers: &str) -> Kind {
    match controllers.strip_prefix("name=") {
        Some(name) => Kind::V1 { name: name.to_owned(), options: format!("none,{controllers}") },
        None if controllers.is_empty() => Kind::V2,
        None => Kind::V1 { name: controllers.to_owned(), options: controllers.to_owned() },
    }
}

/// The controllers that a kubelet needs and that these hierarchies do not give.
pub(crate) fn missing_controllers(hierarchies: &[Hierarchy]) -> Vec<&'static str> {
    let given: Vec<String> = hierarchies
        .iter()
        .flat_map(|hierarchy| match &hierarchy.kind {
            Kind::V1 { name, .. } => name.split(',').map(str::to_owned).collect::<Vec<_>>(),
            Kind::V2 => {
                let list = fs::read_to_string(hierarchy.dir.join("cgroup.controllers")).unwrap_or_default();
                list.split_ascii_whitespace().map(str::to_owned).collect()
            }
        })
        .collect();
    NEEDED.into_iter().filter(|needed| !given.iter().any(|name| name == needed)).collect()
}

/// A line of mountinfo that mounts a cgroup hierarchy.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    /// Super options for version 1; nothing for version 2.
    options: Option<&'a str>,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let filesystem = right.next()?;
        let options = right.nth(1)?;
        match filesystem {
            "cgroup" => Some(Self { root, point, options: Some(options) }),
            "cgroup2" => Some(Self { root, point, options: None }),
            _ => None,
        }
    }

    fn holds(&self, controllers: &str) -> bool {
        let Some(options) = self.options else { return controllers.is_empty() };
        !controllers.is_empty()
            && controllers.split(',').all(|wanted| options.split(',').any(|option| option == wanted))
    }

    /// Where `path`, as /proc/PID/cgroup names it, lies below the mount point.
    fn directory(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        Path::new(self.point).join(below.trim_start_matches('/'))
    }
}

impl Group {
    /// The groups of the machine `host` of the cluster whose directory is called `cluster`.
    pub(crate) fn new(hierarchies: &[Hierarchy], cluster: &str, host: &str) -> Self {
        let place = |hierarchy: &Hierarchy| (hierarchy.kind.clone(), hierarchy.dir.join(cluster).join(host));
        Self { hierarchies: hierarchies.iter().map(place).collect() }
    }

    /// Makes the directories.
    pub(crate) fn create(&self) -> Result<()> {
        for (kind, dir) in &self.hierarchies {
            fs::create_dir_all(dir).doing(|| format!("make {}", dir.display()))?;
            let Some(cluster) = dir.parent() else { continue };
            match kind {
                Kind::V1 { name, .. } if name.split(',').any(|controller| controller == "cpuset") => {
                    inherit_cpuset(cluster)?;
                    inherit_cpuset(dir)?;
                }
                Kind::V1 { .. } => {}
                Kind::V2 => {
                    cluster.parent().map_or(Ok(()), hand_down)?;
                    hand_down(cluster)?;
                }
            }
        }
        Ok(())
    }

    /// The directories that a new process of this machine joins.
    pub(crate) fn entrances(&self) -> Vec<PathBuf> {
        let leaf =
            |dir: &PathBuf| Some(dir.join(LEAF)).filter(|leaf| leaf.is_dir()).unwrap_or_else(|| dir.clone());
        self.hierarchies.iter().map(|(_, dir)| leaf(dir)).collect()
    }

    /// Under version 2, moves the machine's first processes to the leaf and hands controllers down; to be called once
    /// the machine's cgroup namespace has its root.
    pub(crate) fn settle(&self) -> Result<()> {
        for (kind, dir) in &self.hierarchies {
            if *kind != Kind::V2 {
                continue;
            }
            let leaf = dir.join(LEAF);
            fs::create_dir_all(&leaf).doing(|| format!("make {}", leaf.display()))?;
            for pid in processes(dir) {
                write(&leaf.join("cgroup.procs"), &pid.to_string())?;
            }
            hand_down(dir)?;
        }
        Ok(())
    }

    /// The mounts that give a machine of this group its own /sys/fs/cgroup: name and options under version 1, none under
    /// version 2, where the whole tree is one mount.
    pub(crate) fn mounts(&self) -> Vec<(&str, &str)> {
        self.hierarchies
            .iter()
            .filter_map(|(kind, _)| match kind {
                Kind::V1 { name, options } => Some((name.as_str(), options.as_str())),
                Kind::V2 => None,
            })
            .collect()
    }

    /// Stops every process of the machine where it stands, or lets them go on.
    pub(crate) fn freeze(&self, state: Freeze) -> Result<()> {
        self.freezer().map_or_else(
            || Err(Error::refused("this machine has no freezer", "mount the freezer cgroup hierarchy")),
            |(file, text)| write(&file, text(state)),
        )
    }

    /// Whether the machine is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        let Some((file, text)) = self.freezer() else { return false };
        let state = fs::read_to_string(file).unwrap_or_default();
        // Version 1 passes through FREEZING.
        !state.trim().is_empty() && state.trim() != text(Freeze::Thawed)
    }

    fn freezer(&self) -> Option<(PathBuf, Words)> {
        self.hierarchies.iter().find_map(|(kind, dir)| match kind {
            Kind::V1 { name, .. } if name == "freezer" => {
                Some((dir.join("freezer.state"), Freeze::version_1 as Words))
            }
            Kind::V1 { .. } => None,
            Kind::V2 => Some((dir.join("cgroup.freeze"), Freeze::version_2)),
        })
    }

    /// The processes in the group and those below it, as the machine numbers them.
    pub(crate) fn processes(&self) -> Vec<i32> {
        // Each process stands in every hierarchy: one of them is enough.
        self.hierarchies.first().map(|(_, dir)| processes_below(dir)).unwrap_or_default()
    }

    /// Removes the directories, deepest first, once the kernel has let go of their processes.
    pub(crate) fn remove(&self) -> Result<()> {
        self.hierarchies.iter().try_for_each(|(_, dir)| remove_tree(dir))
    }
}

/// How a version of cgroups says it.
type Words = fn(Freeze) -> &'static str;

/// What [`Group::freeze`] is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freeze {
    Frozen,
    Thawed,
}

impl Freeze {
    fn version_1(self) -> &'static str {
        match self {
            Self::Frozen => "FROZEN",
            Self::Thawed => "THAWED",
        }
    }

    fn version_2(self) -> &'static str {
        match self {
            Self::Frozen => "1",
            Self::Thawed => "0",
        }
    }
}

/// Removes a tree of cgroup directories, depth first. A directory may stay busy for a moment after its last process.
pub(crate) fn remove_tree(dir: &Path) -> Result<()> {
    wait_for(&format!("removal of {}", dir.display()), REMOVAL_LIMIT, || match remove_once(dir) {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("{error}; processes {:?}", processes(dir))),
    })
}

fn remove_once(dir: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_once(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// A new cpuset is empty and refuses processes until it has processors and memory nodes.
fn inherit_cpuset(dir: &Path) -> Result<()> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value =
            fs::read_to_string(parent.join(file)).doing(|| format!("read {file} of {}", parent.display()))?;
        write(&dir.join(file), value.trim())?;
    }
    Ok(())
}

fn hand_down(dir: &Path) -> Result<()> {
    let controllers = NEEDED.map(|controller| format!("+{controller}")).join(" ");
    write(&dir.join("cgroup.subtree_control"), &controllers)
}

fn processes(dir: &Path) -> Vec<i32> {
    let list = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).collect()
}

fn processes_below(dir: &Path) -> Vec<i32> {
    directories(dir).iter().flat_map(|dir| processes(dir)).collect()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).doing(|| format!("write {text:?} to {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(name: &str, options: &str, dir: &str) -> Hierarchy {
        Hierarchy { kind: Kind::V1 { name: name.to_owned(), options: options.to_owned() }, dir: dir.into() }
    }

    const SPLIT: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    // Rule cluster-7.
    #[test]
    fn each_hierarchy_of_version_1_has_the_callers_own_path() {
        let place = "9:name=systemd:/\n4:memory:/shell/7\n1:cpu,cpuacct:/\n0::/\n";
        let expected = [
            v1("systemd", "none,name=systemd", "/sys/fs/cgroup/systemd/"),
            v1("memory", "memory", "/sys/fs/cgroup/memory/shell/7"),
            v1("cpu,cpuacct", "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/"),
        ];
        assert_eq!(parse(place, SPLIT, Place::Caller), expected);
    }

    // Rule cluster-61.
    #[test]
    fn the_directories_of_a_cluster_are_found_wherever_they_were_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = |name: &str| dir.path().join(name);
        for path in ["cpu/stowage-t/n1", "memory/shell/7/stowage-t", "memory/shell/8/stowage-other", "pids/x"]
        {
            fs::create_dir_all(root(path)).unwrap();
        }
        let at = |name: &str, path: &str| v1(name, name, &root(path).to_string_lossy());
        let roots = ["cpu", "memory", "pids"].map(|name| at(name, name));
        let expected = [at("cpu", "cpu"), at("memory", "memory/shell/7")];
        assert_eq!(holding_below(roots.to_vec(), "stowage-t"), expected);
    }

    #[test]
    fn a_search_begins_where_a_hierarchy_is_mounted() {
        let expected = [v1("memory", "memory", "/sys/fs/cgroup/memory")];
        assert_eq!(parse("4:memory:/shell/7\n", SPLIT, Place::Top), expected);
    }

    #[test]
    fn a_hierarchy_that_is_not_mounted_is_left_out() {
        assert_eq!(parse("2:hugetlb:/\n", SPLIT, Place::Caller), []);
    }

    #[test]
    fn version_2_alone_is_one_hierarchy() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let expected = Hierarchy { kind: Kind::V2, dir: "/sys/fs/cgroup/user.slice/run-7.scope".into() };
        assert_eq!(parse("0::/user.slice/run-7.scope\n", mounts, Place::Caller), [expected]);
    }

    #[test]
    fn a_mount_that_shows_only_a_part_of_the_tree_shortens_the_path() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let expected = Hierarchy { kind: Kind::V2, dir: "/sys/fs/cgroup/inner".into() };
        assert_eq!(parse("0::/docker/abc/inner\n", mounts, Place::Caller), [expected]);
    }

    #[test]
    fn what_a_kubelet_needs_and_no_hierarchy_gives_is_named() {
        let hierarchies = [v1("cpu,cpuacct", "cpu,cpuacct", "/x"), v1("memory", "memory", "/y")];
        assert_eq!(missing_controllers(&hierarchies), ["cpuset", "pids"]);
    }

    // Rule cluster-7.
    #[test]
    fn a_machine_of_version_2_settles_in_a_leaf_and_hands_controllers_down() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy { kind: Kind::V2, dir: dir.path().to_owned() };
        let group = Group::new(&[hierarchy], "stowage-t", "n1");
        group.create().unwrap();
        let node = dir.path().join("stowage-t/n1");
        assert_eq!(group.entrances(), std::slice::from_ref(&node));
        fs::write(node.join("cgroup.procs"), "41\n").unwrap();
        group.settle().unwrap();
        assert_eq!(group.entrances(), [node.join("init")]);
        assert_eq!(fs::read_to_string(node.join("init/cgroup.procs")).unwrap(), "41");
        for above in [dir.path(), &dir.path().join("stowage-t"), &node] {
            let control = fs::read_to_string(above.join("cgroup.subtree_control")).unwrap();
            assert_eq!(control, "+cpu +cpuset +memory +pids", "{}", above.display());
        }
        assert_eq!(group.mounts(), []);
        group.freeze(Freeze::Frozen).unwrap();
        assert!(group.is_frozen());
        group.freeze(Freeze::Thawed).unwrap();
        assert!(!group.is_frozen());
    }

    fn version_1(dir: &Path, names: &[&str]) -> Group {
        let hierarchies: Vec<_> =
            names.iter().map(|name| v1(name, name, &dir.join(name).to_string_lossy())).collect();
        Group::new(&hierarchies, "stowage-t", "n1")
    }

    #[test]
    fn a_new_cpuset_has_the_processors_of_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cpuset")).unwrap();
        fs::write(dir.path().join("cpuset/cpuset.cpus"), "0-1\n").unwrap();
        fs::write(dir.path().join("cpuset/cpuset.mems"), "0\n").unwrap();
        // The others have no such files.
        version_1(dir.path(), &["cpuset", "memory"]).create().unwrap();
        for (file, value) in [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")] {
            let path = dir.path().join("cpuset/stowage-t/n1").join(file);
            assert_eq!(fs::read_to_string(path).unwrap(), value);
        }
        assert!(dir.path().join("memory/stowage-t/n1").is_dir());
    }

    #[test]
    fn a_machine_of_version_1_mounts_each_hierarchy_again() {
        let group =
            Group::new(&[v1("systemd", "none,name=systemd", "/x"), v1("memory", "memory", "/y")], "t", "n1");
        assert_eq!(group.mounts(), [("systemd", "none,name=systemd"), ("memory", "memory")]);
    }

    // Rule cluster-9.
    #[test]
    fn a_machine_of_version_1_is_frozen_in_its_freezer() {
        let dir = tempfile::tempdir().unwrap();
        let group = version_1(dir.path(), &["memory", "freezer"]);
        group.create().unwrap();
        let state = dir.path().join("freezer/stowage-t/n1/freezer.state");
        assert!(!group.is_frozen());
        for (freeze, text, frozen) in [(Freeze::Frozen, "FROZEN", true), (Freeze::Thawed, "THAWED", false)] {
            group.freeze(freeze).unwrap();
            assert_eq!(fs::read_to_string(&state).unwrap(), text);
            assert_eq!(group.is_frozen(), frozen);
        }
        // On its way there, and not to be killed before it is let go.
        fs::write(&state, "FREEZING\n").unwrap();
        assert!(group.is_frozen());
        let error = version_1(dir.path(), &["memory"]).freeze(Freeze::Frozen).unwrap_err().to_string();
        assert!(error.contains("mount the freezer"), "{error}");
    }

    #[test]
    fn the_processes_of_a_machine_are_those_of_its_pods_too() {
        let dir = tempfile::tempdir().unwrap();
        let group = version_1(dir.path(), &["memory"]);
        let machine = dir.path().join("memory/stowage-t/n1");
        for (folder, list) in [("", "7\n8\n"), ("kubepods/pod", "9\n")] {
            fs::create_dir_all(machine.join(folder)).unwrap();
            fs::write(machine.join(folder).join("cgroup.procs"), list).unwrap();
        }
        assert_eq!(group.processes(), [7, 8, 9]);
    }

    // Rule cluster-4.
    #[test]
    fn a_group_is_removed_with_all_below_it_and_with_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let group = version_1(dir.path(), &["memory"]);
        let cluster = dir.path().join("memory/stowage-t");
        for folder in ["n1/kubepods/pod", "n1/system", "n2"] {
            fs::create_dir_all(cluster.join(folder)).unwrap();
        }
        group.remove().unwrap();
        assert_eq!(directories(&cluster), [cluster.clone(), cluster.join("n2")]);
        // Gone already is fine; what cannot be read is not.
        group.remove().unwrap();
        fs::write(cluster.join("n1"), "").unwrap();
        remove_once(&cluster.join("n1")).unwrap_err();
    }
}
