//! Processes that outlive the program that started them, told apart from later ones that got the same number.
//!
//! A process is its id **and** its start time (field 22 of `proc_pid_stat(5)`): a number alone may belong to somebody else
//! by the time it is signalled. Signals go through a pidfd, opened before the start time is compared, so that the process
//! that was compared is the one that gets the signal.

use std::{fs, path::Path, str::FromStr};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Doing, Error, Result};

/// One process, now and never another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id on this machine.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
}

/// A child of a process: what is needed to find a daemon by its program's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    /// The process.
    pub(crate) process: Process,
    /// The name of its program, as the kernel has it (at most 15 bytes).
    pub(crate) name: String,
}

impl Process {
    /// Whether it still runs; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && !stat.is_over())
    }

    /// Sends SIGKILL, unless it is gone already, which is success.
    pub(crate) fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Sends SIGTERM, unless it is gone already, which is success.
    pub(crate) fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let action = || format!("signal process {}", self.pid);
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            opened => opened.doing(action)?,
        };
        if !self.is_alive() {
            return Ok(());
        }
        match pidfd_send_signal(fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).doing(action),
        }
    }

    /// Its children that still run.
    pub(crate) fn children(&self) -> Vec<Child> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let list = fs::read_to_string(path).unwrap_or_default();
        list.split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .filter_map(|pid| {
                let stat = Stat::read(pid)?;
                let process = Self { pid, started: stat.started };
                (!stat.is_over()).then_some(Child { process, name: stat.name })
            })
            .collect()
    }

    /// Reads the record that a process wrote of itself; see [`crate::host`].
    ///
    /// Returns nothing while the record is absent or half written.
    pub(crate) fn from_record(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.doing(|| format!("read {}", path.display()))?,
        };
        let Some(line) = text.strip_suffix('\n') else { return Ok(None) };
        line.parse().map(Some).map_err(|detail| Error::State { path: path.to_owned(), detail })
    }
}

impl FromStr for Process {
    type Err = String;

    fn from_str(line: &str) -> std::result::Result<Self, String> {
        let parsed = line
            .split_once(' ')
            .and_then(|(pid, started)| Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? }));
        parsed.ok_or_else(|| format!("{line:?} is no process id and start time"))
    }
}

/// The fields of /proc/PID/stat that tell one process from another.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|text| Self::parse(&text))
    }

    /// The name stands in parentheses and may itself hold spaces and parentheses: everything is counted from the last.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // The state is field 3, the start time field 22.
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { name: name.to_owned(), state, started })
    }

    fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn of(child: &std::process::Child) -> Process {
        let pid = i32::try_from(child.id()).unwrap();
        Process { pid, started: Stat::read(pid).unwrap().started }
    }

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        let text = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let stat = Stat { name: "a) b (c)".to_owned(), state: 'S', started: 4711 };
        assert_eq!(Stat::parse(text), Some(stat));
    }

    // Rule cluster-3.
    #[test]
    fn the_same_id_with_another_start_time_is_neither_alive_nor_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = of(&child);
        let other = Process { started: process.started + 1, ..process };
        assert!(!other.is_alive());
        other.kill().unwrap();
        assert!(process.is_alive(), "a process was killed for having somebody's old number");
        process.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
        process.kill().unwrap();
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = Command::new("true").spawn().unwrap();
        let process = of(&child);
        crate::program::wait_for("the end of true", std::time::Duration::from_secs(10), || {
            if process.is_alive() { Err("alive".to_owned()) } else { Ok(()) }
        })
        .unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_half_written_record_is_no_record_yet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1");
        assert_eq!(Process::from_record(&path).unwrap(), None);
        fs::write(&path, "12 34").unwrap();
        assert_eq!(Process::from_record(&path).unwrap(), None);
        fs::write(&path, "12 345\n").unwrap();
        assert_eq!(Process::from_record(&path).unwrap(), Some(Process { pid: 12, started: 345 }));
        fs::write(&path, "garbage\n").unwrap();
        assert!(Process::from_record(&path).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_child_is_found_by_the_name_of_its_program() {
        let mut parent = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let process = of(&parent);
        let child = crate::program::wait_for("the child", std::time::Duration::from_secs(10), || {
            process
                .children()
                .into_iter()
                .find(|child| child.name == "sleep")
                .ok_or_else(|| "none".to_owned())
        })
        .unwrap();
        child.process.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(process.children(), []);
    }
}
