//! What to ask next, what an answer means, who is to blame: the pure machine behind the sync.
//!
//! Inputs are `on_*`, with the time as an argument; outputs are [`SyncPlan::poll_action`] and
//! [`SyncPlan::poll_timeout`]. `ask.rs` decides what is asked of whom, `answer.rs` what an
//! answer means, `join.rs` what headers mean, `receipts.rs` what is done about receipts,
//! `heavier.rs` what a heavier branch means, `release.rs` what is open again. Each list of headers is asked for together with the
//! block before it, so that an answer shows by itself whether it continues our chain, and a peer
//! whose answers do not link contradicts itself, nobody else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use bytes::Bytes;

use super::action::{Action, Answer, Start};
use super::check::{Check, Verdict};
use super::checks::{Checking, Checks};
use super::config::SyncConfig;
use super::fork::{Forks, Stored, Weight};
use super::headers::HeaderLine;
use super::pace::Kind;
use super::peers::Peers;
use super::progress::{Fetched, Progress, RequestCounts};
use super::receipt_window::ReceiptWindow;
use super::rejected::{Rejected, Senders};
use super::requests::{Asked, Purpose, Requests, Ticket};
use super::source::Claim;
use super::window::Window;
use crate::chain::BlockRef;
use crate::error::RequestError;
use crate::ids::SessionId;

/// How long a peer is not asked for a hash it did not know.
pub(super) const HASH_PAUSE: Duration = Duration::from_secs(5);
/// How long a peer on another branch is not asked for headers.
pub(super) const BRANCH_PAUSE: Duration = Duration::from_secs(30);

/// The trusted head and, once known, its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted {
    pub(super) hash: B256,
    pub(super) number: Option<u64>,
}

/// Two peers whose headers do not fit each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conflict {
    /// Who sent the last joined header. It, or a third, has to build on it.
    pub(super) owner: SessionId,
    /// Whose headers did not follow.
    pub(super) rival: SessionId,
}

/// A heavier branch in the window that is not in the store yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switch {
    pub(super) base: BlockRef,
    /// Until then its bodies must be here.
    pub(super) until: Instant,
}

/// Decides what a sync does.
#[derive(Debug)]
pub(super) struct SyncPlan {
    pub(super) config: SyncConfig,
    pub(super) actions: VecDeque<Action>,
    pub(super) peers: Peers,
    pub(super) requests: Requests,
    pub(super) checks: Checks,
    pub(super) line: HeaderLine,
    pub(super) window: Window,
    pub(super) receipts: ReceiptWindow,
    pub(super) forks: Forks,
    pub(super) stored: Option<BlockRef>,
    /// The head at the start if it is beyond doubt, as a genesis or an anchor is.
    pub(super) root: Option<BlockRef>,
    pub(super) trusted: Option<Trusted>,
    pub(super) conflict: Option<Conflict>,
    pub(super) switch: Option<Switch>,
    /// What the host found to be invalid, and who sent the headers of what is stored.
    pub(super) rejected: Rejected,
    pub(super) senders: Senders,
    /// The store is to drop what is above this block; and whether it is doing so.
    pub(super) dropping: Option<u64>,
    pub(super) is_dropping: bool,
    /// Whether the store had the trusted head from the start.
    pub(super) holds_trusted: bool,
    /// The average size of a header, and of a body and the receipts of a block that have to be asked
    /// for.
    pub(super) header_bytes: usize,
    pub(super) body_bytes: usize,
    pub(super) receipt_bytes: usize,
    /// What was the target when there was one.
    pub(super) last_target: u64,
    pub(super) poll_at: Instant,
    pub(super) now: Instant,
    pub(super) reached: bool,
    pub(super) finished: bool,
    pub(super) counts: RequestCounts,
    pub(super) fetched: Fetched,
    start: u64,
}

impl SyncPlan {
    /// A plan for a store that holds `start`, without peers.
    pub(super) fn new(now: Instant, config: SyncConfig, start: Start) -> Self {
        let (first, below) = above(start.head);
        Self {
            actions: VecDeque::new(),
            peers: Peers::default(),
            requests: Requests::default(),
            checks: Checks::default(),
            line: HeaderLine::new(first),
            window: Window::new(first, below),
            receipts: ReceiptWindow::new(start.first),
            forks: forks(&config, start.recent, start.total_difficulty),
            stored: start.head,
            root: start.head.filter(|head| head.number == 0 || config.anchor == Some(head.hash)),
            trusted: config.trusted_head.map(|hash| Trusted { hash, number: start.trusted }),
            conflict: None,
            switch: None,
            rejected: Rejected::default(),
            senders: Senders::default(),
            dropping: None,
            is_dropping: false,
            holds_trusted: start.trusted.is_some(),
            header_bytes: 600,
            body_bytes: 8 << 10,
            receipt_bytes: 4 << 10,
            last_target: 0,
            poll_at: now + config.poll_interval,
            now,
            reached: false,
            finished: false,
            counts: RequestCounts::default(),
            fetched: Fetched::default(),
            start: start.head.map_or(0, |head| head.number),
            config,
        }
    }

    /// A peer can be asked, and says that it has this.
    pub(super) fn on_peer_up(&mut self, now: Instant, session: SessionId, earliest: u64, claim: Claim) {
        self.peers.add(&self.config, session, earliest, claim);
        self.turn(now);
    }

    /// A peer is gone.
    pub(super) fn on_peer_down(&mut self, now: Instant, session: SessionId) {
        if self.peers.remove(session) {
            self.forget(now, session);
        }
        self.turn(now);
    }

    /// Only these peers are there; what is missing went unnoticed.
    pub(super) fn on_peers(&mut self, now: Instant, there: &[SessionId]) {
        let gone: Vec<_> = self.peers.sessions().filter(|session| !there.contains(session)).collect();
        for session in gone {
            self.on_peer_down(now, session);
        }
    }

    /// A peer announced what it has.
    pub(super) fn on_claim(&mut self, now: Instant, session: SessionId, earliest: Option<u64>, claim: Claim) {
        if let Some(peer) = self.peers.get_mut(session) {
            peer.on_claim(earliest, claim);
        }
        self.turn(now);
    }

    /// A peer announced a whole block. One per peer is looked at at a time; what is left out comes
    /// with the next poll.
    pub(super) fn on_new_block(&mut self, now: Instant, session: SessionId, header: Bytes, body: Bytes) {
        let bytes = header.len() + body.len();
        let extendable = self.config.heaviest && self.is_rooted();
        if !extendable || self.body_room() < bytes {
            return;
        }
        let Some(peer) = self.peers.get_mut(session).filter(|peer| !peer.announcing) else { return };
        peer.announcing = true;
        let ticket = self.requests.ticket();
        let kind = Kind::Bodies;
        let checking = Checking { session, purpose: None, kind, bytes, discard: false };
        self.checks.push(self.line.next(), ticket, checking, Check::Block { header, body });
        self.turn(now);
    }

    /// A request came to its end.
    pub(super) fn on_answer(&mut self, now: Instant, ticket: Ticket, result: Result<Answer, RequestError>) {
        let Some(asked) = self.close(ticket) else { return };
        match result {
            Ok(answer) => self.answered(now, ticket, asked, answer),
            Err(error) => self.failed(now, ticket, asked, &error),
        }
        self.turn(now);
    }

    /// An answer was verified.
    pub(super) fn on_verified(&mut self, now: Instant, ticket: Ticket, verdict: Verdict) {
        let Some(checking) = self.checks.finish(ticket) else { return };
        let session = checking.session;
        if let Some(peer) = self.peers.get_mut(session).filter(|_| checking.purpose.is_none()) {
            peer.announcing = false;
        }
        match verdict {
            _ if checking.discard => self.over(ticket, checking.purpose.as_ref()),
            Verdict::Headers(Ok(headers)) if self.refuse_rejected(now, session, &headers) => {
                self.over(ticket, checking.purpose.as_ref());
            }
            Verdict::Block(Ok(block))
                if self.refuse_rejected(now, session, std::slice::from_ref(&block.0)) => {}
            Verdict::Headers(Ok(headers)) => self.headers_verified(now, ticket, checking, headers),
            Verdict::Bodies { found, bad } => self.bodies_verified(now, ticket, checking, found, bad),
            Verdict::Receipts(verdict) => self.receipts_verified(now, ticket, checking, verdict),
            Verdict::Block(Ok(block)) => self.block_verified(now, session, *block),
            Verdict::Headers(Err(bad)) | Verdict::Block(Err(bad)) => {
                self.over(ticket, checking.purpose.as_ref());
                self.blame(now, session, bad);
            }
        }
        self.turn(now);
    }

    /// The store took what was delivered.
    pub(super) fn on_stored(&mut self, now: Instant) {
        if !self.window.is_storing() {
            return;
        }
        if let Some(switch) = self.switch.take() {
            self.forks.on_truncated(switch.base.number);
            self.receipts.cut(switch.base.number);
            self.senders.cut(switch.base.number);
        }
        let stored = self.window.on_stored();
        stored.iter().for_each(|(facts, from)| self.senders.push(facts.number, *from));
        let stored: Vec<_> = stored.into_iter().map(|(facts, _)| facts).collect();
        if let (None, Some(first)) = (self.stored, stored.first()) {
            self.receipts.restart(first.number);
        }
        self.forks.on_stored(&stored);
        self.stored = stored.last().map(BlockRef::from).or(self.stored);
        if self.root.is_none() && self.config.anchor == self.stored.map(|stored| stored.hash) {
            self.root = self.stored;
        }
        self.turn(now);
    }

    /// The store was changed by somebody else: everything above it is planned anew.
    pub(super) fn on_moved(&mut self, now: Instant, start: Start) {
        self.forks = forks(&self.config, start.recent, start.total_difficulty);
        self.stored = start.head;
        self.receipts.restart(start.first);
        self.senders.cut(start.head.map_or(0, |head| head.number));
        if std::mem::take(&mut self.is_dropping) {
            // Whoever was set aside for having another chain may be the one who was right.
            self.peers.hear_all_again();
        }
        self.replan();
        self.turn(now);
    }

    /// Time has passed.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        while let Some(ticket) = self.requests.expired(now) {
            let Some(asked) = self.close(ticket) else { break };
            self.actions.push_back(Action::Cancel(ticket));
            let waited = now.saturating_duration_since(asked.sent);
            self.failed(now, ticket, asked, &RequestError::TimedOut(waited));
        }
        self.turn(now);
    }

    /// What to do next.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `on_timeout` is due. It is never earlier than the last input.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.finished {
            return None;
        }
        let poll_at = self.is_at_target().then_some(self.poll_at);
        let switch = self.switch.map(|switch| switch.until);
        let late = self.late_at().filter(|late| *late > self.now);
        [self.requests.next_deadline(), self.peers.next_wake(self.now), poll_at, switch, late]
            .into_iter()
            .flatten()
            .min()
    }

    /// How far it is. The driver knows the rate.
    pub(super) fn progress(&self) -> Progress {
        let bodies = self.stored.map_or(0, |stored| stored.number);
        let headers = if self.is_rooted() { self.line.next().saturating_sub(1) } else { 0 };
        Progress {
            start: self.start,
            headers: headers.max(bodies),
            bodies,
            receipts: self.receipts_to(bodies),
            receipts_state: self.receipts_state(),
            target: self.target().unwrap_or(self.last_target).max(bodies),
            head: self.stored,
            at_target: self.reached,
            requests: self.counts,
            fetched: self.fetched,
            in_flight: self.requests.len(),
            peers: self.peers.len(),
            ..Progress::default()
        }
    }

    /// The head of the store, as far as it is known.
    pub(super) fn stored(&self) -> Option<BlockRef> {
        self.stored
    }

    /// Whether the store is taking blocks, or dropping some.
    pub(super) fn is_delivering(&self) -> bool {
        self.window.is_storing() || self.is_rejecting()
    }

    /// Whether there is a block to build on.
    pub(super) fn is_rooted(&self) -> bool {
        self.stored.is_some() || !self.window.is_empty()
    }

    /// The number to get to, if anybody has told.
    pub(super) fn target(&self) -> Option<u64> {
        match self.trusted {
            Some(trusted) => trusted.number,
            None => self.peers.highest(),
        }
    }

    /// Whether all headers up to the target are here.
    pub(super) fn is_at_target(&self) -> bool {
        self.is_rooted() && self.target().is_some_and(|target| self.line.next() > target)
    }

    /// Bytes of bodies that there is room for.
    pub(super) fn body_room(&self) -> usize {
        let held = self.window.body_bytes() + self.checks.bytes(Kind::Bodies);
        self.config.body_bytes_max.saturating_sub(held + self.requests.reserved(Kind::Bodies))
    }

    /// Bytes of headers that there is room for.
    pub(super) fn header_room(&self) -> usize {
        let held = self.window.header_bytes() + self.line.held_bytes() + self.checks.bytes(Kind::Headers);
        self.config.header_bytes_max.saturating_sub(held + self.requests.reserved(Kind::Headers))
    }

    fn close(&mut self, ticket: Ticket) -> Option<Asked> {
        let asked = self.requests.close(ticket)?;
        if let Some(peer) = self.peers.get_mut(asked.session) {
            peer.in_flight = peer.in_flight.saturating_sub(1);
            if asked.purpose.kind() == Kind::Receipts {
                peer.receipts_in_flight = peer.receipts_in_flight.saturating_sub(1);
            }
            peer.polled &= !matches!(asked.purpose, Purpose::Poll { .. });
        }
        Some(asked)
    }
}

/// Where the window starts above a block, and that block's hash.
pub(super) fn above(head: Option<BlockRef>) -> (u64, B256) {
    head.map_or((0, B256::ZERO), |head| (head.number.saturating_add(1), head.hash))
}

fn forks(config: &SyncConfig, recent: Vec<Stored>, total_difficulty: U256) -> Forks {
    let weight = if config.heaviest { Weight::Difficulty } else { Weight::One };
    Forks::new(recent, total_difficulty, weight, config.fork_depth_max)
}
