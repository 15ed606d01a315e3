//! The nodes we know, by their distance from us (devp2p discv4, "Kademlia table").
//!
//! Pure: time is an argument, choices come from dice. A bucket holds 16 nodes that have answered,
//! the longest silent one first in line to be asked again, and up to 10 that wait for a place. Only
//! a node with an endpoint proof gets in here; whether it has one is kept elsewhere (`bonds.rs`).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::node::{Node, NodeHash, distance, is_local, log_distance};
use crate::transport::rlpx::NodeId;

/// Nodes in a bucket, and neighbours in an answer.
pub const BUCKET_NODES: usize = 16;
/// Nodes that wait for a place in a bucket.
pub const REPLACEMENTS: usize = 10;
/// Nodes of one network in a bucket, waiting ones included.
pub const SUBNET_PER_BUCKET: usize = 2;
/// Nodes of one network in the table, waiting ones included.
pub const SUBNET_PER_TABLE: usize = 10;
/// A node that answers no findnode so often in a row is dropped.
pub const FINDNODE_FAILURES: u8 = 5;
/// A node that was silent so long is forgotten.
pub const EXPIRY: Duration = Duration::from_secs(24 * 3600);

/// Half of all ids are at distance 256, a quarter at 255: below 240 hardly any node is met, so all
/// of those share the first bucket.
const BUCKETS: usize = 17;
const FIRST_DISTANCE: usize = 256 - (BUCKETS - 1);

#[derive(Debug, Clone)]
struct Entry {
    node: Node,
    hash: NodeHash,
    /// When it got in.
    added: Instant,
    /// When it last answered.
    seen: Instant,
    findnode_failures: u8,
}

#[derive(Debug, Default)]
struct Bucket {
    /// The most recently seen one first.
    entries: VecDeque<Entry>,
    /// The most recently seen one first.
    waiting: VecDeque<Entry>,
}

/// What became of a node that has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is in its bucket, for the first time.
    Added,
    /// It was known and now is the most recent one.
    Updated,
    /// Its bucket is full; it waits. The one that was silent longest should be pinged.
    Waits(Node),
    /// There is no room for its network, or it is ourselves. If it was known at another address, it
    /// is still known there.
    Refused,
}

/// The table.
#[derive(Debug)]
pub struct Table {
    us: NodeHash,
    buckets: Vec<Bucket>,
    subnets: HashMap<IpAddr, usize>,
}

impl Table {
    /// An empty table around us.
    pub fn new(us: NodeHash) -> Self {
        Self { us, buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(), subnets: HashMap::new() }
    }

    /// A node has proved that it is there.
    pub fn on_seen(&mut self, now: Instant, node: Node) -> Seen {
        let hash = node.id.hash();
        let Some(index) = self.index(&hash) else { return Seen::Refused };
        let known = self.take(index, &hash);
        let is_full = self.buckets[index].entries.len() >= BUCKET_NODES;
        let has_room = self.has_room(index, node.ip);
        match known {
            // Its place is its own, but a new address must fit like that of a new node.
            Some((entry, was_waiting)) => {
                let node = if has_room { node } else { entry.node };
                let seen = if has_room { now } else { entry.seen };
                self.put(index, Entry { node, seen, ..entry }, was_waiting && is_full);
                if has_room { Seen::Updated } else { Seen::Refused }
            }
            None if !has_room => Seen::Refused,
            None => {
                let entry = Entry { node, hash, added: now, seen: now, findnode_failures: 0 };
                self.put(index, entry, is_full);
                match self.buckets[index].entries.back() {
                    Some(oldest) if is_full => Seen::Waits(oldest.node),
                    _ => Seen::Added,
                }
            }
        }
    }

    /// A node did not answer a ping: another one gets its place.
    pub fn on_silent(&mut self, hash: &NodeHash, dice: &mut Dice) {
        let Some(index) = self.index(hash) else { return };
        let Some((_, was_waiting)) = self.take(index, hash) else { return };
        if !was_waiting {
            self.promote(index, dice);
        }
    }

    /// A node did not answer a findnode; it is dropped after a few times in a row.
    pub fn on_findnode_failed(&mut self, hash: &NodeHash, dice: &mut Dice) {
        let Some(entry) = self.entry_mut(hash) else { return };
        entry.findnode_failures += 1;
        if entry.findnode_failures >= FINDNODE_FAILURES {
            self.on_silent(hash, dice);
        }
    }

    /// A node answered a findnode with at least one node.
    pub fn on_findnode_answered(&mut self, hash: &NodeHash) {
        if let Some(entry) = self.entry_mut(hash) {
            entry.findnode_failures = 0;
        }
    }

    /// Forgets who was silent for a day.
    pub fn expire(&mut self, now: Instant, dice: &mut Dice) {
        let old: Vec<NodeHash> = self
            .buckets
            .iter()
            .flat_map(|bucket| bucket.entries.iter().chain(&bucket.waiting))
            .filter(|entry| now.saturating_duration_since(entry.seen) >= EXPIRY)
            .map(|entry| entry.hash)
            .collect();
        old.iter().for_each(|hash| self.on_silent(hash, dice));
    }

    /// The longest silent node of some bucket: the one to ask whether it is still there.
    pub fn revalidate(&self, dice: &mut Dice) -> Option<Node> {
        let filled: Vec<&Bucket> = self.buckets.iter().filter(|bucket| !bucket.entries.is_empty()).collect();
        let bucket = filled.get(dice.pick(filled.len())?)?;
        bucket.entries.back().map(|entry| entry.node)
    }

    /// The nodes closest to a target, the closest first.
    pub fn closest(&self, target: &NodeHash, max: usize) -> Vec<Node> {
        self.closest_added_before(None, target, max)
    }

    /// The same, of those that were there before `then`.
    pub fn closest_added_before(&self, then: Option<Instant>, target: &NodeHash, max: usize) -> Vec<Node> {
        let mut entries: Vec<&Entry> = self
            .buckets
            .iter()
            .flat_map(|bucket| &bucket.entries)
            .filter(|entry| then.is_none_or(|then| entry.added <= then))
            .collect();
        entries.sort_by_key(|entry| distance(&entry.hash, target));
        entries.into_iter().take(max).map(|entry| entry.node).collect()
    }

    /// All nodes in buckets, without those that wait.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|bucket| &bucket.entries).map(|entry| &entry.node)
    }

    /// The node of this id, if it is in its bucket.
    pub fn get(&self, id: &NodeId) -> Option<&Node> {
        let hash = id.hash();
        let bucket = self.buckets.get(self.index(&hash)?)?;
        bucket.entries.iter().find(|entry| entry.hash == hash).map(|entry| &entry.node)
    }

    /// How many nodes are in buckets.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.entries.len()).sum()
    }

    /// Whether no node is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bucket of an id; ourselves have none.
    fn index(&self, hash: &NodeHash) -> Option<usize> {
        match log_distance(&self.us, hash) {
            0 => None,
            distance => Some(distance.saturating_sub(FIRST_DISTANCE)),
        }
    }

    fn entry_mut(&mut self, hash: &NodeHash) -> Option<&mut Entry> {
        let index = self.index(hash)?;
        self.buckets.get_mut(index)?.entries.iter_mut().find(|entry| entry.hash == *hash)
    }

    /// Takes a node out, and says whether it only waited.
    fn take(&mut self, index: usize, hash: &NodeHash) -> Option<(Entry, bool)> {
        let bucket = self.buckets.get_mut(index)?;
        let position = |of: &VecDeque<Entry>| of.iter().position(|entry| entry.hash == *hash);
        let (entry, was_waiting) = match (position(&bucket.entries), position(&bucket.waiting)) {
            (Some(at), _) => (bucket.entries.remove(at)?, false),
            (None, Some(at)) => (bucket.waiting.remove(at)?, true),
            (None, None) => return None,
        };
        self.release(entry.node.ip);
        Some((entry, was_waiting))
    }

    fn put(&mut self, index: usize, entry: Entry, waits: bool) {
        *self.subnets.entry(subnet(entry.node.ip)).or_default() += 1;
        let bucket = &mut self.buckets[index];
        if !waits {
            return bucket.entries.push_front(entry);
        }
        bucket.waiting.push_front(entry);
        let dropped = if bucket.waiting.len() > REPLACEMENTS { bucket.waiting.pop_back() } else { None };
        if let Some(dropped) = dropped {
            self.release(dropped.node.ip);
        }
    }

    fn promote(&mut self, index: usize, dice: &mut Dice) {
        let Some(bucket) = self.buckets.get_mut(index) else { return };
        let chosen = dice.pick(bucket.waiting.len()).and_then(|at| bucket.waiting.remove(at));
        // Behind the others: they have been seen since.
        bucket.entries.extend(chosen);
    }

    fn has_room(&self, index: usize, ip: IpAddr) -> bool {
        if is_local(ip) {
            return true;
        }
        let subnet = subnet(ip);
        let in_table = self.subnets.get(&subnet).copied().unwrap_or(0);
        let bucket = &self.buckets[index];
        let in_bucket = bucket.entries.iter().chain(&bucket.waiting);
        let in_bucket = in_bucket.filter(|entry| self::subnet(entry.node.ip) == subnet).count();
        in_table < SUBNET_PER_TABLE && in_bucket < SUBNET_PER_BUCKET
    }

    fn release(&mut self, ip: IpAddr) {
        let subnet = subnet(ip);
        if let Some(count) = self.subnets.get_mut(&subnet) {
            *count -= 1;
            if *count == 0 {
                self.subnets.remove(&subnet);
            }
        }
    }
}

/// The /24 of IPv4, the /48 of IPv6: what one hand usually holds.
fn subnet(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4) & 0xffff_ff00).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) >> 80 << 80).to_be_bytes()),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
