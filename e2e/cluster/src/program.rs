//! Running other programs: one place that captures what they print, names them when they fail, and ends them when they
//! do not end.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read, Seek, Write},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{MemfdFlags, memfd_create};
use wait_timeout::ChildExt;

use crate::error::{Doing, Error, Result};

/// How much of a failed program's output goes into the error.
const OUTPUT_SHOWN: usize = 2_000;

/// Longer than the slowest, Go's first download of its modules, takes on a slow line.
const LIMIT: Duration = Duration::from_secs(1800);

/// How often a wait looks again: short beside the second that the slowest step takes.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A command without standard input, so that nothing can wait for a person.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).current_dir("/");
    command
}

/// Runs `command` to its end and returns what it printed to standard output.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    run_within(command, LIMIT)
}

/// As [`run`]; a program that still runs after `limit` is killed, and named with what it printed until then.
///
/// What it prints goes to files, not to pipes: a child of its that lives on cannot keep us waiting for the end of them.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<String> {
    let line = command_line(command);
    let (mut output, mut errors) = (unnamed_file(b"")?, unnamed_file(b"")?);
    let action = || format!("hold what `{line}` prints");
    command.stdout(output.try_clone().doing(action)?).stderr(errors.try_clone().doing(action)?);
    let failed = match end_within(command, &line, limit)? {
        Some(status) if status.success() => return content(&mut output).doing(action),
        Some(status) => status.to_string(),
        None => format!("killed, as it had not ended after {} s", limit.as_secs()),
    };
    let mut text = content(&mut errors).doing(action)?;
    text.push_str(&content(&mut output).doing(action)?);
    Err(Error::Program { command: line, status: failed, output: end_of(&text, OUTPUT_SHOWN) })
}

/// Runs to its end a command whose output the caller has led elsewhere.
pub(crate) fn run_logged(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = match end_within(command, &line, LIMIT)? {
        Some(status) if status.success() => return Ok(()),
        Some(status) => status.to_string(),
        None => format!("killed, as it had not ended after {} s", LIMIT.as_secs()),
    };
    Err(Error::Program { command: line, status, output: "see its log".to_owned() })
}

/// How the program ended; nothing if it had to be killed.
fn end_within(command: &mut Command, line: &str, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.spawn().map_err(|error| Error::Program {
        command: line.to_owned(),
        status: "not started".to_owned(),
        output: error.to_string(),
    })?;
    let action = || format!("wait for `{line}`");
    let status = child.wait_timeout(limit).doing(action)?;
    if status.is_none() {
        child.kill().doing(|| format!("kill `{line}`"))?;
        child.wait().doing(action)?;
    }
    Ok(status)
}

/// A file in memory with this content, to be read from its start.
pub(crate) fn unnamed_file(content: &[u8]) -> Result<File> {
    let action = || "make a file in memory".to_owned();
    let mut file = File::from(memfd_create("stowage", MemfdFlags::CLOEXEC).doing(action)?);
    file.write_all(content).and_then(|()| file.rewind()).doing(action)?;
    Ok(file)
}

fn content(file: &mut File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The command as a person would type it.
pub(crate) fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last `limit` bytes of `text`, cut at a character.
pub(crate) fn end_of(text: &str, limit: usize) -> String {
    let text = text.trim();
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().to_owned()
}

/// The end of a log, for the error that it explains.
pub(crate) fn log_tail(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => {
            format!(
                "{} ends with:\n{}",
                path.display(),
                end_of(&String::from_utf8_lossy(&bytes), OUTPUT_SHOWN)
            )
        }
        Err(error) => format!("{} cannot be read: {error}", path.display()),
    }
}

/// Waits until `look` finds what it looks for.
///
/// `look` returns `Ok(value)` once it is there, or `Err(state)` with what it saw instead; the last such state is in the
/// error when `limit` has passed.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if start.elapsed() >= limit => {
                return Err(Error::Timeout { what: what.to_owned(), limit, last });
            }
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Makes a program of these lines of shell.
///
/// `install` does, since a file that this process wrote may still be open in a child that another thread has just forked,
/// and the kernel runs no such file.
#[cfg(test)]
pub(crate) fn script(path: &Path, lines: &str) {
    let text = unnamed_file(format!("#!/bin/sh\n{lines}\n").as_bytes()).unwrap();
    run(command("install").args(["-m", "755", "/dev/stdin"]).arg(path).stdin(text)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule cluster-16.
    #[test]
    fn a_failed_program_is_named_with_what_it_printed() {
        let error = run(command("sh").args(["-c", "echo out; echo because >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        for part in ["sh -c", "exit status: 3", "because", "out"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    // Rule cluster-15.
    #[test]
    fn a_program_that_does_not_end_is_killed_and_named_with_what_it_printed() {
        // The child that lives on holds its output open.
        let mut hanging = command("sh");
        hanging.args(["-c", "echo so far; sleep 20 & wait"]);
        let start = Instant::now();
        let text = run_within(&mut hanging, Duration::from_millis(500)).unwrap_err().to_string();
        for part in ["sh -c", "had not ended after 0 s", "so far"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it was waited for");
    }

    #[test]
    fn a_program_reads_what_it_is_given_from_the_start() {
        let mut cat = command("cat");
        assert_eq!(run(cat.stdin(unnamed_file(b"given").unwrap())).unwrap(), "given");
    }

    #[test]
    fn a_missing_program_is_named() {
        let text = run(&mut command("no-such-program-here")).unwrap_err().to_string();
        assert!(text.contains("no-such-program-here") && text.contains("not started"), "{text}");
    }

    #[test]
    fn the_end_of_a_text_is_cut_at_a_character() {
        assert_eq!(end_of("aé", 2), "é");
        assert_eq!(end_of("aé", 1), "");
        assert_eq!(end_of(" whole \n", 100), "whole");
    }

    // Rule cluster-15.
    #[test]
    fn a_wait_that_ends_says_what_it_saw_last() {
        let mut seen = 0;
        let error = wait_for("the moon", Duration::ZERO, || -> std::result::Result<(), String> {
            seen += 1;
            Err(format!("cloud {seen}"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "the moon not seen within 0 s; last seen: cloud 1");
    }
}
