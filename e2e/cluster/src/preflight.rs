//! What the machine must have before anything is started: facts are gathered first, then judged by a pure table, so that
//! every finding is said at once and each with its cure.

use std::{
    env,
    fmt::{self, Display, Write as _},
    fs,
    path::PathBuf,
};

use rustix::fs::{inotify, statfs, statvfs};

use crate::{
    cgroup::{self, missing_controllers},
    error::Result,
    process::Process,
    spec::Spec,
    state::{Folder, parent_folder},
    tools::{GO_MINIMUM, cache_folder, go_version},
};

/// Free space that the programs' build (7 GiB with Go's caches) and three nodes want.
const DISK_COLD: u64 = 12 << 30;

/// Free space that the nodes want once the programs are built.
const DISK_WARM: u64 = 2 << 30;

/// inotify instances (measured): a node's kubelet 6, kube-proxy 1, containerd 2; the control plane 13; one to spare each.
const INOTIFY_NODE: u64 = 10;
const INOTIFY_CONTROL_PLANE: u64 = 14;

/// The capabilities without which no node can be made, by their bit (linux/capability.h).
const CAPABILITIES: [(u32, &str); 9] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
];

/// An overlay filesystem, as statfs(2) names it.
const OVERLAY: i64 = 0x794c_7630;

/// Raising limits; its absence is borne (see `node`), with one thing lost.
const CAP_SYS_RESOURCE: u32 = 24;

/// A program that comes with a Debian package.
#[derive(Debug)]
pub(crate) struct Needed {
    /// The program, or the whole path of one that is not in PATH.
    pub(crate) program: &'static str,
    /// The package that has it.
    pub(crate) package: &'static str,
}

/// What a node is made of, besides Kubernetes.
pub(crate) const PACKAGES: [Needed; 12] = [
    Needed { program: "containerd", package: "containerd" },
    Needed { program: "ctr", package: "containerd" },
    Needed { program: "runc", package: "runc" },
    Needed { program: "/usr/lib/cni/ptp", package: "containernetworking-plugins" },
    Needed { program: "/usr/lib/cni/host-local", package: "containernetworking-plugins" },
    Needed { program: "/usr/lib/cni/portmap", package: "containernetworking-plugins" },
    Needed { program: "nft", package: "nftables" },
    Needed { program: "ip", package: "iproute2" },
    Needed { program: "sysctl", package: "procps" },
    Needed { program: "unshare", package: "util-linux" },
    Needed { program: "nsenter", package: "util-linux" },
    Needed { program: "mount", package: "mount" },
];

/// What was found out about the machine.
#[expect(clippy::struct_excessive_bools, reason = "independent yes-or-no facts, judged one by one")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The effective user.
    pub(crate) user: u32,
    /// The effective capabilities, a bit each.
    pub(crate) capabilities: u64,
    /// What `go env GOVERSION` said, or why it could not be asked.
    pub(crate) go: std::result::Result<String, String>,
    /// Whether the programs are built, so that their build takes no more space.
    pub(crate) built: bool,
    /// Packages of which a program is missing.
    pub(crate) packages: Vec<&'static str>,
    /// Whether packages can be installed.
    pub(crate) apt: bool,
    /// Controllers that no hierarchy gives.
    pub(crate) controllers: Vec<&'static str>,
    /// How many files can be watched.
    pub(crate) inotify: Inotify,
    /// Whether a cluster of this name runs: it has its instances, or is cleaned before another one starts.
    pub(crate) running: bool,
    /// Where the built programs go.
    pub(crate) cache: Disk,
    /// Where the cluster's state goes.
    pub(crate) state: Disk,
    /// The kernel's filesystems, as /proc/filesystems lists them.
    pub(crate) overlay: bool,
}

/// The inotify instances of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inotify {
    /// `fs.inotify.max_user_instances`.
    pub(crate) limit: u64,
    /// How many more can be had, counted up to what the cluster takes.
    pub(crate) free: u64,
}

/// What is under a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    /// Bytes that a user has there.
    pub(crate) free: u64,
    /// Whether the folder lies on an overlay itself.
    pub(crate) overlaid: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something works less well.
    Note,
    /// Nothing can be started.
    Stop,
}

/// One thing about this machine that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What was found.
    pub what: String,
    /// What follows from it, and what to do.
    pub cure: String,
}

/// All findings, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for finding in &self.0 {
            let mark = match finding.weight {
                Weight::Stop => "missing",
                Weight::Note => "note",
            };
            writeln!(text, "  {mark}: {}\n    {}", finding.what, finding.cure)?;
        }
        formatter.write_str(text.trim_end())
    }
}

impl Findings {
    /// Whether nothing can be started.
    pub fn stop(&self) -> bool {
        self.0.iter().any(|finding| finding.weight == Weight::Stop)
    }
}

/// Judges this machine for a cluster of `spec` in `folder`; `built` says whether its programs are there already.
pub(crate) fn check(folder: &Folder, spec: &Spec, built: bool) -> Result<Findings> {
    Ok(judge(&Facts::gather(folder, spec, built)?, spec))
}

/// Packages of which a program is missing on this machine.
pub(crate) fn missing_packages() -> Vec<&'static str> {
    lacking(&PACKAGES)
}

fn lacking(needed: &[Needed]) -> Vec<&'static str> {
    let mut missing: Vec<_> =
        needed.iter().filter(|needed| !is_there(needed.program)).map(|needed| needed.package).collect();
    missing.dedup();
    missing
}

impl Facts {
    fn gather(folder: &Folder, spec: &Spec, built: bool) -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let inotify = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
        let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        Ok(Self {
            user: field("Uid:")
                .split_ascii_whitespace()
                .nth(1)
                .and_then(|user| user.parse().ok())
                .unwrap_or(u32::MAX),
            capabilities: u64::from_str_radix(field("CapEff:"), 16).unwrap_or_default(),
            go: go_version().map_err(|error| error.to_string()),
            built,
            packages: missing_packages(),
            apt: is_there("apt-get"),
            controllers: missing_controllers(&cgroup::of_caller()?),
            inotify: Inotify {
                limit: inotify.trim().parse().unwrap_or_default(),
                free: free_inotify(inotify_of(spec)),
            },
            running: runs(folder),
            cache: Disk::under(cache_folder()?),
            state: Disk::under(parent_folder()?),
            overlay: filesystems.split_ascii_whitespace().any(|name| name == "overlay"),
        })
    }

    fn holds(&self, capability: u32) -> bool {
        self.capabilities & (1 << capability) != 0
    }
}

/// The whole judgement: facts in, findings out.
pub(crate) fn judge(facts: &Facts, spec: &Spec) -> Findings {
    let stop = |what: String, cure: String| Finding { weight: Weight::Stop, what, cure };
    let mut findings = Vec::new();
    if facts.user != 0 {
        findings.push(stop(
            format!("this runs as user {}, not as root", facts.user),
            "namespaces, mounts and control groups need root: run it with sudo, or use a cluster of your own with --context NAME".to_owned(),
        ));
    }
    let missing: Vec<_> =
        CAPABILITIES.iter().filter(|(bit, _)| !facts.holds(*bit)).map(|(_, name)| *name).collect();
    if facts.user == 0 && !missing.is_empty() {
        findings.push(stop(
            format!("root lacks {}", missing.join(", ")),
            "a container or sandbox took it away: start that with this capability, or use a virtual machine"
                .to_owned(),
        ));
    }
    findings.extend(judge_go(&facts.go));
    if !facts.packages.is_empty() && !facts.apt {
        findings.push(stop(
            format!("programs of these Debian packages are not installed: {}", facts.packages.join(", ")),
            "there is no apt-get here to install them with: install the like from your distribution"
                .to_owned(),
        ));
    }
    findings.extend(judge_kernel(facts, spec));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    Findings(findings)
}

fn judge_go(go: &std::result::Result<String, String>) -> Option<Finding> {
    let (major, minor) = GO_MINIMUM;
    let stop = |what: String| Finding {
        weight: Weight::Stop,
        what,
        cure: format!(
            "Kubernetes is built here from its Go modules: install Go {major}.{minor} or newer, see https://go.dev/doc/install"
        ),
    };
    match go {
        Err(error) => Some(stop(format!("Go does not run ({error})"))),
        Ok(version) if !is_new_enough(version) => Some(stop(format!("{version} is too old"))),
        Ok(_) => None,
    }
}

fn is_new_enough(version: &str) -> bool {
    let number = |part: Option<&str>| {
        let digits: String = part?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    let mut parts = version.trim_start_matches("go").split('.');
    let found = (number(parts.next()).unwrap_or(0), number(parts.next()).unwrap_or(0));
    found >= GO_MINIMUM
}

fn judge_kernel(facts: &Facts, spec: &Spec) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |weight, what, cure| findings.push(Finding { weight, what, cure });
    if !facts.controllers.is_empty() {
        add(
            Weight::Stop,
            format!("no cgroup hierarchy gives the controllers {}", facts.controllers.join(", ")),
            "kubelets need them: mount them (cgroup v1), or start this in a group that they are delegated to (cgroup v2)".to_owned(),
        );
    }
    if !facts.overlay {
        add(
            Weight::Stop,
            "the kernel has no overlay filesystem".to_owned(),
            "containers and the nodes' own /etc and /var need it: load the module `overlay`".to_owned(),
        );
    }
    if let Some((what, cure)) = judge_inotify(facts, spec) {
        add(Weight::Stop, what, cure);
    }
    let wanted = if facts.built { DISK_WARM } else { DISK_COLD };
    for (disk, wanted, variable) in
        [(&facts.cache, wanted, "STOWAGE_CACHE"), (&facts.state, DISK_WARM, "XDG_STATE_HOME")]
    {
        if disk.free < wanted {
            let folder = disk.folder.display();
            add(
                Weight::Stop,
                format!("{folder} has {} MiB free, {} MiB are wanted", disk.free >> 20, wanted >> 20),
                format!("free some space, or point {variable} at a larger disk"),
            );
        }
    }
    if facts.state.overlaid {
        add(
            Weight::Stop,
            format!(
                "{} lies on an overlay filesystem, on which no other can be laid",
                facts.state.folder.display()
            ),
            "this is most likely a container: point XDG_STATE_HOME at a volume".to_owned(),
        );
    }
    if facts.user == 0 && !facts.holds(CAP_SYS_RESOURCE) {
        add(
            Weight::Note,
            "root lacks CAP_SYS_RESOURCE".to_owned(),
            "no process can be protected from the out-of-memory killer: containers get oom_score_adj 0 at the least".to_owned(),
        );
    }
    findings
}

/// What is found, and the cure.
fn judge_inotify(facts: &Facts, spec: &Spec) -> Option<(String, String)> {
    let (limit, wanted) = (facts.inotify.limit, inotify_of(spec));
    let used = if facts.running { 0 } else { limit.saturating_sub(facts.inotify.free) };
    if limit.saturating_sub(used) >= wanted {
        return None;
    }
    let enough = (used + wanted).next_power_of_two();
    Some((
        format!(
            "fs.inotify.max_user_instances is {limit}, {used} of them in use; {} nodes take {wanted}",
            spec.nodes
        ),
        format!("a kubelet that gets none does not start: sysctl -w fs.inotify.max_user_instances={enough}"),
    ))
}

fn inotify_of(spec: &Spec) -> u64 {
    INOTIFY_CONTROL_PLANE + INOTIFY_NODE * u64::from(spec.nodes)
}

/// How many of `wanted` inotify instances can be had at this moment.
///
/// They are made, and let go of, rather than counted in /proc: that shows neither what other containers hold as the same
/// user nor which processes share one.
fn free_inotify(wanted: u64) -> u64 {
    let made: Vec<_> = (0..wanted).map_while(|_| inotify::init(inotify::CreateFlags::CLOEXEC).ok()).collect();
    made.len() as u64
}

fn runs(folder: &Folder) -> bool {
    let mut recorded = folder.records().into_iter().map(|name| Process::from_record(&folder.record(&name)));
    recorded.any(|process| matches!(process, Ok(Some(process)) if process.is_alive()))
}

impl Disk {
    /// What is under `folder`, or under the nearest folder above it that exists.
    fn under(folder: PathBuf) -> Self {
        let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(&folder).to_owned();
        let free =
            statvfs(&existing).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)).unwrap_or_default();
        let overlaid = statfs(&existing).is_ok_and(|disk| disk.f_type == OVERLAY);
        Self { folder, free, overlaid }
    }
}

fn is_there(program: &str) -> bool {
    find(program).is_some()
}

/// The whole path of a program; administrators' folders count even where PATH lacks them.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(folder: &str, free: u64) -> Disk {
        Disk { folder: folder.into(), free, overlaid: false }
    }

    fn sound() -> Facts {
        Facts {
            user: 0,
            capabilities: u64::MAX,
            go: Ok("go1.26.8".to_owned()),
            built: false,
            packages: Vec::new(),
            apt: true,
            controllers: Vec::new(),
            inotify: Inotify { limit: 128, free: 44 },
            running: false,
            cache: disk("/home/x/.cache/stowage", DISK_COLD),
            state: disk("/home/x/.local/state/stowage", DISK_WARM),
            overlay: true,
        }
    }

    /// Each of these facts is one finding, which stops.
    fn assert_findings<const N: usize>(cases: [(&str, Facts, &str, &str); N]) {
        for (because, facts, what, cure) in cases {
            let findings = judge(&facts, &Spec::default());
            assert!(findings.stop(), "{because}");
            let [finding] = findings.0.as_slice() else { panic!("{because}: {findings}") };
            assert!(finding.what.contains(what), "{because}: {}", finding.what);
            assert!(finding.cure.contains(cure), "{because}: {}", finding.cure);
        }
    }

    #[test]
    fn a_sound_machine_has_no_findings() {
        assert_eq!(judge(&sound(), &Spec::default()), Findings::default());
    }

    // Rule cluster-1.
    #[test]
    fn each_lack_is_named_with_its_cure_and_stops() {
        let without = |bit: u32| !(1 << bit);
        let cases = [
            ("no root", Facts { user: 1000, ..sound() }, "user 1000", "sudo"),
            (
                "a dropped capability",
                Facts { capabilities: without(21), ..sound() },
                "CAP_SYS_ADMIN",
                "capability",
            ),
            (
                "no Go",
                Facts { go: Err("not started".to_owned()), ..sound() },
                "not started",
                "install Go 1.26",
            ),
            ("an old Go", Facts { go: Ok("go1.24.3".to_owned()), ..sound() }, "go1.24.3", "install Go 1.26"),
            (
                "no nft and no apt-get",
                Facts { packages: vec!["nftables"], apt: false, ..sound() },
                "nftables",
                "distribution",
            ),
            ("no memory controller", Facts { controllers: vec!["memory"], ..sound() }, "memory", "mount"),
            (
                "a full disk",
                Facts { cache: disk("/c", 5 << 30), ..sound() },
                "5120 MiB free",
                "STOWAGE_CACHE",
            ),
            (
                "a full disk for the state",
                Facts { state: disk("/s", 1 << 30), ..sound() },
                "/s has 1024 MiB free",
                "XDG_STATE_HOME",
            ),
            (
                "state in a container's own layer",
                Facts { state: Disk { overlaid: true, ..disk("/s", 1 << 40) }, ..sound() },
                "/s lies on an overlay",
                "volume",
            ),
            ("no overlay", Facts { overlay: false, ..sound() }, "overlay", "module"),
        ];
        assert_findings(cases);
    }

    // Rule cluster-1.
    #[test]
    fn what_can_be_borne_is_a_note_and_stands_last() {
        let facts = Facts { capabilities: !(1 << CAP_SYS_RESOURCE), overlay: false, ..sound() };
        let findings = judge(&facts, &Spec::default());
        let weights: Vec<_> = findings.0.iter().map(|finding| finding.weight).collect();
        assert_eq!(weights, [Weight::Stop, Weight::Note]);
        assert!(!judge(&Facts { overlay: true, ..facts }, &Spec::default()).stop());
    }

    // Rule cluster-1.
    #[test]
    fn what_others_left_of_the_inotify_instances_must_be_enough() {
        let with = |limit, free| Facts { inotify: Inotify { limit, free }, ..sound() };
        assert_findings([
            (
                "the limit is too low",
                with(40, 40),
                "is 40, 0 of them in use; 3 nodes take 44",
                "sysctl -w fs.inotify.max_user_instances=64",
            ),
            (
                "too few are left",
                with(128, 43),
                "is 128, 85 of them in use; 3 nodes take 44",
                "sysctl -w fs.inotify.max_user_instances=256",
            ),
            (
                "the limit is too low for the cluster that runs",
                Facts { running: true, ..with(40, 0) },
                "is 40, 0 of them in use; 3 nodes take 44",
                "sysctl -w fs.inotify.max_user_instances=64",
            ),
        ]);
    }

    // Rule cluster-1.
    #[test]
    fn a_cluster_that_runs_is_not_refused_for_the_instances_that_it_holds() {
        let facts = Facts { inotify: Inotify { limit: 128, free: 0 }, running: true, ..sound() };
        assert_eq!(judge(&facts, &Spec::default()), Findings::default());
    }

    #[test]
    fn inotify_instances_are_let_go_of_once_counted() {
        // Together these are more than a user has.
        for _ in 0..1_000 {
            assert_eq!(free_inotify(3), 3);
        }
    }

    #[test]
    fn built_programs_take_no_more_space() {
        let facts = Facts { built: true, cache: disk("/c", 5 << 30), ..sound() };
        assert_eq!(judge(&facts, &Spec::default()), Findings::default());
    }

    #[test]
    fn a_package_is_missing_once_with_any_of_its_programs() {
        let needed = [
            Needed { program: "sh", package: "dash" },
            Needed { program: "no-such-program", package: "lost" },
            Needed { program: "/no/such/program", package: "lost" },
            // A folder is no program.
            Needed { program: "/usr", package: "folder" },
        ];
        assert_eq!(lacking(&needed), ["lost", "folder"]);
        assert_eq!(find("sh").and_then(|path| path.file_name().map(ToOwned::to_owned)).unwrap(), "sh");
    }

    #[test]
    fn findings_are_a_list_that_says_which_of_them_stop() {
        let finding =
            |weight, what: &str, cure: &str| Finding { weight, what: what.to_owned(), cure: cure.to_owned() };
        let findings = Findings(vec![
            finding(Weight::Stop, "no Go", "install it"),
            finding(Weight::Note, "no CAP_SYS_RESOURCE", "nothing is protected"),
        ]);
        let text = "  missing: no Go\n    install it\n  note: no CAP_SYS_RESOURCE\n    nothing is protected";
        assert_eq!(findings.to_string(), text);
    }

    #[test]
    fn packages_that_can_be_installed_are_no_finding() {
        assert_eq!(
            judge(&Facts { packages: vec!["runc"], ..sound() }, &Spec::default()),
            Findings::default()
        );
    }

    #[test]
    fn versions_compare_as_numbers() {
        let cases = [
            ("go1.26.0", true),
            ("go1.26rc1", true),
            ("go1.100", true),
            ("go2.0", true),
            ("go1.9.7", false),
            ("devel", false),
        ];
        for (version, enough) in cases {
            assert_eq!(is_new_enough(version), enough, "{version}");
        }
    }
}
