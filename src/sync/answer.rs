//! What an answer means: the outcome of a request, and bodies that were verified.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::action::Answer;
use super::bad_data::BadData;
use super::check::Check;
use super::checks::Checking;
use super::pace::Kind;
use super::plan::{BRANCH_PAUSE, HASH_PAUSE, SyncPlan};
use super::requests::{Asked, Purpose, Ticket};
use crate::chain::BlockRef;
use crate::error::RequestError;
use crate::ids::SessionId;

/// How long a peer without a free request slot is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer is left alone whose session seems to be over; its `Down` is under way.
const GONE_PAUSE: Duration = Duration::from_secs(1);
/// How long a peer is left alone that does not speak the protocol.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(60);
/// So many peers must be without a body before its header is doubted, if there are as many.
const MISSES_MAX: usize = 3;
/// The weight of a new answer in the average size of items.
const SIZE_WEIGHT: usize = 8;

impl SyncPlan {
    pub(super) fn answered(&mut self, now: Instant, ticket: Ticket, asked: Asked, answer: Answer) {
        let (session, purpose) = (asked.session, asked.purpose);
        let items = &answer.items;
        let kind = purpose.kind();
        if items.len() > asked.amount {
            self.counts.malformed += 1;
            self.over(ticket, Some(&purpose));
            return self.blame(now, session, BadData::Excess { got: items.len(), asked: asked.amount });
        }
        if let Some(peer) = self.peers.get_mut(session) {
            let asked_for = match (kind, &purpose) {
                (Kind::Headers, Purpose::Headers { .. }) | (Kind::Bodies, _) => asked.amount,
                // Whoever relays a chain gets its receipts late, and may have many soon.
                (Kind::Receipts, _) if !items.is_empty() => asked.amount,
                _ => items.len(),
            };
            let most = self.config.in_flight_max;
            peer.pace.on_answer(now, asked.sent, kind, items.len(), asked_for, most);
        }
        if items.is_empty() {
            self.counts.empty += 1;
            self.on_nothing(now, session, &purpose);
            return self.over(ticket, Some(&purpose));
        }
        self.counts.ok += 1;
        let bytes: usize = items.iter().map(Bytes::len).sum();
        let average = match kind {
            Kind::Headers => &mut self.header_bytes,
            Kind::Bodies => &mut self.body_bytes,
            Kind::Receipts => return self.receipts_answered(ticket, session, purpose, answer),
        };
        *average = (*average * (SIZE_WEIGHT - 1) + bytes / items.len()).div_ceil(SIZE_WEIGHT);
        if !self.has_room(&purpose, bytes) {
            self.counts.dropped += 1;
            return self.over(ticket, Some(&purpose));
        }
        let items = answer.items;
        let (number, check) = match &purpose {
            Purpose::Anchor(hash) | Purpose::TrustedHead(hash) | Purpose::ClaimedHead(hash) => {
                (0, Check::ByHash { hash: *hash, answer: items })
            }
            Purpose::Headers { start, .. } | Purpose::Poll { start, .. } | Purpose::Branch { start, .. } => {
                (*start, Check::Rising { start: start.saturating_sub(1), answer: items })
            }
            Purpose::Ancestor { start } => (*start, Check::Falling { start: *start, answer: items }),
            Purpose::Bodies(blocks) => match self.window.all_facts(blocks) {
                Some(wanted) if !self.window.missing(blocks).is_empty() => {
                    (blocks.first().map_or(0, |block| block.number), Check::Bodies { wanted, answer: items })
                }
                // Answered by somebody else meanwhile, or of a branch that was left.
                _ => return self.over(ticket, Some(&purpose)),
            },
            Purpose::Receipts { .. } => return,
        };
        let checking = Checking { session, purpose: Some(purpose), kind, bytes, discard: false };
        self.checks.push(number, ticket, checking, check);
    }

    /// Whether an answer fits the bounds. What everything waits for is let in.
    fn has_room(&self, purpose: &Purpose, bytes: usize) -> bool {
        match purpose {
            Purpose::Bodies(blocks) => {
                let held = self.window.body_bytes() + self.checks.bytes(Kind::Bodies);
                let awaited = self.window.awaited().map(|(number, _)| number);
                let awaited = blocks.iter().any(|block| Some(block.number) == awaited);
                awaited || held + bytes <= self.config.body_bytes_max
            }
            Purpose::Headers { start, .. } if *start > self.line.next() => {
                let held =
                    self.window.header_bytes() + self.line.held_bytes() + self.checks.bytes(Kind::Headers);
                held + bytes <= self.config.header_bytes_max
            }
            _ => {
                let held = self.window.header_bytes() + self.checks.bytes(Kind::Headers);
                held < self.config.header_bytes_max / 2 || held + bytes <= self.config.header_bytes_max
            }
        }
    }

    /// The peer answered that it has nothing of this.
    fn on_nothing(&mut self, now: Instant, session: SessionId, purpose: &Purpose) {
        let Some(peer) = self.peers.get_mut(session) else { return };
        match purpose {
            Purpose::Anchor(_) | Purpose::TrustedHead(_) => peer.hash_until = Some(now + HASH_PAUSE),
            Purpose::ClaimedHead(_) => {
                peer.hash_until = Some(now + HASH_PAUSE);
                peer.on_useless(now);
            }
            Purpose::Headers { start, .. } | Purpose::Poll { start, .. } => {
                if peer.on_ceiling(start.saturating_sub(2)) {
                    peer.on_useless(now);
                }
                self.undefended(now, session);
            }
            // A search that was given up meanwhile says nothing either.
            Purpose::Ancestor { .. } | Purpose::Branch { .. } if self.forks.searched() != Some(session) => {}
            Purpose::Ancestor { .. } | Purpose::Branch { .. } => {
                peer.fork_until = Some(now + BRANCH_PAUSE);
            }
            Purpose::Receipts { blocks, .. } => self.on_no_receipts(now, session, blocks),
            Purpose::Bodies(blocks) => {
                // Of a branch that was left meanwhile they say nothing about ours.
                let wanted = |block: &BlockRef| self.window.hash_at(block.number) == Some(block.hash);
                if let (Some(first), Some(last)) = (blocks.first(), blocks.last()) {
                    if wanted(first) {
                        peer.on_gap(now, *first, last.number);
                    }
                    // It need not have blocks that the host has found to be bad, or any on top of them.
                    if wanted(first) || self.rejected.is_empty() {
                        peer.on_useless(now);
                    }
                    self.on_miss(now, session, *first);
                }
            }
        }
    }

    pub(super) fn failed(&mut self, now: Instant, ticket: Ticket, asked: Asked, error: &RequestError) {
        self.counts.on_error(error);
        let session = asked.session;
        self.over(ticket, Some(&asked.purpose));
        if asked.purpose.kind() == Kind::Receipts {
            self.receipts.give_up(session);
        }
        let Some(peer) = self.peers.get_mut(session) else { return };
        match error {
            RequestError::TimedOut(_) if asked.purpose.kind() == Kind::Receipts => {
                peer.pace.on_receipts_timeout();
                self.on_no_receipts(now, session, asked.purpose.blocks().unwrap_or_default());
            }
            RequestError::TimedOut(_) => {
                peer.pace.on_timeout();
                if matches!(asked.purpose, Purpose::Headers { .. }) {
                    self.undefended(now, session);
                }
            }
            RequestError::Busy => {
                peer.pace.on_busy(peer.in_flight);
                peer.aside(now, BUSY_PAUSE);
            }
            RequestError::Unsupported(_) => peer.aside(now, UNSUPPORTED_PAUSE),
            RequestError::WrongKind | RequestError::Malformed(_) => {
                self.blame(now, session, BadData::Unreadable);
            }
            RequestError::Disconnected(_) | RequestError::Panicked | RequestError::Shutdown => {
                peer.aside(now, GONE_PAUSE);
            }
        }
    }

    pub(super) fn bodies_verified(
        &mut self,
        now: Instant,
        ticket: Ticket,
        checking: Checking,
        found: Vec<(usize, Bytes)>,
        bad: Option<BadData>,
    ) {
        let session = checking.session;
        let Some(Purpose::Bodies(blocks)) = &checking.purpose else { return };
        self.fetched.bodies += found.len() as u64;
        let mut expected = 0;
        let mut skipped: Vec<BlockRef> = Vec::new();
        for (index, body) in found {
            skipped.extend(&blocks[expected..index]);
            expected = index + 1;
            self.window.on_body(blocks[index], body);
        }
        self.over(ticket, checking.purpose.as_ref());
        if let Some(bad) = bad {
            return self.blame(now, session, bad);
        }
        let Some(peer) = self.peers.get_mut(session) else { return };
        peer.on_useful();
        let wanted = |block: &&BlockRef| self.window.hash_at(block.number) == Some(block.hash);
        if let (Some(first), Some(last)) = (skipped.first().filter(wanted), skipped.last()) {
            peer.on_gap(now, *first, last.number);
            self.on_miss(now, session, *first);
        }
    }

    /// A body that nobody has: is there such a block?
    fn on_miss(&mut self, now: Instant, session: SessionId, block: BlockRef) {
        let Some((misses, sender)) = self.window.on_miss(block) else { return };
        if misses < self.peers.len().min(MISSES_MAX) {
            return;
        }
        if self.switch.is_some() && !self.window.is_storing() {
            return self.replan();
        }
        if let Some(peer) = self.peers.get_mut(sender) {
            peer.headers_until = Some(now + HASH_PAUSE);
            if sender != session {
                peer.on_useless(now);
            }
        }
        self.cut(block.number);
    }
}
