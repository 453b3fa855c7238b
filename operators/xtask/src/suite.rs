//! A suite under way: one line and one log per step, and what all of them count up to.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use stowage_cluster::Progress;

use self::counts::{Counts, Skip};

pub(crate) mod children;
pub(crate) mod counts;

/// How long a step may take: several times the longest there is, which is a build from nothing on a small machine.
const LIMIT: Duration = Duration::from_secs(3600);

/// What a step's output says about the tests in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prints {
    /// Nothing: the step counts as one test.
    NoTests,
    /// The lines of libtest: each of its tests counts.
    Tests,
}

/// The steps that have run so far.
#[derive(Debug)]
pub(crate) struct Suite {
    progress: Progress,
    logs: PathBuf,
    start: Instant,
    limit: Duration,
    steps: usize,
    counts: Counts,
    skips: Vec<Skip>,
}

impl Suite {
    /// Begins a suite that tells of its steps through `progress` and keeps their logs in the folder `logs`, where those of
    /// an earlier one are removed.
    pub(crate) fn begin(logs: PathBuf, progress: Progress) -> Result<Self> {
        if logs.exists() {
            fs::remove_dir_all(&logs).with_context(|| format!("cannot remove {}", logs.display()))?;
        }
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self {
            progress,
            logs,
            start: Instant::now(),
            limit: LIMIT,
            steps: 0,
            counts: Counts::default(),
            skips: Vec::new(),
        })
    }

    /// Runs a program as a step.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command, prints: Prints) -> Result<()> {
        self.step(name, prints, |log| finish(command, log))
    }

    /// Does `work` as a step. What it writes to the log is shown where it fails.
    ///
    /// The suite goes on after a failure, so that one run shows all; an error is returned only where the log fails. When the
    /// step's time is up the programs that it runs are killed, and it has failed.
    pub(crate) fn step(
        &mut self,
        name: &str,
        prints: Prints,
        work: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        self.steps += 1;
        let path = self.logs.join(format!("{:02}-{}.log", self.steps, name.replace([' ', '/'], "-")));
        let log = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let outcome =
            self.progress.stage(name, |_| children::within(self.limit, children::kill_all, || work(&log)));
        let output = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let output = String::from_utf8_lossy(&output);
        let (counts, skips) = match prints {
            Prints::NoTests => (Counts::of_step(&outcome), Vec::new()),
            Prints::Tests => {
                let counts = Counts::of_tests(&output, &outcome);
                (counts, counts::skips(&output, counts.skipped))
            }
        };
        if counts.failed > 0 {
            let reason = outcome.map_or_else(|error| format!("{error:#}"), |()| "it ran no test".to_owned());
            // The stream that the verdicts are on, so that all stays in order.
            writeln!(io::stderr().lock(), "{output}--- {name}: {reason}")?;
        }
        self.counts += Counts { skipped: 0, ..counts };
        for skip in skips {
            self.skip(&skip.name, &skip.reason);
        }
        Ok(())
    }

    /// Counts a test as skipped, for a reason that is shown.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.progress.note(&format!("skipped: {name}: {reason}"));
        self.skips.push(Skip { name: name.to_owned(), reason: reason.to_owned() });
        self.counts.skipped += 1;
    }

    /// Ends the suite: in CI a skip is a failure, unless its name begins with one in `listed`.
    pub(crate) fn end(mut self, listed: &[&str], ci: bool) -> Result<Counts> {
        if ci {
            let unlisted = counts::unlisted(&self.skips, listed);
            self.step("each skip is a listed one", Prints::NoTests, |_| {
                ensure!(unlisted.is_empty(), "these are not in the list of skips: {}", unlisted.join(", "));
                Ok(())
            })?;
        }
        self.progress.note(&format!(
            "{:.1} s; logs in {}",
            self.start.elapsed().as_secs_f64(),
            self.logs.display()
        ));
        Ok(self.counts)
    }
}

/// Runs a program to its end, without input, with all that it prints in `log`.
pub(crate) fn finish(command: &mut Command, log: &File) -> Result<()> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let status = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        // Its own, so that what it starts ends with it.
        .process_group(0)
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    ensure!(status.success(), "`{line}` ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::env;

    use stowage_cluster::wait_for;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn suite() -> (tempfile::TempDir, Suite) {
        let dir = tempfile::tempdir().unwrap();
        let suite = Suite::begin(dir.path().join("logs"), Progress::silent()).unwrap();
        (dir, suite)
    }

    // Rule xtask-1.
    #[test]
    fn a_failing_step_does_not_stop_the_next() {
        let (_dir, mut suite) = suite();
        suite.run("first", &mut shell("exit 3"), Prints::NoTests).unwrap();
        suite.run("second", &mut Command::new("no-such-program-here"), Prints::NoTests).unwrap();
        suite.run("third", &mut shell("true"), Prints::NoTests).unwrap();
        assert_eq!(suite.end(&[], false).unwrap(), Counts { passed: 1, failed: 2, skipped: 0 });
    }

    #[test]
    fn a_log_has_both_streams_in_order_and_no_step_of_an_earlier_run() {
        let (dir, mut suite) = suite();
        suite.run("speak up/now", &mut shell("echo one; echo two >&2; echo three"), Prints::NoTests).unwrap();
        let log = dir.path().join("logs").join("01-speak-up-now.log");
        assert_eq!(fs::read_to_string(&log).unwrap(), "one\ntwo\nthree\n");
        Suite::begin(dir.path().join("logs"), Progress::silent()).unwrap();
        assert!(!log.exists());
    }

    // Rule xtask-4.
    #[test]
    fn a_step_has_no_input_to_wait_for() {
        let (_dir, mut suite) = suite();
        let null = "test \"$(readlink /proc/self/fd/0)\" = /dev/null";
        suite.run("read", &mut shell(null), Prints::NoTests).unwrap();
        assert_eq!(suite.counts, Counts { passed: 1, failed: 0, skipped: 0 });
    }

    // Rule xtask-10.
    #[test]
    fn a_step_that_hangs_is_named_and_the_next_one_runs() {
        // In a process of its own: all that the process has started is killed, also by other tests.
        let part = "STOWAGE_XTASK_TEST_STEP";
        if env::var_os(part).is_none() {
            let mut this = Command::new(env::current_exe().unwrap());
            this.args(["--exact", "suite::tests::a_step_that_hangs_is_named_and_the_next_one_runs"]);
            let output = this.env(part, "1").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("--- patience: hung: it was not done in 1 s"), "{said}");
            return;
        }
        let (dir, mut suite) = suite();
        suite.limit = Duration::from_secs(1);
        suite.run("patience", &mut shell("sleep 60 & echo $!; wait"), Prints::NoTests).unwrap();
        let started = fs::read_to_string(dir.path().join("logs/01-patience.log")).unwrap();
        let started = format!("/proc/{}/cmdline", started.trim());
        // One that nobody has waited for has no command line any more.
        wait_for("its end", Duration::from_secs(10), || match fs::read_to_string(&started) {
            Ok(line) if !line.is_empty() => Err(line),
            Ok(_) | Err(_) => Ok(()),
        })
        .unwrap();
        let work = |_: &File| Ok(Command::new("sleep").arg("60").status().map(drop)?);
        suite.step("by itself", Prints::NoTests, work).unwrap();
        suite.run("next", &mut shell("true"), Prints::NoTests).unwrap();
        assert_eq!(suite.end(&[], false).unwrap(), Counts { passed: 1, failed: 2, skipped: 0 });
    }

    // Rule xtask-3.
    #[test]
    fn in_ci_a_skip_that_is_not_listed_fails_the_suite() {
        let script = "echo 'test night::moon ... ignored, it is day'; \
                      echo 'test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out'";
        let skipped = || {
            let (dir, mut suite) = suite();
            suite.run("tests", &mut shell(script), Prints::Tests).unwrap();
            (dir, suite)
        };
        let (_dir, by_hand) = skipped();
        assert_eq!(by_hand.end(&[], false).unwrap(), Counts { passed: 2, failed: 0, skipped: 1 });
        let (_dir, unlisted) = skipped();
        assert_eq!(
            unlisted.end(&["sun", "moon"], true).unwrap(),
            Counts { passed: 2, failed: 1, skipped: 1 }
        );
        let (_dir, listed) = skipped();
        assert_eq!(
            listed.end(&["sun", "night::"], true).unwrap(),
            Counts { passed: 3, failed: 0, skipped: 1 }
        );
    }
}
