//! What it means that the host found a stored block to be invalid: who sent it loses by it, it is
//! dropped with everything above, and whoever sends it again loses as well.

use std::collections::VecDeque;
use std::time::Instant;

use alloy_primitives::B256;

use super::action::Action;
use super::bad_data::BadData;
use super::check::Header;
use super::plan::SyncPlan;
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// How many rejected blocks are remembered. When full, the oldest is forgotten.
const REJECTED_MAX: usize = 256;
/// How many runs of stored blocks from one sender are remembered. When full, the lowest is
/// forgotten: nobody is blamed for its blocks.
const RUNS_MAX: usize = 1_024;

/// The blocks that the host rejected.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    hashes: VecDeque<B256>,
}

impl Rejected {
    fn insert(&mut self, hash: B256) {
        if self.hashes.contains(&hash) {
            return;
        }
        if self.hashes.len() == REJECTED_MAX {
            self.hashes.pop_front();
        }
        self.hashes.push_back(hash);
    }

    /// Whether none was.
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The first of these headers that was rejected.
    pub(super) fn find(&self, headers: &[Header]) -> Option<BlockRef> {
        if self.hashes.is_empty() {
            return None;
        }
        let rejected = headers.iter().find(|(facts, _)| self.hashes.contains(&facts.hash));
        rejected.map(|(facts, _)| BlockRef::from(facts))
    }
}

/// Who sent the headers of stored blocks, lowest first: each entry is the first of a run.
#[derive(Debug, Default)]
pub(super) struct Senders {
    runs: VecDeque<(u64, SessionId)>,
}

impl Senders {
    /// The store took the block after the last one.
    pub(super) fn push(&mut self, number: u64, from: SessionId) {
        if self.runs.back().is_some_and(|(_, last)| *last == from) {
            return;
        }
        if self.runs.len() == RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back((number, from));
    }

    /// The store dropped what is above `number`.
    pub(super) fn cut(&mut self, number: u64) {
        while self.runs.back().is_some_and(|(first, _)| *first > number) {
            self.runs.pop_back();
        }
    }

    fn of(&self, number: u64) -> Option<SessionId> {
        self.runs.iter().rev().find(|(first, _)| *first <= number).map(|(_, from)| *from)
    }
}

impl SyncPlan {
    /// The host found a block to be invalid. `stored` says whether the store has it.
    ///
    /// What the trusted head builds on cannot be wrong: then nobody is to blame, and the sync has
    /// nothing left to do. Gives who is blamed.
    pub(super) fn on_rejected(&mut self, now: Instant, block: BlockRef, stored: bool) -> Option<SessionId> {
        if stored && self.is_trusted(block.number) {
            self.actions.push_back(Action::TrustedRejected { number: block.number });
            return None;
        }
        self.rejected.insert(block.hash);
        let sender = self.senders.of(block.number).filter(|from| stored && self.peers.get(*from).is_some());
        if stored {
            if let Some(session) = sender {
                self.blame(now, session, BadData::Rejected { number: block.number });
            }
            let keep = block.number.saturating_sub(1);
            self.dropping = Some(self.dropping.map_or(keep, |other| other.min(keep)));
        }
        self.turn(now);
        sender
    }

    /// Has the store drop rejected blocks once it is idle.
    pub(super) fn drop_rejected(&mut self) {
        if self.is_dropping || self.window.is_storing() {
            return;
        }
        if let Some(keep) = self.dropping.take() {
            self.is_dropping = true;
            self.actions.push_back(Action::Drop { above: keep });
        }
    }

    /// Whether rejected blocks are still in the store.
    pub(super) fn is_rejecting(&self) -> bool {
        self.is_dropping || self.dropping.is_some()
    }

    /// Blames who sent a header that was rejected. Whether there was one.
    pub(super) fn refuse_rejected(&mut self, now: Instant, session: SessionId, headers: &[Header]) -> bool {
        let Some(block) = self.rejected.find(headers) else { return false };
        self.blame(now, session, BadData::Rejected { number: block.number });
        true
    }

    /// Whether the trusted head is known to build on our block with this number.
    fn is_trusted(&self, number: u64) -> bool {
        let trusted = self.trusted.and_then(|trusted| trusted.number);
        self.holds_trusted || trusted.is_some_and(|trusted| number <= trusted && self.line.next() > trusted)
    }
}
