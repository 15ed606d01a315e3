//! Which blocks the host rejected, and who sent what is stored.

use std::collections::VecDeque;

use alloy_primitives::B256;

use super::check::Header;
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
    pub(super) fn insert(&mut self, hash: B256) {
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

    pub(super) fn of(&self, number: u64) -> Option<SessionId> {
        self.runs.iter().rev().find(|(first, _)| *first <= number).map(|(_, from)| *from)
    }
}
