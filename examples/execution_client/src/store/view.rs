//! The store as a reader sees it: everything as it was after one write.

use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase};
use trunkline::chain::{BlockRef, ChainSpec, RawBlock};
use trunkline::protocols::eth::ChainStatus;

use super::codec::{self, HeaderRow, UndoRow};
use super::error::{Full, StoreFailure};
use super::heads::{self, Executed};
use super::tables::{ACCOUNTS, BODIES, CODES, HEADERS, META, NODES, NUMBERS, RECEIPTS, STORAGE, UNDO, meta};

/// The receipts of a block without transactions.
const NO_RECEIPTS: Bytes = Bytes::from_static(&[0xc0]);

/// Everything as it was after one write, while later writes go on. It keeps the pages it sees from being used
/// again, so it is held for a while, not for ever.
pub(super) struct View {
    pub full: Full,
    pub meta: ReadOnlyTable<&'static str, &'static [u8]>,
    pub headers: ReadOnlyTable<u64, &'static [u8]>,
    pub numbers: ReadOnlyTable<&'static [u8; 32], u64>,
    pub bodies: ReadOnlyTable<u64, &'static [u8]>,
    pub receipts: ReadOnlyTable<u64, &'static [u8]>,
    pub accounts: ReadOnlyTable<&'static [u8; 20], &'static [u8]>,
    pub storage: ReadOnlyTable<&'static [u8; 52], &'static [u8]>,
    pub codes: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    pub nodes: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub undo: ReadOnlyTable<u64, &'static [u8]>,
}

impl View {
    pub(super) fn of(database: &Database, full: &Full) -> Result<Self, StoreFailure> {
        let open = || Self::open(&database.begin_read()?, full.clone());
        open().map_err(|failure| full.note(failure))
    }

    fn open(transaction: &ReadTransaction, full: Full) -> Result<Self, StoreFailure> {
        Ok(Self {
            full,
            meta: transaction.open_table(META)?,
            headers: transaction.open_table(HEADERS)?,
            numbers: transaction.open_table(NUMBERS)?,
            bodies: transaction.open_table(BODIES)?,
            receipts: transaction.open_table(RECEIPTS)?,
            accounts: transaction.open_table(ACCOUNTS)?,
            storage: transaction.open_table(STORAGE)?,
            codes: transaction.open_table(CODES)?,
            nodes: transaction.open_table(NODES)?,
            undo: transaction.open_table(UNDO)?,
        })
    }

    /// The head that this state is of.
    pub(super) fn executed(&self) -> Result<Executed, StoreFailure> {
        let row = self.meta.get(meta::EXECUTED)?.ok_or_else(|| StoreFailure::damaged("no executed head"))?;
        codec::read_executed(row.value())
    }

    pub(super) fn number(&self, hash: &B256) -> Result<Option<u64>, StoreFailure> {
        Ok(self.numbers.get(&hash.0)?.map(|number| number.value()))
    }

    pub(super) fn hash(&self, number: u64) -> Result<Option<B256>, StoreFailure> {
        let Some(row) = self.headers.get(number)? else { return Ok(None) };
        Ok(Some(HeaderRow::read(row.value())?.hash))
    }

    pub(super) fn header(&self, number: u64) -> Result<Option<Bytes>, StoreFailure> {
        let Some(row) = self.headers.get(number)? else { return Ok(None) };
        Ok(Some(Bytes::copy_from_slice(HeaderRow::read(row.value())?.rlp)))
    }

    pub(super) fn body(&self, number: u64) -> Result<Option<Bytes>, StoreFailure> {
        Ok(self.bodies.get(number)?.map(|row| Bytes::copy_from_slice(row.value())))
    }

    pub(super) fn block(&self, number: u64) -> Result<Option<RawBlock>, StoreFailure> {
        let Some(header) = self.headers.get(number)? else { return Ok(None) };
        let body = self.bodies.get(number)?;
        let body = body.ok_or_else(|| StoreFailure::Damaged(format!("block {number} without a body")))?;
        let row = HeaderRow::read(header.value())?;
        let mut bytes = Bytes::from([row.rlp, body.value()].concat());
        let body = bytes.split_off(row.rlp.len());
        Ok(Some(RawBlock { number, hash: row.hash, header: bytes, body }))
    }

    /// Those of a block without transactions are not stored, and known all the same.
    pub(super) fn receipts(&self, number: u64) -> Result<Option<Bytes>, StoreFailure> {
        if let Some(row) = self.receipts.get(number)? {
            return Ok(Some(Bytes::copy_from_slice(row.value())));
        }
        Ok(self.is_without_receipts(number)?.then_some(NO_RECEIPTS))
    }

    pub(super) fn has_receipts(&self, number: u64) -> Result<bool, StoreFailure> {
        Ok(self.receipts.get(number)?.is_some() || self.is_without_receipts(number)?)
    }

    fn is_without_receipts(&self, number: u64) -> Result<bool, StoreFailure> {
        let Some(header) = self.headers.get(number)? else { return Ok(false) };
        Ok(HeaderRow::read(header.value())?.facts()?.receipts_root == EMPTY_ROOT_HASH)
    }

    pub(super) fn undo(&self, number: u64) -> Result<Option<UndoRow>, StoreFailure> {
        self.undo.get(number)?.map(|row| codec::read_undo(row.value())).transpose()
    }

    /// What is claimed when the block with this number is the highest.
    pub(super) fn status(&self, spec: &ChainSpec, number: u64) -> Result<ChainStatus, StoreFailure> {
        let row = self.headers.get(number)?;
        let row = row.ok_or_else(|| StoreFailure::Damaged(format!("no header of block {number}")))?;
        let row = HeaderRow::read(row.value())?;
        Ok(heads::status(spec, &row.facts()?, row.total_difficulty))
    }

    /// The highest block whose body is held.
    pub(super) fn last(&self) -> Result<u64, StoreFailure> {
        let last = self.headers.range::<u64>(..)?.next_back().transpose()?;
        last.map(|(number, _)| number.value()).ok_or_else(|| StoreFailure::damaged("no headers"))
    }

    /// The highest executed block that is on the stored chain: the executed head, unless the sync has
    /// dropped it.
    pub(super) fn highest_on_chain(&self, executed: Executed) -> Result<BlockRef, StoreFailure> {
        let mut block = executed.block;
        while self.hash(block.number)? != Some(block.hash) {
            let undo = self.undo(block.number)?.ok_or(StoreFailure::NoWayBack {
                from: executed.block.number,
                to: block.number.saturating_sub(1),
            })?;
            // Going down by one each time, it comes to an end whatever the records say.
            let number = block.number.checked_sub(1).ok_or_else(|| StoreFailure::damaged("other genesis"))?;
            block = BlockRef { number, ..undo.parent.block };
        }
        Ok(block)
    }
}
