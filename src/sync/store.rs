//! Where synchronised blocks go.

use crate::chain::{BlockRef, RawBlock};
use crate::protocols::eth::Chain;

/// Why a store did not take blocks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The first block does not follow the block it should.
    #[error("block {number} does not follow the head of the store")]
    Gap {
        /// The number of the block that does not fit.
        number: u64,
    },
    /// The medium failed.
    #[error("store failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A chain that grows: what the sync delivers verified blocks to, in order.
pub trait ChainStore: Chain {
    /// The block to build on: the head, or `None` while an anchor's block is still missing.
    fn head(&self) -> Option<BlockRef>;

    /// Appends verified blocks. The first one's parent is the head, or it is the anchor itself.
    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError>;

    /// Drops everything above block `number`: a heavier or longer branch follows.
    fn truncate(&self, number: u64) -> Result<(), StoreError>;
}
