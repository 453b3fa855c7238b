//! Hands TCP connections from one network namespace to another.
//!
//! `relay ADDRESS` accepts on the listening socket that it was given as standard input, which stays in the namespace
//! that it was made in, and connects to ADDRESS in the namespace that it was started in. Both sides send at once what
//! they have: with Nagle's algorithm an API server's answers come at a third of the pace.

use std::{
    env,
    io::{Error, stdin},
    os::fd::AsFd,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// After a failed accept: long enough for connections to end, short beside any deadline.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = env::args()
        .nth(1)
        .ok_or_else(|| Error::other("usage: relay ADDRESS, a listening socket as input"))?;
    let listener = std::net::TcpListener::from(stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let Ok((outside, _)) = listener.accept().await else {
            // Out of descriptors, or a caller that hung up: neither ends the service of the others.
            sleep(PAUSE).await;
            continue;
        };
        let address = address.clone();
        tokio::spawn(async move {
            // A connection that breaks concerns its two ends, who see it too.
            drop(join(outside, &address).await);
        });
    }
}

async fn join(mut outside: TcpStream, address: &str) -> Result<(), Error> {
    let mut inside = TcpStream::connect(address).await?;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    copy_bidirectional(&mut outside, &mut inside).await.map(drop)
}
