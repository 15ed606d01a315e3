//! The peers there are: written by the manager and whoever starts a session, read by everybody.

use std::sync::Arc;

use dashmap::DashMap;

use crate::ids::{PeerId, SessionId};
use crate::session::PeerHandle;

/// Live sessions by peer. Readers get copies; no guard leaves this file.
///
/// Owner: the manager. Bound: the slots plus the static peers.
#[derive(Debug, Clone, Default)]
pub struct PeerTable {
    peers: Arc<DashMap<PeerId, PeerHandle>>,
}

impl PeerTable {
    /// The session with a peer, if there is one.
    pub fn get(&self, peer: &PeerId) -> Option<PeerHandle> {
        self.peers.get(peer).map(|handle| handle.clone())
    }

    /// The session with this id, if it is still there.
    pub fn find(&self, session: SessionId) -> Option<PeerHandle> {
        self.peers.iter().find(|handle| handle.session() == session).map(|handle| handle.clone())
    }

    /// All sessions, ordered by peer id.
    pub fn all(&self) -> Vec<PeerHandle> {
        let mut all: Vec<PeerHandle> = self.peers.iter().map(|handle| handle.clone()).collect();
        all.sort_by_key(|handle| handle.id().to_bytes());
        all
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// A session that was just admitted. It is there before its exchanges can tell anybody of it.
    pub(super) fn insert(&self, handle: PeerHandle) {
        self.peers.insert(handle.id(), handle);
    }

    /// Removes a session, unless another one has taken its place.
    pub(super) fn remove(&self, peer: &PeerId, session: SessionId) {
        self.peers.remove_if(peer, |_, handle| handle.session() == session);
    }
}
