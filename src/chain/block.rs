//! One block as it is stored and served: encoded once, shared by all its readers.

use alloy_primitives::B256;
use bytes::Bytes;

/// Number and hash of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// The keccak-256 of its header's RLP.
    pub hash: B256,
}

/// One block as it is stored and served. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBlock {
    /// Its number.
    pub number: u64,
    /// The keccak-256 of `header`.
    pub hash: B256,
    /// The RLP list of the header.
    pub header: Bytes,
    /// The RLP list `[transactions, ommers, withdrawals?]`, as eth's BlockBodies carries it.
    pub body: Bytes,
}

impl RawBlock {
    /// Number and hash.
    pub fn block_ref(&self) -> BlockRef {
        BlockRef { number: self.number, hash: self.hash }
    }
}
