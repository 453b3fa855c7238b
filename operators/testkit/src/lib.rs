//! For tests only.
//!
//! [`ApiServer`] answers exactly the requests that the runtime sends, under the client, through the code that
//! also talks to a cluster; any other request fails the test by name. [`Fault`]s go wrong on the way. [`MovingClock`]
//! moves with tokio's paused time, at a rate of its own, and a [`Process`] can be paused and killed.

mod clock;
mod fault;
mod node;
mod process;
mod server;

pub use clock::MovingClock;
pub use fault::{Effect, Fault};
pub use node::node;
pub use process::Process;
pub use server::{ApiServer, Expiry, Logged};
