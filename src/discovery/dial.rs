//! Whom to dial next, of those that were found.
//!
//! Pure: time and chance are arguments. Knows how many slots may go to nodes we dial ourselves, who
//! is connected, who was dialled a moment ago and who failed how often. Static peers are not its
//! business: the manager keeps those.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::node::Node;
use super::source::Found;
use crate::ids::{Direction, PeerId};
use crate::machine::backoff::{Backoff, BackoffConfig};

/// Bounds and pace of the schedule.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DialConfig {
    /// Peers there may be. At the bound: nobody is dialled.
    pub peers_max: usize,
    /// Of these, how many we dialled ourselves. At the bound: nobody is dialled.
    pub dialled_max: usize,
    /// Dials at a time.
    pub dials_max: usize,
    /// A node is not dialled again for so long, whatever came of it.
    pub redial_after: Duration,
    /// Nodes that wait to be dialled. Beyond: the one that waited longest is forgotten.
    pub candidates_max: usize,
    /// Nodes whose last dial is remembered. Beyond: the least recently dialled is forgotten.
    pub remembered_max: usize,
    /// The pauses after failures.
    pub backoff: BackoffConfig,
}

impl DialConfig {
    /// For so many peers, of which at most one in `ratio` is dialled, and one at least. Without a
    /// peer there is nothing to dial; a ratio of 0 counts as 1.
    pub fn for_slots(peers_max: usize, ratio: usize) -> Self {
        let dialled_max = (peers_max / ratio.max(1)).max(1).min(peers_max);
        let minute = Duration::from_secs(60);
        Self {
            peers_max,
            dialled_max,
            dials_max: 16,
            redial_after: Duration::from_secs(35),
            candidates_max: 256,
            remembered_max: 4_096,
            backoff: BackoffConfig { first: minute, cap: 60 * minute, jitter: 0.2, reset_after: minute },
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    node: Node,
    peer: PeerId,
}

#[derive(Debug, Clone, Copy)]
struct History {
    not_before: Instant,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    direction: Direction,
    since: Instant,
}

/// The schedule.
#[derive(Debug)]
pub struct DialSchedule {
    config: DialConfig,
    us: PeerId,
    /// The one that waits longest first; each peer once.
    candidates: VecDeque<Candidate>,
    history: LruCache<PeerId, History>,
    dialling: HashMap<PeerId, Node>,
    connected: HashMap<PeerId, Connection>,
}

impl DialSchedule {
    /// Nobody is known yet.
    pub fn new(config: DialConfig, us: PeerId) -> Self {
        let remembered_max = NonZeroUsize::new(config.remembered_max).unwrap_or(NonZeroUsize::MIN);
        Self {
            us,
            candidates: VecDeque::new(),
            history: LruCache::new(remembered_max),
            dialling: HashMap::new(),
            connected: HashMap::new(),
            config,
        }
    }

    /// A node was found. Kept if it can be dialled at all; a newer address replaces the one we have.
    pub fn on_found(&mut self, found: &Found) {
        let node = found.node;
        let peer = node.id.peer_id();
        if node.tcp == 0 || peer == self.us || self.connected.contains_key(&peer) {
            return;
        }
        if let Some(known) = self.candidates.iter_mut().find(|candidate| candidate.peer == peer) {
            known.node = node;
            return;
        }
        if self.candidates.len() >= self.config.candidates_max {
            self.candidates.pop_front();
        }
        self.candidates.push_back(Candidate { node, peer });
    }

    /// Who is connected now.
    pub fn set_connected(&mut self, now: Instant, peers: impl IntoIterator<Item = (PeerId, Direction)>) {
        let before = std::mem::take(&mut self.connected);
        for (peer, direction) in peers {
            let since = before.get(&peer).map_or(now, |connection| connection.since);
            self.connected.insert(peer, Connection { direction, since });
        }
        for (peer, gone) in before {
            if !self.connected.contains_key(&peer)
                && let Some(history) = self.history.peek_mut(&peer)
            {
                let lived = now.saturating_duration_since(gone.since);
                history.backoff.on_session_ended(&self.config.backoff, lived);
                history.not_before = history.not_before.max(now + self.config.redial_after);
            }
        }
        let connected = &self.connected;
        self.candidates.retain(|candidate| !connected.contains_key(&candidate.peer));
    }

    /// The next node to dial, if there is room for one. It counts as being dialled until
    /// [`DialSchedule::on_dialled`] says what came of it.
    pub fn next_dial(&mut self, now: Instant) -> Option<Node> {
        if self.room() == 0 {
            return None;
        }
        let at = self.candidates.iter().position(|candidate| self.may_dial(now, candidate))?;
        let candidate = self.candidates.remove(at)?;
        self.dialling.insert(candidate.peer, candidate.node);
        Some(candidate.node)
    }

    /// A dial has ended. `unit` is a random number in 0..1.
    pub fn on_dialled(&mut self, now: Instant, node: &Node, is_connected: bool, unit: f64) {
        let peer = node.id.peer_id();
        self.dialling.remove(&peer);
        let soon = now + self.config.redial_after;
        let none = || History { not_before: soon, backoff: Backoff::default() };
        let history = self.history.get_or_insert_mut(peer, none);
        let pause = if is_connected {
            Duration::ZERO
        } else {
            history.backoff.next_pause(&self.config.backoff, unit)
        };
        history.not_before = soon.max(now + pause);
    }

    /// Whether more nodes are needed: there is room to dial, and nobody to dial in it.
    pub fn wants_more(&self, now: Instant) -> bool {
        let room = self.room();
        let ready = self.candidates.iter().filter(|candidate| self.may_dial(now, candidate));
        room > 0 && ready.take(room).count() < room
    }

    /// When a candidate that must wait can be dialled, if there is one.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let waits = |candidate: &Candidate| Some(self.history.peek(&candidate.peer)?.not_before);
        self.candidates.iter().filter_map(waits).filter(|at| *at > now).min()
    }

    /// How many dials are under way.
    pub fn dialling(&self) -> usize {
        self.dialling.len()
    }

    /// How many nodes wait.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    fn room(&self) -> usize {
        let dialling = self.dialling.len();
        let is_outbound = |connection: &&Connection| connection.direction == Direction::Outbound;
        let dialled = self.connected.values().filter(is_outbound).count();
        let of_dialled = self.config.dialled_max.saturating_sub(dialled + dialling);
        let of_all = self.config.peers_max.saturating_sub(self.connected.len() + dialling);
        of_dialled.min(of_all).min(self.config.dials_max.saturating_sub(dialling))
    }

    fn may_dial(&self, now: Instant, candidate: &Candidate) -> bool {
        let waits = self.history.peek(&candidate.peer).is_some_and(|history| history.not_before > now);
        !waits && !self.dialling.contains_key(&candidate.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::fixtures::{key, node, nodes};
    use crate::discovery::source::Via;

    fn found(node: Node) -> Found {
        Found { node, record: None, via: Via::V4, is_alive: true }
    }

    fn schedule(peers_max: usize, ratio: usize) -> DialSchedule {
        DialSchedule::new(DialConfig::for_slots(peers_max, ratio), key(0).node_id().peer_id())
    }

    fn all(schedule: &mut DialSchedule, now: Instant) -> Vec<Node> {
        std::iter::from_fn(|| schedule.next_dial(now)).collect()
    }

    #[test]
    fn at_most_the_share_of_slots_is_dialled_and_the_first_found_first() {
        let (now, mut schedule) = (Instant::now(), schedule(9, 3));
        nodes(1..20).into_iter().for_each(|node| schedule.on_found(&found(node)));
        assert_eq!(all(&mut schedule, now), nodes(1..4));
        schedule.on_dialled(now, &node(1), true, 0.5);
        schedule.set_connected(now, [(node(1).id.peer_id(), Direction::Outbound)]);
        assert_eq!(all(&mut schedule, now), []);
        schedule.on_dialled(now, &node(2), false, 0.5);
        assert_eq!(all(&mut schedule, now), [node(4)]);
        // Inbound peers take no dialled slot, but slots they take.
        let inbound = (100..108).map(|number| (node(number).id.peer_id(), Direction::Inbound));
        schedule.set_connected(now, inbound);
        schedule.on_dialled(now, &node(3), false, 0.5);
        schedule.on_dialled(now, &node(4), false, 0.5);
        assert_eq!(all(&mut schedule, now).len(), 1);
    }

    #[test]
    fn one_slot_is_always_ours_to_dial_and_without_slots_nobody_is() {
        assert_eq!(DialConfig::for_slots(1, 3).dialled_max, 1);
        assert_eq!(DialConfig::for_slots(50, 3).dialled_max, 16);
        assert_eq!(DialConfig::for_slots(50, 0).dialled_max, 50);
        let mut schedule = schedule(0, 3);
        schedule.on_found(&found(node(1)));
        assert_eq!(schedule.next_dial(Instant::now()), None);
    }

    #[test]
    fn nobody_is_dialled_twice_within_35_seconds() {
        let (now, mut schedule) = (Instant::now(), schedule(9, 1));
        schedule.on_found(&found(node(1)));
        assert_eq!(all(&mut schedule, now), [node(1)]);
        // Found again while it is being dialled, and after.
        schedule.on_found(&found(node(1)));
        assert_eq!(all(&mut schedule, now), []);
        schedule.on_dialled(now, &node(1), true, 0.5);
        schedule.set_connected(now, []);
        let again = now + Duration::from_secs(35);
        assert_eq!(schedule.poll_timeout(now), Some(again));
        assert_eq!(all(&mut schedule, again - Duration::from_millis(1)), []);
        assert_eq!(all(&mut schedule, again), [node(1)]);
    }

    #[test]
    fn failures_double_the_pause_and_a_long_session_forgives_them() {
        let (mut now, mut schedule) = (Instant::now(), schedule(9, 1));
        for minutes in [1, 2, 4, 8] {
            schedule.on_found(&found(node(1)));
            assert_eq!(all(&mut schedule, now), [node(1)]);
            schedule.on_dialled(now, &node(1), false, 0.5);
            schedule.on_found(&found(node(1)));
            let pause = Duration::from_secs(60 * minutes);
            assert_eq!(schedule.poll_timeout(now), Some(now + pause));
            now += pause;
        }
        all(&mut schedule, now);
        schedule.on_dialled(now, &node(1), true, 0.5);
        schedule.set_connected(now, [(node(1).id.peer_id(), Direction::Outbound)]);
        now += Duration::from_secs(600);
        schedule.set_connected(now, []);
        now += Duration::from_secs(35);
        schedule.on_found(&found(node(1)));
        assert_eq!(all(&mut schedule, now), [node(1)]);
        schedule.on_dialled(now, &node(1), false, 0.5);
        schedule.on_found(&found(node(1)));
        assert_eq!(schedule.poll_timeout(now), Some(now + Duration::from_secs(60)));
    }

    #[test]
    fn neither_we_nor_who_is_connected_nor_who_takes_no_connections_is_dialled() {
        let (now, mut schedule) = (Instant::now(), schedule(9, 1));
        schedule.on_found(&found(node(1)));
        schedule.set_connected(now, [(node(1).id.peer_id(), Direction::Inbound)]);
        schedule.on_found(&found(node(1)));
        schedule.on_found(&found(node(0)));
        schedule.on_found(&found(Node { tcp: 0, ..node(2) }));
        assert_eq!((schedule.candidates(), all(&mut schedule, now)), (0, Vec::new()));
    }

    #[test]
    fn candidates_and_history_are_bounded() {
        let now = Instant::now();
        let config = DialConfig { candidates_max: 8, remembered_max: 4, ..DialConfig::for_slots(99, 1) };
        let mut schedule = DialSchedule::new(config, key(0).node_id().peer_id());
        nodes(1..50).into_iter().for_each(|node| schedule.on_found(&found(node)));
        assert_eq!(all(&mut schedule, now), nodes(42..50));
        nodes(42..50).iter().for_each(|node| schedule.on_dialled(now, node, false, 0.5));
        assert_eq!(schedule.history.len(), 4);
    }

    #[test]
    fn more_nodes_are_wanted_only_while_there_is_room_and_nobody_to_fill_it() {
        let (now, mut schedule) = (Instant::now(), schedule(2, 1));
        assert!(schedule.wants_more(now));
        nodes(1..3).into_iter().for_each(|node| schedule.on_found(&found(node)));
        assert!(!schedule.wants_more(now));
        all(&mut schedule, now);
        assert!(!schedule.wants_more(now));
        schedule.on_dialled(now, &node(1), false, 0.5);
        assert!(schedule.wants_more(now));
    }
}
