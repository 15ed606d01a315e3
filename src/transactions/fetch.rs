//! Who is asked for which transactions.

use std::ops::Bound;
use std::time::Instant;

use alloy_primitives::B256;

use super::action::Action;
use super::checking::weight;
use super::plan::{ANNOUNCED_MAX, Asked, TransactionPlan};
use crate::ids::SessionId;

impl TransactionPlan {
    /// Asks whoever has something that is wanted and is not being asked, one after the other, from
    /// the one behind who was asked last.
    pub(super) fn schedule(&mut self, now: Instant) {
        let free = |session: SessionId, plan: &Self| {
            plan.peers.get(&session).is_some_and(|peer| {
                peer.asked.is_none() && !peer.queue.is_empty() && peer.paused.is_none_or(|until| until <= now)
            })
        };
        let last = self.asked_last;
        let behind = self.peers.range((Bound::Excluded(last), Bound::Unbounded));
        let sessions: Vec<_> = behind.chain(self.peers.range(..=last)).map(|(session, _)| *session).collect();
        for session in sessions {
            if free(session, self) {
                self.ask(session);
            }
        }
    }

    /// Asks one peer for the front of its queue, as much as a request and the bound of bytes allow.
    fn ask(&mut self, session: SessionId) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        let mut asked = Asked { hashes: Vec::new(), bytes: 0 };
        let mut bytes = 0_u64;
        while asked.hashes.len() < self.config.request_hashes_max
            && let Some(hash) = peer.queue.front().copied()
        {
            let wanted = self.wants.waits_for(&hash, session).filter(|_| {
                let known = (self.knows)(&hash);
                if known {
                    self.wants.done(&hash);
                }
                !known
            });
            let Some(said) = wanted else {
                peer.queue.pop_front();
                self.wants.unqueued(&hash, session);
                continue;
            };
            bytes = bytes.saturating_add(said.size);
            let weight = weight(said.size);
            let held = self.checking.bytes() + self.expected + asked.bytes;
            if !asked.hashes.is_empty() && bytes > self.config.request_bytes_max as u64
                || held > 0 && held.saturating_add(weight) > self.config.waiting_bytes_max
            {
                break;
            }
            peer.queue.pop_front();
            self.wants.asked(&hash, session);
            asked.bytes += weight;
            asked.hashes.push(said);
        }
        if asked.hashes.is_empty() {
            return;
        }
        let hashes: Vec<_> = asked.hashes.iter().map(|said| said.hash).collect();
        self.counts.asked += hashes.len() as u64;
        self.expected += asked.bytes;
        self.asked_last = session;
        peer.asked = Some(asked);
        self.actions.push_back(Action::Ask { session, hashes });
    }

    /// A transaction that did not come waits again, at whoever else announced it.
    pub(super) fn retry(&mut self, hash: &B256) {
        let peers = &mut self.peers;
        self.wants.retry(hash, |session| match peers.get_mut(&session) {
            Some(peer) if peer.queue.len() < ANNOUNCED_MAX => {
                peer.queue.push_front(*hash);
                true
            }
            _ => false,
        });
    }

    /// What a peer was asked for, of what has not come from elsewhere by now, waits for others.
    pub(super) fn retry_asked(&mut self, asked: &Asked) {
        // From behind, because each goes to the front: senders' transactions stay in their order.
        for said in asked.hashes.iter().rev() {
            if self.wants.is_asked(&said.hash) {
                self.retry(&said.hash);
            }
        }
    }

    /// The request of a peer has ended.
    pub(super) fn take_asked(&mut self, session: SessionId) -> Option<Asked> {
        let asked = self.peers.get_mut(&session)?.asked.take()?;
        self.expected = self.expected.saturating_sub(asked.bytes);
        Some(asked)
    }

    /// Nothing that a peer announced will be asked of it.
    pub(super) fn empty_queue(&mut self, session: SessionId) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        for hash in std::mem::take(&mut peer.queue) {
            self.wants.forget_holder(&hash, session);
        }
    }

    /// A peer is no longer there.
    pub(super) fn drop_peer(&mut self, session: SessionId) {
        let asked = self.take_asked(session);
        self.empty_queue(session);
        self.peers.remove(&session);
        if let Some(asked) = asked {
            self.retry_asked(&asked);
        }
    }
}
