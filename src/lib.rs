//! Trunkline: an actor-based multi-protocol peer connection manager.

mod actor;
#[cfg(feature = "eth")]
pub mod chain;
pub mod config;
pub mod disconnect;
pub mod error;
pub mod ids;
pub mod machine;
mod manager;
mod network;
pub mod offload;
pub mod protocols;
pub mod router;
pub mod session;
pub mod stats;
#[cfg(feature = "eth")]
pub mod sync;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod transport;
pub mod wire;

pub use config::Config;
pub use disconnect::{DisconnectReason, Disconnected};
pub use error::{DialError, RequestError, StartError, SubstreamError};
pub use ids::{Direction, Keypair, PeerId, ProtocolId, SessionId};
pub use manager::blame::Record;
pub use manager::events::{Events, NetworkEvent};
pub use manager::table::PeerTable;
pub use multiaddr::{self, Multiaddr};
pub use network::{Network, NetworkBuilder};
pub use session::PeerHandle;
pub use transport::addr::PeerAddr;
