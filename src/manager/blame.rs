//! What peers did: a bounded record per peer, and who is avoided for how long.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::disconnect::Fault;
use crate::ids::PeerId;
use crate::machine::session::Misdeed;

/// What is remembered of one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// Breaches and bad data.
    pub breaches: u32,
    /// Answers nobody asked for, of the wrong kind, or with too many items.
    pub misdeeds: u32,
    /// Sessions ended because it was slow or silent.
    pub timeouts: u32,
    avoid_until: Option<Instant>,
}

/// The records of the most recently seen peers; the least recent one makes room.
#[derive(Debug)]
pub(crate) struct BlameBook {
    records: LruCache<PeerId, Record>,
    avoid: Duration,
}

impl BlameBook {
    /// Remembers `max` peers and avoids one for `avoid` after a breach.
    pub(crate) fn new(max: usize, avoid: Duration) -> Self {
        Self { records: LruCache::new(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN)), avoid }
    }

    /// A session has ended with this fault.
    pub(crate) fn on_ended(&mut self, now: Instant, peer: PeerId, fault: Fault) {
        match fault {
            Fault::None | Fault::Useless => {}
            Fault::Slow => self.record(peer).timeouts += 1,
            Fault::Peer => {
                let until = now + self.avoid;
                let record = self.record(peer);
                record.breaches += 1;
                record.avoid_until = Some(until);
            }
        }
    }

    /// Counted, without consequence by itself.
    pub(crate) fn on_misdeed(&mut self, peer: PeerId, _: Misdeed) {
        self.record(peer).misdeeds += 1;
    }

    /// How much longer this peer is neither dialled nor accepted.
    pub(crate) fn avoided_for(&self, now: Instant, peer: &PeerId) -> Option<Duration> {
        let until = self.records.peek(peer)?.avoid_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// What is remembered of a peer.
    pub(crate) fn of(&self, peer: &PeerId) -> Record {
        self.records.peek(peer).copied().unwrap_or_default()
    }

    fn record(&mut self, peer: PeerId) -> &mut Record {
        self.records.get_or_insert_mut(peer, Record::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Keypair;

    fn peer() -> PeerId {
        Keypair::generate_ed25519().public().to_peer_id()
    }

    /// L7: exactly as long as configured, and a time-out avoids nobody.
    #[test]
    fn a_breach_is_avoided_for_its_time_and_a_time_out_not_at_all() {
        let (now, bad, slow) = (Instant::now(), peer(), peer());
        let mut book = BlameBook::new(10, Duration::from_secs(60));
        book.on_ended(now, bad, Fault::Peer);
        book.on_ended(now, slow, Fault::Slow);
        assert_eq!(book.avoided_for(now + Duration::from_secs(59), &bad), Some(Duration::from_secs(1)));
        assert_eq!(book.avoided_for(now + Duration::from_secs(60), &bad), None);
        assert_eq!(book.avoided_for(now, &slow), None);
        assert_eq!(book.of(&slow).timeouts, 1);
    }

    /// L9: the map is bounded.
    #[test]
    fn the_least_recent_record_makes_room() {
        let (now, first) = (Instant::now(), peer());
        let mut book = BlameBook::new(3, Duration::from_secs(60));
        book.on_ended(now, first, Fault::Peer);
        (0..3).for_each(|_| book.on_ended(now, peer(), Fault::Peer));
        assert_eq!(book.of(&first), Record::default());
        assert_eq!(book.records.len(), 3);
    }
}
