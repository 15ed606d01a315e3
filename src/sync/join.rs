//! What verified headers mean: they continue our chain, wait for others, or show who is wrong.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;

use super::bad_data::BadData;
use super::check::Header;
use super::checks::Checking;
use super::headers::Segment;
use super::peers::Peer;
use super::plan::{BRANCH_PAUSE, Conflict, HASH_PAUSE, SyncPlan};
use super::requests::{Purpose, Ticket};
use super::source::Claim;
use super::window::Window;
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// How long a peer whose headers did not follow is not asked for more, while others decide.
const RIVAL_PAUSE: Duration = Duration::from_secs(10);
/// Within so many blocks of its head a peer may have changed its mind.
const REORG_DEPTH: u64 = 64;

impl SyncPlan {
    /// Headers that are sound in themselves.
    pub(super) fn headers_verified(
        &mut self,
        now: Instant,
        ticket: Ticket,
        checking: Checking,
        headers: Vec<Header>,
    ) {
        let session = checking.session;
        let Some(purpose) = checking.purpose else { return };
        self.fetched.headers += headers.len() as u64;
        if let (Some(peer), Some((facts, _))) = (self.peers.get_mut(session), headers.last()) {
            match purpose {
                Purpose::Headers { .. } | Purpose::Poll { .. } => peer.on_shown(facts.number),
                // Found by its hash, on whatever branch it is.
                _ => peer.hash_until = None,
            }
        }
        match purpose {
            Purpose::Anchor(_) => self.anchor_verified(session, headers),
            Purpose::TrustedHead(hash) => {
                if let (Some(trusted), Some((facts, _))) = (&mut self.trusted, headers.first()) {
                    debug_assert_eq!(trusted.hash, hash);
                    trusted.number = Some(facts.number);
                }
            }
            Purpose::ClaimedHead(hash) => {
                let number = headers.first().map(|(facts, _)| facts.number);
                let untold = |claim: &Claim| claim.hash == hash && claim.number.is_none();
                if let Some(peer) = self.peers.get_mut(session).filter(|peer| untold(&peer.claim)) {
                    peer.claim.number = number;
                }
            }
            Purpose::Headers { start, len, era } => {
                self.line_verified(now, session, start, Some(len), era, headers)
            }
            Purpose::Poll { start, len, era } => {
                if headers.len() as u64 > len {
                    // As much as was asked for: there may be more.
                    self.poll_at = now;
                }
                self.line_verified(now, session, start, None, era, headers);
            }
            Purpose::Ancestor { .. } => self.ancestors_verified(now, session, headers),
            Purpose::Branch { .. } => self.branch_verified(now, session, headers),
            Purpose::Bodies(_) | Purpose::Receipts { .. } => self.over(ticket, Some(&purpose)),
        }
    }

    fn anchor_verified(&mut self, session: SessionId, mut headers: Vec<Header>) {
        if self.is_rooted() {
            return;
        }
        let Some((facts, rlp)) = headers.pop() else { return };
        self.window = Window::new(facts.number, facts.parent_hash);
        self.window.push((facts, rlp), session, None);
        self.restart_line(self.window.next());
    }

    /// `len` is how many were the answer's to bring; a poll brings what it finds.
    fn line_verified(
        &mut self,
        now: Instant,
        session: SessionId,
        start: u64,
        len: Option<u64>,
        era: u32,
        headers: Vec<Header>,
    ) {
        if era != self.line.era() {
            return;
        }
        let mut headers = VecDeque::from(headers);
        let Some((below, _)) = headers.pop_front() else { return };
        let got = headers.len() as u64;
        let segment = Segment { from: session, below: below.hash, headers };
        if got == 0 {
            // It has the block before, and nothing above.
            if let Some(peer) = self.peers.get_mut(session)
                && peer.on_ceiling(below.number)
            {
                peer.on_useless(now);
            }
            let ours = self.window.hash_at(below.number);
            if ours.is_some_and(|ours| ours != segment.below) {
                self.on_mismatch(now, session, below.number);
            } else {
                self.undefended(now, session);
            }
        } else {
            if let Some(peer) = self.peers.get_mut(session) {
                peer.on_useful();
            }
            self.line.hold(start, segment);
        }
        if let Some(len) = len.filter(|_| era == self.line.era()) {
            if got == 0 {
                self.range_over(start, len);
            } else {
                // Whoever else was asked for the same is not waited for.
                let theirs = self.requests.disown(start).unwrap_or(0);
                self.line.give_back(start, start.saturating_add(len.max(theirs)));
            }
        }
        self.join(now);
    }

    /// Joins everything that touches.
    fn join(&mut self, now: Instant) {
        while let Some((start, segment)) = self.line.touching() {
            let next = self.line.next();
            let Segment { from, below, mut headers } = segment;
            let end = start + headers.len() as u64;
            let known = usize::try_from(next - start).unwrap_or(usize::MAX).min(headers.len());
            let last_known = headers.drain(..known).next_back();
            let (number, hash) =
                last_known.map_or((start.saturating_sub(1), below), |(facts, _)| (facts.number, facts.hash));
            // What is already stored cannot be compared any more.
            let ours = self.window.hash_at(number);
            if ours == Some(hash) && !headers.is_empty() {
                self.append(now, from, headers);
                continue;
            }
            self.line.give_back(start, end);
            if ours.is_some_and(|ours| ours != hash) {
                self.on_mismatch(now, from, number);
            }
        }
    }

    fn append(&mut self, now: Instant, from: SessionId, headers: VecDeque<Header>) {
        if let Some(conflict) = self.conflict.take_if(|conflict| conflict.rival != from)
            && let Some(rival) = self.peers.get_mut(conflict.rival)
        {
            rival.headers_until = Some(now + BRANCH_PAUSE);
        }
        for header in headers {
            if let Some(trusted) = self.trusted
                && trusted.number == Some(header.0.number)
                && trusted.hash != header.0.hash
            {
                let number = header.0.number;
                self.cut(self.window.first());
                return self.blame(now, from, BadData::NotTrusted { number });
            }
            self.window.push(header, from, None);
        }
        self.line.advance(self.window.next());
    }

    /// A peer has another block at `number` than we do.
    fn on_mismatch(&mut self, now: Instant, session: SessionId, number: u64) {
        let owner = self.window.owner().filter(|_| number >= self.window.first());
        match owner {
            None => self.elsewhere(now, session, number),
            Some(owner) if owner == session => {
                let near = |believed: u64| believed < number.saturating_add(REORG_DEPTH);
                let peer = self.peers.get(session);
                if peer.and_then(|peer| peer.believed()).is_none_or(near) {
                    self.cut(self.window.tail_of(session));
                    if let Some(peer) = self.peers.get_mut(session) {
                        peer.headers_until = Some(now + HASH_PAUSE);
                        peer.on_useless(now);
                    }
                } else {
                    self.blame(now, session, BadData::Contradiction { number });
                }
            }
            Some(owner) => {
                let conflict = Conflict { owner, rival: session };
                if self.conflict.is_some() {
                    self.yield_to(now, conflict);
                    return;
                }
                let defends = |peer: &Peer| peer.serves_headers(self.line.next());
                if !self.peers.get(owner).is_some_and(defends) {
                    self.yield_to(now, conflict);
                    return;
                }
                self.conflict = Some(conflict);
                if let Some(peer) = self.peers.get_mut(session) {
                    peer.headers_until = Some(now + RIVAL_PAUSE);
                }
                // Its headers are asked for again, of those who decide.
                self.restart_line(self.window.next());
            }
        }
    }

    /// The owner of the last joined header has nothing to build on it: its rival is right.
    pub(super) fn undefended(&mut self, now: Instant, session: SessionId) {
        if let Some(conflict) = self.conflict.filter(|conflict| conflict.owner == session) {
            self.yield_to(now, conflict);
        }
    }

    fn yield_to(&mut self, now: Instant, conflict: Conflict) {
        self.conflict = None;
        self.cut(self.window.tail_of(conflict.owner));
        if let Some(owner) = self.peers.get_mut(conflict.owner) {
            owner.headers_until = Some(now + BRANCH_PAUSE);
        }
        if let Some(rival) = self.peers.get_mut(conflict.rival) {
            rival.headers_until = None;
        }
    }

    /// A peer's chain leaves ours below what is stored.
    fn elsewhere(&mut self, now: Instant, session: SessionId, number: u64) {
        if self.root.is_some_and(|root| root.number == number) {
            return self.blame(now, session, BadData::OtherChain { number });
        }
        if let Some(peer) = self.peers.get_mut(session) {
            peer.headers_until = Some(now + BRANCH_PAUSE);
        }
        self.search_branch(now, session);
    }

    /// An announced block whose body fits it.
    pub(super) fn block_verified(
        &mut self,
        now: Instant,
        session: SessionId,
        (header, body): (Header, Bytes),
    ) {
        let block = BlockRef::from(&header.0);
        if let Some(peer) = self.peers.get_mut(session) {
            peer.on_claim(None, block.into());
        }
        let next = self.line.next();
        let parent = header.0.parent_hash;
        if block.number == next && parent == self.window.tip() {
            self.window.push(header, session, Some(body));
            self.line.advance(self.window.next());
            return;
        }
        let ours = |hash: B256| self.window.hash_at(block.number) == Some(hash);
        if block.number <= next && !ours(block.hash) && !self.forks.is_ours(block) {
            self.search_branch(now, session);
        }
    }
}
