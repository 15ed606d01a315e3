//! The machine under a clock of its own: who is asked, what is believed, who is told.

mod bounds;
mod fetch;
mod share;
mod storm;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;

use super::action::{Action, News, Offence};
use super::config::TransactionsConfig;
use super::plan::TransactionPlan;
use super::pool::Verdict;
use crate::error::RequestError;
use crate::ids::SessionId;
use crate::protocols::eth::{BLOB_KIND, PooledHash, PooledTransaction};

/// A transaction of which nothing is right but its size; the machine does not look into it.
fn transaction(at: usize, kind: u8, bytes: usize) -> PooledTransaction {
    let hash = B256::left_padding_from(&(at as u64).to_be_bytes());
    PooledTransaction { hash, kind, encoded: Bytes::from(vec![kind; bytes]) }
}

fn small(at: usize) -> PooledTransaction {
    transaction(at, 2, 110)
}

fn smalls(range: std::ops::Range<usize>) -> Vec<PooledTransaction> {
    range.map(small).collect()
}

fn said(transactions: &[PooledTransaction]) -> Vec<PooledHash> {
    transactions.iter().map(PooledTransaction::announcement).collect()
}

fn hashes(transactions: &[PooledTransaction]) -> Vec<B256> {
    transactions.iter().map(|transaction| transaction.hash).collect()
}

/// A machine, its clock and the pool that it is told of.
struct Bench {
    plan: TransactionPlan,
    now: Instant,
    pool: Arc<Mutex<BTreeSet<B256>>>,
}

impl Bench {
    fn new(peers: u64) -> Self {
        Self::with(TransactionsConfig::default(), peers)
    }

    /// With so many peers, of sessions 1 and on.
    fn with(config: TransactionsConfig, peers: u64) -> Self {
        let pool: Arc<Mutex<BTreeSet<B256>>> = Arc::default();
        let known = pool.clone();
        let plan = TransactionPlan::new(config, Box::new(move |hash| known.lock().unwrap().contains(hash)));
        let mut bench = Self { plan, now: Instant::now(), pool };
        (1..=peers).for_each(|peer| bench.plan.on_peer_up(SessionId(peer), Vec::new()));
        bench
    }

    fn announce(&mut self, peer: u64, transactions: &[PooledTransaction]) {
        self.plan.on_hashes(self.now, SessionId(peer), &said(transactions));
    }

    fn broadcast(&mut self, peer: u64, transactions: &[PooledTransaction]) {
        self.plan.on_transactions(self.now, SessionId(peer), transactions);
    }

    fn answer(&mut self, peer: u64, transactions: &[PooledTransaction]) {
        self.plan.on_answer(self.now, SessionId(peer), Ok(transactions.to_vec()));
    }

    fn fail(&mut self, peer: u64, error: RequestError) {
        self.plan.on_answer(self.now, SessionId(peer), Err(error));
    }

    fn leave(&mut self, peer: u64) {
        self.plan.on_peer_down(self.now, SessionId(peer));
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.plan.poll_action()).collect()
    }

    /// Who is asked now, for how many; there must be nothing else to do.
    fn asks(&mut self) -> Vec<(u64, Vec<B256>)> {
        let ask = |action| match action {
            Action::Ask { session, hashes } => (session.0, hashes),
            other => panic!("{other:?}"),
        };
        self.actions().into_iter().map(ask).collect()
    }

    /// Everything before the pool is decided alike, lot after lot. Returns what there was to do besides.
    fn decide(&mut self, verdict: Verdict) -> Vec<Action> {
        let mut rest = Vec::new();
        loop {
            let mut lot = None;
            for action in self.actions() {
                match action {
                    Action::Add(transactions) => assert!(lot.replace(transactions).is_none(), "one lot"),
                    other => rest.push(other),
                }
            }
            let Some(lot) = lot else { return rest };
            if verdict == Verdict::Added {
                self.pool.lock().unwrap().extend(hashes(&lot));
            }
            self.plan.on_verdicts(self.now, &vec![verdict; lot.len()]);
        }
    }
}

fn blame(peer: u64, why: Offence) -> Action {
    Action::Blame { session: SessionId(peer), why }
}

fn ask(peer: u64, transactions: &[PooledTransaction]) -> Action {
    Action::Ask { session: SessionId(peer), hashes: hashes(transactions) }
}

fn timed_out() -> RequestError {
    RequestError::TimedOut(Duration::from_secs(5))
}
