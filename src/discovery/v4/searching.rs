//! Lookups, and what is done without being asked: revalidation, refresh, records, expiry.

use std::time::Instant;

use alloy_primitives::keccak256;

use super::super::lookup::Lookup;
use super::super::node::{Node, NodeHash};
use super::super::table::BUCKET_NODES;
use super::asking::Want;
use super::{Event, Now, V4, V4Config};

/// How many nodes are asked for their records at a time.
const RECORDS_AT_ONCE: usize = 8;

/// A lookup that runs.
#[derive(Debug)]
pub(super) struct Search {
    lookup: Lookup,
    target: [u8; 64],
}

/// When the next unprovoked things are due.
#[derive(Debug)]
pub(super) struct Pace {
    revalidate: Instant,
    refresh: Instant,
    records: Instant,
}

impl Pace {
    /// The first refresh is due at once.
    pub(super) fn new(now: Instant, config: &V4Config) -> Self {
        Self { revalidate: now + config.revalidate_every, refresh: now, records: now }
    }
}

impl V4 {
    /// Time has passed: ends what is overdue and starts what is due.
    pub fn on_tick(&mut self, now: Now) {
        self.end_overdue(now);
        if now.at >= self.pace.refresh {
            self.table.expire(now.at, &mut self.dice);
            let target = *self.key.node_id().as_bytes();
            self.lookup(now, target);
            let is_alone = self.table.is_empty();
            let pause = if is_alone { self.config.retry_every } else { self.config.refresh_every };
            self.pace.refresh = now.at + pause;
        }
        if now.at >= self.pace.revalidate {
            self.pace.revalidate = now.at + self.config.revalidate_every;
            if let Some(node) = self.table.revalidate(&mut self.dice) {
                self.ping(now, node);
            }
        }
        if now.at >= self.pace.records {
            self.pace.records = now.at + self.config.records_every;
            self.ask_for_records(now);
        }
    }

    /// When [`V4::on_tick`] is due next.
    pub fn poll_timeout(&self) -> Instant {
        let due = self.pace.refresh.min(self.pace.revalidate).min(self.pace.records);
        self.next_overdue().map_or(due, |overdue| overdue.min(due))
    }

    /// Looks for nodes near a random id. `false`: enough lookups run already, or nobody is known.
    pub fn lookup_random(&mut self, now: Now) -> bool {
        let mut target = [0; 64];
        self.dice.fill(&mut target);
        self.lookup(now, target)
    }

    /// Looks for the nodes closest to an id. `false`: enough lookups run already, or nobody is known.
    pub fn lookup(&mut self, now: Now, target: [u8; 64]) -> bool {
        if self.searches.len() >= self.config.lookups_max {
            return false;
        }
        let hash = keccak256(target).0;
        let settled = now.at.checked_sub(self.config.settle);
        let mut nodes = match settled {
            Some(settled) => self.table.closest_added_before(Some(settled), &hash, BUCKET_NODES),
            None => Vec::new(),
        };
        if nodes.is_empty() {
            nodes.clone_from(&self.bootnodes);
        }
        let lookup = Lookup::new(self.us, hash, nodes);
        if lookup.is_done() {
            return false;
        }
        let id = self.searches_started;
        self.searches_started += 1;
        self.searches.insert(id, Search { lookup, target });
        self.advance(now, id);
        true
    }

    /// Makes sure that a node is there, and asks for its record. `false`: there is no room.
    pub fn check(&mut self, now: Now, node: Node) -> bool {
        self.ask(now, node, Want::Record)
    }

    /// How many questions wait for an answer.
    pub fn asked(&self) -> usize {
        self.pending.len() + self.waiting.len()
    }

    /// A node has answered a search with these nodes, or not at all.
    pub(super) fn on_search_step(&mut self, now: Now, id: u64, from: &NodeHash, answer: Option<&[Node]>) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        match answer {
            Some(nodes) => search.lookup.on_answer(from, nodes),
            None => search.lookup.on_failure(from),
        }
        self.advance(now, id);
    }

    fn advance(&mut self, now: Now, id: u64) {
        while let Some(search) = self.searches.get_mut(&id) {
            let target = search.target;
            let Some(named) = search.lookup.next_query() else { break };
            // Where it has proved to be goes before where somebody says it is.
            let node = self.table.get(&named.id).copied().unwrap_or(named);
            if !self.ask(now, node, Want::FindNode { search: id, target })
                && let Some(search) = self.searches.get_mut(&id)
            {
                search.lookup.on_failure(&node.id.hash());
            }
        }
        if self.searches.get(&id).is_some_and(|search| search.lookup.is_done())
            && let Some(search) = self.searches.remove(&id)
        {
            self.events.push_back(Event::LookupDone(search.lookup.result()));
        }
    }

    fn ask_for_records(&mut self, now: Now) {
        let Some(settled) = now.at.checked_sub(self.config.settle) else { return };
        let settled = self.table.closest_added_before(Some(settled), &self.us, usize::MAX);
        let unknown = settled.into_iter().filter(|node| !self.records.contains(&node.id.hash()));
        let unknown: Vec<Node> = unknown.collect();
        // Not always the same ones: some never answer.
        let Some(first) = self.dice.pick(unknown.len()) else { return };
        for node in unknown.iter().cycle().skip(first).take(RECORDS_AT_ONCE.min(unknown.len())) {
            self.ask(now, *node, Want::Record);
        }
    }
}
