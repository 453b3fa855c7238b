//! What a NodePool decides: objects in, objects out. No clock, no client, no state.
//!
//! In the order of a reconcile: [`Observed`] is what the caches hold, [`validate`] makes a [`Valid`] of a
//! pool or a [`Rejection`], [`build`] gives the [`Desired`] writes, and [`status`] says what came of them.
//! [`cleanup`] and [`release`] are the way back. [`Roster::concerned`] and [`competes_alike`] tell the
//! controller whom an event is about. The rules stand in docs/designs/nodepool.md.

mod build;
mod ledger;
mod names;
mod node;
mod patch;
mod roster;
mod validate;

pub mod status;

pub use crate::{
    build::{Desired, Observed, Standing, build, cleanup, release},
    names::Names,
    node::Node,
    roster::{Roster, competes_alike},
    validate::{Rejection, Valid, validate},
};

#[cfg(test)]
mod fixtures;
