//! What the suite needs of a machine: looked for first, got where that is possible, else named with its cure.
//!
//! What the real cluster needs (Debian packages, capabilities, limits) is found and said by `stowage_cluster`.

use anyhow::{Context, Result, anyhow};

use super::Places;
use crate::suite::{Prints, Suite, finish};

/// Something that must be there before the steps that use it.
#[derive(Debug)]
pub(super) struct Needed {
    name: &'static str,
    /// A command that succeeds where it is there.
    probe: &'static str,
    /// A command that gets it.
    obtain: Option<Obtain>,
    /// What a person can do.
    cure: &'static str,
}

#[derive(Debug)]
struct Obtain {
    line: &'static str,
    env: &'static [(&'static str, &'static str)],
}

/// All that is needed.
pub(super) const NEEDED: &[Needed] = &[
    Needed {
        name: "rustfmt",
        probe: "cargo fmt --version",
        obtain: Some(Obtain { line: "rustup component add rustfmt", env: &[] }),
        cure: "add it to your toolchain: rustup component add rustfmt",
    },
    Needed {
        name: "clippy",
        probe: "cargo clippy --version",
        obtain: Some(Obtain { line: "rustup component add clippy", env: &[] }),
        cure: "add it to your toolchain: rustup component add clippy",
    },
    Needed {
        name: "Go",
        probe: "go version",
        obtain: None,
        cure: "the cluster's programs are built with it: see https://go.dev/doc/install, and put its bin into PATH",
    },
    Needed {
        name: "cargo-deny",
        probe: "{cargo-deny}/bin/cargo-deny --version",
        // Its own release profile (one unit, fat LTO) takes many times as long to build as all its runs ever save.
        obtain: Some(Obtain {
            line: "cargo install cargo-deny --version {cargo-deny-version} --locked --profile dev --root {cargo-deny}",
            env: &[("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_OPT_LEVEL", "1")],
        }),
        cure: "it is built from crates.io: see why that failed",
    },
];

impl Needed {
    /// Looks for it and gets it, as a step.
    pub(super) fn ensure(&self, places: &Places, suite: &mut Suite) -> Result<()> {
        suite.step(self.name, Prints::NoTests, |log| {
            let probe = || finish(&mut places.command(self.probe), log);
            let Err(missing) = probe() else { return Ok(()) };
            let got = match &self.obtain {
                None => Err(missing),
                Some(Obtain { line, env }) => {
                    finish(places.command(line).envs(env.iter().copied()), log).and_then(|()| probe())
                }
            };
            got.with_context(|| anyhow!("{} is missing: {}", self.name, self.cure))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs one `ensure` in a folder of its own and returns (passed, failed).
    fn ensure(needed: &Needed) -> (u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places { root: dir.path().into(), xtask: "".into(), words: Vec::new() };
        let mut suite = Suite::begin(dir.path().join("logs"), stowage_cluster::Progress::silent()).unwrap();
        needed.ensure(&places, &mut suite).unwrap();
        let counts = suite.end(&[], false).unwrap();
        (counts.passed, counts.failed)
    }

    const GOT: Option<Obtain> = Some(Obtain { line: "touch it", env: &[] });
    const USELESS: Option<Obtain> = Some(Obtain { line: "touch another", env: &[] });

    // Rule xtask-4.
    #[test]
    fn what_is_missing_is_got_and_looked_for_again() {
        let needed = |probe, obtain| Needed { name: "it", probe, obtain, cure: "make it" };
        let cases = [
            ("there already", needed("true", None), (1, 0)),
            ("missing, and nothing gets it", needed("test -e it", None), (0, 1)),
            ("missing, and got", needed("test -e it", GOT), (1, 0)),
            ("missing, and what was got is not it", needed("test -e it", USELESS), (0, 1)),
        ];
        for (because, needed, wanted) in cases {
            assert_eq!(ensure(&needed), wanted, "{because}");
        }
    }
}
