//! The steps that are programs, a row each.

use crate::suite::Prints;

/// A program that is a step of the suite, run at the workspace's root.
#[derive(Debug)]
pub(super) struct Program {
    /// The step's name.
    pub(super) name: &'static str,
    /// The command line, in words; see [`super::Places::command`].
    pub(super) line: &'static str,
    /// What it finds in its environment besides ours.
    pub(super) env: &'static [(&'static str, &'static str)],
    /// How often it runs.
    pub(super) each: Each,
    /// How it is counted.
    pub(super) prints: Prints,
}

/// What one run of a program is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// Everything: it runs once.
    Workspace,
    /// One crate: it runs for each, with its name in place of `{crate}`.
    Crate,
}

/// In the order in which a mistake is cheapest to find.
pub(super) const PROGRAMS: &[Program] = &[
    Program { name: "format", line: "cargo fmt --all --check", ..CHECK },
    Program { name: "layers", line: "{xtask} layers", ..CHECK },
    Program { name: "generated crds", line: "{xtask} crds --check", ..CHECK },
    Program { name: "generated charts", line: "{xtask} chart --check", ..CHECK },
    Program { name: "generated docs", line: "{xtask} docs --check", ..CHECK },
    Program {
        name: "lints",
        line: "cargo clippy --locked --workspace --all-targets --all-features -- -D warnings",
        ..CHECK
    },
    // Alone, since cargo unites the features of a whole workspace, and a crate may lean on what another asked for.
    Program {
        name: "alone",
        line: "cargo check --locked -p {crate} --all-targets",
        each: Each::Crate,
        ..CHECK
    },
    Program {
        name: "tests",
        line: "cargo test --locked --workspace --all-targets --no-fail-fast",
        prints: Prints::Tests,
        ..CHECK
    },
    Program {
        name: "examples in docs",
        line: "cargo test --locked --workspace --doc --no-fail-fast",
        prints: Prints::Tests,
        ..CHECK
    },
    Program {
        name: "docs",
        line: "cargo doc --locked --workspace --no-deps",
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        ..CHECK
    },
    Program {
        name: "dependencies",
        // A skip or exception that nothing needs any more is as wrong as one that is missing.
        line: "{cargo-deny}/bin/cargo-deny --locked check \
               -D unmatched-skip -D unnecessary-skip -D unused-wrapper -D license-exception-not-encountered \
               bans licenses sources",
        ..CHECK
    },
];

/// A program that runs once and prints no tests.
const CHECK: Program =
    Program { name: "", line: "", env: &[], each: Each::Workspace, prints: Prints::NoTests };
