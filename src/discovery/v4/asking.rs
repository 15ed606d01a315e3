//! Our own questions: what must come before them, and how each ends.
//!
//! Before a node is asked for anything it must have proof of us, or it drops the question: ping,
//! wait for its ping, answer it, then ask. Every question ends once: answered, or out of time.

use std::net::SocketAddr;
use std::time::Instant;

use super::super::node::{Node, NodeHash, udp_addr};
use super::super::packet::{Endpoint, Packet};
use super::{EXPIRATION_S, Now, V4};

/// The kinds of questions; a node is asked one of each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Ping,
    FindNode,
    Record,
}

/// A question without an answer yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) node: Node,
    /// The hash of the packet that asked.
    pub(super) hash: [u8; 32],
    pub(super) deadline: Instant,
    /// For whom, if it is a findnode.
    pub(super) search: Option<u64>,
    /// The neighbours that came so far, at most 16.
    pub(super) received: Vec<super::Node>,
    /// Whether any packet of the answer has come.
    pub(super) is_answered: bool,
}

/// What is to be asked once a node has proof of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    FindNode { search: u64, target: [u8; 64] },
    Record,
}

/// A node that has no proof of us yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) node: Node,
    /// At most one per search, and the record.
    wants: Vec<Want>,
    /// Its pong has come; from here on only its ping is waited for.
    has_ponged: bool,
    deadline: Instant,
}

impl V4 {
    /// Asks now, or as soon as the node has proof of us. `false`: there is no room.
    pub(super) fn ask(&mut self, now: Now, node: Node, want: Want) -> bool {
        let hash = node.id.hash();
        if hash == self.us || node.udp == 0 {
            return false;
        }
        if let Some(waiting) = self.waiting.get_mut(&hash) {
            if !waiting.wants.contains(&want) {
                waiting.wants.push(want);
            }
            return true;
        }
        let place = (hash, udp_addr(&node));
        if self.bonds.has_our_proof(now.at, &place) && self.bonds.is_proved(now.at, &place) {
            return self.ask_now(now, node, want);
        }
        if self.waiting.len() >= self.config.pending_max || !self.ping(now, node) {
            return false;
        }
        let deadline = now.at + self.config.reply_timeout;
        self.waiting.insert(hash, Waiting { node, wants: vec![want], has_ponged: false, deadline });
        true
    }

    /// Asks whether a node is there. `false`: there is no room.
    pub(super) fn ping(&mut self, now: Now, node: Node) -> bool {
        let key = (node.id.hash(), Kind::Ping);
        if self.pending.contains_key(&key) {
            return true;
        }
        if self.pending.len() >= self.config.pending_max {
            return false;
        }
        let (from, to) = (self.local.endpoint, Endpoint::from(&node));
        let enr_seq = Some(self.local.record.seq());
        let expiration = now.unix_s + EXPIRATION_S;
        let hash = self.send(udp_addr(&node), &Packet::Ping { from, to, expiration, enr_seq });
        self.pend(now, key, node, hash, None);
        true
    }

    /// Answers a ping from an unproved place with one of ours, while there is room for such.
    pub(super) fn ping_back(&mut self, now: Now, node: Node) {
        if self.pending.len() < self.config.pings_back_max {
            self.ping(now, node);
        }
    }

    /// We have answered a ping of that node: what waited for it can be asked.
    pub(super) fn on_their_proof(&mut self, now: Now, hash: &NodeHash, addr: SocketAddr) {
        let ready = |waiting: &&mut Waiting| waiting.has_ponged && udp_addr(&waiting.node) == addr;
        if self.waiting.get_mut(hash).filter(ready).is_some() {
            self.ask_waiting(now, hash);
        }
    }

    /// A node has answered our ping. If it has our proof as well, what waited can be asked; else its
    /// ping is given a moment, because it may have our proof from an earlier time.
    pub(super) fn on_our_proof(&mut self, now: Now, hash: &NodeHash) {
        let Some(waiting) = self.waiting.get_mut(hash) else { return };
        waiting.has_ponged = true;
        waiting.deadline = now.at + self.config.reply_timeout;
        let place = (*hash, udp_addr(&waiting.node));
        if self.bonds.has_our_proof(now.at, &place) {
            self.ask_waiting(now, hash);
        }
    }

    /// Ends what is out of time.
    pub(super) fn end_overdue(&mut self, now: Now) {
        let overdue = self.pending.iter().filter(|(_, pending)| pending.deadline <= now.at);
        let overdue: Vec<(NodeHash, Kind)> = overdue.map(|(key, _)| *key).collect();
        for key in overdue {
            let Some(pending) = self.pending.remove(&key) else { continue };
            if key.1 != Kind::Ping && !pending.is_answered {
                // The next question begins with a ping, so that a proof that got lost is given again.
                self.bonds.on_unanswered(&(key.0, udp_addr(&pending.node)));
            }
            match key.1 {
                // Only silence where we know it to be: anybody can name a node at a wrong address, or
                // repeat its ping from one.
                Kind::Ping if self.is_known_there(&pending.node) => {
                    self.table.on_silent(&key.0, &mut self.dice);
                }
                Kind::Ping => {}
                Kind::FindNode => self.end_find_node(now, &key.0, pending),
                Kind::Record => {}
            }
        }
        let overdue = self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now.at);
        let overdue: Vec<NodeHash> = overdue.map(|(hash, _)| *hash).collect();
        for hash in overdue {
            match self.waiting.get(&hash) {
                Some(waiting) if waiting.has_ponged => self.ask_waiting(now, &hash),
                _ => self.give_up_waiting(now, &hash),
            }
        }
    }

    /// The earliest time at which something may end.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        let pending = self.pending.values().map(|pending| pending.deadline);
        pending.chain(self.waiting.values().map(|waiting| waiting.deadline)).min()
    }

    /// A findnode has all its answers, or no more time.
    pub(super) fn end_find_node(&mut self, now: Now, hash: &NodeHash, pending: Pending) {
        if pending.is_answered {
            self.table.on_findnode_answered(hash);
        } else if self.is_known_there(&pending.node) {
            self.table.on_findnode_failed(hash, &mut self.dice);
        }
        let answer = pending.is_answered.then_some(pending.received.as_slice());
        if let Some(search) = pending.search {
            self.on_search_step(now, search, hash, answer);
        }
    }

    fn is_known_there(&self, node: &Node) -> bool {
        self.table.get(&node.id).is_some_and(|known| udp_addr(known) == udp_addr(node))
    }

    fn ask_waiting(&mut self, now: Now, hash: &NodeHash) {
        let Some(waiting) = self.waiting.remove(hash) else { return };
        for want in waiting.wants {
            if !self.ask_now(now, waiting.node, want) {
                self.fail(now, hash, want);
            }
        }
    }

    fn give_up_waiting(&mut self, now: Now, hash: &NodeHash) {
        let Some(waiting) = self.waiting.remove(hash) else { return };
        waiting.wants.into_iter().for_each(|want| self.fail(now, hash, want));
    }

    fn fail(&mut self, now: Now, hash: &NodeHash, want: Want) {
        if let Want::FindNode { search, .. } = want {
            self.on_search_step(now, search, hash, None);
        }
    }

    fn ask_now(&mut self, now: Now, node: Node, want: Want) -> bool {
        let kind = match want {
            Want::FindNode { .. } => Kind::FindNode,
            Want::Record => Kind::Record,
        };
        let key = (node.id.hash(), kind);
        if self.pending.len() >= self.config.pending_max || self.pending.contains_key(&key) {
            return false;
        }
        let expiration = now.unix_s + EXPIRATION_S;
        let (packet, search) = match want {
            Want::FindNode { search, target } => (Packet::FindNode { target, expiration }, Some(search)),
            Want::Record => (Packet::EnrRequest { expiration }, None),
        };
        let hash = self.send(udp_addr(&node), &packet);
        self.pend(now, key, node, hash, search);
        true
    }

    fn pend(&mut self, now: Now, key: (NodeHash, Kind), node: Node, hash: [u8; 32], search: Option<u64>) {
        let deadline = now.at + self.config.reply_timeout;
        let pending = Pending { node, hash, deadline, search, received: Vec::new(), is_answered: false };
        self.pending.insert(key, pending);
    }
}
