//! What the host hears about eth peers: one bounded queue, read by any number of subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::U256;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::gossip::PooledHash;
use super::peers::EthPeer;
use super::pooled::PooledTransaction;
use crate::chain::{BlockRef, RawBlock};
use crate::disconnect::Disconnected;
use crate::protocols;

/// How many events the queue holds. When full, the oldest is dropped; who had not read it is told.
pub const EVENTS_MAX: usize = 1_024;

/// How many bytes of announcements the queue holds, as they were inflated. When full, a new
/// announcement is dropped undecoded; every subscriber is told.
pub const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Something that happened with an eth peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EthEvent {
    /// An eth session is up: the Status of each side was accepted.
    PeerUp(EthPeer),
    /// An eth session has ended. The connection may live on.
    PeerDown {
        /// Whose.
        from: protocols::From,
        /// How.
        ended: Disconnected,
    },
    /// A peer announced a whole block, which is not verified.
    NewBlock {
        /// Who.
        from: protocols::From,
        /// The block; its hash was computed from its header.
        block: RawBlock,
        /// Its total difficulty, as the peer says.
        total_difficulty: U256,
    },
    /// A peer announced blocks it has imported.
    NewBlockHashes {
        /// Who.
        from: protocols::From,
        /// Which.
        blocks: Arc<[BlockRef]>,
    },
    /// A peer can be asked for another range of blocks now.
    Range {
        /// Who.
        from: protocols::From,
        /// The lowest block it serves.
        earliest: u64,
        /// The highest.
        latest: BlockRef,
    },
    /// A peer sent transactions, none of them with blobs. Their form is right; what their fields say
    /// was not looked at.
    Transactions {
        /// Who.
        from: protocols::From,
        /// Which.
        transactions: Arc<[PooledTransaction]>,
    },
    /// A peer has transactions that it can be asked for.
    PooledHashes {
        /// Who.
        from: protocols::From,
        /// Which.
        hashes: Arc<[PooledHash]>,
    },
    /// This subscriber was too slow, or all of them together were: some events are missing here.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// The events from the moment of subscribing on.
#[derive(Debug)]
pub struct EthEvents {
    queue: broadcast::Receiver<Queued>,
    refused: Arc<AtomicU64>,
    /// How many of `refused` this subscriber was told about.
    told: u64,
}

impl EthEvents {
    /// The next event; `None` once the service is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<EthEvent> {
        if let Some(lag) = self.untold() {
            return Some(lag);
        }
        match self.queue.recv().await {
            Ok(queued) => Some(queued.event),
            Err(RecvError::Lagged(missed)) => Some(EthEvent::Lagged { missed }),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<EthEvent> {
        if let Some(lag) = self.untold() {
            return Some(lag);
        }
        match self.queue.try_recv() {
            Ok(queued) => Some(queued.event),
            Err(TryRecvError::Lagged(missed)) => Some(EthEvent::Lagged { missed }),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// What was refused for want of bytes since this subscriber was last told.
    fn untold(&mut self) -> Option<EthEvent> {
        let refused = self.refused.load(Ordering::Relaxed);
        let missed = refused.checked_sub(self.told).filter(|&missed| missed > 0)?;
        self.told = refused;
        Some(EthEvent::Lagged { missed })
    }
}

/// An event in the queue, with the bytes it takes there.
#[derive(Debug, Clone)]
struct Queued {
    event: EthEvent,
    _charge: Option<Arc<OwnedSemaphorePermit>>,
}

/// Room in the queue, taken before an announcement is decoded.
#[derive(Debug)]
pub(super) struct Charge(OwnedSemaphorePermit);

/// The writing end.
#[derive(Debug)]
pub(super) struct EventQueue {
    queue: broadcast::Sender<Queued>,
    room: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl EventQueue {
    pub(super) fn new() -> Self {
        Self::with_bytes(EVENT_BYTES_MAX)
    }

    fn with_bytes(bytes_max: usize) -> Self {
        let (queue, _) = broadcast::channel(EVENTS_MAX);
        Self { queue, room: Arc::new(Semaphore::new(bytes_max)), refused: Arc::default() }
    }

    pub(super) fn subscribe(&self) -> EthEvents {
        let told = self.refused.load(Ordering::Relaxed);
        EthEvents { queue: self.queue.subscribe(), refused: self.refused.clone(), told }
    }

    /// Whether anybody listens. What nobody would hear need not be decoded.
    pub(super) fn is_heard(&self) -> bool {
        self.queue.receiver_count() > 0
    }

    /// Takes room for an announcement of so many bytes; `None` when nobody listens or there is no
    /// room, which the subscribers are told.
    pub(super) fn charge(&self, bytes: usize) -> Option<Charge> {
        if !self.is_heard() {
            return None;
        }
        let permits = u32::try_from(bytes).ok();
        let permit = permits.and_then(|permits| self.room.clone().try_acquire_many_owned(permits).ok());
        if permit.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        permit.map(Charge)
    }

    /// Queues what was charged for.
    pub(super) fn send(&self, charge: Charge, event: EthEvent) {
        self.push(Queued { event, _charge: Some(Arc::new(charge.0)) });
    }

    /// Queues an event of a few bytes.
    pub(super) fn send_small(&self, event: EthEvent) {
        self.push(Queued { event, _charge: None });
    }

    fn push(&self, queued: Queued) {
        // It fails when nobody listens, and then nobody misses it.
        let _ = self.queue.send(queued);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::eth::fixtures::{peer, raw_block};

    fn range(number: u64) -> EthEvent {
        EthEvent::Range { from: peer(1), earliest: 0, latest: raw_block(number, 0).block_ref() }
    }

    #[test]
    fn a_slow_subscriber_is_told_how_much_it_missed() {
        let queue = EventQueue::new();
        let mut slow = queue.subscribe();
        for number in 0..EVENTS_MAX as u64 + 5 {
            queue.send_small(range(number));
        }
        assert!(matches!(slow.try_next(), Some(EthEvent::Lagged { missed: 5 })));
        let Some(EthEvent::Range { latest, .. }) = slow.try_next() else { panic!("the oldest left") };
        assert_eq!(latest.number, 5);
    }

    #[test]
    fn announcements_beyond_the_byte_bound_are_refused_and_told() {
        let queue = EventQueue::with_bytes(100);
        assert!(queue.charge(1).is_none(), "nobody listens");
        let mut first = queue.subscribe();
        let mut second = queue.subscribe();
        let charge = queue.charge(100).unwrap();
        queue.send(charge, range(1));
        assert!(queue.charge(1).is_none(), "one byte over the bound");
        let mut late = queue.subscribe();
        for subscriber in [&mut first, &mut second] {
            assert!(matches!(subscriber.try_next(), Some(EthEvent::Lagged { missed: 1 })));
            assert!(matches!(subscriber.try_next(), Some(EthEvent::Range { .. })));
            assert!(subscriber.try_next().is_none());
        }
        assert!(late.try_next().is_none());
        assert!(queue.charge(100).is_some(), "everybody has read it");
    }

    #[tokio::test]
    async fn events_end_with_the_service() {
        let queue = EventQueue::new();
        let mut events = queue.subscribe();
        queue.send_small(range(1));
        drop(queue);
        assert!(matches!(events.next().await, Some(EthEvent::Range { .. })));
        assert!(events.next().await.is_none());
    }
}
