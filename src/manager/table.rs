//! The peers there are: written by the manager and whoever starts a session, read by everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::ids::{PeerId, SessionId};
use crate::session::PeerHandle;

/// Live sessions by peer. Readers get copies; no guard leaves this file.
///
/// Owner: the manager. Bound: the slots plus the static peers.
#[derive(Debug, Clone, Default)]
pub struct PeerTable {
    peers: Arc<DashMap<PeerId, PeerHandle>>,
    ended: Arc<Ended>,
}

/// The bytes of sessions that are over.
#[derive(Debug, Default)]
struct Ended {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
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

    /// Bytes received and sent on the connections of all sessions there were and are.
    pub fn traffic(&self) -> (u64, u64) {
        let Ended { bytes_in, bytes_out } = &*self.ended;
        let ended = (bytes_in.load(Ordering::Relaxed), bytes_out.load(Ordering::Relaxed));
        let live = self.peers.iter().map(|handle| handle.traffic());
        live.fold(ended, |(into, out), more| (into + more.0, out + more.1))
    }

    /// A session that was just admitted. It is there before its exchanges can tell anybody of it.
    pub(super) fn insert(&self, handle: PeerHandle) {
        if let Some(before) = self.peers.insert(handle.id(), handle) {
            self.count(&before);
        }
    }

    /// Removes a session, unless another one has taken its place.
    pub(super) fn remove(&self, peer: &PeerId, session: SessionId) {
        if let Some((_, gone)) = self.peers.remove_if(peer, |_, handle| handle.session() == session) {
            self.count(&gone);
        }
    }

    fn count(&self, ended: &PeerHandle) {
        let (bytes_in, bytes_out) = ended.traffic();
        self.ended.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.ended.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }
}
