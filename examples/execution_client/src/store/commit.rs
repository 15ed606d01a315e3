//! Executed blocks and their state going in, and coming out again.

use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use redb::{ReadableTable, WriteTransaction};
use trunkline::chain::{BlockRef, ChainSpec};
use trunkline::protocols::eth::ChainStatus;

use super::batch::write_state;
use super::codec::{self, HeaderRow};
use super::error::StoreFailure;
use super::handle::Store;
use super::heads::{self, Executed};
use super::left::Left;
use super::tables::{HEADERS, META, RECEIPTS, UNDO, meta};
use crate::state::{BlockDiff, StateBatch};

/// How many of the executed blocks can be undone. The records of older ones are dropped with each commit.
pub const UNDO_MAX: u64 = 128;

/// A block that was executed, with what it left.
#[derive(Debug, Clone)]
pub struct ExecutedBlock {
    pub block: BlockRef,
    /// The RLP list of its receipts in consensus form. Not written when they are there already.
    pub receipts: Bytes,
    /// What leads back to the state before it.
    pub undo: BlockDiff,
}

/// The way back from an executed block to the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    pub block: BlockRef,
    pub parent: BlockRef,
    pub diff: BlockDiff,
}

impl Store {
    /// Writes executed blocks, which follow the executed head, with everything they changed together. It
    /// lasts when this returns.
    ///
    /// Blocks that the sync dropped while they were executed are taken as well: the executed head is then
    /// not on the stored chain, is not served, and is for [`unwind`](Self::unwind) to bring back. Fails with
    /// [`StoreFailure::Gone`], and writes nothing, for blocks that were never stored or that are too many to
    /// be undone.
    pub fn commit(&self, blocks: Vec<ExecutedBlock>, state: StateBatch) -> Result<(), StoreFailure> {
        let left = self.writing();
        let Some(last) = blocks.last().map(|last| last.block.number) else { return Ok(()) };
        let mut heads = self.heads();
        let before = self.executed();
        let executed = self.write(|transaction| {
            let served = &mut heads.served;
            let mut going_in = Blocks { spec: &self.spec, left: &left, head: before, served };
            going_in.write(transaction, last, blocks)?;
            let executed = going_in.head;
            write_state(transaction, &state)?;
            put_executed(transaction, &executed)?;
            Ok(executed)
        })?;
        self.refresh()?;
        self.set_heads(heads);
        self.tell(Some(executed));
        Ok(())
    }

    /// How to get from this block's state back to that of its parent, if it is one of the last
    /// [`UNDO_MAX`] that were executed. Those that the sync dropped are among them until
    /// [`unwind`](Self::unwind).
    pub fn undo(&self, number: u64) -> Result<Option<Undo>, StoreFailure> {
        let row = self.read(|view| view.undo(number))?;
        Ok(row.map(|row| Undo {
            block: BlockRef { number, hash: row.block },
            parent: row.parent.block,
            diff: row.diff,
        }))
    }

    /// Brings the executed head down to the block `to`; `state` has everything that is otherwise there. The
    /// undo records above are dropped.
    ///
    /// Fails with [`StoreFailure::NoWayBack`] when the records do not lead to `to`.
    pub fn unwind(&self, to: BlockRef, state: StateBatch) -> Result<(), StoreFailure> {
        let mut left = self.writing();
        let now = self.executed();
        let executed = if now.block == to { now } else { self.way_back(now.block.number, to)? };
        self.write(|transaction| {
            write_state(transaction, &state)?;
            transaction.open_table(UNDO)?.retain_in::<u64, _>(to.number.saturating_add(1).., |_, _| false)?;
            put_executed(transaction, &executed)
        })?;
        let mut heads = self.heads();
        // Else the sync has dropped that one too, and what is served is lower already.
        if self.read(|view| view.hash(to.number))? == Some(to.hash) {
            heads.served = self.read(|view| view.status(&self.spec, to.number))?;
        }
        left.clear();
        self.set_heads(heads);
        self.refresh()?;
        self.tell(Some(executed));
        Ok(())
    }
}

impl Store {
    /// The head that the undo records come to at block `to`, below block `from`.
    fn way_back(&self, from: u64, to: BlockRef) -> Result<Executed, StoreFailure> {
        let above = to.number.saturating_add(1);
        match self.read(|view| view.undo(above))? {
            Some(row) if row.parent.block == to && above <= from => Ok(row.parent),
            _ => Err(StoreFailure::NoWayBack { from, to: to.number }),
        }
    }
}

/// Executed blocks on their way in.
struct Blocks<'a> {
    spec: &'a ChainSpec,
    left: &'a Left,
    /// The block before the next one.
    head: Executed,
    /// The highest of them that is on the stored chain.
    served: &'a mut ChainStatus,
}

impl Blocks<'_> {
    /// Writes receipts and undo records of blocks up to number `last`.
    fn write(
        &mut self,
        transaction: &WriteTransaction,
        last: u64,
        blocks: Vec<ExecutedBlock>,
    ) -> Result<(), StoreFailure> {
        let headers = transaction.open_table(HEADERS)?;
        let mut receipts = transaction.open_table(RECEIPTS)?;
        let mut undo = transaction.open_table(UNDO)?;
        let oldest = last.saturating_sub(UNDO_MAX).saturating_add(1);
        undo.retain_in::<u64, _>(..oldest, |_, _| false)?;
        for block in blocks {
            let BlockRef { number, hash } = block.block;
            let gone = StoreFailure::Gone { number };
            let stored = headers.get(number)?;
            let row = stored.as_ref().map(|row| HeaderRow::read(row.value())).transpose()?;
            let (head, parent) = match row.filter(|row| row.hash == hash) {
                Some(row) => {
                    let facts = row.facts()?;
                    if facts.receipts_root != EMPTY_ROOT_HASH && receipts.get(number)?.is_none() {
                        receipts.insert(number, &block.receipts[..])?;
                    }
                    *self.served = heads::status(self.spec, &facts, row.total_difficulty);
                    (row.executed(&facts)?, facts.parent_hash)
                }
                None => match self.left.find(&hash) {
                    Some(left) => (left.executed, left.parent),
                    None => return Err(gone),
                },
            };
            let follows = self.head.block.number.checked_add(1) == Some(head.block.number);
            if head.block != block.block || !follows || parent != self.head.block.hash {
                return Err(gone);
            }
            if number >= oldest {
                undo.insert(number, &codec::write_undo(hash, &self.head, block.undo)[..])?;
            }
            self.head = head;
        }
        match self.served.latest.number.saturating_add(1) {
            // There would be no way back to the stored chain.
            number if number < oldest => Err(StoreFailure::Gone { number }),
            _ => Ok(()),
        }
    }
}

fn put_executed(transaction: &WriteTransaction, executed: &Executed) -> Result<(), StoreFailure> {
    transaction.open_table(META)?.insert(meta::EXECUTED, &codec::write_executed(executed)[..])?;
    Ok(())
}
