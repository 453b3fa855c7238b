//! What people get wrong, or machines do: nothing is half made, the cure is said, and nobody else is affected.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{self, Command, Output, Stdio},
};

use stowage_cluster::{Cluster, Folder, Name, Progress, Spec};

use super::{Down, name, one_node, up};
use crate::{
    given::{Outcome, xtask},
    leftovers::Leftovers,
};

/// Asserts that a command failed and said all of this.
#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it went well: {text}");
    for part in parts {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

/// `xtask cluster` with these arguments, for the cluster of these tests.
fn on_cluster(arguments: &[&str]) -> Outcome<Command> {
    let mut command = Command::new(xtask()?);
    command.arg("cluster").args(arguments).args(["--name", name()?.as_str()]).stdin(Stdio::null());
    Ok(command)
}

/// Runs a command from a control group outside of the caller's, as another shell may be in.
fn run_elsewhere(command: &Command) -> Outcome<Output> {
    let tops = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(Path::new);
    let top = tops.into_iter().find(|top| top.is_dir()).ok_or("no control groups are mounted")?;
    let group = top.join(format!("elsewhere-{}", process::id()));
    fs::create_dir(&group)?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&group);
    let output = shell.arg(command.get_program()).args(command.get_args()).output();
    fs::remove_dir(&group)?;
    Ok(output?)
}

fn damage_state() -> Outcome {
    Ok(fs::write(Folder::of(name()?)?.path().join("state.json"), "{\"version\": 1, \"boot\": ")?)
}

// Rule cluster-61.
#[test]
fn a_cluster_whose_state_is_damaged_is_removed_whole_or_started_over() {
    let other = Name::try_new("other").unwrap();
    let _down = Down([name().unwrap(), other.clone()]);
    let neighbour = up(&other, &Spec { nodes: 0, ..Spec::default() }).unwrap();
    Cluster::down(name().unwrap(), &Progress::new()).unwrap();
    let before = Leftovers::of(&name().unwrap()).unwrap();

    up(&name().unwrap(), &one_node()).unwrap();
    damage_state().unwrap();
    for verb in [["status"].as_slice(), &["kubeconfig"], &["node", "kill", "n1"]] {
        let output = on_cluster(verb).unwrap().output().unwrap();
        assert_refused(&output, &["lifecycle/state.json is damaged", "`down`"]);
    }
    let output = run_elsewhere(&on_cluster(&["down"]).unwrap()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    before.wait_until_again().unwrap();

    up(&name().unwrap(), &one_node()).unwrap();
    damage_state().unwrap();
    let again = up(&name().unwrap(), &one_node()).unwrap();
    assert_eq!(again.kubectl().run(&["get", "nodes", "-o", "name"]).unwrap(), "node/n1\n");
    Cluster::down(name().unwrap(), &Progress::new()).unwrap();
    before.wait_until_again().unwrap();
    assert_eq!(neighbour.kubectl().run(&["get", "--raw", "/readyz"]).unwrap(), "ok");
}

// Rule cluster-13.
#[test]
fn a_port_in_use_is_named_with_its_holder_and_nothing_is_half_made() {
    let _down = Down([name().unwrap()]);
    Cluster::down(name().unwrap(), &Progress::new()).unwrap();
    let before = Leftovers::of(&name().unwrap()).unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = on_cluster(&["up", "--nodes", "1", "--port", &port]).unwrap().output().unwrap();
    assert_refused(&output, &[&format!("port {port} "), &format!("process {}", process::id()), "--port"]);
    before.wait_until_again().unwrap();
}

// Rule cluster-1.
#[test]
fn an_apt_get_that_fails_is_named_with_the_package_and_nothing_is_half_made() {
    let _down = Down([name().unwrap()]);
    Cluster::down(name().unwrap(), &Progress::new()).unwrap();
    let before = Leftovers::of(&name().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let apt = folder.path().join("apt-get");
    fs::write(&apt, "#!/bin/sh\necho E: no mirror answers >&2; exit 100\n").unwrap();
    fs::set_permissions(&apt, PermissionsExt::from_mode(0o755)).unwrap();
    // Where only this command sees it, nft is missing.
    let script =
        "mount -n --bind /dev/null \"$(readlink -f \"$(command -v nft)\")\" && PATH=$0:$PATH exec \"$@\"";
    let up = on_cluster(&["up", "--nodes", "1"]).unwrap();
    let mut unshared = Command::new("unshare");
    unshared
        .args(["--mount", "sh", "-c", script])
        .arg(folder.path())
        .arg(up.get_program())
        .args(up.get_args());
    let output = unshared.stdin(Stdio::null()).output().unwrap();
    assert_refused(&output, &["cannot install nftables", "by hand", "apt-get", "no mirror answers"]);
    before.wait_until_again().unwrap();
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
