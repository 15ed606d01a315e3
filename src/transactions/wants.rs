//! Transactions that somebody has and the pool does not: who announced each of them, and what is
//! being done about it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use alloy_primitives::B256;

use crate::ids::SessionId;
use crate::protocols::eth::PooledHash;

/// Transactions that are wanted at a time. When full, further announcements are dropped.
pub(super) const WANTS_MAX: usize = 65_536;

/// Peers that are remembered per transaction. Further ones are not asked for it.
pub(super) const HOLDERS_MAX: usize = 8;

/// Sizes are announced with so much tolerance, in bytes: clients differ in what they count.
const SIZE_TOLERANCE: u64 = 8;

/// A peer that announced a transaction, and what it said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) session: SessionId,
    pub(super) said: PooledHash,
    /// Whether the hash is in that peer's queue.
    queued: bool,
}

/// Whether a transaction is of the announced size.
pub(super) fn is_of_size(size: u64, said: &PooledHash) -> bool {
    size.abs_diff(said.size) <= SIZE_TOLERANCE
}

/// What is being done about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is in the queue of each of its holders.
    Waiting,
    /// A peer was asked, which is no longer among the holders.
    Asked,
    /// The pool has it before it.
    Checked,
}

#[derive(Debug)]
struct Want {
    stage: Stage,
    holders: Vec<Holder>,
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// Queue the hash at the peer.
    Queue,
    /// Remembered, in case that what is being done fails; or there was nothing new in it.
    Kept,
    /// There is no room.
    Full,
}

/// The transactions by hash. Never walked, so that no run depends on their order.
#[derive(Debug, Default)]
pub(super) struct Wants {
    by_hash: HashMap<B256, Want>,
    moves: u64,
}

impl Wants {
    /// A peer has this transaction.
    pub(super) fn note(&mut self, session: SessionId, said: PooledHash) -> Noted {
        let full = self.by_hash.len() >= WANTS_MAX;
        let want = match self.by_hash.entry(said.hash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return Noted::Full,
            Entry::Vacant(entry) => {
                entry.insert(Want { stage: Stage::Waiting, holders: Vec::with_capacity(1) })
            }
        };
        if want.holders.len() >= HOLDERS_MAX || want.holders.iter().any(|holder| holder.session == session) {
            return Noted::Kept;
        }
        let queued = want.stage == Stage::Waiting;
        want.holders.push(Holder { session, said, queued });
        if queued { Noted::Queue } else { Noted::Kept }
    }

    /// Whether a hash in a peer's queue still waits for that peer.
    pub(super) fn waits_for(&self, hash: &B256, session: SessionId) -> Option<PooledHash> {
        let want = self.by_hash.get(hash).filter(|want| want.stage == Stage::Waiting)?;
        want.holders.iter().find(|holder| holder.session == session).map(|holder| holder.said)
    }

    /// What this peer said of a transaction that was not asked of it.
    pub(super) fn said(&self, hash: &B256, session: SessionId) -> Option<PooledHash> {
        let holders = &self.by_hash.get(hash)?.holders;
        holders.iter().find(|holder| holder.session == session).map(|holder| holder.said)
    }

    /// The hash was taken out of the peer's queue without being asked for.
    pub(super) fn unqueued(&mut self, hash: &B256, session: SessionId) {
        if let Some(want) = self.by_hash.get_mut(hash) {
            let holder = want.holders.iter_mut().find(|holder| holder.session == session);
            holder.into_iter().for_each(|holder| holder.queued = false);
        }
    }

    /// The peer is asked now.
    pub(super) fn asked(&mut self, hash: &B256, session: SessionId) {
        if let Some(want) = self.by_hash.get_mut(hash) {
            self.moves += 1;
            want.stage = Stage::Asked;
            want.holders.retain(|holder| holder.session != session);
        }
    }

    /// The transaction has come; `false` if it had come before. One that nobody announced is
    /// remembered as well, so that nobody is asked for it.
    pub(super) fn came(&mut self, hash: B256) -> bool {
        self.moves += 1;
        let want = self.by_hash.entry(hash).or_insert(Want { stage: Stage::Waiting, holders: Vec::new() });
        std::mem::replace(&mut want.stage, Stage::Checked) != Stage::Checked
    }

    /// Whether a transaction is being asked for.
    pub(super) fn is_asked(&self, hash: &B256) -> bool {
        self.by_hash.get(hash).is_some_and(|want| want.stage == Stage::Asked)
    }

    /// It did not come, or not as it should: it waits again. `queue` puts it into a holder's queue, and
    /// says no if that cannot be; without any holder left it is forgotten.
    pub(super) fn retry(&mut self, hash: &B256, mut queue: impl FnMut(SessionId) -> bool) {
        let Entry::Occupied(mut entry) = self.by_hash.entry(*hash) else { return };
        let want = entry.get_mut();
        want.stage = Stage::Waiting;
        want.holders.retain_mut(|holder| {
            holder.queued = holder.queued || queue(holder.session);
            holder.queued
        });
        if want.holders.is_empty() {
            entry.remove();
        }
    }

    /// The peer will not be asked for this.
    pub(super) fn forget_holder(&mut self, hash: &B256, session: SessionId) {
        let Entry::Occupied(mut entry) = self.by_hash.entry(*hash) else { return };
        let want = entry.get_mut();
        want.holders.retain(|holder| holder.session != session);
        if want.holders.is_empty() && want.stage == Stage::Waiting {
            entry.remove();
        }
    }

    /// How many transactions have ceased to wait so far: entries of queues are outdated by it.
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    /// The pool has decided, or has it from elsewhere.
    pub(super) fn done(&mut self, hash: &B256) {
        self.moves += 1;
        self.by_hash.remove(hash);
    }

    /// Whatever waits is in the queue of somebody who is there, and only these are asked for.
    #[cfg(test)]
    pub(super) fn check(
        &self,
        asked: &std::collections::BTreeSet<B256>,
        is_queued: impl Fn(SessionId, &B256) -> bool,
    ) {
        for (hash, want) in &self.by_hash {
            assert!(want.holders.len() <= HOLDERS_MAX);
            match want.stage {
                Stage::Waiting => {
                    assert!(!want.holders.is_empty(), "{hash} waits for nobody");
                    for holder in &want.holders {
                        assert!(holder.queued && is_queued(holder.session, hash), "{hash} of {holder:?}");
                    }
                }
                Stage::Asked => assert!(asked.contains(hash), "{hash} is asked of nobody"),
                Stage::Checked => {}
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }
}
