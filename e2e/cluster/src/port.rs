//! The port of the API on the machine's own side.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
};

use procfs::{
    net::{TcpState, tcp, tcp6},
    process::{FDTarget, Process, all_processes},
};

use crate::error::{Error, Result};

/// The port that the API is served on where it is free.
pub const PORT: u16 = 16_443;

/// How many ports above [`PORT`] are tried.
const PORTS_TRIED: u16 = 100;

/// Takes the port of the API on 127.0.0.1: `wanted`, or else the first free one from [`PORT`] on.
///
/// The listener is handed to the relay as it is, so that nobody can take the port between.
pub(crate) fn listen(wanted: Option<u16>) -> Result<TcpListener> {
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = wanted {
        return bind(port).map_err(|error| {
            let holder = holder(port).map(|holder| format!("; it is held by {holder}")).unwrap_or_default();
            Error::refused(
                format!("port {port} of 127.0.0.1 cannot be had ({error}{holder})"),
                "name another with --port, or leave it out to take the first free one",
            )
        });
    }
    let end = PORT.saturating_add(PORTS_TRIED);
    (PORT..end).find_map(|port| bind(port).ok()).ok_or_else(|| {
        Error::refused(format!("no port of 127.0.0.1 from {PORT} to {end} is free"), "name one with --port")
    })
}

/// Who listens on a port, as far as it can be seen: the program, whose path names the cluster of a relay, and its process.
fn holder(port: u16) -> Option<String> {
    let sockets: BTreeSet<u64> = [tcp(), tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port)
        .map(|socket| socket.inode)
        .collect();
    let process = all_processes().ok()?.flatten().find(|process| holds(process, &sockets))?;
    let program = process.cmdline().ok().and_then(|line| line.into_iter().next());
    Some(format!("{}, process {}", program.unwrap_or_default(), process.pid))
}

/// A process that ends meanwhile, or is another user's, holds nothing that we can see.
fn holds(process: &Process, sockets: &BTreeSet<u64>) -> bool {
    let mut files = process.fd().into_iter().flatten().flatten();
    files.any(|file| matches!(file.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Rule cluster-13.
    #[test]
    fn a_port_in_use_is_named_with_its_holder_and_the_cure() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = listen(Some(port)).unwrap_err().to_string();
        let holder = format!("process {}", std::process::id());
        for part in [format!("port {port} "), holder, "--port".to_owned()] {
            assert!(error.contains(&part), "{part} is missing in: {error}");
        }
    }

    // Rule cluster-13.
    #[test]
    fn a_second_cluster_takes_the_next_free_port() {
        let first = listen(None).unwrap().local_addr().unwrap().port();
        let held = listen(Some(first)).unwrap();
        let second = listen(None).unwrap().local_addr().unwrap().port();
        assert!(second > held.local_addr().unwrap().port(), "{second}");
    }
}
