//! What a host holds of a running sync, and why one ends before its time.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::store::StoreError;
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// A block that the host found to be invalid, and who wants to know whose it was.
pub(super) type Rejection = (BlockRef, oneshot::Sender<Option<SessionId>>);

/// Watches and stops a sync. Cheap to clone; it outlives the sync.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) stop: CancellationToken,
    pub(super) rejections: mpsc::Sender<Rejection>,
    pub(super) moved: Arc<Notify>,
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

    /// Says that the host itself has changed the head of the store, as one that makes blocks does: the
    /// sync looks again and goes on from there. Without it the sync finds out when it next delivers,
    /// having fetched blocks that are there. Several calls are merged; nothing waits.
    pub fn moved(&self) {
        self.moved.notify_one();
    }

    /// Says that a block in the store is invalid although header and body fit each other: an
    /// execution client finds that out later than the sync does.
    ///
    /// Who sent its header ends with [`BadData`](crate::DisconnectReason::BadData). The store is told
    /// to [`truncate`](super::ChainStore::truncate) to the block before, and the sync goes on from
    /// there. The block is remembered (256 of them are), so that whoever sends it again ends in the
    /// same way. A block that the trusted head is known to build on cannot be anybody's fault: then
    /// the sync ends with [`SyncError::TrustedRejected`]. A block that is not in the store is only
    /// remembered.
    ///
    /// Gives the session that was blamed: none if its sender has gone, or nobody is at fault. Waits
    /// while 16 rejections are on their way. Nothing happens once the sync has ended. Dropping the
    /// future does not take the rejection back.
    pub async fn reject(&self, block: BlockRef) -> Option<SessionId> {
        let (reply, blamed) = oneshot::channel();
        self.rejections.send((block, reply)).await.ok()?;
        blamed.await.ok().flatten()
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
    /// The host rejected a block that the trusted head builds on.
    #[error("block {number} was rejected, and the trusted head builds on it")]
    TrustedRejected {
        /// Its number.
        number: u64,
    },
    /// Work given to the [`Offload`](crate::offload::Offload) was lost: a job panicked, or the pool is going down.
    #[error("offloaded work was lost")]
    OffloadLost,
}
