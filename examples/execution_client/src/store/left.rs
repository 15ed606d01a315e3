//! Blocks that the sync dropped while they were being executed: they are committed all the same, and undone.

use std::collections::VecDeque;

use alloy_primitives::B256;

use super::heads::Executed;

/// How many are remembered; the one that was dropped first is forgotten, and not committed any more.
pub(super) const LEFT_MAX: usize = 4096;

/// What a commit has to know of a block whose header is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftBlock {
    pub executed: Executed,
    pub parent: B256,
}

/// What was dropped since the executed head went back last: what comes after that is read afresh.
#[derive(Debug, Default)]
pub(super) struct Left(VecDeque<LeftBlock>);

impl Left {
    pub(super) fn push(&mut self, block: LeftBlock) {
        if self.0.len() == LEFT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(block);
    }

    pub(super) fn find(&self, hash: &B256) -> Option<&LeftBlock> {
        self.0.iter().rev().find(|block| block.executed.block.hash == *hash)
    }

    pub(super) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}
