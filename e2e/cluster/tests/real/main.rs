//! Tests on real clusters: what the crate promises, seen happening.
//!
//! `cargo xtask test` runs them, one at a time: `lifecycle` and `virtual_nodes` start clusters of their own; `nodes` uses,
//! and breaks, the cluster of the whole run.

mod given;
mod leftovers;
mod lifecycle;
mod nodes;
mod virtual_nodes;
