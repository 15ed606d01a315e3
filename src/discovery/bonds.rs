//! Who has proved to be where it says, and who has our proof.
//!
//! Kept apart from the table: a node that found no room in its bucket is answered all the same.
//! The two directions are kept apart, too, because anybody can claim to be anywhere in a ping: what
//! costs an attacker nothing must not push out what somebody has proved.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::node::NodeHash;

/// How long a proof is good for.
pub const PROOF: Duration = Duration::from_secs(12 * 3600);

/// An identity at an address.
pub type Place = (NodeHash, SocketAddr);

/// Proofs of endpoints, in both directions, each bounded; the least recently used one makes room.
#[derive(Debug)]
pub struct Bonds {
    /// When a pong of ours came back from there.
    proved: LruCache<Place, Instant>,
    /// When we last answered a ping from there: the other side's proof of us.
    answered: LruCache<Place, Instant>,
}

impl Bonds {
    /// Remembers `max` of each direction.
    pub fn new(max: usize) -> Self {
        let max = NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN);
        Self { proved: LruCache::new(max), answered: LruCache::new(max) }
    }

    /// The right pong came from there.
    pub fn on_proved(&mut self, now: Instant, place: Place) {
        self.proved.put(place, now);
    }

    /// We answered a ping from there.
    pub fn on_answered(&mut self, now: Instant, place: Place) {
        self.answered.put(place, now);
    }

    /// A question of ours to there has got no answer: perhaps our proof never arrived.
    pub fn on_unanswered(&mut self, place: &Place) {
        self.answered.pop(place);
    }

    /// Whether packets from there may get an answer that is larger than they are.
    pub fn is_proved(&mut self, now: Instant, place: &Place) -> bool {
        self.proved.get(place).is_some_and(|at| now.saturating_duration_since(*at) < PROOF)
    }

    /// Whether the other side may believe that we are where we say.
    pub fn has_our_proof(&mut self, now: Instant, place: &Place) -> bool {
        self.answered.get(place).is_some_and(|at| now.saturating_duration_since(*at) < PROOF)
    }

    /// How many endpoints are proved, stale ones included.
    pub fn len(&self) -> usize {
        self.proved.len()
    }

    /// Whether nobody has proved anything.
    pub fn is_empty(&self) -> bool {
        self.proved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: u8, port: u16) -> Place {
        ([id; 32], SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn a_proof_holds_for_one_id_at_one_address_for_twelve_hours() {
        let (now, mut bonds) = (Instant::now(), Bonds::new(8));
        bonds.on_proved(now, place(1, 1));
        assert!(bonds.is_proved(now + PROOF - Duration::from_secs(1), &place(1, 1)));
        assert!(!bonds.is_proved(now + PROOF, &place(1, 1)));
        assert!(!bonds.is_proved(now, &place(2, 1)) && !bonds.is_proved(now, &place(1, 2)));
        assert!(!bonds.has_our_proof(now, &place(1, 1)));
    }

    /// M5: a flood of pings from everywhere costs no proof that somebody has given.
    #[test]
    fn unproved_pings_never_push_out_a_proof() {
        let (now, mut bonds) = (Instant::now(), Bonds::new(8));
        bonds.on_proved(now, place(1, 1));
        (0..1000).for_each(|port| bonds.on_answered(now, place(9, port)));
        assert!(bonds.is_proved(now, &place(1, 1)));
        assert_eq!(bonds.answered.len(), 8);
        (2..20).for_each(|id| bonds.on_proved(now, place(id, 1)));
        assert_eq!(bonds.len(), 8);
    }
}
