//! Blocks that the sync dropped from the chain, for the transactions in them.

use std::collections::VecDeque;

use trunkline::chain::RawBlock;

/// How many blocks are kept until they are taken. One more, and the one that has been here longest goes.
pub(super) const BLOCKS_MAX: usize = 128;
/// How many bytes those blocks may have.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// The latest blocks that were dropped and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    blocks: VecDeque<RawBlock>,
    bytes: usize,
}

impl Dropped {
    /// Whether a block of this size would be kept beside `blocks` others of `bytes` that are newer.
    pub(super) fn has_room(blocks: usize, bytes: usize) -> bool {
        blocks < BLOCKS_MAX && bytes <= BYTES_MAX
    }

    pub(super) fn push(&mut self, block: RawBlock) {
        self.bytes = self.bytes.saturating_add(size(&block));
        self.blocks.push_back(block);
        while self.blocks.len() > BLOCKS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.blocks.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(size(&oldest));
        }
    }

    pub(super) fn take(&mut self) -> Vec<RawBlock> {
        self.bytes = 0;
        std::mem::take(&mut self.blocks).into()
    }
}

pub(super) fn size(block: &RawBlock) -> usize {
    block.header.len().saturating_add(block.body.len())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use bytes::Bytes;

    use super::*;

    fn block(number: u64, bytes: usize) -> RawBlock {
        RawBlock { number, hash: B256::ZERO, header: Bytes::new(), body: vec![0; bytes].into() }
    }

    #[test]
    fn only_the_latest_blocks_are_kept() {
        let mut dropped = Dropped::default();
        (0..200).for_each(|number| dropped.push(block(number, 1)));
        let numbers: Vec<_> = dropped.take().iter().map(|block| block.number).collect();
        assert_eq!(numbers, (72..200).collect::<Vec<_>>());
        assert!(dropped.take().is_empty());
    }

    #[test]
    fn large_blocks_drive_out_older_ones() {
        let mut dropped = Dropped::default();
        (0..5).for_each(|number| dropped.push(block(number, 5 << 20)));
        let numbers: Vec<_> = dropped.take().iter().map(|block| block.number).collect();
        assert_eq!(numbers, [2, 3, 4]);
        dropped.push(block(9, BYTES_MAX + 1));
        assert!(dropped.take().is_empty(), "larger than everything together may be");
    }
}
