//! Peers that come, go, lie, fall silent and deliver at random: what must hold after every step, and
//! that everything which an honest peer has is there in the end.

use std::collections::BTreeMap;

use super::super::plan::ANNOUNCED_MAX;
use super::*;
use crate::disconnect::Disconnected;
use crate::wire::fixtures::Junk;

/// What a step could have broken.
fn check(bench: &Bench) {
    let plan = &bench.plan;
    let expected: usize =
        plan.peers.values().filter_map(|peer| peer.asked.as_ref()).map(|asked| asked.bytes).sum();
    assert_eq!(plan.expected, expected);
    assert!(plan.checking.bytes() <= plan.config.waiting_bytes_max);
    let mut asked_of = BTreeMap::new();
    for (session, peer) in &plan.peers {
        assert!(peer.queue.len() <= ANNOUNCED_MAX);
        for said in peer.asked.iter().flat_map(|asked| &asked.hashes) {
            if plan.wants.is_asked(&said.hash) {
                assert_eq!(asked_of.insert(said.hash, session), None, "asked of two");
            }
        }
    }
    let queued: BTreeSet<_> = plan
        .peers
        .iter()
        .flat_map(|(session, peer)| peer.queue.iter().map(|hash| (*session, *hash)))
        .collect();
    let asked = asked_of.keys().copied().collect();
    plan.wants.check(&asked, |session, hash| queued.contains(&(session, *hash)));
}

/// What the test knows of the peers and of what the machine wants of them.
struct Storm {
    bench: Bench,
    junk: Junk,
    txs: Vec<PooledTransaction>,
    asked: BTreeMap<u64, Vec<B256>>,
    lot: Option<Vec<PooledTransaction>>,
    peers: Vec<u64>,
    next: u64,
    told: usize,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let config = TransactionsConfig {
            request_hashes_max: 8,
            waiting_bytes_max: 1 << 20,
            peers_max: 12,
            ..TransactionsConfig::default()
        };
        let txs = (0..400).map(|at| match at % 10 {
            0 => transaction(at, BLOB_KIND, 140_000),
            1 => transaction(at, 2, 40_000),
            _ => small(at),
        });
        let (bench, junk) = (Bench::with(config, 0), Junk::seeded(seed));
        let (txs, asked, lot, peers) = (txs.collect(), BTreeMap::new(), None, Vec::new());
        Self { bench, junk, txs, asked, lot, peers, next: 1, told: 0 }
    }

    fn drain(&mut self) {
        for action in self.bench.actions() {
            match action {
                Action::Ask { session, hashes } => {
                    assert!(self.peers.contains(&session.0) && !hashes.is_empty() && hashes.len() <= 8);
                    assert_eq!(self.asked.insert(session.0, hashes), None, "two requests");
                }
                Action::Add(lot) => assert!(self.lot.replace(lot).is_none(), "two lots"),
                Action::Tell { to, .. } => {
                    assert!(to.iter().all(|session| self.peers.contains(&session.0)));
                    self.told += to.len();
                }
                Action::Blame { session, .. } => {
                    self.peers.retain(|peer| *peer != session.0);
                    self.asked.remove(&session.0);
                }
            }
        }
    }

    fn some(&mut self) -> Vec<PooledTransaction> {
        let (from, count) = (self.junk.below(self.txs.len()), self.junk.below(30));
        self.txs.iter().cycle().skip(from).take(count).cloned().collect()
    }

    fn step(&mut self) {
        let peer = if self.peers.is_empty() { 0 } else { self.peers[self.junk.below(self.peers.len())] };
        match self.junk.below(20) {
            0..2 if self.peers.len() < 12 => {
                self.peers.push(self.next);
                self.bench.plan.on_peer_up(SessionId(self.next), Vec::new());
                self.next += 1;
            }
            2 => {
                self.peers.retain(|other| *other != peer);
                self.asked.remove(&peer);
                self.bench.leave(peer);
            }
            3..8 => {
                let some = self.some();
                self.bench.announce(peer, &some);
            }
            8 => {
                let mut some = said(&self.some());
                some.iter_mut().for_each(|said| said.size += 1_000);
                self.bench.plan.on_hashes(self.bench.now, SessionId(peer), &some);
            }
            9 => {
                let some: Vec<_> = self.some().into_iter().filter(|tx| tx.kind != BLOB_KIND).collect();
                self.bench.broadcast(peer, &some);
            }
            10..15 => {
                let Some((&peer, _)) = self.asked.iter().nth(self.junk.below(self.asked.len().max(1))) else {
                    return;
                };
                let asked = self.asked.remove(&peer).unwrap_or_default();
                self.answer(peer, &asked);
            }
            15..19 => {
                let Some(lot) = self.lot.take() else { return };
                let verdict = |at: usize| [Verdict::Added, Verdict::Refused, Verdict::Invalid][at / 10 % 3];
                let verdicts: Vec<_> = lot.iter().map(|_| verdict(self.junk.below(21))).collect();
                for (tx, verdict) in lot.iter().zip(&verdicts) {
                    if *verdict == Verdict::Added {
                        assert!(self.bench.pool.lock().unwrap().insert(tx.hash), "added twice");
                    }
                }
                self.bench.plan.on_verdicts(self.bench.now, &verdicts);
            }
            _ => {
                self.bench.now += Duration::from_millis(60);
                self.bench.plan.on_timeout(self.bench.now);
            }
        }
    }

    fn answer(&mut self, peer: u64, asked: &[B256]) {
        let whole: Vec<_> = self.txs.iter().filter(|tx| asked.contains(&tx.hash)).cloned().collect();
        match self.junk.below(10) {
            0 => self.bench.fail(peer, timed_out()),
            1 => self.bench.fail(peer, RequestError::Busy),
            2 => self.bench.fail(peer, RequestError::Disconnected(Disconnected::lost())),
            3 => {
                let cut = self.junk.below(whole.len() + 1);
                self.bench.answer(peer, &whole[cut..]);
            }
            4 => self.bench.answer(peer, &[whole, vec![small(9_999)]].concat()),
            _ => self.bench.answer(peer, &whole),
        }
    }

    /// One honest peer has everything, and everybody else has gone.
    fn settle(&mut self) {
        for peer in std::mem::take(&mut self.peers) {
            self.asked.remove(&peer);
            self.bench.leave(peer);
        }
        self.drain();
        check(&self.bench);
        assert_eq!(self.bench.plan.expected, 0);
        self.peers.push(self.next);
        self.bench.plan.on_peer_up(SessionId(self.next), Vec::new());
        let txs = self.txs.clone();
        for _ in 0..400 {
            if self.asked.is_empty() && self.lot.is_none() {
                if self.bench.pool.lock().unwrap().len() == txs.len() {
                    break;
                }
                self.bench.announce(self.next, &txs);
                self.drain();
            }
            if let Some(asked) = self.asked.remove(&self.next) {
                let whole: Vec<_> = txs.iter().filter(|tx| asked.contains(&tx.hash)).cloned().collect();
                self.bench.answer(self.next, &whole);
            }
            self.drain();
            if let Some(lot) = self.lot.take() {
                self.bench.pool.lock().unwrap().extend(hashes(&lot));
                self.bench.plan.on_verdicts(self.bench.now, &vec![Verdict::Added; lot.len()]);
            }
            self.drain();
        }
        assert_eq!(self.bench.pool.lock().unwrap().len(), txs.len(), "all that an honest peer has");
        assert_eq!((self.bench.plan.wants.len(), self.bench.plan.checking.bytes()), (0, 0));
        assert_eq!(self.bench.plan.counts().waiting_bytes, 0);
    }
}

#[test]
fn whatever_peers_do_nothing_is_lost_doubled_or_unbounded() {
    let (mut added, mut blamed, mut told) = (0, 0, 0);
    for seed in 1..=20 {
        let mut storm = Storm::new(seed);
        for step in 0..600 {
            storm.step();
            storm.drain();
            if step % 10 == 0 {
                check(&storm.bench);
            }
        }
        let counts = storm.bench.plan.counts();
        (added, blamed, told) = (added + counts.added, blamed + counts.blamed, told + storm.told);
        storm.settle();
    }
    assert!(added > 500 && blamed > 50 && told > 500, "much has happened: {added} {blamed} {told}");
}
