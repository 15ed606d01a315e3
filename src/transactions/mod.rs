//! Transactions that are in no block yet: asked for when they are announced, checked by the host's
//! pool, handed on.
//!
//! Owns: who is asked for what, who knows what, who is sent what. Never: a verdict about a
//! transaction, which is the [`TransactionPool`]'s, nor a socket: peers are behind the [`Source`]
//! trait (`eth_peers.rs` is the real one). `plan.rs` decides, `driver.rs` carries out.
//!
//! ```text
//! Source ─ announcements, transactions, answers ─> TransactionPlan ─ Add ─> Offload: the pool ─ verdicts ─┐
//!    ^                                                │    ^───────────────────────────────────────────────┘
//!    └─────────────────── Ask, Tell, Blame ───────────┘
//! ```
//!
//! Reading order: `pool.rs` (what a host brings), `source.rs`, `config.rs`, `wants.rs` (hashes that
//! somebody has), `plan.rs` (inputs), `answer.rs`, `fetch.rs` (who is asked), `checking.rs` (what waits
//! for the pool), `share.rs` (who is told what), `known.rs`, `driver.rs`, `handle.rs`.

mod action;
mod answer;
mod checking;
mod config;
mod driver;
mod eth_peers;
mod fetch;
mod handle;
mod known;
mod plan;
mod pool;
mod share;
pub mod source;
#[cfg(test)]
mod tests;
mod wants;

pub use crate::protocols::eth::PooledTransaction;
pub use config::TransactionsConfig;
pub use driver::Transactions;
pub use eth_peers::EthPeers;
pub use handle::{TransactionCounts, TransactionsError, TransactionsHandle};
pub use pool::{TransactionPool, Verdict};
pub use source::{Source, SourceEvent};
