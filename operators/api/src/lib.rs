//! The kinds of Stowage as types: schema, defaults and CEL rules.
//!
//! Guarantees: nothing here decides about a cluster. Each kind is one module and one row in
//! [`crds`]; its doc comments are what `kubectl explain` prints. Texts that have rules of their own
//! ([`LabelKey`], [`NodeName`], [`Duration`] and the like) are types that only a checked constructor
//! makes.

mod crd;
mod rules;
mod schema;
mod syntax;

pub mod condition;
pub mod keys;
pub mod node_pool;
pub mod reserved;

pub use crate::{
    crd::crds,
    node_pool::{NodeCounts, NodePool, NodePoolSpec, NodePoolStatus, NodeSamples},
    syntax::{Duration, LabelKey, LabelValue, NodeName, Quantity, Size, Syntax, Sysctl, Threshold},
};
