//! The discv4 machine: packets and time in, packets and events out (devp2p discv4).
//!
//! Pure: no socket, no clock, no task; choices come from a seed. What it answers is decided by
//! endpoint proofs: a ping gets a pong (and a ping of ours, if its place is unproved), everything
//! larger waits for the proof. Every packet that is not understood, expired, unsigned or unasked for
//! is dropped without a word.
//!
//! Reading order: this file (what arrives), `asking.rs` (our own questions and their ends),
//! `searching.rs` (lookups, revalidation, upkeep).

mod asking;
mod searching;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use alloy_primitives::keccak256;
use discv5::Enr;
use lru::LruCache;

use super::bonds::Bonds;
use super::dice::Dice;
use super::limiter::{Limiter, Rate};
use super::node::{Node, NodeHash, is_relayable, udp_addr};
use super::packet::{self, Endpoint, NEIGHBORS_PER_PACKET, Packet};
use super::table::{BUCKET_NODES, Seen, Table};
use crate::transport::rlpx::{NodeId, NodeKey};
use asking::{Kind, Pending, Waiting};
use searching::{Pace, Search};

/// How far ahead our packets expire.
const EXPIRATION_S: u64 = 20;
/// A packet that claims to be good for longer than this is as suspicious as an expired one.
const FUTURE_MAX_S: u64 = 3600;

/// The two clocks: deadlines follow the one that never jumps, expirations the one all share.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic.
    pub at: Instant,
    /// UNIX seconds.
    pub unix_s: u64,
}

/// Bounds and pace of the machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct V4Config {
    /// Endpoints remembered in each direction of proof. Beyond: the least recently used one is
    /// forgotten, and has to prove itself again.
    pub bonds_max: usize,
    /// Sources whose rate is followed. Beyond: the least recently heard of starts afresh.
    pub sources_max: usize,
    /// Packets from one address. Beyond: dropped.
    pub source_rate: Rate,
    /// Packets from everybody. Beyond: dropped, unless we asked there.
    pub total_rate: Rate,
    /// Questions of ours that wait for an answer, and nodes that wait to be asked. Beyond: not asked; a
    /// lookup counts it as failed.
    pub pending_max: usize,
    /// Of these, pings to nodes that have pinged us. Beyond: the node gets its pong and no more.
    pub pings_back_max: usize,
    /// Lookups at a time. Beyond: not started.
    pub lookups_max: usize,
    /// Records kept. Beyond: the least recently used one is forgotten.
    pub records_max: usize,
    /// How long a node must have been in the table before it is asked for anything unprovoked.
    pub settle: Duration,
    /// How long an answer may take.
    pub reply_timeout: Duration,
    /// How often the longest silent node of some bucket is pinged.
    pub revalidate_every: Duration,
    /// How often we look up ourselves, to keep the near buckets filled.
    pub refresh_every: Duration,
    /// The same while the table is empty.
    pub retry_every: Duration,
    /// How often nodes are asked for the records we do not have.
    pub records_every: Duration,
}

impl Default for V4Config {
    fn default() -> Self {
        Self {
            bonds_max: 10_000,
            sources_max: 4_096,
            source_rate: Rate { burst: 256, per_s: 64 },
            total_rate: Rate { burst: 2_000, per_s: 1_000 },
            pending_max: 512,
            pings_back_max: 384,
            lookups_max: 3,
            records_max: 1_000,
            settle: Duration::from_secs(2),
            reply_timeout: Duration::from_millis(500),
            revalidate_every: Duration::from_secs(10),
            refresh_every: Duration::from_secs(30 * 60),
            retry_every: Duration::from_secs(5),
            records_every: Duration::from_secs(1),
        }
    }
}

/// What we say about ourselves.
#[derive(Debug, Clone)]
pub struct Local {
    /// Our address as far as it is known, and our ports.
    pub endpoint: Endpoint,
    /// Our record.
    pub record: Enr,
}

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// What the host may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A node has proved to be where it says.
    Met(Node),
    /// A node was named by another one. It need not exist.
    Heard(Node),
    /// A node has sent its record.
    Record(Node, Box<Enr>),
    /// A lookup has ended with these nodes, the closest first.
    LookupDone(Vec<Node>),
}

/// How many packets came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets looked at.
    pub received: u64,
    /// Dropped because of a rate.
    pub limited: u64,
    /// Dropped as no packet, expired, unproved or unasked for.
    pub ignored: u64,
}

/// The machine.
#[derive(Debug)]
pub struct V4 {
    config: V4Config,
    key: NodeKey,
    us: NodeHash,
    local: Local,
    table: Table,
    bonds: Bonds,
    limiter: Limiter,
    dice: Dice,
    bootnodes: Vec<Node>,
    pending: BTreeMap<(NodeHash, Kind), Pending>,
    waiting: BTreeMap<NodeHash, Waiting>,
    searches: BTreeMap<u64, Search>,
    searches_started: u64,
    pace: Pace,
    records: LruCache<NodeHash, Enr>,
    outgoing: VecDeque<Outgoing>,
    events: VecDeque<Event>,
    counts: Counts,
}

impl V4 {
    /// A machine that knows nobody but `bootnodes`, of which the first 64 count. The seed decides
    /// its choices.
    pub fn new(
        now: Now,
        config: V4Config,
        key: NodeKey,
        local: Local,
        bootnodes: Vec<Node>,
        seed: u64,
    ) -> Self {
        let us = key.node_id().hash();
        let usable = |node: &Node| node.udp != 0 && node.id.hash() != us;
        let records_max = NonZeroUsize::new(config.records_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            us,
            local,
            table: Table::new(us),
            bonds: Bonds::new(config.bonds_max),
            limiter: Limiter::new(now.at, config.sources_max, config.source_rate, config.total_rate),
            dice: Dice::new(seed),
            bootnodes: bootnodes.into_iter().filter(usable).take(64).collect(),
            pending: BTreeMap::new(),
            waiting: BTreeMap::new(),
            searches: BTreeMap::new(),
            searches_started: 0,
            pace: Pace::new(now.at, &config),
            records: LruCache::new(records_max),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            counts: Counts::default(),
            key,
            config,
        }
    }

    /// Our record or endpoint has changed.
    pub fn set_local(&mut self, local: Local) {
        self.local = local;
    }

    /// Who we say we are.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// The nodes we know.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The record of a node, if it has sent one.
    pub fn record(&self, node: &Node) -> Option<&Enr> {
        self.records.peek(&node.id.hash())
    }

    /// What became of the packets.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next packet to send. They are to be taken after every input.
    pub fn poll_send(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// The next event. They are to be taken after every input.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A datagram has arrived.
    pub fn on_packet(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        let awaited = || {
            self.pending.values().any(|pending| udp_addr(&pending.node) == from)
                || self.waiting.values().any(|waiting| udp_addr(&waiting.node) == from)
        };
        if !self.limiter.allows(now.at, from.ip(), awaited) {
            self.counts.limited += 1;
            return;
        }
        self.counts.received += 1;
        let understood = match packet::decode(bytes) {
            Ok(received) if received.from != self.key.node_id() => self.on_received(now, from, received),
            _ => None,
        };
        if understood.is_none() {
            self.counts.ignored += 1;
        }
    }

    /// `None`: dropped.
    fn on_received(&mut self, now: Now, from: SocketAddr, received: packet::Received) -> Option<()> {
        let packet::Received { packet, hash, from: id } = received;
        if let Some(expiration) = packet.expiration()
            && (expiration < now.unix_s || expiration - now.unix_s > FUTURE_MAX_S)
        {
            return None;
        }
        match packet {
            Packet::Ping { from: said, enr_seq, .. } => {
                let node = Node { id, ip: from.ip(), udp: from.port(), tcp: said.tcp };
                self.on_ping(now, node, hash, enr_seq);
                Some(())
            }
            Packet::Pong { ping_hash, enr_seq, .. } => self.on_pong(now, from, id, ping_hash, enr_seq),
            Packet::FindNode { target, .. } => self.on_find_node(now, from, id, &target),
            Packet::Neighbors { nodes, .. } => self.on_neighbors(now, from, id, nodes),
            Packet::EnrRequest { .. } => {
                self.is_proved(now, id, from).then_some(())?;
                let record = Box::new(self.local.record.clone());
                self.send(from, &Packet::EnrResponse { request_hash: hash, record });
                Some(())
            }
            Packet::EnrResponse { request_hash, record } => self.on_record(from, id, request_hash, record),
        }
    }

    fn on_ping(&mut self, now: Now, node: Node, ping_hash: [u8; 32], enr_seq: Option<u64>) {
        let to = Endpoint::from(&node);
        let enr_seq_ours = Some(self.local.record.seq());
        let expiration = now.unix_s + EXPIRATION_S;
        self.send(udp_addr(&node), &Packet::Pong { to, ping_hash, expiration, enr_seq: enr_seq_ours });
        let (hash, addr) = (node.id.hash(), udp_addr(&node));
        self.bonds.on_answered(now.at, (hash, addr));
        if self.bonds.is_proved(now.at, &(hash, addr)) {
            self.meet(now, node);
            self.refresh_record(hash, enr_seq);
        } else {
            self.ping_back(now, node);
        }
        self.on_their_proof(now, &hash, addr);
    }

    fn on_pong(
        &mut self,
        now: Now,
        from: SocketAddr,
        id: NodeId,
        ping_hash: [u8; 32],
        enr_seq: Option<u64>,
    ) -> Option<()> {
        let hash = id.hash();
        let asked = |pending: &&Pending| udp_addr(&pending.node) == from && pending.hash == ping_hash;
        let node = self.pending.get(&(hash, Kind::Ping)).filter(asked)?.node;
        self.pending.remove(&(hash, Kind::Ping));
        self.bonds.on_proved(now.at, (hash, from));
        self.meet(now, node);
        self.refresh_record(hash, enr_seq);
        self.on_our_proof(now, &hash);
        Some(())
    }

    /// Only who has proved its place gets neighbours: they are larger than the question.
    fn on_find_node(&mut self, now: Now, from: SocketAddr, id: NodeId, target: &[u8; 64]) -> Option<()> {
        self.is_proved(now, id, from).then_some(())?;
        let closest = self.table.closest(&keccak256(target).0, BUCKET_NODES);
        let nodes: Vec<Node> =
            closest.into_iter().filter(|node| is_relayable(from.ip(), node.ip) && node.id != id).collect();
        let expiration = now.unix_s + EXPIRATION_S;
        // Nobody known is an answer, too.
        let packets = nodes.len().div_ceil(NEIGHBORS_PER_PACKET).max(1);
        for packet in 0..packets {
            let nodes = nodes.iter().skip(packet * NEIGHBORS_PER_PACKET).take(NEIGHBORS_PER_PACKET);
            let nodes = nodes.copied().collect();
            self.send(from, &Packet::Neighbors { nodes, expiration });
        }
        Some(())
    }

    fn on_neighbors(&mut self, now: Now, from: SocketAddr, id: NodeId, nodes: Vec<Node>) -> Option<()> {
        let hash = id.hash();
        let key = (hash, Kind::FindNode);
        let us = self.key.node_id();
        let pending = self.pending.get_mut(&key).filter(|pending| udp_addr(&pending.node) == from)?;
        pending.is_answered = true;
        let usable = |node: &Node| node.id != us && node.udp > 1024 && is_relayable(from.ip(), node.ip);
        let room = BUCKET_NODES - pending.received.len().min(BUCKET_NODES);
        let before = pending.received.len();
        pending.received.extend(nodes.into_iter().filter(usable).take(room));
        self.events.extend(pending.received[before..].iter().copied().map(Event::Heard));
        if pending.received.len() >= BUCKET_NODES
            && let Some(pending) = self.pending.remove(&key)
        {
            self.end_find_node(now, &hash, pending);
        }
        Some(())
    }

    fn on_record(
        &mut self,
        from: SocketAddr,
        id: NodeId,
        request_hash: [u8; 32],
        record: Box<Enr>,
    ) -> Option<()> {
        let key = (id.hash(), Kind::Record);
        let asked = |pending: &&Pending| udp_addr(&pending.node) == from && pending.hash == request_hash;
        let node = self.pending.get(&key).filter(asked)?.node;
        self.pending.remove(&key);
        // An older record than the one we hold is a replay, or the node has lost its memory.
        if self.records.peek(&key.0).is_some_and(|held| held.seq() > record.seq()) {
            return None;
        }
        self.records.put(key.0, (*record).clone());
        self.events.push_back(Event::Record(node, record));
        Some(())
    }

    /// A node with a proof has given a sign of life.
    fn meet(&mut self, now: Now, node: Node) {
        let seen = self.table.on_seen(now.at, node);
        if let Seen::Waits(oldest) = seen {
            self.ping(now, oldest);
        }
        self.events.push_back(Event::Met(node));
    }

    /// A node whose record has a higher number than ours of it is asked for it again, in its turn.
    fn refresh_record(&mut self, hash: NodeHash, seq: Option<u64>) {
        let held = self.records.peek(&hash).map(Enr::seq);
        if let (Some(seq), Some(held)) = (seq, held)
            && seq > held
        {
            self.records.pop(&hash);
        }
    }

    fn is_proved(&mut self, now: Now, id: NodeId, from: SocketAddr) -> bool {
        self.bonds.is_proved(now.at, &(id.hash(), from))
    }

    /// Gives the packet's hash.
    fn send(&mut self, to: SocketAddr, packet: &Packet) -> [u8; 32] {
        let (bytes, hash) = packet.encode(&self.key);
        self.outgoing.push_back(Outgoing { to, bytes });
        hash
    }
}

#[cfg(test)]
mod tests;
