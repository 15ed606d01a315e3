//! What a host holds of the running exchange of transactions, and why it ends before its time.

use alloy_primitives::B256;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::share::HASHES_MAX;

/// Lots of hashes that may wait to be spread, each of at most 4,096.
pub(super) const LOTS_MAX: usize = 64;

/// What has happened so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionCounts {
    /// Peers there are now.
    pub peers: usize,
    /// Bytes that wait for the pool now, or are with it.
    pub waiting_bytes: u64,
    /// Hashes that peers announced, known ones and repetitions included.
    pub heard: u64,
    /// Transactions that were asked for, once for each peer that was.
    pub asked: u64,
    /// Transactions that came, asked for or not.
    pub delivered: u64,
    /// Of those, new ones that the pool has taken.
    pub added: u64,
    /// Ones that the pool does not want.
    pub refused: u64,
    /// Ones that no honest peer sends.
    pub invalid: u64,
    /// Hashes that were announced, once for each peer that was told.
    pub announced: u64,
    /// Whole transactions that were sent unasked, once for each peer.
    pub sent: u64,
    /// Announcements and transactions that there was no room for, and impossible ones.
    pub dropped: u64,
    /// Requests without an answer, of peers that were there all the time.
    pub unanswered: u64,
    /// Peers whose session was ended for what they sent.
    pub blamed: u64,
}

/// Watches, feeds and stops the exchange of transactions. Cheap to clone; it outlives what it handles.
#[derive(Debug, Clone)]
pub struct TransactionsHandle {
    pub(super) counts: watch::Receiver<TransactionCounts>,
    pub(super) spread: mpsc::Sender<Vec<B256>>,
    pub(super) stop: CancellationToken,
}

impl TransactionsHandle {
    /// What has happened so far.
    pub fn counts(&self) -> TransactionCounts {
        *self.counts.borrow()
    }

    /// Tells when [`counts`](Self::counts) change. Changes that come before the last one was looked at
    /// are merged.
    pub fn subscribe(&self) -> watch::Receiver<TransactionCounts> {
        self.counts.clone()
    }

    /// Hands on transactions that the host itself put into the pool, such as its own. They are looked
    /// up there when their turn comes; those that have gone by then are left out.
    ///
    /// `false`: nothing was queued, because 64 lots of at most 4,096 hashes wait, more than that were
    /// given, or the exchange has ended. Who comes later is told all that is in the pool anyway.
    pub fn spread(&self, hashes: Vec<B256>) -> bool {
        let lots = hashes.len().div_ceil(HASHES_MAX);
        let Ok(room) = self.spread.try_reserve_many(lots) else { return false };
        for (place, lot) in room.zip(hashes.chunks(HASHES_MAX)) {
            place.send(lot.to_vec());
        }
        true
    }

    /// Ends the exchange: its `run` returns, requests in flight are dropped. A lot that the pool is
    /// checking is finished. Calling it again does nothing.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// Why the exchange of transactions ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionsError {
    /// Work given to the [`Offload`](crate::offload::Offload) was lost: the pool panicked, or the
    /// threads are going down.
    #[error("offloaded work was lost")]
    OffloadLost,
}
