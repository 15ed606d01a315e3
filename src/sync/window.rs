//! The window of joined headers above the stored head, and the bodies that belong to them.

use std::collections::{BTreeSet, VecDeque};

use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS};
use alloy_primitives::{B256, U256};
use bytes::Bytes;

use super::check::Header;
use super::fork::Weight;
use super::peers::Peer;
use super::requests::Ticket;
use crate::chain::{BlockRef, HeaderFacts, RawBlock};
use crate::ids::SessionId;

/// Where the body of a joined header is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Wanted,
    Asked(Ticket, Option<Ticket>),
    Held(Bytes),
}

/// One joined header, and its body when it is here.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) facts: HeaderFacts,
    header: Bytes,
    pub(super) from: SessionId,
    body: Body,
    /// How many peers did not have its body.
    misses: usize,
}

/// Consecutive joined headers from `first` on; at most as many as the header window.
#[derive(Debug)]
pub(super) struct Window {
    first: u64,
    /// The hash of the block before the first.
    root: B256,
    entries: VecDeque<Entry>,
    wanted: BTreeSet<u64>,
    /// How many entries at the front have their body.
    ready: usize,
    /// How many of them the store is taking.
    storing: usize,
    header_bytes: usize,
    body_bytes: usize,
}

impl Window {
    /// An empty window above the block `root`, which is number `first - 1`.
    pub(super) fn new(first: u64, root: B256) -> Self {
        Self {
            first,
            root,
            entries: VecDeque::new(),
            wanted: BTreeSet::new(),
            ready: 0,
            storing: 0,
            header_bytes: 0,
            body_bytes: 0,
        }
    }

    /// The first number after the joined headers.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }

    /// The first number after the stored blocks.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The hash of the last joined header, or of the block below.
    pub(super) fn tip(&self) -> B256 {
        self.entries.back().map_or(self.root, |entry| entry.facts.hash)
    }

    /// Who sent the last joined header.
    pub(super) fn owner(&self) -> Option<SessionId> {
        self.entries.back().map(|entry| entry.from)
    }

    /// The hash at a number that is in the window or right below it.
    pub(super) fn hash_at(&self, number: u64) -> Option<B256> {
        if number.checked_add(1) == Some(self.first) {
            return Some(self.root);
        }
        self.index(number).map(|index| self.entries[index].facts.hash)
    }

    /// How many headers are joined.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_storing(&self) -> bool {
        self.storing > 0
    }

    pub(super) fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// How many bodies are neither here nor asked for.
    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Joins a header that follows the last one. The body of an empty block needs no question.
    pub(super) fn push(&mut self, (facts, header): Header, from: SessionId, body: Option<Bytes>) {
        debug_assert!(facts.number == self.next() || self.entries.is_empty());
        self.header_bytes += header.len();
        let body = match body.or_else(|| empty_body(&facts)) {
            Some(body) => {
                self.body_bytes += body.len();
                Body::Held(body)
            }
            None => {
                self.wanted.insert(facts.number);
                Body::Wanted
            }
        };
        self.entries.push_back(Entry { facts, header, from, body, misses: 0 });
        self.count_ready();
    }

    /// The lowest blocks whose bodies a peer can be asked for, at most `most`.
    pub(super) fn offer(&self, peer: &Peer, most: usize) -> Vec<BlockRef> {
        let mut blocks = Vec::new();
        let mut at = self.first;
        while blocks.len() < most {
            let Some(number) = self.wanted.range(at..).next().copied() else { break };
            match peer.serves_body(number) {
                Ok(()) => {
                    blocks.extend(self.facts(number).map(|facts| BlockRef::from(&facts)));
                    at = number.saturating_add(1);
                }
                Err(Some(from)) if from > number => at = from,
                Err(_) => break,
            }
        }
        blocks
    }

    /// These bodies are asked for now, some of them for a second time.
    pub(super) fn on_asked(&mut self, blocks: &[BlockRef], ticket: Ticket) {
        for block in blocks {
            self.wanted.remove(&block.number);
            let Some(index) = self.index(block.number) else { continue };
            let body = &mut self.entries[index].body;
            match body {
                Body::Wanted => *body = Body::Asked(ticket, None),
                Body::Asked(_, second) => *second = Some(ticket),
                Body::Held(_) => {}
            }
        }
    }

    /// A request for this body is over, one way or another.
    pub(super) fn on_over(&mut self, number: u64, ticket: Ticket) {
        let Some(index) = self.index(number) else { return };
        let body = &mut self.entries[index].body;
        match *body {
            Body::Asked(first, Some(second)) if first == ticket => *body = Body::Asked(second, None),
            Body::Asked(first, Some(second)) if second == ticket => *body = Body::Asked(first, None),
            Body::Asked(first, None) if first == ticket => {
                *body = Body::Wanted;
                self.wanted.insert(number);
            }
            _ => {}
        }
    }

    /// A verified body of a block that is, perhaps, still in the window without it.
    pub(super) fn on_body(&mut self, block: BlockRef, bytes: Bytes) {
        let Some(index) = self.index(block.number) else { return };
        let entry = &mut self.entries[index];
        if entry.facts.hash != block.hash || matches!(entry.body, Body::Held(_)) {
            return;
        }
        self.body_bytes += bytes.len();
        entry.body = Body::Held(bytes);
        self.wanted.remove(&block.number);
        self.count_ready();
    }

    /// A peer does not have this body: how many did not, and who sent the header.
    pub(super) fn on_miss(&mut self, block: BlockRef) -> Option<(usize, SessionId)> {
        let index = self.index(block.number)?;
        let entry = &mut self.entries[index];
        if entry.facts.hash != block.hash || matches!(entry.body, Body::Held(_)) {
            return None;
        }
        entry.misses += 1;
        Some((entry.misses, entry.from))
    }

    /// Those of these blocks that are in the window and have no body yet.
    pub(super) fn missing(&self, blocks: &[BlockRef]) -> Vec<BlockRef> {
        let missing = |block: &BlockRef| {
            self.index(block.number).is_some_and(|index| {
                let entry = &self.entries[index];
                entry.facts.hash == block.hash && !matches!(entry.body, Body::Held(_))
            })
        };
        blocks.iter().copied().filter(missing).collect()
    }

    /// The facts of these blocks, unless one of them is not in the window any more.
    pub(super) fn all_facts(&self, blocks: &[BlockRef]) -> Option<Vec<HeaderFacts>> {
        let facts = |block: &BlockRef| self.facts(block.number).filter(|facts| facts.hash == block.hash);
        blocks.iter().map(facts).collect()
    }

    /// The facts of a block in the window.
    fn facts(&self, number: u64) -> Option<HeaderFacts> {
        self.index(number).map(|index| self.entries[index].facts)
    }

    /// The body that everything waits for, with the request that was sent for it first.
    pub(super) fn awaited(&self) -> Option<(u64, Option<Ticket>)> {
        let entry = self.entries.get(self.ready)?;
        match entry.body {
            Body::Asked(ticket, _) => Some((entry.facts.number, Some(ticket))),
            _ => Some((entry.facts.number, None)),
        }
    }

    /// How many blocks at the front are complete.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// How many complete blocks are needed to weigh more than `total` together.
    pub(super) fn outweighing(&self, weight: Weight, total: U256) -> Option<usize> {
        let mut sum = U256::ZERO;
        let heavy = self.entries.iter().take(self.ready).position(|entry| {
            sum = sum.saturating_add(weight.of(entry.facts.difficulty));
            sum > total
        });
        heavy.map(|index| index + 1)
    }

    /// The next complete blocks of the first `most`, at least `least` of them if there are as many;
    /// the store takes them now.
    pub(super) fn deliver(
        &mut self,
        least: usize,
        most: usize,
        blocks_max: usize,
        bytes_max: usize,
    ) -> Vec<RawBlock> {
        debug_assert_eq!(self.storing, 0, "one delivery at a time");
        let most = most.min(self.ready);
        let mut blocks = Vec::with_capacity(most.min(blocks_max.max(least)));
        let mut bytes = 0;
        for entry in self.entries.iter().take(most) {
            let Body::Held(body) = &entry.body else { break };
            bytes += entry.header.len() + body.len();
            if blocks.len() >= least.max(1) && (blocks.len() >= blocks_max || bytes > bytes_max) {
                break;
            }
            blocks.push(RawBlock {
                number: entry.facts.number,
                hash: entry.facts.hash,
                header: entry.header.clone(),
                body: body.clone(),
            });
        }
        self.storing = blocks.len();
        blocks
    }

    /// The store has taken what was delivered: their facts, in order, each with who sent the header.
    pub(super) fn on_stored(&mut self) -> Vec<(HeaderFacts, SessionId)> {
        let stored: Vec<_> = self.entries.drain(..self.storing).collect();
        for entry in &stored {
            self.forget(entry);
            self.first = entry.facts.number.saturating_add(1);
            self.root = entry.facts.hash;
        }
        self.ready -= stored.len();
        self.storing = 0;
        stored.into_iter().map(|entry| (entry.facts, entry.from)).collect()
    }

    /// Drops the headers from `number` on that the store is not taking.
    pub(super) fn cut(&mut self, number: u64) {
        let keep = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX).max(self.storing);
        while self.entries.len() > keep {
            let Some(entry) = self.entries.pop_back() else { break };
            self.forget(&entry);
            self.wanted.remove(&entry.facts.number);
        }
        self.ready = self.ready.min(keep);
    }

    /// Where the last headers start that came from this peer without another's between them.
    pub(super) fn tail_of(&self, session: SessionId) -> u64 {
        let theirs = self.entries.iter().rev().take_while(|entry| entry.from == session).count();
        self.next() - theirs as u64
    }

    fn forget(&mut self, entry: &Entry) {
        self.header_bytes -= entry.header.len();
        if let Body::Held(body) = &entry.body {
            self.body_bytes -= body.len();
        }
    }

    fn count_ready(&mut self) {
        while self.entries.get(self.ready).is_some_and(|entry| matches!(entry.body, Body::Held(_))) {
            self.ready += 1;
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (index < self.entries.len()).then_some(index)
    }
}

/// The body of a block without transactions, ommers and withdrawals.
fn empty_body(facts: &HeaderFacts) -> Option<Bytes> {
    if facts.transactions_root != EMPTY_TRANSACTIONS || facts.ommers_hash != EMPTY_OMMER_ROOT_HASH {
        return None;
    }
    if facts.withdrawals_root.is_some_and(|root| root != EMPTY_WITHDRAWALS) {
        return None;
    }
    Some(Bytes::from_static(RawBlock::empty_body(facts.withdrawals_root.is_some())))
}

#[cfg(test)]
mod tests;
