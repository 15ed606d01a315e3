//! The chain behind the eth protocol: what we claim in Status and what we serve.

use std::sync::Arc;

use alloy_primitives::{B256, U256};
use bytes::Bytes;

use crate::chain::{BlockRef, ChainSpec};

/// What we claim and serve at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainStatus {
    /// The lowest block served.
    pub earliest: u64,
    /// The highest block whose header and body are verified; nothing above it is served.
    pub latest: BlockRef,
    /// The timestamp of `latest`, for the fork id.
    pub latest_time: u64,
    /// The total difficulty of `latest`, as far as it is known (counted from the anchor).
    pub total_difficulty: U256,
    /// Whether `latest` is past the merge: blocks are no longer announced by NewBlock.
    pub merged: bool,
}

/// A chain that can be served. Called from the network thread and, for large answers, from the
/// offload's: lookups in memory, nothing slow. One that has to read a disk for an answer says so by
/// [`is_on_disk`](Self::is_on_disk).
pub trait Chain: Send + Sync + 'static {
    /// Genesis, forks, ids.
    fn spec(&self) -> &Arc<ChainSpec>;

    /// Whether `header`, `number`, `body` and `receipts` may wait for a disk. Then none of them is
    /// called on the network's thread: every answer is made through the
    /// [`Offload`](crate::offload::Offload). `spec` and `status` are called there all the same, and
    /// must be in memory. Asked once, when the service is made.
    fn is_on_disk(&self) -> bool {
        false
    }

    /// What we claim now: from memory.
    fn status(&self) -> ChainStatus;

    /// The RLP of the canonical header with this number, if it is served.
    fn header(&self, number: u64) -> Option<Bytes>;

    /// The number of the canonical block with this hash, if it is served.
    fn number(&self, hash: &B256) -> Option<u64>;

    /// The RLP list `[transactions, ommers, withdrawals?]` of a block.
    fn body(&self, hash: &B256) -> Option<Bytes>;

    /// The RLP list of a block's receipts in consensus form (typed ones as strings, with bloom).
    fn receipts(&self, hash: &B256) -> Option<Bytes>;
}
