//! Trunkline: an actor-based multi-protocol peer connection manager.
//!
//! A program that embeds it says which protocols it speaks; trunkline dials, accepts,
//! authenticates, multiplexes, limits and watches the peers, and routes typed requests to their
//! answers. There is one long-lived multiplexed stream actor per peer, its listener is attached
//! before negotiation finishes, and messages are routed by request id to pending-request oneshots.
//!
//! ```text
//! in    socket ─ noise ─ yamux ─ negotiate ─ segments ─ PeerSession ─┬─ Exchange::serve
//!                                                     SessionMachine └─ PendingRequests ─ oneshot ─ caller
//! out   PeerHandle::request, answers, announcements ─ SessionMachine ─ Outbox ─ writer ─ … ─ socket
//! ```
//!
//! # Embedding
//!
//! ```no_run
//! # #[cfg(feature = "eth")]
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use trunkline::chain::ChainSpec;
//! use trunkline::protocols::eth::{Eth, GetBlockHeaders};
//! use trunkline::sync::MemoryStore;
//! use trunkline::{Config, Keypair, Network};
//!
//! let config = Config::builder().listen("/ip4/127.0.0.1/tcp/30303".parse()?).max_peers(25).build()?;
//! let eth = Eth::new(Arc::new(MemoryStore::new(Arc::new(ChainSpec::dev()))));
//! let network = Network::builder(config, Keypair::generate_secp256k1()).exchange(eth).start().await?;
//! let peer = network.dial("/ip4/127.0.0.1/tcp/30304".parse()?).await?;
//! let headers = peer.request(GetBlockHeaders::range(1, 64)).await?;
//! println!("{} sent {} headers", peer.id(), headers.len());
//! network.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to go from here
//!
//! - [`Network`], [`Config`], [`PeerHandle`]: the embedding API.
//! - [`protocols`]: what a protocol is; [`protocols::simple::Protocol`] for one question and one
//!   answer, [`protocols::Exchange`] for everything, [`protocols::SubstreamHandler`] for bytes.
//! - `chain`, `protocols::eth`, `sync`, `transactions` (feature `eth`): blocks, the eth protocol, header
//!   and body sync, the handing on of transactions.
//! - [`machine`] and [`wire`]: the decisions and encodings, pure.
//!
//! # Features
//!
//! `eth`, `metrics` and `trace-tools` are on by default; without `eth` the crate builds without
//! most of alloy. `rlpx` adds devp2p's wire, `discovery` discv4 and discv5, `cli` what the binary
//! needs, `test-util` the module `testing`.

mod actor;
#[cfg(feature = "eth")]
pub mod chain;
pub mod config;
pub mod disconnect;
#[cfg(all(feature = "discovery", feature = "eth"))]
pub mod discovering;
#[cfg(feature = "discovery")]
pub mod discovery;
pub mod error;
pub mod ids;
pub mod keyfile;
pub mod machine;
mod manager;
mod metrics;
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
pub mod trace;
#[cfg(feature = "eth")]
pub mod transactions;
pub mod transport;
pub mod wire;

pub use config::Config;
pub use disconnect::{DisconnectReason, Disconnected};
pub use error::{DialError, RequestError, StartError, SubstreamError};
pub use ids::{Direction, Keypair, PeerId, ProtocolId, SessionId, Wire};
pub use manager::blame::Record;
pub use manager::events::{Events, NetworkEvent};
pub use manager::table::PeerTable;
pub use multiaddr::{self, Multiaddr};
pub use network::{Network, NetworkBuilder};
pub use session::PeerHandle;
pub use transport::addr::PeerAddr;

#[cfg(feature = "eth")]
pub use {alloy_consensus, alloy_eip2124, alloy_primitives};
pub use {bytes, libp2p_identity};
