//! What a host holds of a running sync, and why one ends before its time.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::store::StoreError;

/// Watches and stops a sync. Cheap to clone; it outlives the sync.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) stop: CancellationToken,
}

impl SyncHandle {
    /// How far the sync is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Tells when [`progress`](Self::progress) changes, the head included. Changes that come before
    /// the last one was looked at are merged; the last one always arrives. The channel closes when
    /// the sync is dropped.
    pub fn subscribe(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Ends the sync: its `run` returns, requests in flight are dropped. A batch that the store is
    /// taking is finished. Calling it again does nothing.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// Why a sync ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The store did not take verified blocks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The trusted head has a number that our chain has passed with another block.
    #[error("the trusted head is block {number}, and our block {number} is another")]
    OtherBranch {
        /// Its number.
        number: u64,
    },
    /// Work given to the [`Offload`](crate::offload::Offload) was lost: a job panicked, or the pool is going down.
    #[error("offloaded work was lost")]
    OffloadLost,
}
