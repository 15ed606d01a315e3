//! The chain of executed blocks as far as it is in memory: blocking work, driven by `driver.rs`.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::B256;
use alloy_rlp::Decodable;
use trunkline::chain::BlockRef;
use trunkline::protocols::eth::Chain as _;

use super::told::{BadBlock, PipelineError};
use crate::evm::{BlockError, ExecuteError, Executor, Prepared};
use crate::state::WorkingState;
use crate::store::{ExecutedBlock, StateSnapshot, Store, StoreFailure};

/// What is executed is committed when the state it changed has so many bytes.
const COMMIT_BYTES: usize = 8 << 20;
/// Or when there are so many blocks.
const COMMIT_BLOCKS: usize = 512;

/// What became of a chunk.
pub(super) enum Ran {
    /// All of it was executed.
    All,
    /// A block does not follow the executed head: the chain has changed below it.
    Elsewhere,
    Bad(BadBlock),
}

/// What a commit wrote.
pub(super) struct Wrote {
    pub(super) head: BlockRef,
    pub(super) header: Header,
    /// Transactions of these blocks.
    pub(super) mined: Vec<B256>,
}

pub(super) struct Execution {
    executor: Arc<Executor>,
    store: Arc<Store>,
    working: WorkingState<StateSnapshot>,
    head: BlockRef,
    header: Header,
    done: Vec<ExecutedBlock>,
    mined: Vec<B256>,
}

impl Execution {
    /// Goes on where the store's executed head is.
    pub(super) fn new(executor: Arc<Executor>, store: Arc<Store>) -> Result<Self, PipelineError> {
        let head = store.executed().block;
        // While the head is of a branch that was left, its header is gone; the first thing to come is
        // an unwinding, which finds the one below.
        let header = header_of(&store, head).unwrap_or_default();
        let working = WorkingState::new(store.state());
        Ok(Self { executor, store, working, head, header, done: Vec::new(), mined: Vec::new() })
    }

    pub(super) fn head(&self) -> BlockRef {
        self.head
    }

    /// Whether the executed head is still a block of the stored chain.
    pub(super) fn is_canonical(&self) -> bool {
        self.store.number(&self.head.hash) == Some(self.head.number)
    }

    pub(super) fn run(&mut self, blocks: Vec<Prepared>) -> Result<Ran, PipelineError> {
        for block in blocks {
            let of = block.block_ref();
            if of.number <= self.head.number {
                continue;
            }
            if block.header.parent_hash != self.head.hash {
                return Ok(Ran::Elsewhere);
            }
            if let Err(bad) = self.execute(&block)? {
                return Ok(Ran::Bad(BadBlock { block: of, what: bad.what(), why: bad.to_string() }));
            }
        }
        Ok(Ran::All)
    }

    /// The inner error is the block's fault, the outer one ours.
    fn execute(&mut self, block: &Prepared) -> Result<Result<(), BlockError>, PipelineError> {
        let output = match self.executor.execute(block, &self.header, &self.working) {
            Ok(output) => output,
            Err(ExecuteError::Bad(bad)) => return Ok(Err(bad)),
            Err(ExecuteError::State(error)) => return Err(error.into()),
        };
        let applied = self.working.apply(&output.diff)?;
        let expected = block.header.state_root;
        if applied.root != expected {
            self.working.discard()?;
            return Ok(Err(BlockError::StateRoot { expected, got: applied.root }));
        }
        let of = block.block_ref();
        self.working.push_block_hash(of.number, of.hash);
        self.mined.extend(block.transaction_hashes());
        self.head = of;
        self.header = block.header.clone();
        self.done.push(ExecutedBlock { block: of, receipts: output.receipts, undo: applied.undo });
        Ok(Ok(()))
    }

    /// Whether enough is waiting to be committed.
    pub(super) fn is_full(&self) -> bool {
        self.done.len() >= COMMIT_BLOCKS || self.working.bytes() >= COMMIT_BYTES
    }

    /// Whether anything is.
    pub(super) fn has_uncommitted(&self) -> bool {
        !self.done.is_empty()
    }

    /// Writes what was executed since the last time, all or nothing. Nothing is written, and all of it
    /// forgotten, if one of the blocks is not on the stored chain any more.
    pub(super) fn commit(&mut self) -> Result<Option<Wrote>, PipelineError> {
        if self.done.is_empty() {
            return Ok(None);
        }
        let batch = self.working.take();
        let mined = std::mem::take(&mut self.mined);
        match self.store.commit(std::mem::take(&mut self.done), batch) {
            Ok(()) => self.working.rebase(self.store.state()),
            // The sync has left this branch meanwhile: what is not committed of it never was.
            Err(StoreFailure::Gone { .. }) => {
                let again = Self::new(self.executor.clone(), self.store.clone())?;
                *self = again;
                return Ok(None);
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(Some(Wrote { head: self.head, header: self.header.clone(), mined }))
    }

    /// Goes back to the highest executed block that is still canonical. What was executed must have
    /// been committed.
    pub(super) fn unwind(&mut self) -> Result<BlockRef, PipelineError> {
        debug_assert!(self.done.is_empty());
        let mut at = self.head;
        while self.store.number(&at.hash) != Some(at.number) {
            let undo = self.store.undo(at.number)?.filter(|undo| undo.block == at);
            let undo = undo.ok_or(PipelineError::TooDeep { number: at.number })?;
            self.working.apply(&undo.diff)?;
            at = undo.parent;
        }
        let header = header_of(&self.store, at).ok_or(PipelineError::HeaderMissing { number: at.number })?;
        let root = self.working.root()?;
        if root != header.state_root {
            return Err(PipelineError::Unwound { number: at.number, expected: header.state_root, got: root });
        }
        let batch = self.working.take();
        self.store.unwind(at, batch)?;
        self.working = WorkingState::new(self.store.state());
        self.head = at;
        self.header = header;
        Ok(at)
    }
}

fn header_of(store: &Store, block: BlockRef) -> Option<Header> {
    let number = store.number(&block.hash)?;
    Header::decode(&mut &trunkline::protocols::eth::Chain::header(store, number)?[..]).ok()
}
