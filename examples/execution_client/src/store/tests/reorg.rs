//! The sync changes branch below what is executed.

use std::sync::Mutex;
use std::task::{Context, Wake, Waker};

use trunkline::protocols::eth::Chain as _;
use trunkline::sync::ChainStore;

use super::*;
use crate::state::StateView;
use crate::store::StoreFailure;

/// A store with 6 blocks, 5 of them executed, each on its own.
fn grown(folder: &Path) -> (Arc<Store>, Vec<RawBlock>) {
    let store = open(folder).unwrap();
    let blocks = blocks(chain().spec.genesis(), 6, 0);
    store.append(blocks.clone()).unwrap();
    for block in &blocks[..5] {
        store.commit(vec![executed(block)], batch(block.number, 0)).unwrap();
    }
    (store, blocks)
}

#[test]
fn the_executed_part_of_a_dropped_branch_is_not_served_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    let served = store.served();
    let theirs = blocks(ours[2].block_ref(), 4, 3);
    store.truncate(3).unwrap();
    assert_eq!(served.status().latest, ours[2].block_ref());
    assert_eq!(store.executed().block, ours[4].block_ref(), "until it is undone");
    assert_eq!(store.take_dropped(), ours[3..]);
    assert!(store.take_dropped().is_empty());

    store.append(theirs.clone()).unwrap();
    let check = |store: &Arc<Store>| {
        let served = store.served();
        assert_eq!(served.status().latest, ours[2].block_ref());
        assert_eq!(served.status().latest_time, 1030);
        assert_eq!((served.header(4), served.number(&theirs[0].hash)), (None, None));
        assert_eq!((served.number(&ours[3].hash), served.body(&ours[4].hash)), (None, None));
        assert_eq!(store.status().latest, theirs[3].block_ref());
        assert_eq!(store.status().total_difficulty, U256::from(1 + 3 + 16));
        assert_eq!(store.executed().block, ours[4].block_ref());
        assert_eq!(store.undo(5).unwrap().unwrap().parent, ours[3].block_ref());
    };
    check(&store);
    drop((store, served));
    let store = open(folder.path()).unwrap();
    check(&store);

    // Deeper still, before the first was undone.
    store.truncate(1).unwrap();
    assert_eq!(store.served().status().latest, ours[0].block_ref());
    let theirs = blocks(ours[0].block_ref(), 5, 4);
    store.append(theirs.clone()).unwrap();
    store.unwind(ours[2].block_ref(), batch(2, 50)).unwrap();
    assert_eq!(store.executed().block, ours[2].block_ref());
    assert_eq!(store.served().status().latest, ours[0].block_ref(), "not on the chain");
    store.unwind(ours[0].block_ref(), batch(1, 70)).unwrap();
    assert_eq!(store.executed().block, ours[0].block_ref());
    assert_eq!(store.executed().time, 1010);
    assert_eq!(store.state().account(&address(1)).unwrap(), Some(account(71)));
    assert_eq!([1, 2, 3, 5].map(|number| store.undo(number).unwrap().is_some()), [true, false, false, false]);
    store.commit(theirs.iter().map(executed).collect(), batch(6, 0)).unwrap();
    assert_eq!(store.served().status(), store.status());
    drop(store);
    assert_eq!(open(folder.path()).unwrap().executed().block, theirs[4].block_ref());
}

#[test]
fn truncating_above_the_executed_head_leaves_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    store.truncate(9).unwrap();
    assert_eq!(store.stored(), ours[5].block_ref());
    store.truncate(5).unwrap();
    assert_eq!((store.stored(), store.served().status().latest), (ours[4].block_ref(), ours[4].block_ref()));
    assert_eq!((store.header(6), store.number(&ours[5].hash)), (None, None));
    assert_eq!((store.body(&ours[5].hash), store.receipts(&ours[5].hash)), (None, None));
    assert_eq!(store.take_dropped(), ours[5..]);
}

#[test]
fn receipts_of_a_dropped_block_are_not_those_of_its_successor() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    let theirs = blocks(ours[2].block_ref(), 3, 3);
    store.truncate(3).unwrap();
    store.append(theirs.clone()).unwrap();
    assert_eq!(store.receipts(&theirs[0].hash), None);
    store.put_receipts(vec![(ours[3].hash, receipts(4))]).unwrap();
    assert_eq!(store.receipts(&theirs[0].hash), None, "sent for the block that is gone");
    assert_eq!(store.missing_receipts(1, 9).len(), 2);
    assert_eq!(store.receipts(&ours[1].hash), Some(receipts(2)));
}

#[test]
fn blocks_dropped_while_they_are_executed_are_committed_and_undone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    let more = blocks(ours[5].block_ref(), 4, 0);
    let theirs = blocks(ours[5].block_ref(), 8, 2);
    store.append(more.clone()).unwrap();
    // Blocks 6 to 9 are executed, then 7 and all above go, then 10 of the other branch and above.
    store.truncate(6).unwrap();
    store.append(theirs.clone()).unwrap();
    store.truncate(9).unwrap();
    let done: Vec<_> = ours[5..].iter().chain(&more[..3]).map(executed).collect();
    store.commit(done, batch(9, 0)).unwrap();
    let check = |store: &Arc<Store>| {
        assert_eq!(store.executed().block, more[2].block_ref());
        assert_eq!(store.executed().time, 1090);
        assert_eq!(store.executed().state_root, keccak256(9u64.to_be_bytes()));
        assert_eq!(store.served().status().latest, ours[5].block_ref());
        assert_eq!(store.receipts(&theirs[1].hash), None, "those of another block 8");
        assert_eq!(store.receipts(&ours[5].hash), Some(receipts(6)));
        assert_eq!(store.undo(7).unwrap().unwrap().parent, ours[5].block_ref());
    };
    check(&store);
    // More of what was left may be on its way.
    store.commit(vec![executed(&more[3])], batch(10, 0)).unwrap();
    assert_eq!(store.executed().total_difficulty, U256::from(11));
    assert_eq!(store.served().status().latest, ours[5].block_ref());
    store.unwind(more[2].block_ref(), batch(9, 0)).unwrap();
    drop(store);
    let store = open(folder.path()).unwrap();
    check(&store);
    store.unwind(ours[5].block_ref(), batch(6, 0)).unwrap();
    assert_eq!(store.served().status().total_difficulty, U256::from(7));
    store.commit(theirs[..3].iter().map(executed).collect(), batch(9, 5)).unwrap();
    assert_eq!(store.served().status(), store.status());
}

#[test]
fn a_branch_too_long_to_be_undone_is_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    let more = blocks(ours[5].block_ref(), 300, 0);
    store.append(more.clone()).unwrap();
    store.truncate(6).unwrap();
    let commit = |to: usize| {
        let done = ours[5..].iter().chain(&more[..to]);
        store.commit(done.map(executed).collect(), batch(9, 0))
    };
    assert!(matches!(commit(129), Err(StoreFailure::Gone { number: 7 })));
    assert_eq!(store.executed().block, ours[4].block_ref());
    assert_eq!(store.served().status().latest, ours[4].block_ref());
    commit(128).unwrap();
    assert_eq!(store.undo(7).unwrap().unwrap().parent, ours[5].block_ref());
    assert_eq!(store.undo(6).unwrap(), None);
    drop(store);
    assert_eq!(open(folder.path()).unwrap().served().status().latest, ours[5].block_ref());
}

#[test]
fn the_executed_branch_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    store.truncate(2).unwrap();
    store.append(ours[2..4].to_vec()).unwrap();
    assert_eq!(store.served().status().latest, ours[1].block_ref());
    store.append(ours[4..].to_vec()).unwrap();
    assert_eq!(store.served().status().latest, ours[4].block_ref());
    assert_eq!(store.executed().block, ours[4].block_ref());
    assert_eq!(store.served().receipts(&ours[3].hash), Some(receipts(4)), "not made again");
    assert!(!store.has_receipts(&ours[5].hash), "not executed yet");

    // Not those of a branch that was undone, whose blocks are executed again.
    store.truncate(3).unwrap();
    store.unwind(ours[2].block_ref(), batch(3, 0)).unwrap();
    store.append(ours[3..].to_vec()).unwrap();
    assert!(!store.has_receipts(&ours[3].hash));
}

/// Looks at the store at the moment it is told of something.
struct Look<F>(F, Mutex<Vec<bool>>);

impl<F: Fn() -> bool + Send + Sync> Wake for Look<F> {
    fn wake(self: Arc<Self>) {
        let found = self.0();
        self.1.lock().unwrap().push(found);
    }
}

#[test]
fn who_is_told_of_a_head_finds_it_as_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, ours) = grown(folder.path());
    let told = |change: &dyn Fn(), found: fn(&Arc<Store>, &RawBlock) -> bool| {
        let (store, block) = (store.clone(), ours[4].clone());
        let (mut stored, mut executed) = (store.watch_stored(), store.watch_executed());
        let look = Arc::new(Look(move || found(&store, &block), Mutex::default()));
        let waker = Waker::from(look.clone());
        let mut context = Context::from_waker(&waker);
        let (mut stored, mut executed) = (Box::pin(stored.changed()), Box::pin(executed.changed()));
        assert!(stored.as_mut().poll(&mut context).is_pending());
        assert!(executed.as_mut().poll(&mut context).is_pending());
        change();
        look.1.lock().unwrap().clone()
    };
    let dropped = told(&|| store.truncate(3).unwrap(), |store, block| {
        store.number(&block.hash).is_none() && store.served().status().latest.number == 3
    });
    assert_eq!(dropped, [true]);
    let undone = told(&|| store.unwind(ours[2].block_ref(), batch(3, 0)).unwrap(), |store, _| {
        store.undo(4).unwrap().is_none() && store.executed().block.number == 3
    });
    assert_eq!(undone, [true]);
    let stored = told(&|| store.append(ours[3..].to_vec()).unwrap(), |store, block| {
        store.block(5).unwrap().as_ref() == Some(block) && store.status().latest.number == 6
    });
    assert_eq!(stored, [true]);
    let done = || store.commit(ours[3..5].iter().map(executed).collect(), batch(5, 0)).unwrap();
    let executed = told(&done, |store, block| {
        let latest = store.served().status().latest;
        latest == block.block_ref() && store.state().account(&address(5)).unwrap() == Some(account(5))
    });
    assert_eq!(executed, [true]);
}
