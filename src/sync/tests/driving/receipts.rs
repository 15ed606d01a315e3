//! Receipts through the driver: where they end up, how runs end, what failures of the host do.

use super::*;
use crate::sync::{Receipts, ReceiptsState};

/// A chain on the development chain's genesis whose transactions leave receipts.
fn full_chain(len: u64) -> Arc<TestChain> {
    let mut chain = TestChain::full(vec![ChainSpec::dev().genesis_block()]);
    chain.grow(3, len);
    Arc::new(chain)
}

fn config(receipts: Receipts) -> SyncConfig {
    SyncConfig { receipts, ..SyncConfig::default() }
}

fn give(source: &FakeSource, session: SessionId, gives: Gives) {
    source.0.lock().unwrap().peers.get_mut(&session).unwrap().gives = gives;
}

fn all_held(store: &MemoryStore, chain: &TestChain) {
    for block in &chain.blocks[1..] {
        assert_eq!(store.receipts(&block.hash), Some(chain.receipts(block.number)), "{}", block.number);
    }
    assert_eq!(store.receipt_counts(), (chain.head().number, 0));
}

async fn complete(handle: &SyncHandle) {
    let mut progress = handle.subscribe();
    let is = |progress: &crate::sync::Progress| {
        progress.at_target && progress.receipts_state == ReceiptsState::Complete
    };
    let waited = timeout(60 * S, progress.wait_for(is)).await;
    waited.unwrap_or_else(|_| panic!("not complete: {:?}", handle.progress())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn receipts_end_up_in_the_store_in_consensus_form_whatever_the_form_they_came_in() {
    for gives in [Gives::Blooms, Gives::Flat, Gives::Parts(2), Gives::Leaky] {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), full_chain(600));
        let session = source.up(1, &chain, Manner::Honest, 20 * MS);
        give(&source, session, gives);
        source.up(2, &chain, Manner::Honest, 50 * MS);
        let (handle, _run) = spawn(&source, store.clone(), config(Receipts::Required));
        complete(&handle).await;
        all_held(&store, &chain);
        assert_eq!(handle.progress().receipts, 600);
        assert!(source.blamed().is_empty());
    }
}

/// G5: what does not verify never reaches the store.
#[tokio::test(start_paused = true)]
async fn bad_receipts_never_reach_the_store() {
    for gives in [Gives::Stray, Gives::Wrong, Gives::TooMany, Gives::NoMore, Gives::SamePart] {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), full_chain(400));
        let bad = source.up(1, &chain, Manner::Honest, MS);
        give(&source, bad, gives);
        source.up(2, &chain, Manner::Honest, 40 * MS);
        let (handle, _run) = spawn(&source, store.clone(), config(Receipts::Available));
        complete(&handle).await;
        all_held(&store, &chain);
        assert_eq!(source.0.lock().unwrap().blamed, [(bad, DisconnectReason::BadData)], "{gives:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_to_a_trusted_head_ends_with_the_receipts_it_was_asked_for() {
    for receipts in [Receipts::Available, Receipts::Required] {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), full_chain(500));
        let first = source.up(1, &chain, Manner::Honest, 20 * MS);
        give(&source, first, Gives::UpTo(250));
        let config = SyncConfig { trusted_head: Some(chain.head().hash), ..config(receipts) };
        let (handle, run) = spawn(&source, store.clone(), config.clone());
        stored(&handle, chain.head()).await;
        sleep(S).await;
        assert_eq!(run.is_finished(), receipts == Receipts::Available);
        assert_eq!(handle.progress().at_target, receipts == Receipts::Available);
        assert!((240..=251).contains(&handle.progress().receipts), "{:?}", handle.progress());
        // The rest comes with somebody else, also in a run that finds its head in the store.
        source.up(2, &chain, Manner::Honest, 20 * MS);
        let run = match receipts {
            Receipts::Required => run,
            _ => spawn(&source, store.clone(), config).1,
        };
        timeout(60 * S, run).await.expect("ends").unwrap().unwrap();
        all_held(&store, &chain);
    }
}

/// The store is full, or the work is lost.
#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_receipts_ends_the_run_with_its_cause() {
    let (source, chain) = (Arc::new(FakeSource::default()), full_chain(50));
    source.up(1, &chain, Manner::Honest, MS);
    let (_, run) = spawn(&source, Arc::new(NoRoom(store())), config(Receipts::Available));
    assert_eq!(run.await.unwrap().unwrap_err().to_string(), "store failed: no room for receipts");
}

/// One seed, one trace.
#[tokio::test(start_paused = true)]
async fn the_same_run_asks_the_same_questions_for_receipts() {
    let mut logs = Vec::new();
    for _ in 0..2 {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), full_chain(700));
        let first = source.up(1, &chain, Manner::Honest, 20 * MS);
        give(&source, first, Gives::Parts(9));
        source.up(2, &chain, Manner::Honest, 7 * MS);
        let (handle, _run) = spawn(&source, store, config(Receipts::Required));
        complete(&handle).await;
        logs.push(std::mem::take(&mut source.0.lock().unwrap().log));
    }
    assert!(logs[0].iter().filter(|line| line.contains("receipts")).count() > 10);
    assert_eq!(logs[0], logs[1]);
}

/// A chain in memory that has room for blocks only.
struct NoRoom(Arc<MemoryStore>);

impl Chain for NoRoom {
    fn spec(&self) -> &Arc<ChainSpec> {
        self.0.spec()
    }
    fn status(&self) -> crate::protocols::eth::ChainStatus {
        self.0.status()
    }
    fn header(&self, number: u64) -> Option<Bytes> {
        self.0.header(number)
    }
    fn number(&self, hash: &B256) -> Option<u64> {
        self.0.number(hash)
    }
    fn body(&self, hash: &B256) -> Option<Bytes> {
        self.0.body(hash)
    }
    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        self.0.receipts(hash)
    }
}

impl ChainStore for NoRoom {
    fn head(&self) -> Option<BlockRef> {
        self.0.head()
    }
    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError> {
        self.0.append(blocks)
    }
    fn truncate(&self, number: u64) -> Result<(), StoreError> {
        self.0.truncate(number)
    }
    fn put_receipts(&self, _: Vec<(B256, Bytes)>) -> Result<(), StoreError> {
        Err(StoreError::Io(std::io::Error::other("no room for receipts")))
    }
}
