//! The runtime against the API server in memory, on paused time: through the same client, caches and loop that run
//! in a cluster.

#[cfg(test)]
mod cache;
#[cfg(test)]
mod client;
#[cfg(test)]
mod harbour;
#[cfg(test)]
mod run;
#[cfg(test)]
mod write;
