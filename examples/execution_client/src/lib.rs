//! A small execution client that follows a chain by itself.
//!
//! ```text
//! peers ─> headers ─> bodies ─> receipts      trunkline::sync, into `store`
//!                        └────> execution     `pipeline`: `evm`, then `state`, then `store`
//! pool <─> peers                              `pool`, behind trunkline::transactions
//! ```
//!
//! `node` is the part that embeds trunkline; everything else would be the same with another network.

pub mod args;
pub mod client;
pub mod evm;
pub mod failure;
pub mod genesis;
pub mod node;
pub mod pipeline;
pub mod pool;
pub mod pooling;
pub mod producer;
pub mod report;
pub mod signals;
pub mod start;
pub mod state;
pub mod store;
