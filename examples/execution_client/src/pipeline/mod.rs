//! Execution: what the sync stored is executed, checked and committed, block after block.
//!
//! ```text
//! sync ─ append ─> store ─ blocks ─> senders ─ chunks ─> execution ─ commit ─> store
//!          ^ ready                  (bounded)                │
//!          └──────────── executed ───────────────────────────┘
//! ```
//!
//! Owns: the two stages behind the sync, and what is executed and not yet committed. Never: a peer.
//! The sync waits for [`Store::room`](crate::store::Store::room), so that bodies are never more than a
//! bounded number of blocks ahead of execution; senders are recovered [`senders::CHUNKS_MAX`] chunks
//! ahead at most; what is executed is committed before it has many bytes.

mod driver;
mod execution;
mod senders;
mod told;

pub use driver::Pipeline;
pub use told::{BadBlock, Committed, PipelineError, Told, Wait};

/// How far each stage is, by block number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub headers: u64,
    pub bodies: u64,
    /// Receipts are complete up to here, fetched or made.
    pub receipts: u64,
    pub executed: u64,
    /// The block to get to.
    pub target: u64,
}
