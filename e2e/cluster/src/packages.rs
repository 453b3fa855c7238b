//! The parts of a node that come from Debian, installed when they are missing.

use std::{path::Path, time::Duration};

use crate::{
    error::{Error, Result},
    preflight::missing_packages,
    program::{command, run_within},
    progress::Progress,
};

/// Found in PATH.
const APT: &str = "apt-get";

/// How long one apt-get may take: it waits 2 min for another one's lock, and a mirror may be slow.
const LIMIT: Duration = Duration::from_secs(600);

/// Installs the packages of which a program is missing; does nothing, and needs no network, where all are there.
///
/// Nothing is removed for them. Under systemd, Debian's containerd starts a service of its own, which is not used here.
pub(crate) fn ensure(progress: &Progress) -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("install {}", missing.join(", "));
    progress.stage(&what, |_| install(Path::new(APT), &missing, LIMIT))?;
    let left = missing_packages();
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!("the packages {} are installed, and still a program of theirs is missing", left.join(", ")),
        "see where your distribution puts it, and link it into PATH",
    ))
}

fn install(apt: &Path, packages: &[&str], limit: Duration) -> Result<()> {
    // A list that is too old to have the version that the archive serves is the usual cause of a failed install.
    let update = ["update", "-q"].as_slice();
    let options =
        ["install", "-qy", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=120"];
    for arguments in [update, &[&options, packages].concat()] {
        let mut apt = command(apt);
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run_within(&mut apt, limit).map_err(|error| {
            Error::refused(
                format!("cannot install {}", packages.join(", ")),
                format!("install what is named by hand, or mend what apt-get says and try again; {error}"),
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::program;

    /// What comes of an apt-get that does what this script says.
    fn install_with(script: &str) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let apt = folder.path().join(APT);
        program::script(&apt, script);
        install(&apt, &["nftables", "runc"], Duration::from_secs(1))
    }

    // Rule cluster-1.
    #[test]
    fn an_apt_get_that_fails_or_hangs_is_an_error_with_the_packages_and_the_cure() {
        let cases = [
            ("no mirror answers", "echo E: no mirror >&2; exit 100", "E: no mirror"),
            (
                "a package is unknown",
                "test $1 = update && exit 0; echo E: unknown >&2; exit 100",
                "E: unknown",
            ),
            ("it hangs", "echo 0% connecting; exec sleep 60", "0% connecting"),
        ];
        for (because, script, said) in cases {
            let error = install_with(script).expect_err(because).to_string();
            for part in ["cannot install nftables, runc", "by hand", "apt-get", said] {
                assert!(error.contains(part), "{because}: {part} is missing in: {error}");
            }
        }
    }

    #[test]
    fn lists_are_renewed_before_the_packages_are_installed() {
        let seen = tempfile::NamedTempFile::new().unwrap();
        install_with(&format!("echo $1 $DEBIAN_FRONTEND >> {}", seen.path().display())).unwrap();
        let lines = fs::read_to_string(seen.path()).unwrap();
        assert_eq!(lines, "update noninteractive\ninstall noninteractive\n");
    }
}
