//! Who speaks eth with us: each peer's claims and the way to send it announcements.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{B256, U256};

use super::gossip::{BlockRangeUpdate, NewBlock};
use super::status::{Status, StatusClaim};
use crate::ids::{Direction, PeerId, SessionId};
use crate::protocols::{self, Outlet, Payload};

/// The most peers that are remembered; one more is turned away. Slots end far below.
pub const PEERS_MAX: usize = 16_384;

/// A peer with an eth session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthPeer {
    /// Who.
    pub peer: PeerId,
    /// Over which session.
    pub session: SessionId,
    /// The negotiated eth version.
    pub version: u32,
    /// Who opened the connection.
    pub direction: Direction,
    /// What it says about its chain. None of it is verified.
    pub claim: Claim,
}

/// What a peer says about its chain: in Status, then in announcements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The hash of its highest block.
    pub head: B256,
    /// The number of that block; unknown from a Status up to eth/68.
    pub latest: Option<u64>,
    /// The lowest block it serves; from eth/69.
    pub earliest: Option<u64>,
    /// The total difficulty of its head; up to eth/68, or from NewBlock.
    pub total_difficulty: Option<U256>,
}

impl Claim {
    fn of(status: &Status) -> Self {
        let head = status.head;
        match status.claim {
            StatusClaim::TotalDifficulty(total) => {
                Self { head, latest: None, earliest: None, total_difficulty: Some(total) }
            }
            StatusClaim::Range { earliest, latest } => {
                Self { head, latest: Some(latest), earliest: Some(earliest), total_difficulty: None }
            }
        }
    }

    /// A block announced after a heavier one does not take the claim back.
    fn on_block(&mut self, announced: &NewBlock) {
        let heavier = match (self.total_difficulty, self.latest) {
            (Some(total), _) => announced.total_difficulty > total,
            (None, Some(latest)) => announced.block.number > latest,
            (None, None) => true,
        };
        if heavier {
            self.head = announced.block.hash;
            self.latest = Some(announced.block.number);
            self.total_difficulty = Some(announced.total_difficulty);
        }
    }

    /// A range may move back: that is how a peer says so.
    fn on_range(&mut self, range: &BlockRangeUpdate) {
        self.head = range.latest.hash;
        self.latest = Some(range.latest.number);
        self.earliest = Some(range.earliest);
        self.total_difficulty = None;
    }
}

/// The peers by session, in the order in which their sessions were made.
#[derive(Debug, Default)]
pub(super) struct PeerTable {
    entries: Mutex<BTreeMap<SessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    peer: EthPeer,
    outlet: Arc<dyn Outlet>,
}

impl PeerTable {
    /// Remembers a peer whose Status was accepted; `None` if there is no room for it.
    pub(super) fn insert(
        &self,
        from: protocols::From,
        direction: Direction,
        status: &Status,
        outlet: Arc<dyn Outlet>,
    ) -> Option<EthPeer> {
        let protocols::From { peer, session, version } = from;
        let peer = EthPeer { peer, session, version, direction, claim: Claim::of(status) };
        let mut entries = self.lock();
        if entries.len() >= PEERS_MAX {
            return None;
        }
        entries.insert(session, Entry { peer, outlet });
        Some(peer)
    }

    /// Forgets a peer; `false` if it was not there.
    pub(super) fn remove(&self, session: SessionId) -> bool {
        self.lock().remove(&session).is_some()
    }

    pub(super) fn on_block(&self, session: SessionId, announced: &NewBlock) {
        self.update(session, |claim| claim.on_block(announced));
    }

    pub(super) fn on_range(&self, session: SessionId, range: &BlockRangeUpdate) {
        self.update(session, |claim| claim.on_range(range));
    }

    pub(super) fn list(&self) -> Vec<EthPeer> {
        self.lock().values().map(|entry| entry.peer).collect()
    }

    /// Gives the same bytes to every peer that wants them. Returns how many took them.
    pub(super) fn broadcast(&self, message: &Payload, wants: impl Fn(&EthPeer) -> bool) -> usize {
        // Sent without the lock: an outlet may end its session, which comes back here.
        let outlets: Vec<_> = self
            .lock()
            .values()
            .filter(|entry| wants(&entry.peer))
            .map(|entry| entry.outlet.clone())
            .collect();
        outlets.iter().filter(|outlet| outlet.send(message.clone())).count()
    }

    /// Gives the same bytes to these sessions. Returns how many took them.
    pub(super) fn send(&self, to: &[SessionId], message: &Payload) -> usize {
        let outlets: Vec<_> = {
            let entries = self.lock();
            to.iter().filter_map(|session| entries.get(session)).map(|entry| entry.outlet.clone()).collect()
        };
        outlets.iter().filter(|outlet| outlet.send(message.clone())).count()
    }

    fn update(&self, session: SessionId, change: impl FnOnce(&mut Claim)) {
        if let Some(entry) = self.lock().get_mut(&session) {
            change(&mut entry.peer.claim);
        }
    }

    /// Nothing that is done under this lock leaves the table half changed, so a panic elsewhere
    /// does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::eth::fixtures::raw_block;

    fn announced(number: u64, total: u64) -> NewBlock {
        NewBlock { block: raw_block(number, 0), total_difficulty: U256::from(total) }
    }

    #[test]
    fn only_a_heavier_block_moves_a_claim() {
        let mut claim =
            Claim { head: B256::ZERO, latest: None, earliest: None, total_difficulty: Some(U256::from(5)) };
        claim.on_block(&announced(4, 5));
        assert_eq!(claim.latest, None);
        claim.on_block(&announced(6, 6));
        assert_eq!((claim.latest, claim.head), (Some(6), raw_block(6, 0).hash));
        let mut claim = Claim { latest: Some(6), total_difficulty: None, ..claim };
        claim.on_block(&announced(6, 100));
        assert_eq!(claim.total_difficulty, None);
        claim.on_block(&announced(7, 8));
        assert_eq!((claim.latest, claim.total_difficulty), (Some(7), Some(U256::from(8))));
    }

    /// G8: a head that moves back is taken as it is said.
    #[test]
    fn a_range_may_move_back() {
        let mut claim =
            Claim { head: B256::ZERO, latest: Some(90), earliest: Some(0), total_difficulty: None };
        claim.on_range(&BlockRangeUpdate { earliest: 3, latest: raw_block(40, 0).block_ref() });
        assert_eq!((claim.earliest, claim.latest), (Some(3), Some(40)));
    }
}
