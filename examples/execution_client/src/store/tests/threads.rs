//! The sync writes, execution commits, peers read, all at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures::FutureExt;
use tokio::runtime::Builder;
use tokio::time::{Duration, timeout};
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::ChainStore;

use super::*;
use crate::state::StateView;

const BLOCKS: u64 = 400;

/// Fails, rather than waits for ever, when another thread has failed.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(60), future).await }).expect("still waiting")
}

/// Lets the sync append only where there is room, in parts of different sizes.
fn sync(store: &Store, blocks: &[RawBlock]) {
    let mut rest = blocks;
    while !rest.is_empty() {
        wait(store.ready());
        let (part, behind) = rest.split_at(rest.len().min(1 + rest.len() % 13));
        store.append(part.to_vec()).unwrap();
        let lists = part.iter().filter(|block| block.number.is_multiple_of(4));
        store.put_receipts(lists.map(|block| (block.hash, receipts(block.number))).collect()).unwrap();
        rest = behind;
    }
}

/// Executes whatever is stored.
fn execute(store: &Store, blocks: &[RawBlock]) {
    let mut stored = store.watch_stored();
    let mut rest = blocks;
    while let Some(first) = rest.first() {
        let behind = store.stored().number + 1 - first.number;
        if behind == 0 {
            wait(stored.changed()).unwrap();
            continue;
        }
        let (part, more) = rest.split_at(behind.min(17) as usize);
        let last = part.last().unwrap().number;
        store.commit(part.iter().map(executed).collect(), batch(last, 0)).unwrap();
        // What was committed is seen at once, and by the snapshots taken from now on.
        assert_eq!(store.executed().block.number, last);
        assert_eq!(store.state().account(&address(last)).unwrap(), Some(account(last)));
        rest = more;
    }
}

/// What is claimed is there, whole.
fn read(store: &Arc<Store>, blocks: &[RawBlock], done: &AtomicBool) {
    let served = store.served();
    while !done.load(Ordering::Relaxed) {
        let latest = served.status().latest;
        let Some(block) = latest.number.checked_sub(1).map(|index| &blocks[index as usize]) else { continue };
        assert_eq!(latest, block.block_ref());
        assert_eq!(served.header(latest.number).as_ref(), Some(&block.header));
        assert_eq!(served.number(&latest.hash), Some(latest.number));
        assert_eq!(served.body(&latest.hash).as_ref(), Some(&block.body));
        assert!(served.receipts(&latest.hash).is_some());
        assert!(store.stored().number >= latest.number);
    }
}

#[test]
fn writing_committing_and_reading_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.set_ahead_max(40);
    let blocks = blocks(chain().spec.genesis(), BLOCKS, 0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers = [scope.spawn(|| sync(&store, &blocks)), scope.spawn(|| execute(&store, &blocks))];
        let readers =
            [scope.spawn(|| read(&store, &blocks, &done)), scope.spawn(|| read(&store, &blocks, &done))];
        let written = writers.map(|writer| writer.join().is_ok());
        done.store(true, Ordering::Relaxed);
        assert_eq!(written, [true; 2]);
        assert!(readers.into_iter().all(|reader| reader.join().is_ok()));
    });
    assert_eq!(store.served().status(), store.status());
    assert_eq!(store.executed().block.number, BLOCKS);
    assert!(store.room().now_or_never().is_some());
}
