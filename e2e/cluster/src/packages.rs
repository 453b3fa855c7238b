//! The parts of a node that come from Debian, installed when they are missing.

use crate::{
    error::{Error, Result},
    preflight::missing_packages,
    program::{command, run},
    progress::Progress,
};

/// Installs the packages of which a program is missing; does nothing, and needs no network, where all are there.
///
/// Nothing is removed for them. Under systemd, Debian's containerd starts a service of its own, which is not used here.
pub(crate) fn ensure(progress: &Progress) -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    progress.stage(&format!("install {}", missing.join(", ")), |_| {
        // A list that is too old to have the version that the archive serves is the usual cause of a failed install.
        run(command("apt-get").args(["update", "-q"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
        let mut install = command("apt-get");
        install.args([
            "install",
            "-qy",
            "--no-install-recommends",
            "--no-remove",
            "-o",
            "DPkg::Lock::Timeout=120",
        ]);
        install.args(&missing);
        run(install.env("DEBIAN_FRONTEND", "noninteractive"))
    })?;
    let left = missing_packages();
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!("the packages {} are installed, and still a program of theirs is missing", left.join(", ")),
        "see where your distribution puts it, and link it into PATH",
    ))
}
