//! The runtime against the API server in memory, on paused time: through the same client, caches and loop that run
//! in a cluster.

#[cfg(test)]
mod cache;
#[cfg(test)]
mod children;
#[cfg(test)]
mod client;
#[cfg(test)]
mod harbour;
#[cfg(test)]
mod leader;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod process;
#[cfg(test)]
mod run;
#[cfg(test)]
mod write;
