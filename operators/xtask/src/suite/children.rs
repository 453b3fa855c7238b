//! The programs that this process has started, and their end when they hang or a person wants to stop.

use std::{
    fs,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// How often work that hangs has its programs ended: it may start the next one.
const AGAIN: Duration = Duration::from_secs(1);

/// Does `work`; when `limit` has passed, `cut` ends the programs that it waits for, again and again until it returns.
pub(crate) fn within(
    limit: Duration,
    cut: impl Fn() + Send,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (done, is_done) = channel::<()>();
    let (outcome, hung) = thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut hung = false;
            let mut wait = limit;
            // The sender is dropped where the work is done.
            while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                (hung, wait) = (true, AGAIN);
                cut();
            }
            hung
        });
        let outcome = work();
        drop(done);
        (outcome, watch.join())
    });
    let hung = hung.map_err(|panic| anyhow!("the thread that watches the time panicked: {panic:?}"))?;
    let said = || anyhow!("hung: it was not done in {} s, and what it ran was killed", limit.as_secs());
    match (hung, outcome) {
        (false, outcome) => outcome,
        (true, Ok(())) => Err(said()),
        // What the work says of its end is a consequence.
        (true, Err(error)) => Err(error.context(said())),
    }
}

/// From now on a signal that ends this process ends its children first: a terminal's Ctrl-C reaches only its own group.
pub(crate) fn end_with_us() -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            kill_all();
            // Ends the process as if nobody had listened; where it cannot, the next signal tries again.
            _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}

/// Kills every child of this process, and with it the group that it leads.
pub(crate) fn kill_all() {
    for child in of_this_process() {
        // One that has just ended is as good as killed.
        _ = match getpgid(Some(child)) {
            Ok(group) if group == child => kill_process_group(group, Signal::KILL),
            Ok(_) => kill_process(child, Signal::KILL),
            Err(error) => Err(error),
        };
    }
}

/// The kernel keeps the children of each thread by themselves.
fn of_this_process() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let parse = |pid: &str| Pid::from_raw(pid.parse().ok()?);
    lists.flat_map(|list| list.split_ascii_whitespace().filter_map(parse).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{BufRead, BufReader},
        os::unix::process::{CommandExt, ExitStatusExt},
        process::{Child, Command, Stdio},
    };

    use anyhow::bail;
    use stowage_cluster::wait_for;

    use super::*;

    /// Far more than anything here takes.
    const LIMIT: Duration = Duration::from_secs(30);

    /// What makes a test play the part of a program that starts another one.
    const PART: &str = "STOWAGE_XTASK_TEST_PART";

    /// A shell that leads a group, has started another program, and has printed the id of that.
    fn shell() -> (Child, Pid) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; wait"]).process_group(0).stdout(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let started = first_number(&mut shell);
        (shell, started)
    }

    fn first_number(child: &mut Child) -> Pid {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = lines.map(Result::unwrap).find_map(|line| line.trim().parse().ok()).unwrap();
        Pid::from_raw(number).unwrap()
    }

    fn wait_until_gone(pid: Pid) {
        // One that nobody has waited for has no command line any more.
        let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        wait_for("its end", LIMIT, || match fs::read_to_string(&path) {
            Ok(line) if !line.is_empty() => Err(line),
            Ok(_) | Err(_) => Ok(()),
        })
        .unwrap();
    }

    // Rule xtask-10.
    #[test]
    fn work_that_waits_for_a_program_is_cut_short_and_fails_whatever_it_says() {
        for said in [Ok(()), Err(anyhow!("the program was killed"))] {
            let (mut shell, started) = shell();
            let leader = Pid::from_child(&shell);
            let cut = || kill_process_group(leader, Signal::KILL).unwrap();
            let outcome = within(Duration::from_millis(50), cut, || {
                shell.wait()?;
                said
            });
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.starts_with("hung: "), "{error}");
            wait_until_gone(started);
        }
    }

    #[test]
    fn work_that_is_done_in_time_is_left_alone() {
        let cut = || panic!("it is cut");
        within(LIMIT, cut, || Ok(())).unwrap();
        assert_eq!(within(LIMIT, cut, || bail!("by itself")).unwrap_err().to_string(), "by itself");
    }

    // Rule xtask-10.
    #[test]
    fn a_signal_ends_this_process_with_all_that_it_started() {
        if env::var_os(PART).is_some() {
            end_with_us().unwrap();
            let (mut shell, started) = shell();
            // Past libtest's capture, which has the line only once the test has ended.
            let print = format!("echo; echo {}", started.as_raw_nonzero());
            assert!(Command::new("sh").args(["-c", &print]).status().unwrap().success());
            shell.wait().unwrap();
            // Killed by us: the signal that kills ourselves is on its way.
            thread::sleep(LIMIT);
            return;
        }
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let mut this = Command::new(env::current_exe().unwrap());
            this.args([
                "--exact",
                "suite::children::tests::a_signal_ends_this_process_with_all_that_it_started",
            ]);
            let mut this = this.env(PART, "1").stdout(Stdio::piped()).spawn().unwrap();
            let started = first_number(&mut this);
            kill_process(Pid::from_child(&this), signal).unwrap();
            let ended =
                wait_for("its end", LIMIT, || this.try_wait().unwrap().ok_or_else(|| "it runs".to_owned()));
            assert_eq!(ended.unwrap().signal(), Some(signal.as_raw()), "{signal:?}");
            wait_until_gone(started);
        }
    }
}
