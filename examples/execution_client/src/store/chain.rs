//! The chain as the sync sees it: what is stored, executed or not.

use std::sync::{Arc, PoisonError};

use alloy_primitives::B256;
use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use futures::future::BoxFuture;
use redb::{ReadableTable, WriteTransaction};
use trunkline::chain::verify::check_link;
use trunkline::chain::{BlockRef, ChainSpec, HeaderFacts, RawBlock};
use trunkline::protocols::eth::{Chain, ChainStatus};
use trunkline::sync::{ChainStore, MissingReceipts, StoreError};
use trunkline::wire::rlp::List;

use super::codec::HeaderRow;
use super::dropped::{self, Dropped};
use super::error::StoreFailure;
use super::handle::Store;
use super::heads::{self, Heads};
use super::left::{LEFT_MAX, Left, LeftBlock};
use super::tables::{BODIES, HEADERS, NUMBERS, RECEIPTS};
use super::view::View;

impl Chain for Store {
    fn spec(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    fn status(&self) -> ChainStatus {
        self.heads().stored
    }

    fn header(&self, number: u64) -> Option<Bytes> {
        self.lookup("header", |view| view.header(number))
    }

    fn number(&self, hash: &B256) -> Option<u64> {
        self.lookup("number", |view| view.number(hash))
    }

    fn body(&self, hash: &B256) -> Option<Bytes> {
        self.lookup("body", |view| view.number(hash)?.map_or(Ok(None), |number| view.body(number)))
    }

    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        self.lookup("receipts", |view| view.number(hash)?.map_or(Ok(None), |number| view.receipts(number)))
    }
}

impl ChainStore for Store {
    fn head(&self) -> Option<BlockRef> {
        Some(self.stored())
    }

    fn ready(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.room())
    }

    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError> {
        let left = self.writing();
        let mut heads = self.heads();
        let linked = self.link(heads.stored, &blocks)?;
        let Some(last) = linked.last() else { return Ok(()) };
        heads.stored = *last;
        let executed = self.executed().block;
        // The branch that is executed may come back before anything was undone.
        heads.served =
            linked.iter().find(|status| status.latest == executed).copied().unwrap_or(heads.served);
        self.write(|transaction| write_blocks(transaction, &blocks, &linked, &left))?;
        self.refresh()?;
        self.set_heads(heads);
        self.tell(None);
        Ok(())
    }

    /// The genesis cannot be dropped, nor anything that is executed and cannot be undone: this is refused.
    fn truncate(&self, number: u64) -> Result<(), StoreError> {
        let mut writing = self.writing();
        let Heads { stored, served } = self.heads();
        if number >= stored.latest.number {
            return Ok(());
        }
        let executed = self.executed().block.number;
        let (stored, gone, left) = self.read(|view| {
            if executed > number && view.undo(number.saturating_add(1))?.is_none() {
                return Err(StoreFailure::NoWayBack { from: executed, to: number });
            }
            let stored = view.status(&self.spec, number)?;
            Ok((stored, latest_above(view, number)?, left_above(view, number, executed)?))
        })?;
        self.write(|transaction| remove_above(transaction, number))?;
        left.into_iter().for_each(|block| writing.push(block));
        let served = if served.latest.number > number { stored } else { served };
        // Nothing of another branch can be served before this, because nothing of it is stored.
        self.set_heads(Heads { stored, served });
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        gone.into_iter().for_each(|block| dropped.push(block));
        drop(dropped);
        self.refresh()?;
        self.tell(None);
        Ok(())
    }

    fn missing_receipts(&self, from: u64, to: u64) -> Vec<MissingReceipts> {
        self.lookup("receipts", |view| missing(view, from, to).map(Some)).unwrap_or_default()
    }

    fn put_receipts(&self, receipts: Vec<(B256, Bytes)>) -> Result<(), StoreError> {
        let _writing = self.writing();
        self.write(|transaction| {
            let numbers = transaction.open_table(NUMBERS)?;
            let mut table = transaction.open_table(RECEIPTS)?;
            for (hash, list) in &receipts {
                let Some(number) = numbers.get(&hash.0)?.map(|number| number.value()) else { continue };
                if table.get(number)?.is_none() {
                    table.insert(number, &list[..])?;
                }
            }
            Ok(())
        })?;
        Ok(self.refresh()?)
    }
}

impl Store {
    /// Checks that the blocks follow each other and the head. The status that each of them makes.
    fn link(&self, head: ChainStatus, blocks: &[RawBlock]) -> Result<Vec<ChainStatus>, StoreError> {
        let mut linked = Vec::with_capacity(blocks.len());
        let mut parent = head;
        for block in blocks {
            let gap = StoreError::Gap { number: block.number };
            let Ok(facts) = HeaderFacts::read_hashed(&block.header, block.hash) else { return Err(gap) };
            if facts.number != block.number || check_link(parent.latest, &facts).is_err() {
                return Err(gap);
            }
            let total_difficulty = parent.total_difficulty.saturating_add(facts.difficulty);
            parent = heads::status(&self.spec, &facts, total_difficulty);
            linked.push(parent);
        }
        Ok(linked)
    }
}

fn write_blocks(
    transaction: &WriteTransaction,
    blocks: &[RawBlock],
    linked: &[ChainStatus],
    left: &Left,
) -> Result<(), StoreFailure> {
    let mut headers = transaction.open_table(HEADERS)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut bodies = transaction.open_table(BODIES)?;
    let mut receipts = transaction.open_table(RECEIPTS)?;
    for (block, status) in blocks.iter().zip(linked) {
        let total_difficulty = status.total_difficulty;
        let row = HeaderRow { hash: block.hash, total_difficulty, rlp: &block.header };
        headers.insert(block.number, &row.write()[..])?;
        numbers.insert(&block.hash.0, block.number)?;
        bodies.insert(block.number, &block.body[..])?;
        if let Some(list) = left.find(&block.hash).and_then(|left| left.receipts.as_ref()) {
            receipts.insert(block.number, &list[..])?;
        }
    }
    Ok(())
}

/// The highest blocks above `number`, lowest first, as many as are kept once they are dropped.
fn latest_above(view: &View, number: u64) -> Result<Vec<RawBlock>, StoreFailure> {
    let mut blocks = Vec::new();
    let mut bytes = 0;
    for row in view.headers.range::<u64>(number.saturating_add(1)..)?.rev() {
        let Some(block) = view.block(row?.0.value())? else { break };
        bytes += dropped::size(&block);
        if !Dropped::has_room(blocks.len(), bytes) {
            break;
        }
        blocks.push(block);
    }
    blocks.reverse();
    Ok(blocks)
}

/// The lowest blocks above `number`, which execution may be among, with the receipts of those up to number
/// `executed`.
fn left_above(view: &View, number: u64, executed: u64) -> Result<Vec<LeftBlock>, StoreFailure> {
    let rows = view.headers.range::<u64>(number.saturating_add(1)..)?.take(LEFT_MAX);
    rows.map(|row| {
        let header = row?.1;
        let row = HeaderRow::read(header.value())?;
        let facts = row.facts()?;
        let receipts = if facts.number <= executed { view.receipts.get(facts.number)? } else { None };
        let receipts = receipts.map(|list| Bytes::copy_from_slice(list.value()));
        Ok(LeftBlock { executed: row.executed(&facts)?, parent: facts.parent_hash, receipts })
    })
    .collect()
}

fn remove_above(transaction: &WriteTransaction, number: u64) -> Result<(), StoreFailure> {
    let first = number.saturating_add(1);
    let mut headers = transaction.open_table(HEADERS)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    for row in headers.range::<u64>(first..)? {
        numbers.remove(&HeaderRow::read(row?.1.value())?.hash.0)?;
    }
    headers.retain_in::<u64, _>(first.., |_, _| false)?;
    transaction.open_table(BODIES)?.retain_in::<u64, _>(first.., |_, _| false)?;
    transaction.open_table(RECEIPTS)?.retain_in::<u64, _>(first.., |_, _| false)?;
    Ok(())
}

/// One walk over the headers and the numbers of the receipts that are there.
fn missing(view: &View, from: u64, to: u64) -> Result<Vec<MissingReceipts>, StoreFailure> {
    let mut missing = Vec::new();
    if from > to {
        return Ok(missing);
    }
    let mut held = view.receipts.range::<u64>(from..=to)?;
    let mut next = held.next().transpose()?.map(|(number, _)| number.value());
    for row in view.headers.range::<u64>(from..=to)? {
        let (number, header) = row?;
        let number = number.value();
        if next == Some(number) {
            next = held.next().transpose()?.map(|(number, _)| number.value());
            continue;
        }
        let facts = HeaderRow::read(header.value())?.facts()?;
        if facts.receipts_root == EMPTY_ROOT_HASH {
            continue;
        }
        let count = |body: &[u8]| List::whole(body)?.item()?.list()?.count(1);
        let body = view.bodies.get(number)?;
        let transactions = body.map(|body| count(body.value())).transpose();
        let transactions = transactions.ok().flatten();
        let transactions =
            transactions.ok_or_else(|| StoreFailure::Damaged(format!("body of block {number}")))?;
        missing.push(MissingReceipts { facts, transactions });
    }
    Ok(missing)
}
