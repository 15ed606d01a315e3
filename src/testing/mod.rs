//! Faulty sockets and hostile peers, for tests of this crate and of its hosts.
//!
//! Owns: [`fault_io::FaultIo`], which cuts, delays and breaks a byte stream by plan, and the raw
//! peers of [`raw_peer`] and `rlpx`, which speak each layer honestly up to the one they lie at.
//! Never: part of a release build (feature `test-util`).

pub mod fault_io;
pub mod raw_peer;
#[cfg(feature = "rlpx")]
pub mod rlpx;
