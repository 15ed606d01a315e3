//! Trunkline: an actor-based multi-protocol peer connection manager.

#[cfg(feature = "eth")]
pub mod chain;
pub mod disconnect;
pub mod error;
pub mod ids;
pub mod offload;
pub mod protocols;
#[cfg(feature = "eth")]
pub mod sync;
pub mod wire;
