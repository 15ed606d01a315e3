//! Trunkline beside its rivals, in one run: rust-libp2p's request-response and the bare
//! noise + yamux stream.
//!
//! Owns: the [`harness`] that measures, the contenders ([`ours`], [`rr`], [`raw`]), the [`rows`]
//! with their bars, the [`report`]. `../README.md` says what the figures mean.

pub mod harness;
pub mod message;
pub mod ours;
pub mod raw;
pub mod report;
pub mod rows;
pub mod rr;
pub mod tally;
