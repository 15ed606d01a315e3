//! A branch that may be heavier than ours: found, weighed, taken or left.
//!
//! On the development chain a block weighs its difficulty. Elsewhere no header says what it weighs:
//! the longer branch is taken, because the highest head is the one to follow.

use std::collections::VecDeque;

use alloy_primitives::U256;

use super::check::Header;
use crate::chain::{BlockRef, HeaderFacts};
use crate::ids::SessionId;

/// How many headers of a branch above the common ancestor are weighed at most.
const BRANCH_HEADERS_MAX: usize = 1_024;
/// How many bytes they may have together.
const BRANCH_BYTES_MAX: usize = 4 << 20;

/// One stored block, as far as forks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) block: BlockRef,
    pub(super) difficulty: U256,
}

/// What a block weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Its difficulty.
    Difficulty,
    /// As much as any other.
    One,
}

impl Weight {
    pub(super) fn of(self, difficulty: U256) -> U256 {
        match self {
            Self::Difficulty => difficulty,
            Self::One => U256::ONE,
        }
    }
}

/// Headers of another peer's chain above a block that we share.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) session: SessionId,
    pub(super) base: BlockRef,
    pub(super) headers: VecDeque<Header>,
    weight: U256,
    bytes: usize,
}

/// What came of comparing a branch with ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weighed {
    /// It is heavier: take it when the store is idle.
    Heavier,
    /// Not yet: ask for headers from here on.
    More(u64),
    /// No heavier branch, or none that leaves ours in reach.
    Not,
}

/// Our last stored blocks, and the one branch that is being looked at.
#[derive(Debug)]
pub(super) struct Forks {
    recent: VecDeque<Stored>,
    recent_max: usize,
    weight: Weight,
    /// The weight of our chain.
    total: U256,
    /// Whose branch is being searched or weighed.
    searched: Option<SessionId>,
    branch: Option<Branch>,
    /// Whether the branch was found to be heavier.
    heavier: bool,
}

impl Forks {
    /// `recent` are the last stored blocks, lowest first; `total_difficulty` is the last one's.
    pub(super) fn new(recent: Vec<Stored>, total_difficulty: U256, weight: Weight, depth_max: u64) -> Self {
        let recent_max = usize::try_from(depth_max).unwrap_or(usize::MAX).saturating_add(1);
        let total = match weight {
            Weight::Difficulty => total_difficulty,
            Weight::One => U256::from(recent.len()),
        };
        let mut forks = Self {
            recent: recent.into(),
            recent_max,
            weight,
            total,
            searched: None,
            branch: None,
            heavier: false,
        };
        forks.trim();
        forks
    }

    /// What weighs.
    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    /// Whether a branch is being looked at.
    pub(super) fn is_busy(&self) -> bool {
        self.searched.is_some()
    }

    /// Whose.
    pub(super) fn searched(&self) -> Option<SessionId> {
        self.searched
    }

    /// The branch of this peer is looked for.
    pub(super) fn search(&mut self, session: SessionId) {
        self.give_up();
        self.searched = Some(session);
    }

    /// Leaves the branch alone.
    pub(super) fn give_up(&mut self) {
        self.searched = None;
        self.branch = None;
        self.heavier = false;
    }

    /// Whether a block is one of our last stored ones.
    pub(super) fn is_ours(&self, block: BlockRef) -> bool {
        self.at(block.number).is_some_and(|stored| stored.block.hash == block.hash)
    }

    /// The peer's headers, numbers falling: where do we part?
    pub(super) fn on_ancestors(&mut self, falling: Vec<Header>) -> Weighed {
        let Some(session) = self.searched else { return Weighed::Not };
        let shared = falling.iter().position(|(facts, _)| self.is_ours(BlockRef::from(facts)));
        let Some(shared) = shared else { return Weighed::Not };
        let base = BlockRef::from(&falling[shared].0);
        let (weight, total) = (self.weight, self.total_at(base.number));
        let headers = falling.into_iter().take(shared).rev();
        let mut branch = Branch { session, base, headers: VecDeque::new(), weight: total, bytes: 0 };
        headers.for_each(|header| branch.push(weight, header));
        self.branch = Some(branch);
        self.weigh()
    }

    /// More of the branch, the block before the first of them included.
    pub(super) fn on_branch(&mut self, rising: Vec<Header>) -> Weighed {
        let Some(branch) = &mut self.branch else { return Weighed::Not };
        let tip = branch.headers.back().map_or(branch.base, |(facts, _)| BlockRef::from(facts));
        let mut rising = rising.into_iter();
        match rising.next() {
            Some((facts, _)) if BlockRef::from(&facts) == tip && rising.len() > 0 => {
                rising.for_each(|header| branch.push(self.weight, header));
                self.weigh()
            }
            _ => Weighed::Not,
        }
    }

    fn weigh(&mut self) -> Weighed {
        let Some(branch) = &self.branch else { return Weighed::Not };
        if branch.weight > self.total {
            self.heavier = true;
            Weighed::Heavier
        } else if branch.headers.len() >= BRANCH_HEADERS_MAX || branch.bytes > BRANCH_BYTES_MAX {
            Weighed::Not
        } else {
            Weighed::More(branch.base.number + branch.headers.len() as u64 + 1)
        }
    }

    /// The branch, if it is (still) heavier than ours and starts at a block that is still ours.
    pub(super) fn take_heavier(&mut self) -> Option<Branch> {
        if !self.heavier {
            return None;
        }
        let branch = self.branch.take();
        self.give_up();
        branch.filter(|branch| branch.weight > self.total && self.is_ours(branch.base))
    }

    /// How much the blocks above `base` must weigh together to outweigh ours.
    pub(super) fn weight_above(&self, base: u64) -> U256 {
        self.total.saturating_sub(self.total_at(base))
    }

    /// The store dropped what is above `base`.
    pub(super) fn on_truncated(&mut self, base: u64) {
        self.total = self.total_at(base);
        while self.recent.back().is_some_and(|stored| stored.block.number > base) {
            self.recent.pop_back();
        }
    }

    /// The store took these blocks.
    pub(super) fn on_stored(&mut self, blocks: &[HeaderFacts]) {
        for facts in blocks {
            self.total = self.total.saturating_add(self.weight.of(facts.difficulty));
            self.recent.push_back(Stored { block: BlockRef::from(facts), difficulty: facts.difficulty });
        }
        self.trim();
    }

    fn trim(&mut self) {
        let excess = self.recent.len().saturating_sub(self.recent_max);
        self.recent.drain(..excess);
    }

    fn at(&self, number: u64) -> Option<&Stored> {
        let first = self.recent.front()?.block.number;
        self.recent.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    fn total_at(&self, number: u64) -> U256 {
        let above = self.recent.iter().rev().take_while(|stored| stored.block.number > number);
        above.fold(self.total, |total, stored| total.saturating_sub(self.weight.of(stored.difficulty)))
    }
}

impl Branch {
    fn push(&mut self, weight: Weight, header: Header) {
        self.weight = self.weight.saturating_add(weight.of(header.0.difficulty));
        self.bytes += header.1.len();
        self.headers.push_back(header);
    }
}
