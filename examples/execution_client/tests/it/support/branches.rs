//! Branches of the development chain.

use std::sync::Arc;

use alloy_primitives::{B256, U256};
use bytes::Bytes;
use trunkline::chain::{ChainSpec, DevChain, RawBlock};
use trunkline::sync::MemoryStore;

use super::chains::header_of;

/// Transactions of each block.
const TRANSACTIONS: usize = 3;

/// One branch from the genesis on, which can be made longer.
#[derive(Clone)]
pub(crate) struct Branch {
    made: DevChain,
    blocks: Vec<(RawBlock, Bytes)>,
}

impl Branch {
    /// So many blocks above the genesis.
    pub(crate) fn new(blocks: usize) -> Self {
        let mut branch = Self { made: DevChain::new(1), blocks: Vec::new() };
        branch.grow(blocks);
        branch
    }

    /// The same blocks, and so many others above.
    pub(crate) fn fork(&self, seed: u64, more: usize) -> Self {
        let mut fork = Self { made: self.made.fork(seed), blocks: self.blocks.clone() };
        fork.grow(more);
        fork
    }

    /// Makes so many more.
    pub(crate) fn grow(&mut self, blocks: usize) -> &[(RawBlock, Bytes)] {
        let before = self.blocks.len();
        for _ in 0..blocks {
            // The timestamp follows the parent's.
            self.blocks.push(self.made.next_block(TRANSACTIONS, 0));
        }
        &self.blocks[before..]
    }

    /// From block 1 on.
    pub(crate) fn blocks(&self) -> Vec<RawBlock> {
        self.blocks.iter().map(|(block, _)| block.clone()).collect()
    }

    /// What a peer serves that has all of it.
    pub(crate) fn store(&self) -> MemoryStore {
        let store = MemoryStore::new(Arc::new(ChainSpec::dev()));
        let (blocks, receipts) = self.blocks.iter().cloned().unzip();
        store.extend(blocks, receipts).expect("fits");
        store
    }

    /// Number, hash and state root of the last block.
    pub(crate) fn head(&self) -> (u64, B256, B256) {
        let (last, _) = self.blocks.last().expect("blocks");
        (last.number, last.hash, header_of(last).state_root)
    }

    /// Each block weighs the same.
    pub(crate) fn total_difficulty(&self) -> U256 {
        let genesis = ChainSpec::dev().genesis_header().difficulty;
        genesis + U256::from(self.blocks.len())
    }
}
