//! Who is asked for what next: the part of the plan that runs at the end of every input.

use std::time::{Duration, Instant};

use alloy_primitives::B256;

use super::action::{Action, Query};
use super::pace::Kind;
use super::plan::{HASH_PAUSE, SyncPlan};
use super::receipts::Places;
use super::requests::{Asked, Purpose};
use super::source::{BlockId, HeadersQuery};
use crate::chain::BlockRef;
use crate::ids::SessionId;

/// While fewer bodies than this wait to be asked for, headers come first.
const BODIES_WANTED_LOW: usize = 2_048;
/// How many peers are asked for one hash at a time.
const HASH_ASKED_MAX: usize = 2;
/// How many peers are asked what follows our head, each time.
const POLLED_MAX: usize = 4;
/// How many headers that question asks for.
const POLL_HEADERS: u64 = 64;
/// The source ends a request by itself; the plan does so a little later if it did not.
const DEADLINE_GRACE: Duration = Duration::from_millis(500);

impl SyncPlan {
    /// Decides everything that can be decided now.
    pub(super) fn turn(&mut self, now: Instant) {
        self.now = now;
        self.peers.wake(now);
        if self.finished {
            return;
        }
        self.drop_rejected();
        self.take_heavier(now);
        self.deliver();
        self.tend_receipts();
        while let Some((ticket, check)) = self.checks.start(self.config.checks_max) {
            self.actions.push_back(Action::Verify(ticket, check));
        }
        self.ask_hashes(now);
        self.hedge(now);
        self.hand_out(now);
        self.poll(now);
        while self.ask_receipts(now, &self.peers.ranked(), Places::Free) {}
        self.notice();
    }

    /// When the request that everything waits for is late enough to ask somebody else.
    pub(super) fn late_at(&self) -> Option<Instant> {
        let headers = self.line.awaited().and_then(|start| self.requests.line_at(start));
        let bodies = self.window.awaited().and_then(|(_, ticket)| ticket);
        let asked = [headers, bodies].into_iter().flatten().filter_map(|ticket| self.requests.get(ticket));
        asked.filter(|asked| !asked.hedged).map(|asked| asked.late_at).min()
    }

    fn deliver(&mut self) {
        if self.window.is_storing() || self.window.ready() == 0 || self.is_rejecting() {
            return;
        }
        // Short of the target, the last header waits for one that builds on it: a made-up header
        // at the end of an answer links as well as any other.
        let short = self.target().is_some_and(|target| self.line.next() <= target);
        let most = self.window.len() - usize::from(short);
        let mut least = 1;
        if let Some(switch) = self.switch {
            // What is in the store goes only when what replaces it outweighs it.
            let total = self.forks.weight_above(switch.base.number);
            match self.window.outweighing(self.forks.weight(), total) {
                Some(count) if count <= most => least = count,
                _ => return,
            }
        }
        let (blocks_max, bytes_max) = (self.config.deliver_blocks_max, self.config.deliver_bytes_max);
        let blocks = self.window.deliver(least, most, blocks_max, bytes_max);
        if blocks.is_empty() {
            return;
        }
        let truncate = self.switch.map(|switch| switch.base.number);
        self.actions.push_back(Action::Deliver { truncate, blocks });
    }

    /// Hashes that are trusted, or claimed without a number.
    fn ask_hashes(&mut self, now: Instant) {
        let trusted = self.trusted.filter(|trusted| trusted.number.is_none()).map(|trusted| trusted.hash);
        let anchor = self.config.anchor.filter(|_| !self.is_rooted());
        for purpose in [anchor.map(Purpose::Anchor), trusted.map(Purpose::TrustedHead)] {
            let Some(purpose) = purpose else { continue };
            let mut open = self.requests.count(|asked| asked.purpose == purpose);
            for session in self.peers.ranked() {
                let willing = self.peers.get(session).is_some_and(|peer| peer.hash_until.is_none());
                if open < HASH_ASKED_MAX && willing {
                    self.ask_hash(now, session, purpose.clone());
                    open += 1;
                }
            }
        }
        let untold = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.claim.number.is_none() && peer.hash_until.is_none() && peer.is_free());
        let untold: Vec<_> = untold.map(|(session, peer)| (session, peer.claim.hash)).collect();
        for (session, hash) in untold {
            self.ask_hash(now, session, Purpose::ClaimedHead(hash));
        }
    }

    fn ask_hash(&mut self, now: Instant, session: SessionId, purpose: Purpose) {
        if let Some(peer) = self.peers.get_mut(session) {
            peer.hash_until = Some(now + HASH_PAUSE);
        }
        self.ask(now, session, purpose, false);
    }

    /// What everything waits for is asked of somebody else as well when it is late.
    fn hedge(&mut self, now: Instant) {
        let late = |asked: &&Asked| !asked.hedged && asked.late_at <= now;
        let headers = self.line.awaited().and_then(|start| self.requests.line_at(start));
        if let Some(ticket) = headers
            && let Some(asked) = self.requests.get(ticket).filter(late)
            && let Purpose::Headers { start, len, era } = asked.purpose
        {
            let first = asked.session;
            let serves = |session: &SessionId| {
                let peer = self.peers.get(*session);
                *session != first && peer.is_some_and(|peer| peer.serves_headers(start))
            };
            if let Some(session) = self.peers.ranked().into_iter().find(serves) {
                let len = self.headers_believed(session, start, len);
                self.requests.hedge(ticket);
                self.ask(now, session, Purpose::Headers { start, len, era }, true);
            }
        }
        if let Some((number, Some(ticket))) = self.window.awaited()
            && let Some(asked) = self.requests.get(ticket).filter(late)
            && let Purpose::Bodies(blocks) = &asked.purpose
        {
            let missing = self.window.missing(blocks);
            let first = asked.session;
            let serves = |session: &SessionId| {
                let peer = self.peers.get(*session);
                *session != first && peer.is_some_and(|peer| peer.serves_body(number).is_ok())
            };
            if let Some(session) = self.peers.ranked().into_iter().find(serves)
                && let Some(peer) = self.peers.get(session)
            {
                let most = peer.pace.batch(Kind::Bodies);
                let theirs = missing.into_iter().filter(|block| peer.serves_body(block.number).is_ok());
                let blocks: Vec<_> = theirs.take(most).collect();
                self.requests.hedge(ticket);
                self.ask(now, session, Purpose::Bodies(blocks), true);
            }
        }
    }

    /// Fills every free slot of every peer with the lowest blocks it can serve. A few are for
    /// receipts, so that these do not wait for the last body.
    fn hand_out(&mut self, now: Instant) {
        if !self.is_rooted() {
            return;
        }
        if self.line.awaited().is_some() && self.requests.no_lines() && self.checks.bytes(Kind::Headers) == 0
        {
            debug_assert!(false, "a range of headers was lost: {:?}", self.line);
            self.line.repair();
        }
        loop {
            let ranked = self.peers.ranked();
            if ranked.is_empty() {
                return;
            }
            let headers_first = self.window.wanted() < BODIES_WANTED_LOW;
            let asked = self.ask_receipts(now, &ranked, Places::Own)
                || (headers_first && self.ask_headers(now, &ranked))
                || self.ask_bodies(now, &ranked)
                || (!headers_first && self.ask_headers(now, &ranked));
            if !asked {
                return;
            }
        }
    }

    fn ask_headers(&mut self, now: Instant, ranked: &[SessionId]) -> bool {
        let mut end = self.window.first().saturating_add(self.config.header_window);
        if let Some(trusted) = self.trusted {
            // Nothing is known to belong to the trusted chain before its head's number is.
            end = trusted.number.map_or(0, |number| end.min(number.saturating_add(1)));
        }
        let room = (self.header_room() / self.header_bytes.max(1)) as u64;
        for session in ranked {
            let Some(peer) = self.peers.get(*session) else { continue };
            let Some((start, range_end)) = self.line.offer(end, |start| peer.serves_headers(start)) else {
                continue;
            };
            // What everything waits for is asked for even if what arrived early takes the room.
            let needed = start == self.line.next()
                && self.requests.no_lines()
                && self.window.header_bytes() < self.config.header_bytes_max / 2;
            let room = if needed { room.max(16) } else { room };
            let batch = (peer.pace.batch(Kind::Headers) as u64).min(room);
            let len = self.headers_believed(*session, start, batch.min(range_end - start));
            if len > 0 {
                self.line.take(start, len);
                let era = self.line.era();
                self.ask(now, *session, Purpose::Headers { start, len, era }, false);
                return true;
            }
        }
        false
    }

    fn headers_believed(&self, session: SessionId, start: u64, len: u64) -> u64 {
        let believed = self.peers.get(session).and_then(|peer| peer.believed()).unwrap_or(0);
        len.min(believed.saturating_sub(start).saturating_add(1))
    }

    fn ask_bodies(&mut self, now: Instant, ranked: &[SessionId]) -> bool {
        let awaited = self.window.awaited();
        let needed = awaited.filter(|(_, ticket)| ticket.is_none()).map(|(number, _)| number);
        if self.window.wanted() == 0 {
            return false;
        }
        let room = self.body_room() / self.body_bytes.max(1);
        let aim = (self.config.reply_bytes_aim / self.body_bytes.max(1)).max(1);
        for session in ranked {
            let Some(peer) = self.peers.get(*session) else { continue };
            let most = peer.pace.batch(Kind::Bodies).min(aim);
            let mut blocks = self.window.offer(peer, most.min(room.max(1)));
            // Without room only what everything waits for is asked for.
            if room == 0 {
                blocks.retain(|block| Some(block.number) == needed);
            }
            if !blocks.is_empty() {
                self.ask(now, *session, Purpose::Bodies(blocks), false);
                return true;
            }
        }
        false
    }

    /// At the target, asks what follows it: announcements leave blocks out.
    fn poll(&mut self, now: Instant) {
        if now < self.poll_at {
            return;
        }
        self.poll_at = now + self.config.poll_interval;
        if !self.is_at_target() || self.trusted.is_some() {
            return;
        }
        let start = self.line.next();
        let len = POLL_HEADERS.min((self.window.first() + self.config.header_window).saturating_sub(start));
        let idle = self.peers.iter().filter(|(_, peer)| {
            peer.is_free() && !peer.polled && peer.headers_until.is_none() && peer.earliest < start
        });
        let mut turns: Vec<_> = idle.map(|(session, peer)| (peer.polled_at, session)).collect();
        turns.sort_unstable();
        if len == 0 {
            return;
        }
        if turns.is_empty() {
            // All are busy with something else, or there are none.
            self.poll_at = now + self.config.poll_interval / 4;
        }
        for (_, session) in turns.into_iter().take(POLLED_MAX) {
            if let Some(peer) = self.peers.get_mut(session) {
                (peer.polled, peer.polled_at) = (true, Some(now));
            }
            self.ask(now, session, Purpose::Poll { start, len, era: self.line.era() }, false);
        }
    }

    /// Sends a request, to a peer that has a slot for it.
    pub(super) fn ask(&mut self, now: Instant, session: SessionId, purpose: Purpose, hedged: bool) {
        let Some(peer) = self.peers.get_mut(session) else { return };
        peer.in_flight += 1;
        peer.receipts_in_flight += usize::from(purpose.kind() == Kind::Receipts);
        let timeout = peer.pace.timeout(&self.config, purpose.kind());
        let late_at = now + peer.pace.late_after();
        let rising = |start: u64, len: u64| {
            // The block before the first shows whether the answer continues our chain.
            let start = BlockId::Number(start.saturating_sub(1));
            Query::Headers(HeadersQuery { start, amount: len + 1, reverse: false })
        };
        let by_hash =
            |hash| Query::Headers(HeadersQuery { start: BlockId::Hash(hash), amount: 1, reverse: false });
        let query = match &purpose {
            Purpose::Anchor(hash) | Purpose::TrustedHead(hash) | Purpose::ClaimedHead(hash) => by_hash(*hash),
            Purpose::Headers { start, len, .. }
            | Purpose::Poll { start, len, .. }
            | Purpose::Branch { start, len } => rising(*start, *len),
            Purpose::Ancestor { start } => {
                let amount = self.config.fork_depth_max + 1;
                Query::Headers(HeadersQuery { start: BlockId::Number(*start), amount, reverse: true })
            }
            Purpose::Bodies(blocks) => Query::Bodies(hashes(blocks)),
            Purpose::Receipts { blocks, first_index } => {
                Query::Receipts { hashes: hashes(blocks), first_index: *first_index }
            }
        };
        let (amount, reserved) = match (&query, &purpose) {
            (_, Purpose::Receipts { blocks, .. }) => {
                (blocks.len(), self.receipts.expected(blocks, self.receipt_bytes))
            }
            (_, Purpose::Bodies(blocks)) => (blocks.len(), blocks.len() * self.body_bytes),
            (Query::Headers(query), _) => (query.amount as usize, query.amount as usize * self.header_bytes),
            _ => (0, 0),
        };
        let blocks = purpose.blocks().map(<[BlockRef]>::to_vec);
        let kind = purpose.kind();
        let deadline = now + timeout + DEADLINE_GRACE;
        let asked = Asked { session, purpose, amount, sent: now, deadline, late_at, hedged, reserved };
        let ticket = self.requests.open(asked);
        match (kind, blocks) {
            (Kind::Receipts, Some(blocks)) => self.receipts.on_asked(&blocks, ticket),
            (_, Some(blocks)) => self.window.on_asked(&blocks, ticket),
            _ => {}
        }
        self.actions.push_back(Action::Ask { ticket, session, query, timeout });
    }

    /// Tells when the target is reached.
    fn notice(&mut self) {
        let (Some(stored), Some(target)) = (self.stored, self.target()) else { return };
        self.last_target = target;
        let (reached, over) = self.receipts_settled();
        if let Some(trusted) = self.trusted {
            if self.holds_trusted || stored.hash == trusted.hash {
                self.reached = reached;
                self.finished = over;
                if over {
                    self.actions.push_back(Action::Finished(stored));
                }
            } else if stored.number >= target {
                self.finished = true;
                self.actions.push_back(Action::Impossible { number: target });
            }
        } else if stored.number < target || !reached {
            self.reached = false;
        } else if !self.reached && self.window.is_empty() {
            self.reached = true;
            self.actions.push_back(Action::HeadReached(stored));
        }
    }
}

fn hashes(blocks: &[BlockRef]) -> Vec<B256> {
    blocks.iter().map(|block| block.hash).collect()
}
