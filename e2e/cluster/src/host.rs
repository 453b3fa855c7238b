//! A machine of the cluster: its own namespaces and control groups around one init, which reaps what is left to it.
//!
//! Power-off is one SIGKILL: the first process of a pid namespace takes all others with it.
//!
//! Nothing is lost when the program that starts a machine is itself killed half way: a new process writes its id and
//! start time to the record **before** it does anything else, and before it becomes the program that it was started for.
//! So every process of the cluster is on record from its first moment, and only those are ever signalled.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    cgroup::{Freeze, Group},
    error::{Doing, Error, Result},
    process::{Child, Process},
    program::{command, command_line, log_tail, run, run_logged, wait_for},
    state::{Folder, create_dir},
};

/// How long a process may take from its first moment to its program.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long a killed machine may take to be gone.
const DEATH_LIMIT: Duration = Duration::from_secs(20);

/// How long a daemon may take to stop when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The program of every machine's init.
pub(crate) const PAUSE: &str = "pause";

/// Starts a program as nobody's child.
const STARTER: &str = "setsid";

/// Writes the record (unless its name is empty), joins the control groups, and becomes the program.
///
/// `$1` is the record, `$2` the directories to join, a line each. `0` in cgroup.procs means the writer.
const BECOME: &str = r#"set -e
record=$1; groups=$2; shift 2
started() { shift 19; echo "$1"; }
if [ -n "$record" ]; then
  read -r stat < /proc/$$/stat
  echo "$$ $(started ${stat##*) })" > "$record"
fi
set -f
IFS='
'
for group in $groups; do echo 0 > "$group/cgroup.procs"; done
exec "$@"
"#;

/// A running machine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    folder: Folder,
    group: Group,
    /// The first process inside.
    pub(crate) init: Process,
}

/// A program that goes on running on a machine.
pub(crate) struct Daemon {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Daemon {
    /// The program's own name.
    pub(crate) fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Host {
    /// Starts a machine whose first process is [`PAUSE`], with nothing mounted and no network.
    pub(crate) fn start(folder: &Folder, name: &str, group: &Group) -> Result<Self> {
        group.create()?;
        let mut holder = Command::new("unshare");
        holder.args([
            "--net",
            "--cgroup",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        holder.arg(folder.program(PAUSE));
        let log = open_log(&folder.log(name, "boot"))?;
        let record = folder.record(name);
        detach(&record, &group.entrances(), &holder, &log)?;
        let what = format!("the start of {name}");
        wait_for(&what, START_LIMIT, || {
            Self::find(folder, name, group.clone())
                .map_err(|error| error.to_string())?
                .ok_or_else(|| log_tail(&folder.log(name, "boot")))
        })
        .and_then(|host| host.group.settle().map(|()| host))
    }

    /// The machine `name` as it runs now, if it does.
    pub(crate) fn find(folder: &Folder, name: &str, group: Group) -> Result<Option<Self>> {
        let Some(holder) = Process::from_record(&folder.record(name))?.filter(Process::is_alive) else {
            return Ok(None);
        };
        let init = holder.children().into_iter().find(|child| child.name == PAUSE);
        Ok(init.map(|init| Self { name: name.to_owned(), folder: folder.clone(), group, init: init.process }))
    }

    /// Runs a program on the machine to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<String> {
        run(self.command(program).args(arguments))
    }

    /// A command that will run on the machine, in the groups of the caller: for short ones.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = command("nsenter");
        command.arg("--target").arg(self.init.pid.to_string());
        command.args(["--net", "--cgroup", "--mount", "--uts", "--ipc", "--pid", "--"]).arg(program);
        command
    }

    /// Runs `ip` on the machine's network as one who sees all machines, so that cables to others can be named.
    pub(crate) fn ip(&self, arguments: &[&str]) -> Result<String> {
        let mut command = command("nsenter");
        command.arg(format!("--net={}", network_of(self.init))).args(["--", "ip"]).args(arguments);
        run(&mut command)
    }

    /// Starts a program that goes on running, in the machine's groups; what it prints is in its log.
    ///
    /// It becomes a child of the machine's init, and so dies with it.
    pub(crate) fn daemon(&self, daemon: &Daemon) -> Result<()> {
        self.daemon_with(daemon, &[])
    }

    /// As [`Self::daemon`], with these variables beside those of the caller.
    pub(crate) fn daemon_with(&self, daemon: &Daemon, environment: &[(&str, String)]) -> Result<()> {
        let log = open_log(&self.folder.log(&self.name, &daemon.name()))?;
        let mut inside = self.command(STARTER);
        inside.arg("--fork").arg(&daemon.program).args(&daemon.arguments);
        let mut entering = becoming(None, &self.group.entrances(), &inside);
        entering.envs(environment.iter().map(|(name, value)| (name, value)));
        log_to(&mut entering, &log)?;
        run_logged(&mut entering)
    }

    /// Its daemons: the children of its init.
    pub(crate) fn daemons(&self) -> Vec<Child> {
        self.init.children()
    }

    /// The daemon whose program has this name.
    pub(crate) fn daemon_named(&self, name: &str) -> Option<Process> {
        // The kernel keeps 15 bytes of a name.
        let known = name.get(..15).unwrap_or(name);
        self.daemons().into_iter().find(|child| child.name == known).map(|child| child.process)
    }

    /// Whether the daemon runs, by one look. Until it becomes the daemon, its process bears the name of its starter.
    fn has_or_starts(&self, name: &str) -> bool {
        let known = name.get(..15).unwrap_or(name);
        self.daemons().iter().any(|child| child.name == known || child.name == STARTER)
    }

    /// Asks a daemon to stop and waits until it has.
    pub(crate) fn stop_daemon(&self, name: &str) -> Result<()> {
        let Some(process) = self.daemon_named(name) else { return Ok(()) };
        process.terminate()?;
        wait_for(&format!("the end of {name} on {}", self.name), STOP_LIMIT, || {
            if process.is_alive() { Err(format!("process {} runs", process.pid)) } else { Ok(()) }
        })
    }

    /// Waits for `look` while `daemon` runs; its end, or the limit, is an error with the end of its log.
    pub(crate) fn wait_for_daemon(
        &self,
        daemon: &str,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> std::result::Result<(), String>,
    ) -> Result<()> {
        let log = self.folder.log(&self.name, daemon);
        let mut misses = 0;
        let waited = wait_for(what, limit, || {
            misses = if self.has_or_starts(daemon) { 0 } else { misses + 1 };
            match look() {
                Ok(()) => Ok(true),
                // The kernel's list may lack a process while another one ends: once is no proof.
                Err(_) if misses > 1 => Ok(false),
                Err(seen) => Err(format!("{seen}; {}", log_tail(&log))),
            }
        })?;
        if waited {
            return Ok(());
        }
        Err(Error::Program {
            command: format!("{daemon} on {}", self.name),
            status: "ended early".to_owned(),
            output: log_tail(&log),
        })
    }

    /// Where the machine's own files can be read and written from outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        Path::new("/proc").join(self.init.pid.to_string()).join("root").join(inside.trim_start_matches('/'))
    }

    /// Writes a file of the machine.
    pub(crate) fn write(&self, inside: &str, text: &str) -> Result<()> {
        fs::write(self.path(inside), text).doing(|| format!("write {inside} on {}", self.name))
    }

    /// Writes a file of the machine in the place of another, which may be a link that leads elsewhere.
    pub(crate) fn replace(&self, inside: &str, text: &str) -> Result<()> {
        match fs::remove_file(self.path(inside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).doing(|| format!("remove {inside} on {}", self.name));
            }
            Ok(()) | Err(_) => {}
        }
        self.write(inside, text)
    }

    /// Makes a folder on the machine.
    pub(crate) fn create_dir(&self, inside: &str) -> Result<()> {
        create_dir(&self.path(inside))
    }

    /// Sets a kernel setting of the machine's network.
    pub(crate) fn sysctl(&self, setting: &str) -> Result<()> {
        self.run("sysctl", &["-q", "-w", setting]).map(drop)
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }
}

/// The network namespace of a process, for `ip link set netns` and `nsenter --net=`.
pub(crate) fn network_of(process: Process) -> String {
    format!("/proc/{}/ns/net", process.pid)
}

/// Starts a recorded process that is nobody's child: it goes on when this program ends, and leaves no zombie if not.
pub(crate) fn detach(record: &Path, groups: &[PathBuf], program: &Command, log: &File) -> Result<()> {
    let mut detached = detached(record, groups, program);
    log_to(&mut detached, log)?;
    run_logged(&mut detached)
}

/// As [`detach`], for a caller that hands over its own standard streams.
pub(crate) fn detached(record: &Path, groups: &[PathBuf], program: &Command) -> Command {
    let mut detached = command(STARTER);
    detached.arg("--fork");
    let becoming = becoming(Some(record), groups, program);
    detached.arg(becoming.get_program()).args(becoming.get_args());
    detached
}

fn becoming(record: Option<&Path>, groups: &[PathBuf], program: &Command) -> Command {
    let groups: Vec<_> = groups.iter().map(|group| group.to_string_lossy()).collect();
    let mut becoming = command("sh");
    becoming.args(["-c", BECOME, "become"]).arg(record.unwrap_or_else(|| Path::new("")));
    becoming.arg(groups.join("\n")).arg(program.get_program()).args(program.get_args());
    becoming
}

/// Opens a log for writing at its end, making its folder.
pub(crate) fn open_log(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        create_dir(folder)?;
    }
    File::options().create(true).append(true).open(path).doing(|| format!("open {}", path.display()))
}

fn log_to(command: &mut Command, log: &File) -> Result<()> {
    let line = command_line(command);
    let again = || log.try_clone().doing(|| format!("hand the log to `{line}`"));
    command.stdout(again()?).stderr(again()?);
    Ok(())
}

/// Kills the recorded processes `names` and all that hangs on them, waits until they are gone, and removes their groups.
///
/// All are killed before the first is waited for. A frozen process takes SIGKILL only when it is let go.
pub(crate) fn kill(folder: &Folder, hosts: &[(String, Group)]) -> Result<()> {
    let mut dying = Vec::new();
    for (name, group) in hosts {
        if group.is_frozen() {
            group.freeze(Freeze::Thawed)?;
        }
        // A record that cannot be read names nobody that may be signalled.
        let Ok(Some(holder)) = Process::from_record(&folder.record(name)) else { continue };
        let children = if holder.is_alive() { holder.children() } else { Vec::new() };
        holder.kill()?;
        // They die with the holder, once they have asked for that; one that has not yet is killed as well.
        children.iter().try_for_each(|child| child.process.kill())?;
        dying.push(holder);
        dying.extend(children.into_iter().map(|child| child.process));
    }
    wait_for("the end of the killed machines", DEATH_LIMIT, || {
        let left: Vec<i32> =
            dying.iter().filter(|process| process.is_alive()).map(|process| process.pid).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("processes {left:?} run")) }
    })?;
    for (name, group) in hosts {
        group.remove()?;
        let record = folder.record(name);
        if record.exists() {
            fs::remove_file(&record).doing(|| format!("remove {}", record.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule cluster-3.
    #[test]
    fn a_process_records_itself_before_it_becomes_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("sleeper");
        let group = dir.path().join("a group");
        fs::create_dir(&group).unwrap();
        let mut program = Command::new("sleep");
        program.arg("60");
        let log = open_log(&dir.path().join("log/sleeper.log")).unwrap();
        detach(&record, std::slice::from_ref(&group), &program, &log).unwrap();
        let process = wait_for("the record", START_LIMIT, || {
            Process::from_record(&record).map_err(|error| error.to_string())?.ok_or_else(|| "none".to_owned())
        })
        .unwrap();
        wait_for("sleep", START_LIMIT, || {
            let name = fs::read_to_string(format!("/proc/{}/comm", process.pid)).unwrap_or_default();
            if name == "sleep\n" { Ok(()) } else { Err(name) }
        })
        .unwrap();
        assert!(process.is_alive());
        assert_eq!(fs::read_to_string(group.join("cgroup.procs")).unwrap(), "0\n");
        process.kill().unwrap();
        wait_for("its end", DEATH_LIMIT, || if process.is_alive() { Err(String::new()) } else { Ok(()) })
            .unwrap();
    }
}
