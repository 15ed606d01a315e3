//! Hosts that are slower than the sync, and find blocks to be invalid.

use tokio::sync::Semaphore;

use super::*;
use crate::protocols::eth::ChainStatus;

/// Has room for as many appends as it has permits, and counts the blocks it was given.
struct Slow {
    chain: Arc<MemoryStore>,
    room: Arc<Semaphore>,
}

impl Slow {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self { chain: store(), room: Arc::new(Semaphore::new(room)) })
    }
}

impl Chain for Slow {
    fn spec(&self) -> &Arc<ChainSpec> {
        self.chain.spec()
    }

    fn status(&self) -> ChainStatus {
        self.chain.status()
    }

    fn header(&self, number: u64) -> Option<Bytes> {
        self.chain.header(number)
    }

    fn number(&self, hash: &B256) -> Option<u64> {
        self.chain.number(hash)
    }

    fn body(&self, hash: &B256) -> Option<Bytes> {
        self.chain.body(hash)
    }

    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        self.chain.receipts(hash)
    }
}

impl ChainStore for Slow {
    fn head(&self) -> Option<BlockRef> {
        self.chain.head()
    }

    fn ready(&self) -> BoxFuture<'static, ()> {
        let room = self.room.clone();
        async move { room.acquire_owned().await.map_or((), |permit| permit.forget()) }.boxed()
    }

    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError> {
        self.chain.append(blocks)
    }

    fn truncate(&self, number: u64) -> Result<(), StoreError> {
        self.chain.truncate(number)
    }

    fn put_receipts(&self, receipts: Vec<(B256, Bytes)>) -> Result<(), StoreError> {
        self.chain.put_receipts(receipts)
    }
}

fn config() -> SyncConfig {
    SyncConfig { header_window: 128, deliver_blocks_max: 32, ..SyncConfig::default() }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_room_holds_the_sync_back_down_to_the_network() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), Slow::new(2), chain(900));
    source.up(1, &chain, Manner::Honest, 5 * MS);
    let (handle, _run) = spawn(&source, store.clone(), config());
    handle.subscribe().wait_for(|progress| progress.headers == 192).await.unwrap();
    sleep(60 * S).await;
    let asked = source.0.lock().unwrap().log.len();
    let progress = handle.progress();
    assert_eq!((progress.bodies, progress.headers), (64, 192), "what is above was not asked for");
    sleep(60 * S).await;
    assert_eq!(source.0.lock().unwrap().log.len(), asked, "and nobody is asked meanwhile");
    store.room.add_permits(1_000);
    stored(&handle, chain.head()).await;
    assert_eq!(store.chain.blocks(), chain.blocks[1..]);
    assert!(source.blamed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_waits_for_room_can_be_stopped() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), Slow::new(0), chain(100));
    source.up(1, &chain, Manner::Honest, 5 * MS);
    let (handle, run) = spawn(&source, store.clone(), config());
    handle.subscribe().wait_for(|progress| progress.headers == 100).await.unwrap();
    handle.stop();
    run.await.unwrap().unwrap();
    assert_eq!(store.chain.blocks(), []);
}

/// Whoever makes room has stopped because of the block: waiting for it would never end.
#[tokio::test(start_paused = true)]
async fn a_block_is_rejected_while_the_store_has_no_room() {
    let (source, store, good) = (Arc::new(FakeSource::default()), Slow::new(2), chain(400));
    let bad = Arc::new(good.branch(20, 9, 700));
    let liar = source.up(1, &bad, Manner::Honest, 5 * MS);
    let (handle, _run) = spawn(&source, store.clone(), config());
    handle.subscribe().wait_for(|progress| progress.bodies == 64).await.unwrap();
    source.up(2, &good, Manner::Honest, 5 * MS);
    assert_eq!(handle.reject(bad.at(30).block_ref()).await, Some(liar));
    handle.subscribe().wait_for(|progress| progress.bodies < 64).await.unwrap();
    store.room.add_permits(1_000);
    stored(&handle, good.head()).await;
    assert_eq!(store.chain.blocks(), good.blocks[1..]);
    assert_eq!(source.blamed(), [liar]);
}

/// It was set aside because its headers were not ours, and lacked bodies that are not on its chain.
#[tokio::test(start_paused = true)]
async fn whoever_was_right_is_asked_at_once_when_the_wrong_chain_is_rejected() {
    let (source, store, good) = (Arc::new(FakeSource::default()), Slow::new(2), chain(400));
    let bad = Arc::new(good.branch(20, 9, 700));
    let liar = source.up(2, &bad, Manner::Honest, 5 * MS);
    let (handle, _run) = spawn(&source, store.clone(), config());
    handle.subscribe().wait_for(|progress| progress.headers == 192).await.unwrap();
    source.up(1, &good, Manner::Honest, 5 * MS);
    for _ in 0..4 {
        store.room.add_permits(1);
        sleep(S).await;
    }
    let since = tokio::time::Instant::now();
    assert_eq!(handle.reject(bad.at(30).block_ref()).await, Some(liar));
    store.room.add_permits(1_000);
    stored(&handle, good.head()).await;
    assert!(since.elapsed() < 5 * S, "{:?}", since.elapsed());
    assert_eq!(store.chain.blocks(), good.blocks[1..]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_block_below_the_trusted_head_ends_the_sync() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), Slow::new(2), chain(100));
    source.up(1, &chain, Manner::Honest, 5 * MS);
    let config = SyncConfig { trusted_head: Some(chain.head().hash), ..config() };
    let (handle, run) = spawn(&source, store.clone(), config);
    handle.subscribe().wait_for(|progress| progress.bodies == 64 && progress.headers == 100).await.unwrap();
    assert_eq!(handle.reject(chain.at(10).block_ref()).await, None);
    let ended = run.await.unwrap();
    assert!(matches!(ended, Err(SyncError::TrustedRejected { number: 10 })), "{ended:?}");
    assert!(source.blamed().is_empty());
}

/// A host that makes blocks appends them itself, and peers bring them back.
#[tokio::test(start_paused = true)]
async fn a_host_that_appends_blocks_itself_is_no_trouble_and_its_blocks_are_not_fetched() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(40));
    let (handle, run) = spawn(&source, store.clone(), SyncConfig { poll_interval: 50 * MS, ..config() });
    source.up(1, &chain, Manner::Honest, 200 * MS);
    for block in &chain.blocks[1..] {
        // While the same block is on its way from the peer, or has just come.
        sleep(70 * MS).await;
        let _ = store.append(vec![block.clone()]);
        handle.moved();
    }
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[1..]);
    assert!(!run.is_finished() && source.blamed().is_empty());
    let before = source.0.lock().unwrap().log.len();
    sleep(S).await;
    let log = source.0.lock().unwrap().log[before..].join("\n");
    assert!(!log.contains("bodies"), "{log}");
}
