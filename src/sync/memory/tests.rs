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
    let missing = store.missing_receipts(0, u64::MAX >> 1);
    assert_eq!((missing.len(), missing[0].facts.hash, missing[0].transactions), (1, first.hash, 0));
    assert_eq!(store.receipt_counts(), (1, 1));
    let list = Bytes::from_static(&[0xc1, 0x01]);
    store.put_receipts(vec![(B256::ZERO, Bytes::new()), (first.hash, list.clone())]).unwrap();
    assert_eq!(store.receipts(&first.hash), Some(list));
    assert_eq!((store.missing_receipts(0, 2), store.receipt_counts()), (Vec::new(), (2, 0)));
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
