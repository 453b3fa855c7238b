//! Up and down, over and over, also when the program that does it dies half way.

mod bad_input;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use stowage_cluster::{Binaries, Cluster, Folder, Name, Progress, Spec, wait_for};

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

/// The least cluster with a node.
fn one_node() -> Spec {
    Spec { nodes: 1, zones: 1, ..Spec::default() }
}

/// Starts a cluster.
fn up(name: &Name, spec: &Spec) -> Outcome<Cluster> {
    Ok(Cluster::up(name.clone(), spec, &Binaries::in_folder(&binaries()?), &Progress::new())?)
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
    let folder = Folder::of(name()?)?;
    let said = tempfile::NamedTempFile::new()?;
    let mut up = Command::new(xtask()?);
    up.args(["cluster", "up", "--name", name()?.as_str()]);
    up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.reopen()?);
    let mut up = up.spawn()?;
    let reached = wait_for(&format!("stage {stage}"), LIMIT, || {
        let recorded = folder.path().join("run").join(stage).exists();
        let logged = folder.log("n1", stage).exists();
        if recorded || logged { Ok(()) } else { Err(fs::read_to_string(&said).unwrap_or_default()) }
    });
    up.kill()?;
    up.wait()?;
    Ok(reached?)
}

// Rule cluster-4.
#[test]
fn nothing_is_left_after_down_nor_after_a_kill_at_any_stage() {
    let progress = Progress::new();
    Cluster::down(name().unwrap(), &progress).unwrap();
    let _down = Down([name().unwrap()]);
    let before = Leftovers::of(&name().unwrap()).unwrap();
    for stage in KILLED_AT {
        kill_up_at(stage).unwrap();
        let error = Cluster::open(name().unwrap()).expect_err(stage).to_string();
        assert!(error.contains("half up") && error.contains("cluster up"), "{stage}: {error}");

        // Every other time `up` itself has to clean what the killed one left.
        if stage != "n2" {
            let cluster = up(&name().unwrap(), &Spec::default()).unwrap();
            let nodes = cluster.kubectl().run(&["get", "nodes", "-o", "name"]).unwrap();
            assert_eq!(nodes, "node/n1\nnode/n2\nnode/n3\n", "{stage}");
        }
        Cluster::down(name().unwrap(), &progress).unwrap();
        before.wait_until_again().unwrap_or_else(|error| panic!("after a kill at {stage}: {error}"));
    }
}

// Rule cluster-60.
#[test]
fn other_clusters_may_come_and_go_and_still_no_leftover_is_missed() {
    let progress = Progress::new();
    let (tested, other) = (name().unwrap(), Name::try_new("other").unwrap());
    let _down = Down([tested.clone(), other.clone()]);
    Cluster::down(tested.clone(), &progress).unwrap();
    Cluster::down(other.clone(), &progress).unwrap();

    let without = Leftovers::of(&tested).unwrap();
    let cluster = up(&other, &one_node()).unwrap();
    without.wait_until_again().unwrap();
    let with = Leftovers::of(&tested).unwrap();
    cluster.restart_kubelet("n1").unwrap();
    cluster.kill_node("n1").unwrap();
    with.wait_until_again().unwrap();

    // A process without a name of ours, as a lost one could be.
    let mut lost = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
    let found = wait_for("the lost process", LIMIT, || match with.changes() {
        Ok(changes) if changes.is_empty() => Err("nothing".to_owned()),
        changes => changes.map_err(|error| error.to_string()),
    });
    lost.kill().unwrap();
    lost.wait().unwrap();
    let found = found.unwrap();
    assert!(matches!(found.as_slice(), [one] if one.starts_with("new namespace net:")), "{found:?}");

    Cluster::down(other, &progress).unwrap();
    for before in [with, without] {
        before.wait_until_again().unwrap();
    }
    // Of the tested cluster itself everything counts.
    let before = Leftovers::of(&tested).unwrap();
    up(&tested, &Spec { nodes: 0, ..Spec::default() }).unwrap();
    let kinds = ["new namespace net:", "new namespace pid:", "new process ", "new cgroup ", "new state "];
    let changes = before.changes().unwrap();
    for kind in kinds {
        assert!(changes.iter().any(|change| change.starts_with(kind)), "{kind} is missing in {changes:?}");
    }
    Cluster::down(tested, &progress).unwrap();
    before.wait_until_again().unwrap();
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
