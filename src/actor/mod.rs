//! The one context type of all our actors, and the one type of address.
//!
//! Owns: the seam between actix and the trace. [`Ctx`] is a context of our own: every mailbox
//! message, stream item, timer and spawned future of every actor passes through it and is recorded,
//! without a line in the actors themselves. [`Address`] records what is sent. Never: what a message
//! means. With the trace switched off both do what actix does and nothing else.

mod address;
mod context;
mod envelope;
mod items;
mod running;

pub(crate) use address::{Address, Ticket};
pub(crate) use context::{Ctx, start};
