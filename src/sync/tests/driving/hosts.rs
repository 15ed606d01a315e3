//! Hosts that make blocks themselves, and hosts that fail.

use super::*;

/// A host that makes blocks itself moves the head under the sync.
#[tokio::test(start_paused = true)]
async fn a_head_moved_by_the_host_is_taken_up() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(400));
    let (handle, run) = spawn(&source, store.clone(), SyncConfig::default());
    sleep(MS).await;
    store.append(chain.blocks[1..=150].to_vec()).unwrap();
    source.up(1, &chain, Manner::Honest, 10 * MS);
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[1..]);
    assert!(!run.is_finished());
}

type Append = dyn Fn(&MemoryStore, Vec<RawBlock>) -> Result<(), StoreError> + Send + Sync;

/// A store with its own way to take blocks.
struct Taking(Arc<MemoryStore>, Box<Append>);

impl Chain for Taking {
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

impl ChainStore for Taking {
    fn head(&self) -> Option<BlockRef> {
        self.0.head()
    }
    fn append(&self, blocks: Vec<RawBlock>) -> Result<(), StoreError> {
        (self.1)(&self.0, blocks)
    }
    fn truncate(&self, number: u64) -> Result<(), StoreError> {
        self.0.truncate(number)
    }
    fn put_receipts(&self, _: Vec<(B256, Bytes)>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// It is always a block ahead when a delivery comes, more often than a store may refuse for nothing.
#[tokio::test(start_paused = true)]
async fn a_host_that_makes_block_after_block_keeps_its_sync() {
    let (source, held, chain) = (Arc::new(FakeSource::default()), store(), chain(400));
    let made = chain.blocks.clone();
    let append = move |store: &MemoryStore, blocks| {
        let next = store.status().latest.number as usize + 1;
        if next <= 10 {
            store.append(vec![made[next].clone()])?;
        }
        store.append(blocks)
    };
    let taking = Arc::new(Taking(held.clone(), Box::new(append)));
    let (handle, run) = spawn(&source, taking, SyncConfig::default());
    source.up(1, &chain, Manner::Honest, 10 * MS);
    stored(&handle, chain.head()).await;
    assert_eq!(held.blocks(), chain.blocks[1..]);
    assert!(!run.is_finished());
}

/// A store that fails, and an offload that loses its work.
#[tokio::test(start_paused = true)]
async fn failures_of_the_host_end_the_run_with_their_cause() {
    struct Lossy;
    impl Offload for Lossy {
        fn start(&self, _: Job) {}
    }
    let (source, chain) = (Arc::new(FakeSource::default()), chain(50));
    source.up(1, &chain, Manner::Honest, MS);
    let full = Taking(store(), Box::new(|_, _| Err(StoreError::Io(std::io::Error::other("disk full")))));
    let (_, run) = spawn(&source, Arc::new(full), SyncConfig::default());
    assert_eq!(run.await.unwrap().unwrap_err().to_string(), "store failed: disk full");
    let run = Syncer::new(source, store(), Arc::new(Lossy), SyncConfig::default()).run();
    assert!(matches!(run.await, Err(SyncError::OffloadLost)));
}
