//! Where synchronised blocks go.

use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use futures::future::{self, BoxFuture};

use crate::chain::{BlockRef, HeaderFacts, RawBlock};
use crate::protocols::eth::Chain;
use crate::wire::rlp::List;

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

/// A block in the store whose receipts are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingReceipts {
    /// What its header says, the root of the receipts included.
    pub facts: HeaderFacts,
    /// How many transactions it has, and so how many receipts.
    pub transactions: usize,
}

/// A chain that grows: what the sync delivers verified blocks to, in order.
pub trait ChainStore: Chain {
    /// The block to build on: the head, or `None` while an anchor's block is still missing.
    fn head(&self) -> Option<BlockRef>;

    /// Resolves when there is room for more blocks; at once by default. Awaited before each
    /// [`append`](Self::append), so a host whose own work on blocks is slow holds the sync back with
    /// it: headers and bodies fill up to their bounds, then nothing more is asked for.
    ///
    /// After a rejected block ([`SyncHandle::reject`](super::SyncHandle::reject)) one append may come
    /// without it. The future may be dropped.
    fn ready(&self) -> BoxFuture<'static, ()> {
        Box::pin(future::ready(()))
    }

    /// Appends verified blocks. The first one's parent is the head, or it is the anchor itself.
    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError>;

    /// Drops everything above block `number`: a heavier or longer branch follows.
    fn truncate(&self, number: u64) -> Result<(), StoreError>;

    /// Which blocks from number `from` to number `to` have receipts that the store does not have,
    /// lowest first. Those without transactions have none.
    ///
    /// The default looks at each of them through [`Chain`].
    fn missing_receipts(&self, from: u64, to: u64) -> Vec<MissingReceipts> {
        let missing = |number| {
            let facts = HeaderFacts::read(&self.header(number)?).ok()?;
            if facts.receipts_root == EMPTY_ROOT_HASH || self.receipts(&facts.hash).is_some() {
                return None;
            }
            let body = self.body(&facts.hash)?;
            let transactions = List::whole(&body).and_then(|mut body| body.item()?.list()?.count(1)).ok()?;
            Some(MissingReceipts { facts, transactions })
        };
        let to = to.min(self.status().latest.number);
        (from..=to).filter_map(missing).collect()
    }

    /// Takes verified receipts, each by the hash of its block and in consensus form; those of blocks
    /// that were dropped meanwhile are left out.
    ///
    /// Only called for blocks that [`missing_receipts`](Self::missing_receipts) named, perhaps while
    /// blocks are appended or dropped. From then on [`Chain::receipts`] has them.
    fn put_receipts(&self, receipts: Vec<(B256, Bytes)>) -> Result<(), StoreError>;
}
