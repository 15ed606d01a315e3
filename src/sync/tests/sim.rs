//! Many fake peers, one plan, a virtual clock: one seed gives one trace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::receipt_world::Gives;
use super::world::{Manner, TestChain};
use crate::chain::{BlockRef, HeaderFacts, RawBlock};
use crate::disconnect::Disconnected;
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::sync::action::{Action, Answer, Query, Start};
use crate::sync::bad_data::BadData;
use crate::sync::check::Verdict;
use crate::sync::config::SyncConfig;
use crate::sync::fork::Stored;
use crate::sync::pace::Kind;
use crate::sync::plan::SyncPlan;
use crate::sync::receipt_window::Scan;
use crate::sync::requests::Ticket;
use crate::sync::source::Claim;
use crate::sync::store::MissingReceipts;
use crate::wire::rlp::List;

/// A peer of the simulation.
pub(super) struct SimPeer {
    pub(super) chain: Arc<TestChain>,
    pub(super) manner: Manner,
    pub(super) gives: Gives,
    pub(super) earliest: u64,
    pub(super) latest: u64,
    pub(super) latency: Duration,
    /// Bytes per second of its answers.
    pub(super) bandwidth: u64,
    /// When its line is free again.
    busy_until: Instant,
    requests: u32,
    pub(super) in_flight_most: usize,
    in_flight: usize,
}

enum Event {
    Answer(Ticket, SessionId, Result<Answer, RequestError>),
    Verdict(Ticket, Box<Verdict>),
    Stored,
    Dropped,
    Found(Scan),
    ReceiptsStored,
    Down(SessionId),
}

/// The world around one plan.
pub(super) struct Sim {
    pub(super) plan: SyncPlan,
    pub(super) peers: BTreeMap<SessionId, SimPeer>,
    pub(super) store: Vec<RawBlock>,
    pub(super) receipts: BTreeMap<B256, Bytes>,
    pub(super) blamed: Vec<(SessionId, BadData)>,
    pub(super) reached: Vec<BlockRef>,
    pub(super) finished: bool,
    pub(super) impossible: bool,
    pub(super) trace: String,
    pub(super) bodies_most: usize,
    pub(super) headers_most: usize,
    pub(super) numbers_most: u64,
    pub(super) asked_headers: u64,
    pub(super) asked_bodies: u64,
    pub(super) asked_receipts: u64,
    pub(super) receipts_most: usize,
    start: Instant,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    cancelled: BTreeSet<Ticket>,
    sequence: u64,
    seed: u64,
    rng: StdRng,
}

impl Sim {
    /// A store that holds `held`, lowest first; empty with an anchor.
    pub(super) fn new(seed: u64, config: SyncConfig, held: &[RawBlock]) -> Self {
        let start = Instant::now();
        let plan = SyncPlan::new(start, config.bounded(), start_of(held));
        Self {
            plan,
            peers: BTreeMap::new(),
            store: held.to_vec(),
            receipts: BTreeMap::new(),
            blamed: Vec::new(),
            reached: Vec::new(),
            finished: false,
            impossible: false,
            trace: String::new(),
            bodies_most: 0,
            headers_most: 0,
            numbers_most: 0,
            asked_headers: 0,
            asked_bodies: 0,
            asked_receipts: 0,
            receipts_most: 0,
            start,
            now: start,
            events: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            sequence: 0,
            seed,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// A peer comes that has all of `chain` and says so.
    pub(super) fn peer(&mut self, id: u64, chain: &Arc<TestChain>, manner: Manner) -> SessionId {
        self.liar(id, chain, manner, chain.head())
    }

    /// A peer comes that claims this head.
    pub(super) fn liar(
        &mut self,
        id: u64,
        chain: &Arc<TestChain>,
        manner: Manner,
        head: BlockRef,
    ) -> SessionId {
        let session = SessionId(id);
        let peer = SimPeer {
            chain: chain.clone(),
            manner,
            gives: if id.is_multiple_of(2) { Gives::Flat } else { Gives::Blooms },
            earliest: 0,
            latest: chain.head().number,
            latency: Duration::from_millis(self.rng.random_range(5..80)),
            bandwidth: 4 << 20,
            busy_until: self.now,
            requests: 0,
            in_flight_most: 0,
            in_flight: 0,
        };
        self.peers.insert(session, peer);
        self.plan.on_peer_up(self.now, session, 0, head.into());
        self.act();
        session
    }

    pub(super) fn claim(&mut self, session: SessionId, head: impl Into<Claim>) {
        self.plan.on_claim(self.now, session, None, head.into());
        self.act();
    }

    pub(super) fn announce(&mut self, session: SessionId, block: &RawBlock) {
        self.plan.on_new_block(self.now, session, block.header.clone(), block.body.clone());
        self.act();
    }

    /// The host finds a block to be invalid.
    pub(super) fn reject(&mut self, block: BlockRef) {
        let stored = self.store.iter().any(|stored| stored.hash == block.hash);
        self.plan.on_rejected(self.now, block, stored);
        self.act();
    }

    pub(super) fn down(&mut self, session: SessionId) {
        self.events.insert((self.now, u64::MAX - session.0), Event::Down(session));
    }

    pub(super) fn head(&self) -> Option<BlockRef> {
        self.store.last().map(RawBlock::block_ref)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Runs until `done`, or fails after `limit` of virtual time.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            let went_on = self.step(end);
            let (seed, progress) = (self.seed, self.plan.progress());
            assert!(went_on, "seed {seed} is not done after {limit:?}: {progress:?}\n{}", self.tail());
        }
    }

    /// Runs for so long.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// The next thing that happens, if it happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let timeout = self.plan.poll_timeout();
        let Some(next) = event.into_iter().chain(timeout).min().filter(|next| *next <= end) else {
            return false;
        };
        assert!(timeout.is_none_or(|timeout| timeout >= self.now), "a timeout in the past");
        self.now = self.now.max(next);
        if event == Some(next) {
            let (_, event) = self.events.pop_first().unwrap();
            self.on_event(event);
        } else {
            self.plan.on_timeout(self.now);
            assert!(self.plan.poll_timeout() > Some(self.now) || self.plan.poll_timeout().is_none());
        }
        self.act();
        self.check_bounds();
        true
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Answer(ticket, session, answer) => {
                if let Some(peer) = self.peers.get_mut(&session) {
                    peer.in_flight -= 1;
                }
                if !self.cancelled.remove(&ticket) {
                    self.plan.on_answer(self.now, ticket, answer);
                }
            }
            Event::Verdict(ticket, verdict) => self.plan.on_verified(self.now, ticket, *verdict),
            Event::Stored => self.plan.on_stored(self.now),
            Event::Dropped => self.plan.on_moved(self.now, start_of(&self.store)),
            Event::Found(scan) => {
                let found = self.missing(scan);
                self.plan.on_found(self.now, scan, found);
            }
            Event::ReceiptsStored => self.plan.on_receipts_stored(self.now),
            Event::Down(session) => {
                self.peers.remove(&session);
                self.plan.on_peer_down(self.now, session);
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.plan.poll_action() {
            let at = self.elapsed().as_millis();
            match action {
                Action::Ask { ticket, session, query, timeout } => {
                    writeln!(self.trace, "{at} ask {session} {} {timeout:?}", short(&query)).unwrap();
                    self.on_ask(ticket, session, query, timeout);
                }
                Action::Cancel(ticket) => {
                    writeln!(self.trace, "{at} cancel {ticket:?}").unwrap();
                    self.cancelled.insert(ticket);
                }
                Action::Verify(ticket, check) => {
                    let millis = self.rng.random_range(0..3);
                    self.later(Duration::from_millis(millis), Event::Verdict(ticket, Box::new(check.run())));
                }
                Action::Deliver { truncate, blocks } => {
                    writeln!(self.trace, "{at} deliver {truncate:?} {}..+{}", blocks[0].number, blocks.len())
                        .unwrap();
                    self.deliver(truncate, blocks);
                }
                Action::FindReceipts(scan) => self.later(Duration::from_millis(1), Event::Found(scan)),
                Action::DeliverReceipts(receipts) => {
                    writeln!(self.trace, "{at} receipts of {} blocks", receipts.len()).unwrap();
                    self.put_receipts(receipts);
                }
                Action::Blame { session, why } => {
                    writeln!(self.trace, "{at} blame {session} {why}").unwrap();
                    self.blamed.push((session, why));
                    self.later(Duration::from_millis(1), Event::Down(session));
                }
                Action::HeadReached(head) => {
                    writeln!(self.trace, "{at} reached {}", head.number).unwrap();
                    self.reached.push(head);
                }
                Action::Drop { above } => {
                    writeln!(self.trace, "{at} drop above {above}").unwrap();
                    self.store.retain(|block| block.number <= above);
                    self.later(Duration::from_millis(1), Event::Dropped);
                }
                Action::TrustedRejected { .. } => self.impossible = true,
                Action::Finished(_) => self.finished = true,
                Action::Impossible { .. } => self.impossible = true,
            }
        }
    }

    fn on_ask(&mut self, ticket: Ticket, session: SessionId, query: Query, timeout: Duration) {
        match &query {
            Query::Headers(query) => self.asked_headers += query.amount,
            Query::Bodies(hashes) => self.asked_bodies += hashes.len() as u64,
            Query::Receipts { hashes, .. } => self.asked_receipts += hashes.len() as u64,
        }
        let now = self.now;
        let since = self.elapsed();
        let jitter = Duration::from_millis(self.rng.random_range(0..4));
        let Some(peer) = self.peers.get_mut(&session) else {
            let gone = RequestError::Disconnected(Disconnected::lost());
            return self.later(Duration::ZERO, Event::Answer(ticket, session, Err(gone)));
        };
        peer.requests += 1;
        peer.in_flight += 1;
        peer.in_flight_most = peer.in_flight_most.max(peer.in_flight);
        let range = (peer.earliest, peer.latest);
        let silent = match peer.manner {
            Manner::Silent => true,
            Manner::FakeTipOnce => peer.requests > 1,
            Manner::SilentUntil(millis) => since < Duration::from_millis(millis),
            Manner::Vanishes(after) if peer.requests > after => {
                return self.later(Duration::from_millis(2), Event::Down(session));
            }
            _ => false,
        };
        let answer = match &query {
            Query::Headers(query) => peer.manner.headers(&peer.chain, *query, range).into(),
            Query::Bodies(hashes) => peer.manner.bodies(&peer.chain, hashes, range).into(),
            Query::Receipts { hashes, first_index } => {
                peer.gives.answer(&peer.chain, (hashes, *first_index), range)
            }
        };
        let silent = silent || peer.gives == Gives::Silence && matches!(query, Query::Receipts { .. });
        let bytes: usize = answer.items.iter().map(Bytes::len).sum();
        let sending = Duration::from_micros(bytes as u64 * 1_000_000 / peer.bandwidth);
        peer.busy_until = peer.busy_until.max(now + peer.latency / 2) + sending;
        let takes = (peer.busy_until + peer.latency / 2 + jitter).duration_since(now);
        if silent || takes > timeout {
            peer.busy_until = if silent { now } else { peer.busy_until };
            let late = Err(RequestError::TimedOut(timeout));
            return self.later(timeout, Event::Answer(ticket, session, late));
        }
        self.later(takes, Event::Answer(ticket, session, Ok(answer)));
    }

    fn deliver(&mut self, truncate: Option<u64>, blocks: Vec<RawBlock>) {
        let weight = start_of(&self.store).total_difficulty;
        if let Some(number) = truncate {
            self.store.retain(|block| block.number <= number);
        }
        for block in blocks {
            let facts = HeaderFacts::read(&block.header).unwrap();
            if let Some(head) = self.head() {
                assert_eq!(
                    (facts.number, facts.parent_hash),
                    (head.number + 1, head.hash),
                    "delivered in order"
                );
            }
            crate::chain::verify::check_body(&facts, &block.body).unwrap();
            self.store.push(block);
        }
        if truncate.is_some() {
            assert!(start_of(&self.store).total_difficulty > weight, "a branch is taken when it is heavier");
        }
        let millis = self.rng.random_range(0..3);
        self.later(Duration::from_millis(millis), Event::Stored);
    }

    fn missing(&self, scan: Scan) -> Vec<MissingReceipts> {
        let blocks = self.store.iter().filter(|block| (scan.from..=scan.to).contains(&block.number));
        let missing = blocks.filter_map(|block| {
            let facts = HeaderFacts::read(&block.header).unwrap();
            let transactions = List::whole(&block.body).unwrap().item().unwrap().list().unwrap();
            let transactions = transactions.count(1).unwrap();
            let held = facts.receipts_root == EMPTY_ROOT_HASH || self.receipts.contains_key(&facts.hash);
            (!held).then_some(MissingReceipts { facts, transactions })
        });
        missing.collect()
    }

    fn put_receipts(&mut self, receipts: Vec<(B256, Bytes)>) {
        for (hash, list) in receipts {
            let Some(block) = self.store.iter().find(|block| block.hash == hash) else { continue };
            let facts = HeaderFacts::read(&block.header).unwrap();
            assert_eq!(crate::protocols::eth::receipts::root(&list), Ok(facts.receipts_root));
            assert!(self.receipts.insert(hash, list).is_none(), "receipts are stored once");
        }
        self.later(Duration::from_millis(1), Event::ReceiptsStored);
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    /// The promised bounds hold after every step.
    fn check_bounds(&mut self) {
        let plan = &self.plan;
        let bodies = plan.window.body_bytes() + plan.checks.bytes(Kind::Bodies);
        let headers = plan.window.header_bytes() + plan.line.held_bytes() + plan.checks.bytes(Kind::Headers);
        self.bodies_most = self.bodies_most.max(bodies);
        self.headers_most = self.headers_most.max(headers);
        let receipts = plan.receipts.bytes() + plan.checks.bytes(Kind::Receipts);
        self.receipts_most = self.receipts_most.max(receipts);
        self.numbers_most = self.numbers_most.max(plan.line.next() - plan.window.first());
        assert!(plan.line.next() - plan.window.first() <= plan.config.header_window);
        assert!(plan.requests.len() <= (plan.config.in_flight_max + 2) * self.peers.len().max(1) + 8);
    }

    fn tail(&self) -> String {
        let lines: Vec<_> = self.trace.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

fn short(query: &Query) -> String {
    match query {
        Query::Headers(query) => format!("{:?}+{}", query.start, query.amount),
        Query::Bodies(hashes) => format!("bodies {} {}", hashes.len(), hashes[0]),
        Query::Receipts { hashes, first_index } => {
            format!("receipts {} {} {first_index}", hashes.len(), hashes[0])
        }
    }
}

fn start_of(held: &[RawBlock]) -> Start {
    let stored = |block: &RawBlock| {
        let facts = HeaderFacts::read(&block.header).unwrap();
        Stored { block: block.block_ref(), difficulty: facts.difficulty }
    };
    let recent: Vec<_> = held.iter().map(stored).collect();
    let total_difficulty = recent.iter().fold(U256::ZERO, |sum, stored| sum + stored.difficulty);
    let first = held.first().map_or(0, |block| block.number);
    Start { first, head: held.last().map(RawBlock::block_ref), total_difficulty, recent, trusted: None }
}
