//! Trunkline: an actor-based multi-protocol peer connection manager.

mod actor;
#[cfg(feature = "eth")]
pub mod chain;
pub mod config;
pub mod disconnect;
pub mod error;
pub mod ids;
pub mod machine;
pub mod offload;
pub mod protocols;
pub mod router;
pub mod session;
pub mod stats;
#[cfg(feature = "eth")]
pub mod sync;
pub mod transport;
pub mod wire;
