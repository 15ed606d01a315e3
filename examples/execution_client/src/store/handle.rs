//! The store as everyone else holds it: heads, reads, and the one way in which anything is written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use alloy_primitives::B256;
use redb::{Database, WriteTransaction};
use tokio::sync::watch;
use trunkline::chain::{BlockRef, ChainSpec, RawBlock};

use super::dropped::Dropped;
use super::error::{Full, StoreFailure};
use super::heads::{Executed, Heads};
use super::left::Left;
use super::view::View;

/// How much of the file redb keeps in memory, its unwritten pages included.
pub const CACHE_BYTES: usize = 48 << 20;
/// How far bodies may be ahead of execution unless [`Store::set_ahead_max`] says otherwise. The sync waits
/// at [`Store::room`] when they are.
pub const AHEAD_MAX: u64 = 2048;

/// Blocks, receipts and state in a folder. Shared in an `Arc`; closed when the last one is dropped.
///
/// Reading never waits for a write. Writes wait for each other. After a write that failed for want of space
/// or because the medium failed, everything answers with that failure until the folder is opened again.
pub struct Store {
    pub(super) spec: Arc<ChainSpec>,
    database: Database,
    /// Held while something is written, and while the heads follow.
    writing: Mutex<Left>,
    view: RwLock<Arc<View>>,
    pub(super) heads: RwLock<Heads>,
    executed: watch::Sender<Executed>,
    stored: watch::Sender<BlockRef>,
    room: watch::Sender<bool>,
    ahead_max: AtomicU64,
    pub(super) dropped: Mutex<Dropped>,
    full: Full,
}

impl Store {
    /// The block after which the state is.
    pub fn executed(&self) -> Executed {
        *self.executed.borrow()
    }

    /// Follows [`executed`](Self::executed), which also goes down.
    pub fn watch_executed(&self) -> watch::Receiver<Executed> {
        self.executed.subscribe()
    }

    /// The highest block whose body is held, executed or not.
    pub fn stored(&self) -> BlockRef {
        *self.stored.borrow()
    }

    /// Follows [`stored`](Self::stored), which also goes down.
    pub fn watch_stored(&self) -> watch::Receiver<BlockRef> {
        self.stored.subscribe()
    }

    /// How far bodies may be ahead of execution before [`room`](Self::room) waits; at least one block.
    pub fn set_ahead_max(&self, blocks: u64) {
        self.ahead_max.store(blocks.max(1), Ordering::Relaxed);
        self.note_room();
    }

    /// Waits until bodies are less than the bound ahead of execution. Dropping it changes nothing.
    pub fn room(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut room = self.room.subscribe();
        // It fails only when the store is gone, and then there is nothing to wait for.
        async move { room.wait_for(|room| *room).await.map(drop).unwrap_or_default() }
    }

    /// Whether a write has found no space: whatever failed since then, in whichever words, failed for it.
    pub fn is_full(&self) -> bool {
        self.full.is_full()
    }

    /// The canonical block with this number, if it is stored.
    pub fn block(&self, number: u64) -> Result<Option<RawBlock>, StoreFailure> {
        self.read(|view| view.block(number))
    }

    /// Whether nothing is missing of the receipts of this block, which is stored.
    pub fn has_receipts(&self, hash: &B256) -> bool {
        let has =
            self.lookup("receipts", |view| view.number(hash)?.map(|at| view.has_receipts(at)).transpose());
        has.unwrap_or_default()
    }

    /// Blocks that the sync dropped since the last call, for the transactions in them; the latest 128 with
    /// no more than 16 MiB, older ones are forgotten.
    pub fn take_dropped(&self) -> Vec<RawBlock> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Store {
    /// Takes up a database in which everything stands.
    pub(super) fn at_heads(database: Database, spec: Arc<ChainSpec>) -> Result<Self, StoreFailure> {
        let full = Full::default();
        let view = View::of(&database, &full)?;
        let executed = view.executed()?;
        let stored = view.status(&spec, view.last()?)?;
        let served = view.status(&spec, view.highest_on_chain(executed)?.number)?;
        let ahead = stored.latest.number.saturating_sub(executed.block.number);
        Ok(Self {
            spec,
            database,
            writing: Mutex::default(),
            view: RwLock::new(Arc::new(view)),
            heads: RwLock::new(Heads { stored, served }),
            executed: watch::Sender::new(executed),
            stored: watch::Sender::new(stored.latest),
            room: watch::Sender::new(ahead < AHEAD_MAX),
            ahead_max: AtomicU64::new(AHEAD_MAX),
            dropped: Mutex::default(),
            full,
        })
    }

    /// Nothing else is written, and no head moves, while this is held.
    pub(super) fn writing(&self) -> MutexGuard<'_, Left> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one transaction: all of it, or, when it fails, nothing of it. It is on the disk when
    /// this returns; readers see it after [`refresh`](Self::refresh).
    ///
    /// For blocks and receipts too: what a kill takes would have to be fetched again, and a write that takes
    /// longer is followed by a larger one, so that the sync is not slower for it.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StoreFailure>,
    ) -> Result<T, StoreFailure> {
        let write = || {
            let transaction = self.database.begin_write()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        write().map_err(|failure: StoreFailure| self.full.note(failure))
    }

    /// Lets readers see what has been written; the pages that only the view before saw are given back.
    pub(super) fn refresh(&self) -> Result<(), StoreFailure> {
        let view = View::of(&self.database, &self.full)?;
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        Ok(())
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn heads(&self) -> Heads {
        *self.heads.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves what is claimed and what is built on. Before [`refresh`](Self::refresh) when it goes down, after
    /// it when it goes up: what is claimed is there to be read.
    pub(super) fn set_heads(&self, heads: Heads) {
        *self.heads.write().unwrap_or_else(PoisonError::into_inner) = heads;
    }

    /// Tells those who follow the heads. Last of all, so that they find what they are told.
    pub(super) fn tell(&self, executed: Option<Executed>) {
        if let Some(executed) = executed {
            self.executed.send_replace(executed);
        }
        let now = self.heads().stored.latest;
        self.stored.send_if_modified(|stored| std::mem::replace(stored, now) != now);
        self.note_room();
    }

    fn note_room(&self) {
        let ahead = self.stored().number.saturating_sub(self.executed().block.number);
        let room = ahead < self.ahead_max.load(Ordering::Relaxed);
        self.room.send_if_modified(|now| std::mem::replace(now, room) != room);
    }

    /// Reads what was written last.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&View) -> Result<T, StoreFailure>,
    ) -> Result<T, StoreFailure> {
        read(&self.view()).map_err(|failure| self.full.note(failure))
    }

    /// A read for someone who cannot be told of a failure: it is logged, and nothing is found.
    pub(super) fn lookup<T>(
        &self,
        what: &str,
        read: impl FnOnce(&View) -> Result<Option<T>, StoreFailure>,
    ) -> Option<T> {
        self.read(read).unwrap_or_else(|failure| {
            tracing::error!(what, error = %failure, "cannot read the store");
            None
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("heads", &self.heads()).finish_non_exhaustive()
    }
}
