//! Executed blocks and their state going in, and coming out again.

use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use redb::{Durability, ReadableTable, WriteTransaction};
use trunkline::chain::BlockRef;
use trunkline::chain::verify::check_link;

use super::batch::write_state;
use super::codec::{self, HeaderRow};
use super::error::StoreFailure;
use super::handle::Store;
use super::heads::{self, Executed};
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
    /// Fails with [`StoreFailure::Gone`], and writes nothing, when the sync has dropped one of them, or the
    /// head they follow, meanwhile.
    pub fn commit(&self, blocks: Vec<ExecutedBlock>, state: StateBatch) -> Result<(), StoreFailure> {
        let _writing = self.writing();
        let Some(last) = blocks.last().map(|last| last.block.number) else { return Ok(()) };
        let before = self.executed();
        let executed = self.write(Durability::Immediate, |transaction| {
            let executed = write_blocks(transaction, before, last, blocks)?;
            write_state(transaction, &state)?;
            put_executed(transaction, &executed)?;
            Ok(executed)
        })?;
        self.refresh()?;
        let served = self.view().status(&self.spec, executed.block.number)?;
        self.set_heads(heads::Heads { served, ..self.heads() }, Some(executed));
        Ok(())
    }

    /// How to get from this block's state back to that of its parent, if it is one of the last
    /// [`UNDO_MAX`] that were executed. Those that the sync dropped are among them until
    /// [`unwind`](Self::unwind).
    pub fn undo(&self, number: u64) -> Result<Option<Undo>, StoreFailure> {
        let row = self.view().undo(number)?;
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
        let _writing = self.writing();
        let from = self.executed().block.number;
        let no_way = StoreFailure::NoWayBack { from, to: to.number };
        let executed = match self.executed().block == to {
            true => self.executed(),
            false => {
                match to.number.checked_add(1).map(|above| self.view().undo(above)).transpose()?.flatten() {
                    Some(row) if row.parent.block == to && from > to.number => row.parent,
                    _ => return Err(no_way),
                }
            }
        };
        self.write(Durability::Immediate, |transaction| {
            write_state(transaction, &state)?;
            transaction.open_table(UNDO)?.retain_in::<u64, _>(to.number.saturating_add(1).., |_, _| false)?;
            put_executed(transaction, &executed)
        })?;
        let mut heads = self.heads();
        // Else the sync has dropped that one too, and what is served is lower already.
        if self.view().hash(to.number)? == Some(to.hash) {
            heads.served = self.view().status(&self.spec, to.number)?;
        }
        self.set_heads(heads, Some(executed));
        self.refresh()
    }
}

/// Writes receipts and undo records of blocks up to number `last`. The head they lead to.
fn write_blocks(
    transaction: &WriteTransaction,
    before: Executed,
    last: u64,
    blocks: Vec<ExecutedBlock>,
) -> Result<Executed, StoreFailure> {
    let headers = transaction.open_table(HEADERS)?;
    let mut receipts = transaction.open_table(RECEIPTS)?;
    let mut undo = transaction.open_table(UNDO)?;
    let oldest = last.saturating_sub(UNDO_MAX).saturating_add(1);
    undo.retain_in::<u64, _>(..oldest, |_, _| false)?;
    let mut head = before;
    for block in blocks {
        let number = block.block.number;
        let row = headers.get(number)?.ok_or(StoreFailure::Gone { number })?;
        let row = HeaderRow::read(row.value())?;
        let facts = row.facts()?;
        if row.hash != block.block.hash || check_link(head.block, &facts).is_err() {
            return Err(StoreFailure::Gone { number });
        }
        if facts.receipts_root != EMPTY_ROOT_HASH && receipts.get(number)?.is_none() {
            receipts.insert(number, &block.receipts[..])?;
        }
        if number >= oldest {
            undo.insert(number, &codec::write_undo(row.hash, &head, block.undo)[..])?;
        }
        head = row.executed(&facts)?;
    }
    Ok(head)
}

fn put_executed(transaction: &WriteTransaction, executed: &Executed) -> Result<(), StoreFailure> {
    transaction.open_table(META)?.insert(meta::EXECUTED, &codec::write_executed(executed)[..])?;
    Ok(())
}
