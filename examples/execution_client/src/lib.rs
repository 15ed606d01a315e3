//! A small execution client that follows a chain by itself.
//!
//! ```text
//! peers ─> headers ─> bodies ─> receipts      trunkline::sync, into `store`
//!                        └────> execution     `pipeline`: `evm`, then `state`, then `store`
//! pool <─> peers                              `pool`, behind trunkline::transactions
//! ```
//!
//! `node` is the part that embeds trunkline; everything else would be the same with another network.

pub mod evm;
pub mod genesis;
pub mod pool;
pub mod state;
pub mod store;
