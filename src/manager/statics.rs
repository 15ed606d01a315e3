//! Static peers: who we stay connected to, and when each is dialled again.

use std::time::Duration;

use crate::ids::PeerId;
use crate::machine::backoff::{Backoff, BackoffConfig};
use crate::transport::addr::PeerAddr;

#[derive(Debug)]
struct StaticPeer {
    addr: PeerAddr,
    /// From the address, or learned by dialling it.
    peer: Option<PeerId>,
    backoff: Backoff,
    /// A dial is under way or scheduled.
    busy: bool,
    /// Never dialled again: it is ourselves.
    given_up: bool,
}

/// The static peers of a node. Bounded by configuration and the host's own calls.
#[derive(Debug, Default)]
pub(super) struct Statics {
    peers: Vec<StaticPeer>,
}

impl Statics {
    /// Adds a peer; its index. One with the same address is not added twice, unless it was taken back.
    pub(super) fn add(&mut self, addr: PeerAddr) -> Option<usize> {
        let peer = addr.peer;
        let known = self.peers.iter().position(|known| known.addr == addr);
        let fresh = StaticPeer { addr, peer, backoff: Backoff::default(), busy: true, given_up: false };
        match known {
            Some(index) if self.peers[index].given_up => {
                // A dial that is scheduled still is the next one.
                let busy = std::mem::replace(&mut self.peers[index], fresh).busy;
                (!busy).then_some(index)
            }
            Some(_) => None,
            None => {
                self.peers.push(fresh);
                Some(self.peers.len() - 1)
            }
        }
    }

    /// Takes a peer back: it is an ordinary one from now on, and not dialled again by itself.
    pub(super) fn remove(&mut self, peer: &PeerId) {
        for known in self.peers.iter_mut().filter(|known| known.peer.as_ref() == Some(peer)) {
            known.given_up = true;
            known.peer = None;
        }
    }

    pub(super) fn addr(&self, index: usize) -> &PeerAddr {
        &self.peers[index].addr
    }

    pub(super) fn peer(&self, index: usize) -> Option<PeerId> {
        self.peers[index].peer
    }

    pub(super) fn is_static(&self, peer: &PeerId) -> bool {
        self.peers.iter().any(|known| known.peer.as_ref() == Some(peer))
    }

    /// Dialling this one led to that peer, and so the dial is over.
    pub(super) fn learn(&mut self, index: usize, peer: PeerId) {
        self.peers[index].peer = Some(peer);
        self.peers[index].busy = false;
    }

    /// The dial of this one is over.
    pub(super) fn on_dial_ended(&mut self, index: usize) {
        self.peers[index].busy = false;
    }

    /// Whether it is not to be dialled again.
    pub(super) fn is_given_up(&self, index: usize) -> bool {
        self.peers[index].given_up
    }

    /// Never dial this peer again.
    pub(super) fn give_up(&mut self, peer: &PeerId) {
        let known = self.peers.iter_mut().filter(|known| known.peer.as_ref() == Some(peer));
        known.for_each(|known| known.given_up = true);
    }

    /// The pause before this one is dialled (again). `None`: that is under way already.
    pub(super) fn next_pause(&mut self, index: usize, config: &BackoffConfig, unit: f64) -> Option<Duration> {
        let peer = &mut self.peers[index];
        if peer.given_up || std::mem::replace(&mut peer.busy, true) {
            return None;
        }
        Some(peer.backoff.next_pause(config, unit))
    }

    /// A session with this peer has ended: the static entries it stood for.
    pub(super) fn on_session_ended(
        &mut self,
        peer: &PeerId,
        config: &BackoffConfig,
        lived: Duration,
    ) -> Vec<usize> {
        let known = |(_, known): &(usize, &mut StaticPeer)| known.peer.as_ref() == Some(peer);
        let entries = self.peers.iter_mut().enumerate().filter(known);
        entries
            .map(|(index, known)| {
                known.backoff.on_session_ended(config, lived);
                index
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_taken_back_is_not_dialled_until_it_is_added_again() {
        let (config, mut statics) = (BackoffConfig::default(), Statics::default());
        let addr: PeerAddr = "/memory/7".parse().unwrap();
        let index = statics.add(addr.clone()).unwrap();
        let peer = PeerId::random();
        statics.learn(index, peer);
        statics.remove(&peer);
        assert!(!statics.is_static(&peer));
        assert!(statics.on_session_ended(&peer, &config, Duration::from_secs(1)).is_empty());
        assert_eq!(statics.next_pause(index, &config, 0.5), None);
        assert_eq!(statics.add(addr.clone()), Some(index));
        assert_eq!(statics.add(addr), None);
    }

    #[test]
    fn a_peer_that_was_reached_is_dialled_again_once_its_session_has_ended() {
        let (config, mut statics) = (BackoffConfig::default(), Statics::default());
        let index = statics.add("/memory/7".parse().unwrap()).unwrap();
        assert_eq!(statics.next_pause(index, &config, 0.5), None, "the first dial is under way");
        let peer = PeerId::random();
        statics.learn(index, peer);
        assert!(statics.is_static(&peer));
        assert_eq!(statics.on_session_ended(&peer, &config, Duration::from_secs(1)), [index]);
        assert_eq!(statics.next_pause(index, &config, 0.5), Some(config.first));
        assert_eq!(statics.next_pause(index, &config, 0.5), None, "a dial is scheduled already");
    }
}
