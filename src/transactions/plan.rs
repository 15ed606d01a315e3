//! The machine: what peers have, what is asked for, what is checked, what is told. Pure.
//!
//! Every transaction that is heard of is in one of three places: announced (in [`Wants`], in the queue
//! of each peer that has it), asked of one peer, or before the pool. What the pool refuses or takes is
//! forgotten here; what fails on the way is asked of the next peer that announced it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;

use alloy_primitives::B256;

use super::action::{Action, News, Offence};
use super::checking::{Checking, Sent};
use super::config::TransactionsConfig;
use super::handle::TransactionCounts;
use super::known::KnownHashes;
use super::pool::Verdict;
use super::share::{HASHES_MAX, share};
use super::wants::{Noted, Wants, is_of_size};
use crate::ids::SessionId;
use crate::protocols::eth::{INFLATED_BYTES_MAX, PooledHash, PooledTransaction};

/// Announced transactions that are remembered of a peer. When full, further ones are dropped.
pub(super) const ANNOUNCED_MAX: usize = 4_096;

/// A full queue is looked through again after so many transactions have moved on, so that a flood of
/// announcements does not make us look through it for each of them.
const TIDY_MOVES: u64 = 256;

/// What a peer sends unasked may take this part of the bytes that may wait, so that one alone cannot
/// crowd out all others.
const UNASKED_PART: usize = 4;

/// The highest type there is.
const KIND_MAX: u8 = 4;

/// Whether a transaction need not be asked for.
pub(super) type Knows = Box<dyn Fn(&B256) -> bool + Send>;

/// A peer and what goes on with it.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) known: KnownHashes,
    /// What it announced and may be asked for, in that order. Entries may be outdated.
    pub(super) queue: VecDeque<B256>,
    /// What it was asked for.
    pub(super) asked: Option<Asked>,
    /// It is not asked before.
    pub(super) paused: Option<Instant>,
    /// The weight of what it sent unasked and is before the pool.
    unasked: usize,
    /// [`Wants::moves`] when outdated entries were last taken out of a full queue.
    tidied: u64,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Asked {
    /// In the order of the question.
    pub(super) hashes: Vec<PooledHash>,
    /// What is expected to come, as [`weight`] has it.
    pub(super) bytes: usize,
}

/// Decides what to ask of whom, and whom to tell what.
///
/// Fed by the `on_*` methods, emptied by [`poll_action`](Self::poll_action).
pub(super) struct TransactionPlan {
    pub(super) config: TransactionsConfig,
    pub(super) knows: Knows,
    pub(super) peers: BTreeMap<SessionId, Peer>,
    pub(super) wants: Wants,
    pub(super) checking: Checking,
    /// The weight of what requests in flight may bring.
    pub(super) expected: usize,
    pub(super) counts: TransactionCounts,
    pub(super) actions: VecDeque<Action>,
    /// Who was asked last: the next one has its turn.
    pub(super) asked_last: SessionId,
    /// How many lots were shared: who gets whole transactions changes with it.
    shared: usize,
}

impl TransactionPlan {
    pub(super) fn new(config: TransactionsConfig, knows: Knows) -> Self {
        Self {
            config: config.bounded(),
            knows,
            peers: BTreeMap::new(),
            wants: Wants::default(),
            checking: Checking::default(),
            expected: 0,
            counts: TransactionCounts::default(),
            actions: VecDeque::new(),
            asked_last: SessionId(0),
            shared: 0,
        }
    }

    /// What has happened so far.
    pub(super) fn counts(&self) -> TransactionCounts {
        let waiting = self.checking.bytes() as u64;
        TransactionCounts { peers: self.peers.len(), waiting_bytes: waiting, ..self.counts }
    }

    /// Whether there is no room for another peer.
    pub(super) fn is_full(&self) -> bool {
        self.peers.len() >= self.config.peers_max
    }

    /// Whether this peer is not known yet, and can be.
    pub(super) fn is_new(&self, session: SessionId) -> bool {
        !self.is_full() && !self.peers.contains_key(&session)
    }

    /// A peer has come; it is told what the pool has.
    pub(super) fn on_peer_up(&mut self, session: SessionId, mut pooled: Vec<PooledHash>) {
        if !self.is_new(session) {
            return;
        }
        pooled.truncate(HASHES_MAX);
        let peer = self.peers.entry(session).or_default();
        pooled.retain(|pooled| peer.known.insert(pooled.hash));
        if !pooled.is_empty() {
            self.tell(vec![session], News::Hashes(pooled));
        }
    }

    /// A peer has gone: what it was asked for is asked of others.
    pub(super) fn on_peer_down(&mut self, now: Instant, session: SessionId) {
        self.drop_peer(session);
        self.schedule(now);
    }

    /// These are the peers there are.
    pub(super) fn on_peers(&mut self, now: Instant, sessions: &[SessionId]) {
        let gone: Vec<_> = self.peers.keys().filter(|session| !sessions.contains(session)).copied().collect();
        gone.into_iter().for_each(|session| self.drop_peer(session));
        self.schedule(now);
    }

    /// A peer says what it has.
    pub(super) fn on_hashes(&mut self, now: Instant, session: SessionId, hashes: &[PooledHash]) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        self.counts.heard += hashes.len() as u64;
        let (taken, beyond) = hashes.split_at(hashes.len().min(ANNOUNCED_MAX));
        self.counts.dropped += beyond.len() as u64;
        let full = self.checking.bytes() >= self.config.waiting_bytes_max;
        for said in taken {
            peer.known.insert(said.hash);
            if (self.knows)(&said.hash) {
                continue;
            }
            let possible = said.kind <= KIND_MAX && said.size <= INFLATED_BYTES_MAX as u64;
            if full || !possible {
                self.counts.dropped += 1;
                continue;
            }
            if peer.queue.len() >= ANNOUNCED_MAX && self.wants.moves() - peer.tidied >= TIDY_MOVES {
                peer.tidied = self.wants.moves();
                tidy(&mut peer.queue, &mut self.wants, session);
            }
            if peer.queue.len() >= ANNOUNCED_MAX {
                self.counts.dropped += 1;
                continue;
            }
            match self.wants.note(session, *said) {
                Noted::Queue => peer.queue.push_back(said.hash),
                Noted::Kept => {}
                Noted::Full => self.counts.dropped += 1,
            }
        }
        self.schedule(now);
    }

    /// A peer sent transactions that nobody asked for.
    pub(super) fn on_transactions(
        &mut self,
        now: Instant,
        session: SessionId,
        transactions: &[PooledTransaction],
    ) {
        for transaction in transactions {
            let Some(peer) = self.peers.get_mut(&session) else { return };
            peer.known.insert(transaction.hash);
            self.counts.delivered += 1;
            if (self.knows)(&transaction.hash) {
                continue;
            }
            if let Some(why) = offence(transaction, self.wants.said(&transaction.hash, session)) {
                self.blame(session, why);
                break;
            }
            let sent = Sent { session, transaction: transaction.clone(), unasked: true };
            let max = self.config.waiting_bytes_max;
            let full = self.checking.bytes() + sent.weight() > max
                || peer.unasked + sent.weight() > max / UNASKED_PART;
            if full {
                self.counts.dropped += 1;
            } else if self.wants.came(transaction.hash) {
                peer.unasked += sent.weight();
                self.checking.push(sent);
            }
        }
        self.check_next();
        self.schedule(now);
    }

    /// What the pool says of the lot that it was given, in that order.
    pub(super) fn on_verdicts(&mut self, now: Instant, verdicts: &[Verdict]) {
        let mut added = Vec::new();
        let mut verdicts = verdicts.iter();
        for sent in self.checking.take_lot() {
            let weight = sent.weight();
            let Sent { session, transaction, unasked } = sent;
            if let Some(peer) = self.peers.get_mut(&session).filter(|_| unasked) {
                peer.unasked = peer.unasked.saturating_sub(weight);
            }
            match verdicts.next().unwrap_or(&Verdict::Refused) {
                Verdict::Added => {
                    self.counts.added += 1;
                    self.wants.done(&transaction.hash);
                    added.push(transaction);
                }
                Verdict::Known => self.wants.done(&transaction.hash),
                Verdict::Refused => {
                    self.counts.refused += 1;
                    self.wants.done(&transaction.hash);
                }
                Verdict::Invalid => {
                    self.counts.invalid += 1;
                    self.blame(session, Offence::Invalid);
                    // Others may have it as it should be: blobs are no part of the hash.
                    self.retry(&transaction.hash);
                }
            }
        }
        self.spread(&added);
        self.check_next();
        self.schedule(now);
    }

    /// The pool has new transactions: peers are told of them.
    pub(super) fn spread(&mut self, transactions: &[PooledTransaction]) {
        if transactions.is_empty() || self.peers.is_empty() {
            return;
        }
        let mut peers: Vec<_> =
            self.peers.iter_mut().map(|(session, peer)| (*session, &mut peer.known)).collect();
        let turn = self.shared % peers.len();
        peers.rotate_left(turn);
        self.shared = self.shared.wrapping_add(1);
        for (to, news) in share(transactions, &mut peers) {
            self.tell(to, news);
        }
    }

    /// A pause of a peer may be over.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.paused = peer.paused.filter(|&until| until > now);
        }
        self.schedule(now);
    }

    /// When [`on_timeout`](Self::on_timeout) is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.peers.values().filter_map(|peer| peer.paused).min()
    }

    /// The next thing to do.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Gives the pool its next lot, if it has none.
    pub(super) fn check_next(&mut self) {
        if let Some(lot) = self.checking.next_lot() {
            self.actions.push_back(Action::Add(lot));
        }
    }

    /// Ends the session of a peer, which is no peer of ours from here on.
    pub(super) fn blame(&mut self, session: SessionId, why: Offence) {
        if self.peers.contains_key(&session) {
            self.counts.blamed += 1;
            self.drop_peer(session);
            self.actions.push_back(Action::Blame { session, why });
        }
    }

    fn tell(&mut self, to: Vec<SessionId>, news: News) {
        match &news {
            News::Hashes(hashes) => self.counts.announced += (hashes.len() * to.len()) as u64,
            News::Whole(transactions) => self.counts.sent += (transactions.len() * to.len()) as u64,
        }
        self.actions.push_back(Action::Tell { to, news });
    }
}

/// What is wrong with a transaction of a peer that said this of it.
pub(super) fn offence(transaction: &PooledTransaction, said: Option<PooledHash>) -> Option<Offence> {
    let said = said?;
    if transaction.kind != said.kind {
        return Some(Offence::Kind);
    }
    (!is_of_size(transaction.encoded.len() as u64, &said)).then_some(Offence::Size)
}

/// Takes what is outdated, or there twice, out of a queue.
fn tidy(queue: &mut VecDeque<B256>, wants: &mut Wants, session: SessionId) {
    let mut seen = HashSet::new();
    queue.retain(|hash| {
        let waits = wants.waits_for(hash, session).is_some();
        if !waits {
            wants.unqueued(hash, session);
        }
        waits && seen.insert(*hash)
    });
}
