//! Up and down, over and over, also when the program that does it dies half way.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use stowage_cluster::{Binaries, Cluster, Name, Progress, Spec, wait_for};

use crate::{
    given::{Outcome, binaries, xtask},
    leftovers::Leftovers,
};

/// Long beside the 10 s that `up` takes.
const LIMIT: Duration = Duration::from_secs(120);

/// How far `up` has come when it is killed: the process whose record is there, or nothing of it yet.
const KILLED_AT: [&str; 5] = ["switch", "control-plane", "n2", "relay", "kubelet"];

fn name() -> Outcome<Name> {
    Ok(Name::try_new("lifecycle")?)
}

fn folder_of_all() -> Outcome<PathBuf> {
    let folder = stowage_cluster::Folder::of(name()?)?;
    Ok(folder.path().parent().ok_or("a cluster's folder stands in none")?.to_owned())
}

fn spec() -> Spec {
    Spec { nodes: 3, ..Spec::default() }
}

/// Takes clusters down when a test ends, also by a failed assertion.
struct Down<const N: usize>([Name; N]);

impl<const N: usize> Drop for Down<N> {
    fn drop(&mut self) {
        for name in &self.0 {
            // A failure here would hide the assertion; the next test's look at the machine tells.
            drop(Cluster::down(name.clone(), &Progress::silent()));
        }
    }
}

/// Runs `xtask cluster up` and kills it, with SIGKILL, as soon as `stage` is reached.
fn kill_up_at(stage: &str) -> Outcome {
    let folder = stowage_cluster::Folder::of(name()?)?;
    let mut up = Command::new(xtask()?);
    up.args(["cluster", "up", "--name", "lifecycle"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut up = up.spawn()?;
    let reached = wait_for(&format!("stage {stage}"), LIMIT, || {
        let recorded = folder.path().join("run").join(stage).exists();
        let logged = folder.log("n1", stage).exists();
        if recorded || logged { Ok(()) } else { Err("not reached".to_owned()) }
    });
    up.kill()?;
    up.wait()?;
    Ok(reached?)
}

// Rule cluster-4.
#[test]
fn nothing_is_left_after_down_nor_after_a_kill_at_any_stage() {
    let all = folder_of_all().unwrap();
    let progress = Progress::new();
    Cluster::down(name().unwrap(), &progress).unwrap();
    let _down = Down([name().unwrap()]);
    let before = Leftovers::of_machine(&all).unwrap();
    for stage in KILLED_AT {
        kill_up_at(stage).unwrap();
        let error = Cluster::open(name().unwrap()).expect_err(stage).to_string();
        assert!(error.contains("half up") && error.contains("cluster up"), "{stage}: {error}");

        // Every other time `up` itself has to clean what the killed one left.
        if stage != "n2" {
            let cluster =
                Cluster::up(name().unwrap(), &spec(), &Binaries::in_folder(&binaries().unwrap()), &progress);
            let nodes = cluster.unwrap().kubectl().run(&["get", "nodes", "-o", "name"]).unwrap();
            assert_eq!(nodes, "node/n1\nnode/n2\nnode/n3\n", "{stage}");
        }
        Cluster::down(name().unwrap(), &progress).unwrap();
        before.wait_until_again(&all).unwrap_or_else(|error| panic!("after a kill at {stage}: {error}"));
    }
}

// Rule cluster-5.
#[test]
fn a_second_up_finds_the_cluster_and_another_spec_is_refused() {
    let progress = Progress::new();
    let _down = Down([name().unwrap()]);
    let binaries = Binaries::in_folder(&binaries().unwrap());
    let spec = Spec { nodes: 0, ..Spec::default() };
    let first = Cluster::up(name().unwrap(), &spec, &binaries, &progress).unwrap();
    let second = Cluster::up(name().unwrap(), &spec, &binaries, &progress).unwrap();
    assert_eq!(first.state(), second.state());
    let error = Cluster::up(name().unwrap(), &Spec::default(), &binaries, &progress).unwrap_err().to_string();
    assert!(error.contains("other nodes or settings") && error.contains("--name"), "{error}");
    Cluster::down(name().unwrap(), &progress).unwrap();
    Cluster::down(name().unwrap(), &progress).unwrap();
}

// Rule cluster-6.
#[test]
fn two_clusters_stand_side_by_side() {
    let progress = Progress::new();
    let binaries = Binaries::in_folder(&binaries().unwrap());
    let spec = Spec { nodes: 1, zones: 1, ..Spec::default() };
    let names = ["left", "right"].map(|name| Name::try_new(name).unwrap());
    let _down = Down(names.clone());
    let clusters = names.clone().map(|name| Cluster::up(name, &spec, &binaries, &progress).unwrap());
    assert_ne!(clusters[0].state().port, clusters[1].state().port);
    clusters[0].kubectl().run(&["create", "namespace", "only-left"]).unwrap();
    let seen = clusters[1].kubectl().run(&["get", "namespaces", "-o", "name"]).unwrap();
    assert!(!seen.contains("only-left"), "{seen}");
    for name in names {
        Cluster::down(name, &progress).unwrap();
    }
}

/// Runs `xtask cluster up` through `setpriv` with these options, from a folder that everyone may read.
fn up_with(options: &[&str], folder: &Path) -> Outcome<Output> {
    let program = folder.join("xtask");
    fs::copy(xtask()?, &program)?;
    for path in [folder, &program] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o777))?;
    }
    let mut command = Command::new("setpriv");
    command.args(options).arg(program).args(["cluster", "up", "--name", "unprivileged"]);
    command.env("XDG_STATE_HOME", folder.join("state")).env("STOWAGE_CACHE", folder.join("cache"));
    Ok(command.stdin(Stdio::null()).output()?)
}

// Rule cluster-1.
#[test]
fn without_the_rights_nothing_is_started_and_the_cure_is_said() {
    let cases: [(&[&str], &str, &str); 2] = [
        (&["--reuid=65534", "--regid=65534", "--clear-groups"], "not as root", "sudo"),
        (
            &["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"],
            "CAP_SYS_ADMIN",
            "start that with this capability",
        ),
    ];
    for (options, what, cure) in cases {
        let folder = tempfile::tempdir().unwrap();
        let output = up_with(options, folder.path()).unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains(what) && text.contains(cure), "{what} or {cure} is missing in: {text}");
        assert!(!folder.path().join("state").exists(), "something was started");
    }
}
