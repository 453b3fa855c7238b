//! The controllers over the real runtime, against the API server in memory.

#[cfg(test)]
mod deletion;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod node_pool;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod release;
#[cfg(test)]
mod yard;
