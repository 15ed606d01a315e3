//! One search for the nodes closest to a target (devp2p discv4, "Recursive lookup").
//!
//! Pure: says whom to ask next and takes what they answered. At most three are asked at a time, and
//! the search is over when the sixteen closest ones known have all been asked.

use std::collections::HashSet;

use super::node::{Node, NodeHash, distance};
use super::table::BUCKET_NODES;

/// How many nodes are asked at a time.
pub const ALPHA: usize = 3;

/// More candidates than this are not kept; the farthest ones go first.
const CANDIDATES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Asked,
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    node: Node,
    hash: NodeHash,
    distance: NodeHash,
    state: State,
}

/// A search.
#[derive(Debug)]
pub struct Lookup {
    us: NodeHash,
    target: NodeHash,
    /// The closest first.
    candidates: Vec<Candidate>,
    /// Those that went, so that they are not met again.
    seen: HashSet<NodeHash>,
}

impl Lookup {
    /// A search that starts from `nodes`.
    pub fn new(us: NodeHash, target: NodeHash, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut lookup = Self { us, target, candidates: Vec::new(), seen: HashSet::new() };
        nodes.into_iter().for_each(|node| lookup.add(node));
        lookup
    }

    /// Whom to ask next, if anybody. It counts as asked from now on.
    pub fn next_query(&mut self) -> Option<Node> {
        let asked = self.candidates.iter().filter(|candidate| candidate.state == State::Asked).count();
        if asked >= ALPHA {
            return None;
        }
        // Those that failed take no place among the closest.
        let alive = self.candidates.iter_mut().filter(|candidate| candidate.state != State::Failed);
        let next = alive.take(BUCKET_NODES).find(|candidate| candidate.state == State::Fresh)?;
        next.state = State::Asked;
        Some(next.node)
    }

    /// A node has answered with these.
    pub fn on_answer(&mut self, from: &NodeHash, nodes: &[Node]) {
        if self.end(from, State::Answered) {
            nodes.iter().for_each(|node| self.add(*node));
        }
    }

    /// A node has not answered.
    pub fn on_failure(&mut self, from: &NodeHash) {
        self.end(from, State::Failed);
    }

    /// Whether nobody is left to ask or to wait for.
    pub fn is_done(&self) -> bool {
        let alive = self.candidates.iter().filter(|candidate| candidate.state != State::Failed);
        alive.take(BUCKET_NODES).all(|candidate| candidate.state == State::Answered)
            && self.candidates.iter().all(|candidate| candidate.state != State::Asked)
    }

    /// The closest nodes that have answered.
    pub fn result(&self) -> Vec<Node> {
        let answered = self.candidates.iter().filter(|candidate| candidate.state == State::Answered);
        answered.take(BUCKET_NODES).map(|candidate| candidate.node).collect()
    }

    fn end(&mut self, hash: &NodeHash, state: State) -> bool {
        let asked = |candidate: &&mut Candidate| candidate.hash == *hash && candidate.state == State::Asked;
        let found = self.candidates.iter_mut().find(asked);
        found.map(|candidate| candidate.state = state).is_some()
    }

    fn add(&mut self, node: Node) {
        let hash = node.id.hash();
        if hash == self.us || !self.seen.insert(hash) {
            return;
        }
        let distance = distance(&hash, &self.target);
        let at = self.candidates.partition_point(|candidate| candidate.distance < distance);
        // Who asks for a target can be told of at most 64 nodes on the way at a time; what was asked
        // stays, so that its answer has somebody to come to.
        if self.candidates.len() >= CANDIDATES_MAX {
            let farthest = self.candidates.iter().rposition(|candidate| candidate.state != State::Asked);
            match farthest {
                Some(farthest) if farthest >= at => drop(self.candidates.remove(farthest)),
                _ => return,
            }
        }
        self.candidates.insert(at, Candidate { node, hash, distance, state: State::Fresh });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::fixtures::{node, nodes};

    #[test]
    fn three_are_asked_at_a_time_and_the_closest_first() {
        let target = [0x55; 32];
        let mut lookup = Lookup::new([0; 32], target, nodes(0..10));
        let asked: Vec<Node> = std::iter::from_fn(|| lookup.next_query()).collect();
        let mut sorted = nodes(0..10);
        sorted.sort_by_key(|node| distance(&node.id.hash(), &target));
        assert_eq!(asked, sorted[..ALPHA]);
        lookup.on_failure(&asked[0].id.hash());
        assert_eq!(lookup.next_query(), Some(sorted[3]));
        assert_eq!(lookup.next_query(), None);
    }

    #[test]
    fn it_is_done_when_the_closest_have_answered_and_tells_only_those_that_did() {
        let mut lookup = Lookup::new([0; 32], [1; 32], nodes(0..2));
        let (a, b) = (lookup.next_query().unwrap(), lookup.next_query().unwrap());
        lookup.on_answer(&a.id.hash(), &[node(7), node(7), node(8)]);
        lookup.on_failure(&b.id.hash());
        assert!(!lookup.is_done());
        while let Some(next) = lookup.next_query() {
            lookup.on_answer(&next.id.hash(), &[]);
        }
        assert!(lookup.is_done());
        let result = lookup.result();
        assert_eq!(result.len(), 3);
        assert!(result.contains(&node(7)) && result.contains(&a) && !result.contains(&b));
    }

    #[test]
    fn an_answer_nobody_was_asked_for_adds_nothing() {
        let mut lookup = Lookup::new([0; 32], [1; 32], nodes(0..1));
        lookup.on_answer(&node(0).id.hash(), &[node(5)]);
        let first = lookup.next_query().unwrap();
        lookup.on_answer(&first.id.hash(), &[]);
        lookup.on_answer(&first.id.hash(), &[node(6)]);
        assert!(lookup.is_done());
    }

    #[test]
    fn it_neither_asks_us_nor_grows_without_end() {
        let us = node(3).id.hash();
        let mut lookup = Lookup::new(us, [1; 32], nodes(3..4));
        assert!(lookup.next_query().is_none() && lookup.is_done());
        let mut lookup = Lookup::new(us, [1; 32], nodes(10..200));
        assert_eq!(lookup.candidates.len(), CANDIDATES_MAX);
        let mut asked = 0;
        while let Some(next) = lookup.next_query() {
            asked += 1;
            lookup.on_answer(&next.id.hash(), &nodes(200..210));
        }
        assert!(asked <= CANDIDATES_MAX && lookup.is_done());
    }
}
