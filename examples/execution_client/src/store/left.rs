//! Blocks that the sync dropped, for as long as the executed head has not gone back below them: those that
//! were being executed are committed all the same, and those that were executed may return.

use std::collections::VecDeque;

use alloy_primitives::B256;
use bytes::Bytes;

use super::heads::Executed;

/// How many are remembered. One more, and the one that was dropped first is forgotten: it is not committed
/// any more.
pub(super) const LEFT_MAX: usize = 4096;
/// How many bytes of their receipts. Those of the next are not kept: they have to be fetched again.
const RECEIPT_BYTES_MAX: usize = 16 << 20;

/// What a commit or a return has to know of a block that is gone.
#[derive(Debug, Clone)]
pub(super) struct LeftBlock {
    pub executed: Executed,
    pub parent: B256,
    /// They are not made again when the block returns, because it is executed already.
    pub receipts: Option<Bytes>,
}

/// What was dropped since the executed head went back last: what comes after that is read afresh.
#[derive(Debug, Default)]
pub(super) struct Left {
    blocks: VecDeque<LeftBlock>,
    receipt_bytes: usize,
}

impl Left {
    pub(super) fn push(&mut self, mut block: LeftBlock) {
        if self.blocks.len() == LEFT_MAX
            && let Some(first) = self.blocks.pop_front()
        {
            self.receipt_bytes = self.receipt_bytes.saturating_sub(first.receipt_bytes());
        }
        let bytes = self.receipt_bytes.saturating_add(block.receipt_bytes());
        match bytes <= RECEIPT_BYTES_MAX {
            true => self.receipt_bytes = bytes,
            false => block.receipts = None,
        }
        self.blocks.push_back(block);
    }

    pub(super) fn find(&self, hash: &B256) -> Option<&LeftBlock> {
        self.blocks.iter().rev().find(|block| block.executed.block.hash == *hash)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl LeftBlock {
    fn receipt_bytes(&self) -> usize {
        self.receipts.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;
    use trunkline::chain::BlockRef;

    use super::*;

    fn block(number: u64, bytes: usize) -> LeftBlock {
        let block = BlockRef { number, hash: B256::from(U256::from(number)) };
        let executed = Executed { block, time: 0, total_difficulty: U256::ZERO, state_root: B256::ZERO };
        LeftBlock { executed, parent: B256::ZERO, receipts: Some(vec![0; bytes].into()) }
    }

    #[test]
    fn the_first_is_forgotten_when_there_are_too_many() {
        let mut left = Left::default();
        (0..LEFT_MAX as u64 + 2).for_each(|number| left.push(block(number, 1)));
        let found = |number| left.find(&block(number, 0).executed.block.hash).is_some();
        assert_eq!([0, 1, 2, LEFT_MAX as u64 + 1].map(found), [false, false, true, true]);
        assert_eq!(left.receipt_bytes, LEFT_MAX);
    }

    #[test]
    fn a_block_whose_receipts_are_too_large_is_remembered_without_them() {
        let mut left = Left::default();
        left.push(block(1, RECEIPT_BYTES_MAX - 1));
        left.push(block(2, 2));
        left.push(block(3, 1));
        let has = |number| left.find(&block(number, 0).executed.block.hash).unwrap().receipts.is_some();
        assert_eq!([1, 2, 3].map(has), [true, false, true]);
        left.clear();
        assert!(left.find(&block(1, 0).executed.block.hash).is_none());
        left.push(block(4, RECEIPT_BYTES_MAX));
        assert!(left.find(&block(4, 0).executed.block.hash).unwrap().receipts.is_some());
    }
}
