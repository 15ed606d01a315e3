//! What a new head does to the pool.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use trunkline::transactions::{PooledTransaction, TransactionPool};

use super::super::{Head, Pool, Refusal};
use super::kit::{GWEI, HEAD, State, add, key, pool, sidecar};
use crate::state::{Account, StateError, StateView};

fn move_head(pool: &Pool, state: State, mined: &[&PooledTransaction], back: &[&PooledTransaction]) {
    let mined: Vec<_> = mined.iter().map(|one| one.hash).collect();
    pool.on_head(HEAD, Arc::new(state), &mined, back.iter().map(|one| (*one).clone()).collect());
}

fn rich_after(nonces: &[(usize, u64)]) -> State {
    nonces.iter().fold(State::rich(), |state, (i, nonce)| state.with(&key(*i), |a| a.nonce = *nonce))
}

fn counts(pool: &Pool) -> (usize, usize) {
    (pool.status().pending, pool.status().queued)
}

#[test]
fn mined_ones_go_and_need_not_be_asked_for() {
    let pool = pool();
    let sent = [0, 1, 2].map(|nonce| key(0).send(nonce, |_| ()));
    sent.iter().for_each(|one| assert!(add(&pool, one).is_ok()));
    move_head(&pool, rich_after(&[(0, 2)]), &[&sent[0], &sent[1]], &[]);
    assert_eq!(counts(&pool), (1, 0));
    assert!(pool.knows(&sent[0].hash) && pool.pooled(&sent[0].hash).is_none());
    // Those mined that were never here as well.
    let foreign = key(5).send(0, |_| ());
    move_head(&pool, rich_after(&[(0, 2), (5, 1)]), &[&foreign], &[]);
    assert!(pool.knows(&foreign.hash));
}

#[test]
fn what_another_with_its_nonce_overtook_goes() {
    let pool = pool();
    add(&pool, &key(0).send(0, |_| ())).unwrap();
    add(&pool, &key(0).send(1, |_| ())).unwrap();
    let instead = key(0).pay(0, 9);
    move_head(&pool, rich_after(&[(0, 1)]), &[&instead], &[]);
    assert_eq!(counts(&pool), (1, 0));
}

#[test]
fn what_waited_can_come_next_when_the_gap_is_mined() {
    let pool = pool();
    add(&pool, &key(0).send(2, |_| ())).unwrap();
    assert_eq!(counts(&pool), (0, 1));
    move_head(&pool, rich_after(&[(0, 2)]), &[], &[]);
    assert_eq!(counts(&pool), (1, 0));
    assert_eq!(pool.best(7, 30_000_000).len(), 1);
}

#[test]
fn what_cannot_be_paid_any_more_goes_with_all_after_it() {
    let pool = pool();
    (0..4).for_each(|nonce| assert!(add(&pool, &key(0).pay(nonce, 1)).is_ok()));
    let each = U256::from(30_000 * (GWEI + 1_000) + 1);
    let state = State::rich().with(&key(0), |account| account.balance = each * U256::from(3) - U256::from(1));
    move_head(&pool, state, &[], &[]);
    assert_eq!(counts(&pool), (2, 0));
    move_head(&pool, State::default(), &[], &[]);
    assert!(pool.is_empty());
}

#[test]
fn a_reorg_brings_back_what_was_mined_and_makes_the_rest_wait_for_nothing() {
    let pool = pool();
    let sent = [0, 1, 2, 3].map(|nonce| key(0).send(nonce, |_| ()));
    sent.iter().for_each(|one| assert!(add(&pool, one).is_ok()));
    move_head(&pool, rich_after(&[(0, 2)]), &[&sent[0], &sent[1]], &[]);
    assert_eq!(counts(&pool), (2, 0));
    move_head(&pool, State::rich(), &[], &[&sent[0], &sent[1]]);
    assert_eq!(counts(&pool), (4, 0));
    assert!(sent.iter().all(|one| pool.pooled(&one.hash).is_some()));
}

#[test]
fn a_reorg_onto_a_branch_that_mined_it_as_well_brings_nothing_back() {
    let pool = pool();
    let sent = key(0).send(0, |_| ());
    add(&pool, &sent).unwrap();
    move_head(&pool, rich_after(&[(0, 1)]), &[&sent], &[]);
    move_head(&pool, rich_after(&[(0, 1)]), &[&sent], &[&sent]);
    assert!(pool.is_empty() && pool.knows(&sent.hash));
}

#[test]
fn a_reorg_that_brings_too_little_back_leaves_the_rest_waiting_but_no_blobs() {
    let pool = pool();
    let first = key(0).send(0, |_| ());
    add(&pool, &first).unwrap();
    add(&pool, &key(0).send(1, |_| ())).unwrap();
    add(&pool, &key(0).blobs(2, &sidecar(&[1]), |_| ())).unwrap();
    move_head(&pool, rich_after(&[(0, 1)]), &[&first], &[]);
    assert_eq!(counts(&pool), (2, 0));
    move_head(&pool, State::rich(), &[], &[]);
    assert_eq!(counts(&pool), (0, 1));
    assert_eq!(pool.status().blob_transactions, 0);
}

#[test]
fn blobs_stay_when_what_is_before_them_comes_back() {
    let pool = pool();
    let first = key(0).send(0, |_| ());
    add(&pool, &first).unwrap();
    add(&pool, &key(0).blobs(1, &sidecar(&[1]), |_| ())).unwrap();
    move_head(&pool, rich_after(&[(0, 1)]), &[&first], &[]);
    move_head(&pool, State::rich(), &[], &[&first]);
    assert_eq!((counts(&pool), pool.status().blob_transactions), ((2, 0), 1));
}

#[test]
fn a_new_base_fee_changes_who_makes_room() {
    let limits = super::super::PoolLimits { transactions_max: 2, ..Default::default() };
    let pool = super::kit::pool_with(limits);
    let fees = |i: usize, tip: u128, fee: u128| {
        key(i).send(0, |tx| {
            tx.max_priority_fee_per_gas = tip;
            tx.max_fee_per_gas = fee;
        })
    };
    add(&pool, &fees(0, 50, 60)).unwrap();
    add(&pool, &fees(1, 20, 1_000)).unwrap();
    assert!(add(&pool, &fees(2, 20, 2_000)).is_err());
    pool.on_head(Head { base_fee: 50, ..HEAD }, Arc::new(State::rich()), &[], Vec::new());
    add(&pool, &fees(2, 20, 2_000)).unwrap();
    assert!(pool.pooled(&fees(0, 50, 60).hash).is_none());
}

#[test]
fn who_cannot_be_read_stays_as_it_was() {
    let pool = pool();
    add(&pool, &key(0).send(0, |_| ())).unwrap();
    move_head(&pool, State { is_broken: true, ..State::rich() }, &[], &[]);
    assert_eq!(counts(&pool), (1, 0));
}

/// A state that moves the head while it is read, so many times in a row.
struct Moving {
    pool: Arc<Pool>,
    nonce: u64,
    moves_left: u64,
}

impl StateView for Moving {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        let (pool, nonce) = (Arc::clone(&self.pool), self.nonce + 1);
        if let Some(moves_left) = self.moves_left.checked_sub(1) {
            self.pool.on_head(HEAD, Arc::new(Moving { pool, nonce, moves_left }), &[], Vec::new());
        }
        rich_after(&[(0, self.nonce)]).account(address)
    }

    fn slot(&self, _: &Address, _: &U256) -> Result<U256, StateError> {
        Ok(U256::ZERO)
    }

    fn code(&self, _: &B256) -> Result<Bytes, StateError> {
        Ok(Bytes::new())
    }

    fn block_hash(&self, _: u64) -> Result<Option<B256>, StateError> {
        Ok(None)
    }
}

#[test]
fn a_head_that_moves_during_a_check_is_checked_against() {
    for (moves_left, nonce) in [(1, 0), (3, 2), (1, 1), (3, 3), (4, 4)] {
        let pool = Arc::new(pool());
        let state = Moving { pool: Arc::clone(&pool), nonce: 0, moves_left };
        pool.on_head(HEAD, Arc::new(state), &[], Vec::new());
        match add(&pool, &key(0).send(nonce, |_| ())) {
            Ok(_) => assert_eq!(nonce, moves_left),
            Err(Refusal::NonceUsed { next, .. }) => assert_eq!((next, nonce + 1), (moves_left, moves_left)),
            Err(refusal) => assert!(matches!(refusal, Refusal::HeadMoved) && moves_left == 4, "{refusal}"),
        }
    }
}

#[test]
fn heads_and_peers_at_once_leave_a_pool_that_fits_its_head() {
    let pool = pool();
    std::thread::scope(|scope| {
        for i in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for nonce in 0..50 {
                    pool.add(vec![key(i).send(nonce, |_| ())]);
                }
            });
        }
        scope.spawn(|| {
            for nonce in 0..50 {
                let nonces: Vec<_> = (0..4).map(|i| (i, nonce)).collect();
                move_head(&pool, rich_after(&nonces), &[], &[]);
            }
        });
    });
    let state = rich_after(&[(0, 49), (1, 49), (2, 49), (3, 49)]);
    let before = pool.len();
    move_head(&pool, state, &[], &[]);
    assert_eq!(pool.len(), before, "nothing stale was left");
    assert!(before <= 4 && pool.status().queued == 0);
}
