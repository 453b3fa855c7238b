//! For tests only.
//!
//! [`ApiServer`] answers exactly the requests that the runtime sends, under the client, through the code that
//! also talks to a cluster; any other request fails the test by name. [`Fault`]s go wrong on the way. [`MovingClock`]
//! moves with tokio's paused time.

mod clock;
mod fault;
mod node;
mod server;

pub use clock::MovingClock;
pub use fault::{Effect, Fault};
pub use node::node;
pub use server::{ApiServer, Expiry, Logged};
