//! Running other programs: one place that captures what they print and names them when they fail.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// How much of a failed program's output goes into the error.
const OUTPUT_SHOWN: usize = 2_000;

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
    let line = command_line(command);
    let output = command.output().map_err(|error| Error::Program {
        command: line.clone(),
        status: "not started".to_owned(),
        output: error.to_string(),
    })?;
    finished(line, &output)
}

/// The standard output of a program that has ended, or the error that names it.
pub(crate) fn finished(command: String, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    Err(Error::Program { command, status: output.status.to_string(), output: end_of(&text, OUTPUT_SHOWN) })
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
