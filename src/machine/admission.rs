//! Who may have a session: slots, duplicates, and which of two connections stays.

use std::time::{Duration, Instant};

use crate::ids::{Direction, PeerId, SessionId};

/// How many peers and pending connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct SlotLimits {
    /// Sessions, static peers not counted.
    pub peers_max: usize,
    /// Of these, sessions that the peer dialled.
    pub inbound_max: usize,
    /// Inbound connections whose handshake is not done.
    pub pending_inbound_max: usize,
    /// Dials whose handshake is not done.
    pub pending_outbound_max: usize,
}

impl SlotLimits {
    /// `peers_max` slots, at most two thirds of them inbound (but at least one).
    pub fn for_peers(peers_max: usize) -> Self {
        Self {
            peers_max,
            inbound_max: (peers_max * 2).div_ceil(3).max(1).min(peers_max),
            pending_inbound_max: 50,
            pending_outbound_max: 50,
        }
    }
}

/// Two connections within this time of each other count as a simultaneous dial.
pub const SIMULTANEOUS: Duration = Duration::from_secs(10);

/// A session there is, as far as admission needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Existing {
    /// Its id.
    pub session: SessionId,
    /// Who dialled it.
    pub direction: Direction,
    /// When it was authenticated.
    pub since: Instant,
}

/// What to do with a second connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// The existing one stays, the new one is closed as already connected.
    KeepExisting,
    /// The new one stays, the existing one is closed as already connected.
    KeepNew,
    /// The existing one stays if it answers a ping within a second.
    ProbeExisting,
}

/// Which of two connections between us and `peer` stays (eth-stream section 1).
///
/// Opposite directions within ten seconds: the one dialled by the smaller id stays, so that both
/// ends decide alike. Otherwise the older one stays unless it is dead.
pub fn judge_duplicate(
    us: &PeerId,
    peer: &PeerId,
    existing: &Existing,
    new_direction: Direction,
    now: Instant,
) -> Duplicate {
    let simultaneous =
        existing.direction != new_direction && now.saturating_duration_since(existing.since) <= SIMULTANEOUS;
    if !simultaneous {
        return Duplicate::ProbeExisting;
    }
    let we_dialled_new = new_direction == Direction::Outbound;
    let smaller_is_us = us.to_bytes() < peer.to_bytes();
    if we_dialled_new == smaller_is_us { Duplicate::KeepNew } else { Duplicate::KeepExisting }
}

/// How many sessions and pending connections there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Sessions with peers that are not static.
    pub peers: usize,
    /// Of these, inbound ones.
    pub inbound: usize,
    /// Inbound connections in their handshake.
    pub pending_inbound: usize,
    /// Dials in their handshake.
    pub pending_outbound: usize,
}

impl Occupancy {
    /// Whether another connection may begin its handshake.
    pub fn may_begin(&self, limits: &SlotLimits, direction: Direction) -> bool {
        match direction {
            Direction::Inbound => self.pending_inbound < limits.pending_inbound_max,
            Direction::Outbound => self.pending_outbound < limits.pending_outbound_max,
        }
    }

    /// Whether an authenticated peer may have a session. Static peers are outside the count.
    pub fn may_join(&self, limits: &SlotLimits, direction: Direction, is_static: bool) -> bool {
        is_static
            || (self.peers < limits.peers_max
                && (direction == Direction::Outbound || self.inbound < limits.inbound_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Keypair;

    fn two_ids() -> (PeerId, PeerId) {
        let mut ids = [0, 1].map(|_| Keypair::generate_ed25519().public().to_peer_id());
        ids.sort_by_key(|id| id.to_bytes());
        (ids[0], ids[1])
    }

    /// L1: both ends keep the connection that the smaller id dialled.
    #[test]
    fn both_ends_of_a_simultaneous_dial_keep_the_same_connection() {
        let (small, large) = two_ids();
        let now = Instant::now();
        let existing = |direction| Existing { session: SessionId(1), direction, since: now };
        // The connection dialled by `small` is outbound there and inbound at `large`.
        let at_small =
            judge_duplicate(&small, &large, &existing(Direction::Inbound), Direction::Outbound, now);
        let at_large =
            judge_duplicate(&large, &small, &existing(Direction::Outbound), Direction::Inbound, now);
        assert_eq!((at_small, at_large), (Duplicate::KeepNew, Duplicate::KeepNew));
        let at_small =
            judge_duplicate(&small, &large, &existing(Direction::Outbound), Direction::Inbound, now);
        let at_large =
            judge_duplicate(&large, &small, &existing(Direction::Inbound), Direction::Outbound, now);
        assert_eq!((at_small, at_large), (Duplicate::KeepExisting, Duplicate::KeepExisting));
    }

    /// L3: an older connection stays unless it is dead, whoever dials.
    #[test]
    fn a_later_duplicate_only_wins_over_a_dead_session() {
        let (small, large) = two_ids();
        let since = Instant::now();
        let existing = Existing { session: SessionId(1), direction: Direction::Inbound, since };
        let later = since + SIMULTANEOUS + Duration::from_millis(1);
        let judged = |direction, now| judge_duplicate(&small, &large, &existing, direction, now);
        assert_eq!(judged(Direction::Outbound, later), Duplicate::ProbeExisting);
        assert_eq!(judged(Direction::Inbound, since), Duplicate::ProbeExisting);
    }

    #[test]
    fn slots_bound_each_kind_and_static_peers_are_outside_the_count() {
        let limits = SlotLimits::for_peers(3);
        assert_eq!(limits.inbound_max, 2);
        let full_inbound = Occupancy { peers: 2, inbound: 2, ..Occupancy::default() };
        assert!(!full_inbound.may_join(&limits, Direction::Inbound, false));
        assert!(full_inbound.may_join(&limits, Direction::Outbound, false));
        let full = Occupancy { peers: 3, inbound: 1, ..Occupancy::default() };
        assert!(!full.may_join(&limits, Direction::Outbound, false));
        assert!(full.may_join(&limits, Direction::Inbound, true));
        let pending = Occupancy { pending_inbound: 50, ..Occupancy::default() };
        assert!(!pending.may_begin(&limits, Direction::Inbound));
        assert!(pending.may_begin(&limits, Direction::Outbound));
    }
}
