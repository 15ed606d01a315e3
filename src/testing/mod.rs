//! Faulty sockets and hostile peers, for tests of this crate and of its hosts.
//!
//! Owns: [`fault_io::FaultIo`], which cuts, delays and breaks a byte stream by plan, and the raw
//! peers of [`raw_peer`] and `rlpx`, which speak each layer honestly up to the one they lie at, and
//! the input functions of fuzz targets that need more than the public API.
//! Never: part of a release build (feature `test-util`).

pub mod fault_io;
#[cfg(feature = "discovery")]
mod fuzz_discovery;
pub mod raw_peer;
#[cfg(feature = "rlpx")]
pub mod rlpx;

#[cfg(feature = "discovery")]
pub use fuzz_discovery::fuzz_discovery_packet;
