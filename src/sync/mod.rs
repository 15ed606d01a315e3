//! Headers, then bodies, then receipts, from several peers at once, into a store.
//!
//! Owns: what to ask of whom, what answers mean, in which order blocks reach the store. Never: a
//! socket, an actor: peers are behind the [`Source`] trait (`eth_source.rs` is the real one), the
//! chain behind [`ChainStore`]. `plan.rs` decides, `driver.rs` carries out.
//!
//! ```text
//! Source ─ answers ─> SyncPlan ─ Verify ─> Offload ─ verdict ─> SyncPlan ─ Deliver ─> ChainStore
//!    ^                   │ Ask, Cancel, Blame
//!    └───────────────────┘
//! ```
//!
//! Reading order: `source.rs`, `config.rs`, `plan.rs` (inputs), `ask.rs` (who is asked),
//! `answer.rs`, `headers.rs` and `window.rs` (ranges and blocks), `join.rs` (links and conflicts),
//! `receipts.rs` and `receipt_window.rs`, `fork.rs` and `heavier.rs` (branches), `reject.rs` and `rejected.rs`, `release.rs`, `peers.rs`,
//! `lacks.rs`, `pace.rs`, `check.rs`, `driver.rs`.

mod action;
mod answer;
mod ask;
mod bad_data;
mod check;
mod checks;
mod config;
mod driver;
mod eth_source;
mod fork;
mod handle;
mod headers;
mod heavier;
mod join;
mod lacks;
pub mod memory;
mod pace;
mod peers;
mod plan;
mod progress;
mod receipt_check;
mod receipt_window;
mod receipts;
mod reject;
mod rejected;
mod release;
mod requests;
pub mod source;
pub mod store;
#[cfg(test)]
mod tests;
mod window;

pub use config::{Receipts, SyncConfig};
pub use driver::Syncer;
pub use eth_source::EthSource;
pub use handle::{SyncError, SyncHandle};
pub use memory::MemoryStore;
pub use progress::{Fetched, Progress, ReceiptsState, RequestCounts};
pub use source::{Candidate, Claim, Source, SourceEvent};
pub use store::{ChainStore, MissingReceipts, StoreError};
