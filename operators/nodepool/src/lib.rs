//! What a NodePool decides: objects in, objects out. No clock, no client, no state.
//!
//! In the order of a reconcile: [`Observed`] is what the caches hold, [`validate`] makes a [`Valid`] of a
//! pool or a [`Rejection`], [`build`] gives the [`Desired`] writes, [`status`] says what came of them, and
//! [`notices`] what is worth an event. [`cleanup`], [`abandon`] and [`release`] are the way back.
//! [`Roster::concerned`] and [`competes_alike`] tell the controller whom an event is about. The rules stand in
//! docs/designs/nodepool.md.

mod build;
mod cleanup;
mod cordon;
mod ledger;
mod names;
mod node;
mod notice;
mod patch;
mod pins;
mod quantity;
mod roster;
mod settle;
mod standing;
mod taints;
mod validate;

pub mod drain;
pub mod settings;
pub mod status;

pub use crate::{
    build::{Desired, Move, Observed, abandon, build, held, release},
    cleanup::{Evacuation, Evacuations, cleanup, members},
    names::Names,
    node::Node,
    notice::{About, Notice, Severity, notices},
    patch::Patch,
    pins::{Pins, Volume},
    quantity::Sums,
    roster::{Roster, competes_alike},
    standing::{Standing, Wait},
    validate::{Rejection, Valid, validate},
};

#[cfg(test)]
mod fixtures;
