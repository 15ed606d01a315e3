//! Receipts of stored blocks: found missing in the store, asked for behind headers and bodies,
//! verified, handed to the store.
//!
//! No block waits for the one before it, so nobody else is asked when an answer is late: its time-out
//! is soon enough.

use std::time::Instant;

use bytes::Bytes;

use super::action::{Action, Answer};
use super::check::Check;
use super::checks::Checking;
use super::config::Receipts;
use super::pace::Kind;
use super::plan::SyncPlan;
use super::progress::ReceiptsState;
use super::receipt_check::{ReceiptCheck, ReceiptVerdict};
use super::receipt_window::{Limits, Scan};
use super::requests::{Purpose, Ticket};
use super::store::MissingReceipts;
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// Bytes of receipts per delivery, as far as there is more than one block.
const DELIVER_BYTES_MAX: usize = 8 << 20;

/// Which places of a peer a question for receipts may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// Those that are theirs even while there are headers and bodies to ask for.
    Own,
    /// All but one.
    Free,
}

impl SyncPlan {
    /// The store was asked which receipts it misses, and answered.
    pub(super) fn on_found(&mut self, now: Instant, scan: Scan, found: Vec<MissingReceipts>) {
        self.receipts.on_found(scan, found);
        self.turn(now);
    }

    /// The store took the receipts that were delivered.
    pub(super) fn on_receipts_stored(&mut self, now: Instant) {
        self.receipts.on_stored();
        self.turn(now);
    }

    /// How far the receipts are.
    pub(super) fn receipts_state(&self) -> ReceiptsState {
        if self.config.receipts == Receipts::None {
            return ReceiptsState::Off;
        }
        let Some(stored) = self.stored else { return ReceiptsState::Fetching };
        if self.receipts.complete_to() > stored.number {
            return ReceiptsState::Complete;
        }
        let Some(lowest) = self.receipts.lowest() else { return ReceiptsState::Fetching };
        if self.checks.bytes(Kind::Receipts) > 0 || self.receipts.is_delivering() {
            return ReceiptsState::Fetching;
        }
        let may = self.peers.iter().any(|(_, peer)| peer.may_give_receipts(self.now, lowest));
        if may { ReceiptsState::Fetching } else { ReceiptsState::Unavailable }
    }

    /// Up to which block of those up to `stored` the store has all receipts.
    pub(super) fn receipts_to(&self, stored: u64) -> u64 {
        match self.config.receipts {
            Receipts::None => 0,
            _ => self.receipts.complete_to().saturating_sub(1).min(stored),
        }
    }

    /// Whether the head may be called reached, and whether a sync to a trusted head is over.
    pub(super) fn receipts_settled(&self) -> (bool, bool) {
        let state = self.receipts_state();
        match self.config.receipts {
            Receipts::None => (true, true),
            Receipts::Available => (true, state != ReceiptsState::Fetching),
            Receipts::Required => (state == ReceiptsState::Complete, state == ReceiptsState::Complete),
        }
    }

    /// Looks for blocks without receipts, and hands over the receipts that are here.
    pub(super) fn tend_receipts(&mut self) {
        let Some(stored) = self.stored.filter(|_| self.config.receipts != Receipts::None) else { return };
        if let Some(scan) = self.receipts.scan(stored.number) {
            self.actions.push_back(Action::FindReceipts(scan));
        }
        let receipts = self.receipts.deliver(DELIVER_BYTES_MAX);
        if !receipts.is_empty() {
            self.actions.push_back(Action::DeliverReceipts(receipts));
        }
    }

    /// Asks the first peer that can be asked. Whether there was one.
    pub(super) fn ask_receipts(&mut self, now: Instant, ranked: &[SessionId], places: Places) -> bool {
        if self.receipts.lowest().is_none() {
            return false;
        }
        let kind = Kind::Receipts;
        let busy = self.receipts.bytes() + self.checks.bytes(kind) + self.requests.reserved(kind);
        let each = self.receipt_bytes.max(1);
        let room = self.config.receipt_bytes_max.saturating_sub(busy);
        // What is begun takes room as well, and has to be finished even if there is none.
        let must = self.checks.bytes(kind) + self.requests.reserved(kind) == 0;
        let aim = (self.config.reply_bytes_aim / each).max(1);
        for session in ranked {
            let Some(peer) = self.peers.get(*session) else { continue };
            let (own, free) = peer.receipt_places();
            let most = if places == Places::Own { own } else { free };
            if peer.receipts_in_flight >= most {
                continue;
            }
            let limits = Limits { most: peer.pace.batch(kind).min(aim), each, room, must };
            let offer = self.receipts.offer(*session, limits, |number| peer.serves_receipts(now, number));
            if !offer.blocks.is_empty() {
                let purpose = Purpose::Receipts { blocks: offer.blocks, first_index: offer.first_index };
                self.ask(now, *session, purpose, false);
                return true;
            }
        }
        false
    }

    /// Takes an answer, or throws it away if there is no room for what comes of it.
    pub(super) fn receipts_answered(
        &mut self,
        ticket: Ticket,
        session: SessionId,
        purpose: Purpose,
        answer: Answer,
    ) {
        let Purpose::Receipts { blocks, .. } = &purpose else { return };
        let wire: usize = answer.items.iter().map(Bytes::len).sum();
        let mean = wire / answer.items.len().max(1);
        // One large block says little about the next, and must not make all questions small for long.
        self.receipt_bytes = if mean < self.receipt_bytes {
            (self.receipt_bytes + mean) / 2
        } else {
            (self.receipt_bytes * 7 + mean) / 8
        };
        let bytes = wire + self.receipts.expected(blocks.get(..answer.items.len()).unwrap_or_default(), 0);
        let busy = self.receipts.bytes() + self.checks.bytes(Kind::Receipts);
        if busy > 0 && busy + bytes > self.config.receipt_bytes_max {
            self.counts.dropped += 1;
            // What was begun may be what takes the room.
            blocks.iter().for_each(|block| self.receipts.begin_again(*block));
            return self.over(ticket, Some(&purpose));
        }
        let Some((wanted, begun)) = self.receipts.asked(blocks, ticket) else {
            // Of a branch that was left.
            return self.over(ticket, Some(&purpose));
        };
        let number = blocks.first().map_or(0, |block| block.number);
        let begun = begun.map(|begun| (begun.parts, begun.count));
        let bytes_max = self.config.receipt_bytes_max / 2;
        let Answer { items, last_incomplete } = answer;
        let check = ReceiptCheck { wanted, begun, answer: items, last_incomplete, bytes_max };
        let kind = Kind::Receipts;
        let checking = Checking { session, purpose: Some(purpose), kind, bytes, discard: false };
        self.checks.push(number, ticket, checking, Check::Receipts(check));
    }

    /// The peer answered with nothing of these: it is not likely to have what is above either.
    pub(super) fn on_no_receipts(&mut self, now: Instant, session: SessionId, blocks: &[BlockRef]) {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return };
        self.receipts.begin_again(*first);
        let highest = self.receipts.highest().unwrap_or(last.number);
        if let Some(peer) = self.peers.get_mut(session) {
            peer.lacks.on_nothing(now, first.number, highest);
        }
    }

    pub(super) fn receipts_verified(
        &mut self,
        now: Instant,
        ticket: Ticket,
        checking: Checking,
        verdict: ReceiptVerdict,
    ) {
        let session = checking.session;
        let Some(Purpose::Receipts { blocks, .. }) = &checking.purpose else { return };
        let ReceiptVerdict { found, part, bad } = verdict;
        self.fetched.receipts += found.len() as u64;
        let mut skipped: Vec<BlockRef> = Vec::new();
        let mut expected = 0;
        for (index, list) in found {
            skipped.extend(blocks.get(expected..index).unwrap_or_default());
            expected = index + 1;
            let Some(block) = blocks.get(index) else { continue };
            self.receipts.on_receipts(*block, ticket, list);
            if let Some(peer) = self.peers.get_mut(session) {
                peer.lacks.on_receipts(block.number);
            }
        }
        if let Some((index, list, count)) = part
            && bad.is_none()
            && let (Some(block), Some(peer)) = (blocks.get(index), self.peers.get_mut(session))
        {
            peer.lacks.on_receipts(block.number);
            self.receipts.on_part(*block, ticket, session, (list, count));
        }
        self.over(ticket, checking.purpose.as_ref());
        if let Some(bad) = bad {
            return self.blame(now, session, bad);
        }
        if let (Some(first), Some(last)) = (skipped.first(), skipped.last())
            && let Some(peer) = self.peers.get_mut(session)
        {
            peer.lacks.on_nothing(now, first.number, last.number);
        }
    }
}
