//! A chain in memory: what the node serves and what the sync fills.
//!
//! Blocks are kept as the bytes they came in, each in one allocation of its own, so that no large
//! reply stays alive for a small header. Lookups take a read lock for a moment and are O(1). The
//! store trusts its caller for what is inside a block; it checks only that blocks follow each other.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use alloy_primitives::{B256, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;

use super::store::{ChainStore, StoreError};
use crate::chain::verify::check_link;
use crate::chain::{BlockRef, ChainSpec, HeaderFacts, Imported, RawBlock};
use crate::protocols::eth::{Chain, ChainStatus};

/// The receipts of a block without transactions.
const NO_RECEIPTS: Bytes = Bytes::from_static(&[0xc0]);

/// Blocks in memory, from the genesis or from an anchor on, without a gap.
///
/// It grows with the chain it is given; nothing is ever evicted.
#[derive(Debug)]
pub struct MemoryStore {
    spec: Arc<ChainSpec>,
    held: RwLock<Held>,
}

impl MemoryStore {
    /// A chain that holds the genesis.
    pub fn new(spec: Arc<ChainSpec>) -> Self {
        let mut held = Held::default();
        let genesis = spec.genesis_block();
        let header = spec.genesis_header();
        let total_difficulty = header.difficulty;
        held.push(Block {
            merged: spec.is_merged(header.difficulty, total_difficulty),
            time: header.timestamp,
            total_difficulty,
            receipts: Some(NO_RECEIPTS),
            raw: genesis,
        });
        Self { spec, held: RwLock::new(held) }
    }

    /// A chain that starts at a trusted block, which the first [`append`](ChainStore::append) must
    /// bring. Until then it claims and serves the genesis only.
    pub fn anchored(spec: Arc<ChainSpec>, anchor: B256) -> Self {
        if anchor == spec.genesis().hash {
            return Self::new(spec);
        }
        Self { spec, held: RwLock::new(Held { awaited: Some(anchor), ..Held::default() }) }
    }

    /// A chain that holds what was imported from a file, from its anchor on if it has one.
    pub fn imported(spec: Arc<ChainSpec>, imported: Imported) -> Result<Self, StoreError> {
        let store = match imported.anchor {
            Some(anchor) => Self::anchored(spec, anchor.hash),
            None => Self::new(spec),
        };
        store.extend(imported.blocks, imported.receipts.unwrap_or_default())?;
        Ok(store)
    }

    /// Appends verified blocks as they are, without copying them, with their receipts if there are
    /// any: for blocks that were read from a file or made here.
    ///
    /// `receipts` is either empty or has an entry for each block. Fails with
    /// [`StoreError::Gap`], and takes nothing, if the blocks do not follow each other and the head.
    pub fn extend(&self, blocks: Vec<RawBlock>, receipts: Vec<Bytes>) -> Result<(), StoreError> {
        self.write().append(&self.spec, blocks, receipts)
    }

    /// How many blocks above the genesis have their receipts here, and how many do not.
    pub fn receipt_counts(&self) -> (u64, u64) {
        let held = self.read();
        let blocks = held.blocks.iter().filter(|block| block.raw.number > 0);
        blocks.fold((0, 0), |(held, missing), block| match block.receipts {
            Some(_) => (held + 1, missing),
            None => (held, missing + 1),
        })
    }

    /// The first block held, unless it is the genesis.
    pub fn anchor(&self) -> Option<BlockRef> {
        self.read().blocks.first().map(|block| block.raw.block_ref()).filter(|first| first.number > 0)
    }

    /// The block with this number, if it is held.
    pub fn block(&self, number: u64) -> Option<RawBlock> {
        self.read().at(number).map(|block| block.raw.clone())
    }

    /// All blocks held but the genesis, in order, for an export. The bytes are shared.
    pub fn blocks(&self) -> Vec<RawBlock> {
        let held = self.read();
        held.blocks.iter().filter(|block| block.raw.number > 0).map(|block| block.raw.clone()).collect()
    }

    /// The total difficulty of a block held, counted from the genesis or the anchor.
    pub fn total_difficulty(&self, hash: &B256) -> Option<U256> {
        self.read().by_hash(hash).map(|block| block.total_difficulty)
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        // No method leaves the blocks half changed, so what a panicking thread held is still good.
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chain for MemoryStore {
    fn spec(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    fn status(&self) -> ChainStatus {
        let held = self.read();
        match (held.blocks.first(), held.blocks.last()) {
            (Some(first), Some(last)) => ChainStatus {
                earliest: first.raw.number,
                latest: last.raw.block_ref(),
                latest_time: last.time,
                total_difficulty: last.total_difficulty,
                merged: last.merged,
            },
            _ => {
                let genesis = self.spec.genesis_header();
                ChainStatus {
                    earliest: 0,
                    latest: self.spec.genesis(),
                    latest_time: genesis.timestamp,
                    total_difficulty: genesis.difficulty,
                    merged: self.spec.is_merged(genesis.difficulty, genesis.difficulty),
                }
            }
        }
    }

    fn header(&self, number: u64) -> Option<Bytes> {
        let held = self.read();
        if held.blocks.is_empty() && number == 0 {
            return Some(self.spec.genesis_block().header);
        }
        held.at(number).map(|block| block.raw.header.clone())
    }

    fn number(&self, hash: &B256) -> Option<u64> {
        let held = self.read();
        if held.blocks.is_empty() && *hash == self.spec.genesis().hash {
            return Some(0);
        }
        held.by_hash(hash).map(|block| block.raw.number)
    }

    fn body(&self, hash: &B256) -> Option<Bytes> {
        let held = self.read();
        if held.blocks.is_empty() && *hash == self.spec.genesis().hash {
            return Some(self.spec.genesis_block().body);
        }
        held.by_hash(hash).map(|block| block.raw.body.clone())
    }

    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        let held = self.read();
        if held.blocks.is_empty() && *hash == self.spec.genesis().hash {
            return Some(NO_RECEIPTS);
        }
        held.by_hash(hash).and_then(|block| block.receipts.clone())
    }
}

impl ChainStore for MemoryStore {
    fn head(&self) -> Option<BlockRef> {
        self.read().blocks.last().map(|block| block.raw.block_ref())
    }

    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError> {
        // Copied before the lock is taken: readers wait for the bookkeeping only.
        let blocks = blocks.iter().map(RawBlock::compact).collect();
        self.write().append(&self.spec, blocks, Vec::new())
    }

    /// The genesis, or the anchor, cannot be dropped: a lower number is refused.
    fn truncate(&self, number: u64) -> Result<(), StoreError> {
        let mut held = self.write();
        match held.blocks.first().map(|first| first.raw.number) {
            Some(first) if number >= first => {
                let keep = usize::try_from(number - first).unwrap_or(usize::MAX).saturating_add(1);
                held.truncate(keep);
                Ok(())
            }
            _ => Err(StoreError::Gap { number }),
        }
    }

    fn put_receipts(&self, receipts: Vec<(B256, Bytes)>) -> Result<(), StoreError> {
        let mut held = self.write();
        for (hash, list) in receipts {
            if let Some(index) = held.index_of(&hash) {
                held.blocks[index].receipts = Some(list);
            }
        }
        Ok(())
    }
}

/// One block with what is derived from it and from those before it.
#[derive(Debug)]
struct Block {
    raw: RawBlock,
    receipts: Option<Bytes>,
    time: u64,
    total_difficulty: U256,
    merged: bool,
}

/// The blocks, lowest first, and where each hash is.
#[derive(Debug, Default)]
struct Held {
    blocks: Vec<Block>,
    index: HashMap<B256, usize>,
    /// The anchor, while nothing is held.
    awaited: Option<B256>,
}

impl Held {
    fn append(
        &mut self,
        spec: &ChainSpec,
        blocks: Vec<RawBlock>,
        receipts: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let facts = self.check_links(&blocks)?;
        let mut receipts = receipts.into_iter();
        for (raw, facts) in blocks.into_iter().zip(facts) {
            let before = self.blocks.last().map_or(U256::ZERO, |last| last.total_difficulty);
            let total_difficulty = before.saturating_add(facts.difficulty);
            let none = (facts.receipts_root == EMPTY_ROOT_HASH).then_some(NO_RECEIPTS);
            self.push(Block {
                receipts: receipts.next().or(none),
                time: facts.timestamp,
                merged: spec.is_merged(facts.difficulty, total_difficulty),
                total_difficulty,
                raw,
            });
        }
        Ok(())
    }

    /// Whether the blocks follow each other, and the first one the head or the awaited anchor.
    fn check_links(&self, blocks: &[RawBlock]) -> Result<Vec<HeaderFacts>, StoreError> {
        let mut facts = Vec::with_capacity(blocks.len());
        let mut parent = self.blocks.last().map(|block| block.raw.block_ref());
        for block in blocks {
            let gap = StoreError::Gap { number: block.number };
            let Ok(header) = HeaderFacts::read_hashed(&block.header, block.hash) else { return Err(gap) };
            let follows = match parent {
                Some(parent) => check_link(parent, &header).is_ok(),
                None => self.awaited == Some(block.hash),
            };
            if !follows || header.number != block.number {
                return Err(gap);
            }
            parent = Some(block.block_ref());
            facts.push(header);
        }
        Ok(facts)
    }

    fn push(&mut self, block: Block) {
        self.index.insert(block.raw.hash, self.blocks.len());
        self.blocks.push(block);
    }

    fn truncate(&mut self, keep: usize) {
        for block in self.blocks.drain(keep.min(self.blocks.len())..) {
            self.index.remove(&block.raw.hash);
        }
    }

    fn index_of(&self, hash: &B256) -> Option<usize> {
        self.index.get(hash).copied()
    }

    fn by_hash(&self, hash: &B256) -> Option<&Block> {
        self.blocks.get(self.index_of(hash)?)
    }

    fn at(&self, number: u64) -> Option<&Block> {
        let offset = number.checked_sub(self.blocks.first()?.raw.number)?;
        self.blocks.get(usize::try_from(offset).ok()?)
    }
}

#[cfg(test)]
mod tests;
