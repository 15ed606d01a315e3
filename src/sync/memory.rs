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

    /// Adds the receipts of a block held, in consensus form; the caller has verified them.
    /// Whether the block was there.
    pub fn put_receipts(&self, hash: &B256, receipts: &[u8]) -> bool {
        let mut held = self.write();
        let Some(index) = held.index_of(hash) else { return false };
        held.blocks[index].receipts = Some(Bytes::copy_from_slice(receipts));
        true
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
                Some(parent) => {
                    parent.number.checked_add(1) == Some(block.number) && header.parent_hash == parent.hash
                }
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
mod tests {
    use alloy_consensus::Header;

    use super::*;

    fn block(parent: BlockRef, difficulty: u64) -> RawBlock {
        let header = Header {
            number: parent.number + 1,
            parent_hash: parent.hash,
            difficulty: U256::from(difficulty),
            timestamp: 1000 + parent.number,
            ..Header::default()
        };
        RawBlock::from_parts(&alloy_rlp::encode(header), &[0xc2, 0xc0, 0xc0]).unwrap().0
    }

    fn chain(mut parent: BlockRef, count: usize, difficulty: u64) -> Vec<RawBlock> {
        let mut blocks = Vec::new();
        for _ in 0..count {
            let block = block(parent, difficulty);
            parent = block.block_ref();
            blocks.push(block);
        }
        blocks
    }

    fn spec() -> Arc<ChainSpec> {
        Arc::new(ChainSpec::dev())
    }

    #[test]
    fn a_new_store_claims_and_serves_the_genesis() {
        let spec = spec();
        let store = MemoryStore::new(spec.clone());
        let status = store.status();
        assert_eq!((status.earliest, status.latest), (0, spec.genesis()));
        assert_eq!(store.head(), Some(spec.genesis()));
        assert_eq!(store.header(0), Some(spec.genesis_block().header));
        assert_eq!(store.header(1), None);
        assert_eq!(store.receipts(&spec.genesis().hash), Some(NO_RECEIPTS));
        assert_eq!((store.anchor(), store.blocks().len()), (None, 0));
    }

    #[test]
    fn appended_blocks_are_found_by_number_and_hash() {
        let spec = spec();
        let store = MemoryStore::new(spec.clone());
        let blocks = chain(spec.genesis(), 20, 1);
        store.append(blocks[..7].to_vec()).unwrap();
        store.append(blocks[7..].to_vec()).unwrap();
        let status = store.status();
        assert_eq!((status.earliest, status.latest), (0, blocks[19].block_ref()));
        assert_eq!(status.total_difficulty, U256::from(21));
        assert_eq!((status.latest_time, status.merged), (1019, false));
        for block in &blocks {
            assert_eq!(store.number(&block.hash), Some(block.number));
            assert_eq!(store.header(block.number).as_ref(), Some(&block.header));
            assert_eq!(store.body(&block.hash).as_ref(), Some(&block.body));
            assert_eq!(store.block(block.number).as_ref(), Some(block));
        }
        assert_eq!(store.blocks(), blocks);
        assert_eq!(store.header(21), None);
    }

    #[test]
    fn blocks_that_do_not_follow_are_refused_as_a_whole() {
        let spec = spec();
        let store = MemoryStore::new(spec.clone());
        let blocks = chain(spec.genesis(), 5, 1);
        assert!(matches!(store.append(blocks[1..].to_vec()), Err(StoreError::Gap { number: 2 })));
        let holed = vec![blocks[0].clone(), blocks[2].clone()];
        assert!(matches!(store.append(holed), Err(StoreError::Gap { number: 3 })));
        let other = chain(BlockRef { number: 0, hash: B256::ZERO }, 1, 1);
        assert!(store.append(other).is_err(), "another chain");
        let mut renumbered = blocks[0].clone();
        renumbered.header = blocks[1].header.clone();
        assert!(store.append(vec![renumbered]).is_err(), "number beside the header's");
        assert_eq!(store.head(), Some(spec.genesis()));
    }

    #[test]
    fn an_anchored_store_claims_the_genesis_until_the_anchor_comes() {
        let spec = spec();
        let blocks = chain(BlockRef { number: 99, hash: B256::repeat_byte(1) }, 10, 5);
        let store = MemoryStore::anchored(spec.clone(), blocks[0].hash);
        assert_eq!(store.head(), None);
        assert_eq!((store.status().earliest, store.status().latest), (0, spec.genesis()));
        assert_eq!(store.number(&spec.genesis().hash), Some(0));
        assert!(store.header(0).is_some() && store.body(&spec.genesis().hash).is_some());
        assert!(store.append(blocks[1..].to_vec()).is_err(), "not the anchor");
        assert!(store.append(chain(spec.genesis(), 1, 1)).is_err(), "not the anchor");
        assert!(store.truncate(0).is_err());

        store.append(blocks.clone()).unwrap();
        let status = store.status();
        assert_eq!((status.earliest, status.latest), (100, blocks[9].block_ref()));
        assert_eq!(status.total_difficulty, U256::from(50), "counted from the anchor");
        assert_eq!((store.header(0), store.header(99)), (None, None));
        assert_eq!(store.anchor(), Some(blocks[0].block_ref()));
        assert_eq!(store.blocks(), blocks, "the anchor too");
    }

    #[test]
    fn the_genesis_as_anchor_is_no_anchor() {
        let spec = spec();
        let store = MemoryStore::anchored(spec.clone(), spec.genesis().hash);
        assert_eq!(store.head(), Some(spec.genesis()));
    }

    #[test]
    fn truncation_makes_room_for_another_branch() {
        let spec = spec();
        let store = MemoryStore::new(spec.clone());
        let blocks = chain(spec.genesis(), 5, 1);
        store.append(blocks.clone()).unwrap();
        let branch = chain(blocks[1].block_ref(), 4, 3);
        store.truncate(2).unwrap();
        assert_eq!(store.number(&blocks[2].hash), None);
        store.append(branch.clone()).unwrap();
        assert_eq!(store.status().latest, branch[3].block_ref());
        assert_eq!(store.status().total_difficulty, U256::from(1 + 2 + 12));
        assert_eq!(store.number(&branch[0].hash), Some(3));
        store.truncate(50).unwrap();
        store.truncate(0).unwrap();
        assert_eq!(store.head(), Some(spec.genesis()));
    }

    #[test]
    fn an_anchor_cannot_be_dropped() {
        let blocks = chain(BlockRef { number: 99, hash: B256::ZERO }, 3, 1);
        let store = MemoryStore::anchored(spec(), blocks[0].hash);
        store.append(blocks.clone()).unwrap();
        assert!(matches!(store.truncate(99), Err(StoreError::Gap { number: 99 })));
        store.truncate(100).unwrap();
        assert_eq!(store.head(), Some(blocks[0].block_ref()));
    }

    #[test]
    fn a_small_block_does_not_keep_a_large_reply_alive() {
        let spec = spec();
        let block = block(spec.genesis(), 1);
        let mut reply = vec![0; 2 << 20];
        reply[..block.header.len()].copy_from_slice(&block.header);
        let reply = Bytes::from(reply);
        let store = MemoryStore::new(spec);
        store.append(vec![RawBlock { header: reply.slice(..block.header.len()), ..block.clone() }]).unwrap();
        assert!(reply.is_unique(), "the store still holds on to the reply");
        assert_eq!(store.header(1), Some(block.header));
    }

    #[test]
    fn receipts_come_with_blocks_or_later() {
        let spec = spec();
        let store = MemoryStore::new(spec.clone());
        let header = Header {
            number: 1,
            parent_hash: spec.genesis().hash,
            receipts_root: B256::repeat_byte(1),
            ..Header::default()
        };
        let first = RawBlock::from_parts(&alloy_rlp::encode(header), &[0xc2, 0xc0, 0xc0]).unwrap().0;
        let second = block(first.block_ref(), 1);
        store.extend(vec![first.clone(), second.clone()], Vec::new()).unwrap();
        assert_eq!(store.receipts(&first.hash), None);
        assert_eq!(store.receipts(&second.hash), Some(NO_RECEIPTS), "a block without transactions");
        assert!(store.put_receipts(&first.hash, &[0xc1, 0x01]));
        assert!(!store.put_receipts(&B256::ZERO, &[]));
        assert_eq!(store.receipts(&first.hash), Some(Bytes::from_static(&[0xc1, 0x01])));
    }

    #[test]
    fn an_imported_file_is_served_from_its_anchor_on() {
        let spec = spec();
        let blocks = chain(BlockRef { number: 99, hash: B256::ZERO }, 3, 1);
        let anchor = Some(blocks[0].block_ref());
        let receipts = Some(vec![Bytes::from_static(&[0xc1, 0x05]); 3]);
        let file = Imported { blocks: blocks.clone(), receipts, anchor };
        let store = MemoryStore::imported(spec.clone(), file).unwrap();
        assert_eq!((store.anchor(), store.status().earliest), (anchor, 100));
        assert_eq!(store.receipts(&blocks[2].hash), Some(Bytes::from_static(&[0xc1, 0x05])));

        let blocks = chain(spec.genesis(), 3, 1);
        let file = Imported { blocks: blocks.clone(), receipts: None, anchor: None };
        let store = MemoryStore::imported(spec, file).unwrap();
        assert_eq!((store.anchor(), store.head()), (None, Some(blocks[2].block_ref())));
    }

    /// `cargo test --release --lib sync::memory -- --ignored --nocapture` for the figures.
    #[test]
    #[ignore = "a measurement"]
    fn what_the_long_chain_costs() {
        use crate::chain::{import, testdata};

        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS")).map(str::to_owned);
            line.unwrap_or_default()
        };
        let Some(json) = testdata::read("long/genesis.json") else { return };
        let Some(path) = testdata::path("long/chain.rlp.gz") else { return };
        let spec = Arc::new(ChainSpec::from_genesis_json(&json).unwrap());
        println!("before: {}", resident());
        let imported = import::open(&path, &spec).unwrap();
        let store = MemoryStore::new(spec.clone());
        let start = std::time::Instant::now();
        store.extend(imported.blocks, Vec::new()).unwrap();
        println!("20,000 blocks held: {}; extend took {:?}", resident(), start.elapsed());
        let blocks = store.blocks();
        let copy = MemoryStore::new(spec);
        let start = std::time::Instant::now();
        for some in blocks.chunks(128) {
            copy.append(some.to_vec()).unwrap();
        }
        println!("a second store: {}; appends took {:?}", resident(), start.elapsed());
        assert_eq!(copy.status(), store.status());
    }
}
