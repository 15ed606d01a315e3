//! The blocks whose receipts are missing, and where the receipts of each of them are.
//!
//! The blocks come from the store, lowest first, a bounded number at a time; their receipts go back
//! in whatever order they were verified. Nothing waits for the block before it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use bytes::Bytes;

use super::requests::Ticket;
use super::store::MissingReceipts;
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// Blocks here at a time.
pub(super) const WINDOW_BLOCKS: usize = 8_192;
/// Blocks that the store is asked about at a time.
pub(super) const SCAN_BLOCKS: u64 = 1_024;
/// The most that a receipt grows when it is brought into consensus form: a bloom, and longer heads.
const GROWTH_BYTES: usize = 272;

/// Where the receipts of a block are.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Wanted,
    Asked(Ticket),
    Held(Bytes),
    /// The store is taking so many bytes.
    Storing(usize),
}

/// The first receipts of a block, from the one peer that can be asked for the rest of them: if they
/// turn out to be wrong, there is no doubt whose they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) from: SessionId,
    /// Lists of receipts, none of them empty.
    pub(super) parts: Vec<Bytes>,
    /// How many receipts they have together.
    pub(super) count: usize,
}

impl Begun {
    fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

#[derive(Debug)]
struct Entry {
    missing: MissingReceipts,
    state: State,
    begun: Option<Begun>,
}

/// A question for receipts: of the first block from this index on, of the others all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) blocks: Vec<BlockRef>,
    pub(super) first_index: u64,
}

/// Blocks to look for in the store, and which of its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) from: u64,
    pub(super) to: u64,
    era: u32,
}

/// How much a question may be for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// So many blocks.
    pub(super) most: usize,
    /// Bytes that a list is expected to have.
    pub(super) each: usize,
    /// Bytes that all of them may take.
    pub(super) room: usize,
    /// Whether there is no room needed for one block.
    pub(super) must: bool,
}

/// Blocks without receipts, at most [`WINDOW_BLOCKS`].
#[derive(Debug)]
pub(super) struct ReceiptWindow {
    entries: BTreeMap<u64, Entry>,
    /// Those that anybody can be asked for.
    wanted: BTreeSet<u64>,
    /// Those of which the rest is to be asked of this peer.
    begun: BTreeSet<(SessionId, u64)>,
    /// Blocks from here on have not been looked for in the store.
    next: u64,
    /// Where the store is being looked through; forgotten when it changes meanwhile.
    scanning: Option<Scan>,
    /// How often it has changed.
    era: u32,
    /// Those whose receipts can go to the store, and those that the store is taking.
    held: BTreeSet<u64>,
    storing: Vec<u64>,
    bytes: usize,
}

impl ReceiptWindow {
    /// Nothing is known of the blocks from `first` on.
    pub(super) fn new(first: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            wanted: BTreeSet::new(),
            begun: BTreeSet::new(),
            next: first,
            scanning: None,
            era: 0,
            held: BTreeSet::new(),
            storing: Vec::new(),
            bytes: 0,
        }
    }

    /// Where to look in a store with this head, if there is room for what is found.
    pub(super) fn scan(&mut self, head: u64) -> Option<Scan> {
        let room = self.entries.len() + SCAN_BLOCKS as usize <= WINDOW_BLOCKS;
        if self.scanning.is_some() || !room || self.next > head {
            return None;
        }
        let to = head.min(self.next.saturating_add(SCAN_BLOCKS - 1));
        self.scanning = Some(Scan { from: self.next, to, era: self.era });
        self.scanning
    }

    /// The store was looked through. What was found before it changed is out of date.
    pub(super) fn on_found(&mut self, scan: Scan, found: Vec<MissingReceipts>) {
        if self.scanning.take_if(|scanning| *scanning == scan).is_none() {
            return;
        }
        for missing in found.into_iter().take(SCAN_BLOCKS as usize) {
            let number = missing.facts.number;
            if (scan.from..=scan.to).contains(&number) {
                self.entries.insert(number, Entry { missing, state: State::Wanted, begun: None });
                self.wanted.insert(number);
            }
        }
        self.next = scan.to.saturating_add(1);
    }

    /// Blocks above `number` are no longer in the store.
    pub(super) fn cut(&mut self, number: u64) {
        let above = number.saturating_add(1);
        for (_, entry) in self.entries.split_off(&above) {
            self.bytes -= entry.bytes();
        }
        self.wanted.retain(|wanted| *wanted <= number);
        self.begun.retain(|(_, begun)| *begun <= number);
        self.held.retain(|held| *held <= number);
        self.next = self.next.min(above);
        self.scanning = None;
        self.era = self.era.wrapping_add(1);
    }

    /// Nothing is known any more of the blocks from `first` on, nor of those below.
    pub(super) fn restart(&mut self, first: u64) {
        self.entries.clear();
        self.cut(first);
        self.wanted.clear();
        self.begun.clear();
        self.held.clear();
        (self.next, self.bytes) = (first, 0);
    }

    /// The lowest block without receipts in the store, as far as the store was looked through.
    pub(super) fn lowest(&self) -> Option<u64> {
        self.entries.keys().next().copied()
    }

    /// The store has the receipts of all blocks below this one.
    pub(super) fn complete_to(&self) -> u64 {
        self.lowest().unwrap_or(self.next)
    }

    /// The highest block that is known to be without receipts.
    pub(super) fn highest(&self) -> Option<u64> {
        self.entries.keys().next_back().copied()
    }

    /// Bytes of receipts held or being stored.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether receipts are here that the store does not have yet.
    pub(super) fn is_delivering(&self) -> bool {
        !self.storing.is_empty() || !self.held.is_empty()
    }

    /// What a peer can be asked for, lowest first. What it has begun comes first. `serves` tells
    /// whether it can be asked for a block, and if not, from where on it may be.
    pub(super) fn offer(
        &self,
        session: SessionId,
        limits: Limits,
        serves: impl Fn(u64) -> Result<(), Option<u64>>,
    ) -> Offer {
        let mut offer = Offer::default();
        let mut left = limits.room;
        let mut take = |offer: &mut Offer, number: u64| -> bool {
            let Some(entry) = self.entries.get(&number) else { return true };
            let bytes = entry.expected(limits.each);
            if bytes > left && !(limits.must && offer.blocks.is_empty()) {
                return false;
            }
            left = left.saturating_sub(bytes);
            offer.blocks.push(BlockRef::from(&entry.missing.facts));
            true
        };
        let begun = self.begun.range((session, 0)..=(session, u64::MAX)).next();
        let mut at = 0;
        if let Some((_, number)) = begun {
            let count =
                self.entries.get(number).and_then(|entry| entry.begun.as_ref()).map(|begun| begun.count);
            offer.first_index = count.unwrap_or(0) as u64;
            if !take(&mut offer, *number) {
                return Offer::default();
            }
            // Answers keep the order of the question, and questions that of the chain.
            at = number.saturating_add(1);
        }
        while offer.blocks.len() < limits.most {
            let Some(number) = self.wanted.range(at..).next().copied() else { break };
            match serves(number) {
                Ok(()) if take(&mut offer, number) => at = number.saturating_add(1),
                Err(Some(from)) if from > number => at = from,
                _ => break,
            }
        }
        offer
    }

    /// How many bytes the receipts of these blocks will take, if a list has `each` bytes.
    pub(super) fn expected(&self, blocks: &[BlockRef], each: usize) -> usize {
        let entries = blocks.iter().filter_map(|block| self.entries.get(&block.number));
        entries.map(|entry| entry.expected(each)).sum()
    }

    /// The receipts of these blocks are asked for now.
    pub(super) fn on_asked(&mut self, blocks: &[BlockRef], ticket: Ticket) {
        for block in blocks {
            let Some(entry) = self.entries.get_mut(&block.number) else { continue };
            if entry.state == State::Wanted {
                entry.state = State::Asked(ticket);
                self.wanted.remove(&block.number);
                if let Some(begun) = &entry.begun {
                    self.begun.remove(&(begun.from, block.number));
                }
            }
        }
    }

    /// A request for the receipts of this block is over, one way or another.
    pub(super) fn on_over(&mut self, number: u64, ticket: Ticket) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        if entry.state == State::Asked(ticket) {
            entry.state = State::Wanted;
            match &entry.begun {
                Some(begun) => self.begun.insert((begun.from, number)),
                None => self.wanted.insert(number),
            };
        }
    }

    /// What is known of these blocks, unless one of them is not here any more or they are no longer
    /// waited for; with what was begun of the first.
    pub(super) fn asked(
        &self,
        blocks: &[BlockRef],
        ticket: Ticket,
    ) -> Option<(Vec<MissingReceipts>, Option<Begun>)> {
        let entries: Option<Vec<_>> = blocks.iter().map(|block| self.entry(*block, ticket)).collect();
        let entries = entries?;
        let begun = entries.first().and_then(|entry| entry.begun.clone());
        Some((entries.into_iter().map(|entry| entry.missing).collect(), begun))
    }

    /// The verified receipts of a block that is, perhaps, still waited for.
    pub(super) fn on_receipts(&mut self, block: BlockRef, ticket: Ticket, receipts: Bytes) {
        if self.entry(block, ticket).is_none() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&block.number) {
            self.bytes -= entry.bytes();
            entry.begun = None;
            entry.state = State::Held(receipts);
            self.bytes += entry.bytes();
            self.held.insert(block.number);
        }
    }

    /// The first receipts of a block, or more of them; the rest comes with another answer.
    pub(super) fn on_part(&mut self, block: BlockRef, ticket: Ticket, from: SessionId, part: (Bytes, usize)) {
        if self.entry(block, ticket).is_none() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&block.number) {
            self.bytes += part.0.len();
            let begun = entry.begun.get_or_insert(Begun { from, parts: Vec::new(), count: 0 });
            begun.parts.push(part.0);
            begun.count += part.1;
        }
    }

    /// What was begun of this block is thrown away: the whole of it is asked for again.
    pub(super) fn begin_again(&mut self, block: BlockRef) {
        let Some(entry) = self.entries.get_mut(&block.number) else { return };
        if entry.missing.facts.hash != block.hash {
            return;
        }
        if let Some(begun) = entry.begun.take() {
            self.bytes -= begun.bytes();
            self.begun.remove(&(begun.from, block.number));
            if entry.state == State::Wanted {
                self.wanted.insert(block.number);
            }
        }
    }

    /// Nobody can be asked any more for the rest of what this peer has begun.
    pub(super) fn give_up(&mut self, session: SessionId) {
        let theirs = self.entries.values().filter(|entry| {
            let begun = entry.begun.as_ref();
            begun.is_some_and(|begun| begun.from == session)
        });
        let blocks: Vec<_> = theirs.map(|entry| BlockRef::from(&entry.missing.facts)).collect();
        blocks.into_iter().for_each(|block| self.begin_again(block));
    }

    /// Verified receipts for the store, at most `bytes_max` as far as there is more than one block.
    pub(super) fn deliver(&mut self, bytes_max: usize) -> Vec<(B256, Bytes)> {
        let mut blocks = Vec::new();
        if !self.storing.is_empty() {
            return blocks;
        }
        let mut bytes = 0;
        while let Some(number) = self.held.first().copied() {
            if let Some(entry) = self.entries.get_mut(&number)
                && let State::Held(receipts) = &entry.state
            {
                bytes += receipts.len();
                if bytes > bytes_max && !blocks.is_empty() {
                    break;
                }
                blocks.push((entry.missing.facts.hash, receipts.clone()));
                entry.state = State::Storing(receipts.len());
                self.storing.push(number);
            }
            self.held.pop_first();
        }
        blocks
    }

    /// The store has taken what was delivered.
    pub(super) fn on_stored(&mut self) {
        for number in self.storing.drain(..) {
            // A block that left the store meanwhile may be here again, without receipts.
            if let Some(State::Storing(bytes)) = self.entries.get(&number).map(|entry| &entry.state) {
                self.bytes -= bytes;
                self.entries.remove(&number);
            }
        }
    }

    fn entry(&self, block: BlockRef, ticket: Ticket) -> Option<&Entry> {
        let entry = self.entries.get(&block.number)?;
        (entry.missing.facts.hash == block.hash && entry.state == State::Asked(ticket)).then_some(entry)
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, Begun::bytes);
        begun
            + match &self.state {
                State::Held(receipts) => receipts.len(),
                State::Storing(bytes) => *bytes,
                State::Wanted | State::Asked(_) => 0,
            }
    }

    /// A bound for what comes of a list with `each` bytes: peers leave the blooms out.
    fn expected(&self, each: usize) -> usize {
        each + self.missing.transactions.saturating_mul(GROWTH_BYTES)
    }
}

#[cfg(test)]
mod tests;
