//! The first process of a pod or machine: it does nothing but wait, reap what is left to it, and go when told to.

use rustix::process::{WaitOptions, wait};
use signal_hook::{
    consts::{SIGCHLD, SIGINT, SIGTERM},
    iterator::Signals,
};

fn main() -> std::io::Result<()> {
    for signal in Signals::new([SIGCHLD, SIGINT, SIGTERM])?.forever() {
        if signal != SIGCHLD {
            break;
        }
        // One signal may stand for several children.
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
    }
    Ok(())
}
