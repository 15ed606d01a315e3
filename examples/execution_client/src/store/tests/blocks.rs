//! Blocks and receipts going in and coming back.

use alloy_primitives::{B256, U256};
use tokio::sync::watch::Receiver;
use trunkline::chain::BlockRef;
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::{ChainStore, MemoryStore, StoreError};

use super::*;

#[test]
fn a_new_store_holds_the_genesis_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (store, spec) = (open(folder.path()).unwrap(), chain().spec);
    let memory = MemoryStore::new(spec.clone());
    assert_eq!(store.status(), memory.status());
    assert_eq!(store.served().status(), memory.status());
    assert_eq!(store.head(), Some(spec.genesis()));
    assert_eq!(store.executed().block, spec.genesis());
    assert_eq!(store.executed().state_root, spec.genesis_header().state_root);
    assert_eq!(store.block(0).unwrap(), Some(spec.genesis_block()));
    assert_eq!(store.header(1), None);
    assert!(store.has_receipts(&spec.genesis().hash));
}

#[test]
fn what_is_stored_is_as_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (store, memory) = (open(folder.path()).unwrap(), MemoryStore::new(chain().spec));
    let blocks = blocks(chain().spec.genesis(), 20, 0);
    for part in [&blocks[..7], &blocks[7..]] {
        store.append(part.to_vec()).unwrap();
        memory.append(part.to_vec()).unwrap();
    }
    let list = vec![(blocks[3].hash, receipts(4)), (B256::ZERO, receipts(9))];
    store.put_receipts(list.clone()).unwrap();
    memory.put_receipts(list).unwrap();
    let check = |store: &Store| {
        assert_eq!((store.head(), store.status()), (memory.head(), memory.status()));
        for number in 0..22 {
            assert_eq!(store.header(number), memory.header(number), "header {number}");
            assert_eq!(store.block(number).unwrap(), memory.block(number), "block {number}");
        }
        for block in &blocks {
            assert_eq!(store.number(&block.hash), Some(block.number));
            assert_eq!(store.body(&block.hash).as_ref(), Some(&block.body));
            assert_eq!(store.receipts(&block.hash), memory.receipts(&block.hash), "{}", block.number);
            assert_eq!(store.has_receipts(&block.hash), memory.receipts(&block.hash).is_some());
        }
        for (from, to) in [(0, 20), (3, 4), (4, 4), (5, 8), (9, u64::MAX), (8, 3), (30, 40)] {
            let range = (from, to);
            assert_eq!(store.missing_receipts(from, to), memory.missing_receipts(from, to), "{range:?}");
        }
        assert_eq!(store.number(&B256::ZERO), None);
        assert!(!store.has_receipts(&B256::ZERO));
    };
    check(&store);
    drop(store);
    check(&open(folder.path()).unwrap());
}

#[test]
fn blocks_that_do_not_follow_are_refused_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let blocks = blocks(chain().spec.genesis(), 5, 0);
    assert!(matches!(store.append(blocks[1..].to_vec()), Err(StoreError::Gap { number: 2 })));
    let holed = vec![blocks[0].clone(), blocks[2].clone()];
    assert!(matches!(store.append(holed), Err(StoreError::Gap { number: 3 })));
    let mut renumbered = blocks[0].clone();
    renumbered.header = blocks[1].header.clone();
    assert!(store.append(vec![renumbered]).is_err(), "number beside the header's");
    let mut cut = blocks[0].clone();
    cut.header = cut.header.slice(..40);
    assert!(store.append(vec![cut]).is_err(), "half a header");
    assert_eq!((store.head(), store.header(1)), (Some(chain().spec.genesis()), None));
}

#[test]
fn nothing_above_the_executed_block_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let served = store.served();
    let blocks = blocks(chain().spec.genesis(), 6, 0);
    store.append(blocks.clone()).unwrap();
    assert_eq!(served.status().latest, chain().spec.genesis());
    store.commit(blocks[..2].iter().map(executed).collect(), batch(2, 0)).unwrap();
    assert_eq!((served.status().latest, served.status().latest_time), (blocks[1].block_ref(), 1020));
    assert_eq!(served.status().total_difficulty, U256::from(3));
    for (block, is_served) in blocks.iter().zip([true, true, false, false, false, false]) {
        assert_eq!(served.header(block.number).is_some(), is_served);
        assert_eq!(served.number(&block.hash).is_some(), is_served);
        assert_eq!(served.body(&block.hash).is_some(), is_served);
        assert_eq!(served.receipts(&block.hash).is_some(), is_served);
    }
    assert_eq!(served.receipts(&blocks[1].hash), Some(receipts(2)));
}

fn number(watched: &mut Receiver<BlockRef>) -> Option<u64> {
    watched.has_changed().unwrap().then(|| watched.borrow_and_update().number)
}

#[tokio::test]
async fn there_is_room_until_bodies_are_too_far_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let mut stored = store.watch_stored();
    let blocks = blocks(chain().spec.genesis(), 6, 0);
    store.set_ahead_max(3);
    store.append(blocks[..2].to_vec()).unwrap();
    assert_eq!(number(&mut stored), Some(2));
    store.room().await;
    store.append(blocks[2..4].to_vec()).unwrap();
    assert_eq!(number(&mut stored), Some(4));

    let mut room = polled(store.ready());
    assert!(room.is_waiting(), "4 blocks ahead");
    store.commit(vec![executed(&blocks[0])], batch(1, 0)).unwrap();
    assert!(room.is_waiting(), "3 blocks ahead");
    store.commit(vec![executed(&blocks[1])], batch(2, 0)).unwrap();
    assert!(!room.is_waiting(), "2 blocks ahead");

    store.append(blocks[4..].to_vec()).unwrap();
    let mut room = polled(store.room());
    assert!(room.is_waiting());
    store.set_ahead_max(5);
    assert!(!room.is_waiting());
    store.set_ahead_max(0);
    let mut room = polled(store.room());
    assert!(room.is_waiting());
    store.truncate(2).unwrap();
    assert!(!room.is_waiting());
    assert_eq!(number(&mut stored), Some(2));
}

/// A future that is looked at without waiting for it.
struct Polled(std::pin::Pin<Box<dyn Future<Output = ()>>>);

fn polled(future: impl Future<Output = ()> + 'static) -> Polled {
    Polled(Box::pin(future))
}

impl Polled {
    fn is_waiting(&mut self) -> bool {
        use futures::FutureExt;
        (&mut self.0).now_or_never().is_none()
    }
}
