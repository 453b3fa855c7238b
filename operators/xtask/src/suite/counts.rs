//! What a suite counts: tests where a step runs some, else the step itself.

use std::{fmt, ops::AddAssign};

use anyhow::Result;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

/// A test that did not run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Counts {
    /// A step that is itself the test.
    pub(crate) fn of_step(outcome: &Result<()>) -> Self {
        match outcome {
            Ok(()) => Self { passed: 1, ..Self::default() },
            Err(_) => Self { failed: 1, ..Self::default() },
        }
    }

    /// The sum of libtest's result lines in `output`.
    ///
    /// A run that failed without a failed test (it does not compile, a test binary crashed) counts as one, and so does a
    /// run that had no test binary.
    pub(crate) fn of_tests(output: &str, outcome: &Result<()>) -> Self {
        let mut sum = Self::default();
        let mut binaries = 0;
        for counts in output.lines().filter_map(Self::of_line) {
            sum += counts;
            binaries += 1;
        }
        if sum.failed == 0 && (outcome.is_err() || binaries == 0) {
            sum.failed = 1;
        }
        sum
    }

    /// Reads `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; …`.
    fn of_line(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim_end().parse::<u64>().ok())
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }
}

/// The tests that libtest says it ignored, `count` in all: one whose line cannot be read is a skip nonetheless.
pub(crate) fn skips(output: &str, count: u64) -> Vec<Skip> {
    let skip = |name: &str, reason: &str| Skip { name: name.to_owned(), reason: reason.to_owned() };
    let of_line = |line: &str| {
        let (name, reason) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
        Some(skip(name, reason.strip_prefix(", ").unwrap_or("no reason is given")))
    };
    let mut skips: Vec<_> = output.lines().filter_map(of_line).collect();
    // What a test prints past libtest's capture may stand in the middle of such a line.
    while (skips.len() as u64) < count {
        skips.push(skip("a test without a name", "other output hides its line: see the log"));
    }
    skips
}

/// The names of the skips that begin with nothing in `listed`.
pub(crate) fn unlisted(skips: &[Skip], listed: &[&str]) -> Vec<String> {
    let names = skips.iter().map(|skip| &skip.name);
    names.filter(|name| !listed.iter().any(|listed| name.starts_with(listed))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const TWO_BINARIES: &str = "\
     Running unittests src/lib.rs (target/debug/deps/moon-1)
test phase::waxes ... ok
test phase::wanes ... ignored, it is day
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running unittests src/lib.rs (target/debug/deps/sun-1)
test shines ... FAILED
test sets ... ok
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
   Doc-tests sun
test src/lib.rs - rises (line 7) ... ignored
test result: ok. 0 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn the_results_of_all_test_binaries_are_summed_up() {
        let counts = Counts::of_tests(TWO_BINARIES, &Err(anyhow!("exit 101")));
        assert_eq!(counts, Counts { passed: 2, failed: 1, skipped: 2 });
    }

    // Rule xtask-2.
    #[test]
    fn a_run_that_fails_without_a_failed_test_counts_as_one_failure() {
        let crashed =
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\nerror: signal 11";
        let counts = Counts::of_tests(crashed, &Err(anyhow!("exit 101")));
        assert_eq!(counts, Counts { passed: 4, failed: 1, skipped: 0 });
    }

    // Rule xtask-2.
    #[test]
    fn a_run_without_a_test_binary_is_a_failure() {
        assert_eq!(Counts::of_tests("    Finished", &Ok(())), Counts { passed: 0, failed: 1, skipped: 0 });
    }

    // Rule xtask-3.
    #[test]
    fn an_ignored_test_is_a_skip_with_its_reason() {
        let named: Vec<_> = skips(TWO_BINARIES, 2).into_iter().map(|skip| (skip.name, skip.reason)).collect();
        let wanted = [("phase::wanes", "it is day"), ("src/lib.rs - rises (line 7)", "no reason is given")];
        assert_eq!(named, wanted.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
    }

    #[test]
    fn an_ignored_test_whose_line_is_spoilt_is_a_skip_all_the_same() {
        let spoilt = TWO_BINARIES.replace("wanes ... ignored", "wanes ... 0.1 s\nignored");
        let names: Vec<_> = skips(&spoilt, 2).into_iter().map(|skip| skip.name).collect();
        assert_eq!(names, ["src/lib.rs - rises (line 7)", "a test without a name"]);
    }

    // Rule xtask-1.
    #[test]
    fn the_closing_line_reads_as_other_runners_do() {
        let counts = Counts { passed: 12, failed: 1, skipped: 0 };
        assert_eq!(counts.to_string(), "12 passed, 1 failed, 0 skipped");
    }
}
