//! Replacement, the order of nonces, what waits, and what a block takes.

use alloy_primitives::{Address, B256};
use trunkline::transactions::{TransactionPool, Verdict};

use super::super::{Pool, Refusal};
use super::kit::{GWEI, add, key, pool, refused};

fn best(pool: &Pool, base_fee: u64, gas_limit: u64) -> Vec<(Address, u64)> {
    use alloy_consensus::Transaction;
    pool.best(base_fee, gas_limit).iter().map(|tx| (tx.signer(), tx.nonce())).collect()
}

fn a(i: usize, nonce: u64) -> (Address, u64) {
    (key(i).address, nonce)
}

#[test]
fn another_with_its_nonce_must_raise_each_fee_by_a_tenth() {
    let pool = pool();
    let fees = |tip: u128, fee: u128| {
        key(0).send(0, |tx| {
            tx.max_priority_fee_per_gas = tip;
            tx.max_fee_per_gas = fee;
        })
    };
    let first = fees(15, 100);
    add(&pool, &first).unwrap();
    refused!(add(&pool, &fees(16, 110)), Refusal::Underpriced { percent: 10 });
    refused!(add(&pool, &fees(17, 109)), Refusal::Underpriced { percent: 10 });
    let second = fees(17, 110);
    assert_eq!(pool.add(vec![second.clone()]), [Verdict::Added]);
    assert_eq!((pool.len(), pool.knows(&first.hash), pool.knows(&second.hash)), (1, false, true));
    refused!(add(&pool, &first), Refusal::Underpriced { .. });
}

#[test]
fn a_replacement_is_paid_for_instead_of_the_old_one() {
    let pool = pool();
    // Each takes 0.6 ether of the one there is.
    let value = |nonce, fee| {
        key(0).send(nonce, |tx| {
            tx.value = alloy_primitives::U256::from(6 * GWEI * GWEI / 10);
            tx.max_fee_per_gas = fee;
        })
    };
    add(&pool, &value(0, 100)).unwrap();
    refused!(add(&pool, &value(1, 100)), Refusal::Balance { .. });
    refused!(add(&pool, &value(0, 110)), Refusal::Underpriced { .. });
    let dearer = key(0).send(0, |tx| {
        tx.value = alloy_primitives::U256::from(6 * GWEI * GWEI / 10);
        tx.max_fee_per_gas = 110;
        tx.max_priority_fee_per_gas = 11;
    });
    add(&pool, &dearer).unwrap();
}

#[test]
fn nonces_come_in_any_order_and_a_gap_is_filled_later() {
    let pool = pool();
    let sent = [3, 1, 2].map(|nonce| key(0).send(nonce, |_| ()));
    assert_eq!(pool.add(sent.to_vec()), [Verdict::Added; 3]);
    assert_eq!((pool.status().pending, pool.status().queued), (0, 3));
    assert!(pool.hashes().is_empty() && best(&pool, 7, 30_000_000).is_empty());
    add(&pool, &key(0).send(0, |_| ())).unwrap();
    assert_eq!((pool.status().pending, pool.status().queued), (4, 0));
    assert_eq!(best(&pool, 7, 30_000_000), [a(0, 0), a(0, 1), a(0, 2), a(0, 3)]);
    assert_eq!(pool.next_nonce(&key(0).address), Some(4));
}

#[test]
fn a_message_in_the_wrong_order_is_admitted_in_the_right_one() {
    let pool = pool();
    let sent: Vec<_> = (0..200).rev().map(|nonce| key(0).send(nonce, |_| ())).collect();
    assert_eq!(pool.add(sent), [Verdict::Added; 200]);
    assert_eq!(pool.status().pending, 200);
}

#[test]
fn a_verdict_stands_where_its_transaction_stood() {
    let pool = pool();
    let good = key(0).send(1, |_| ());
    let wrong = key(1).send(0, |tx| tx.chain_id = 1);
    let early = key(2).send(99, |_| ());
    let first = key(0).send(0, |_| ());
    let verdicts = pool.add(vec![good.clone(), wrong, good, early, first]);
    let expected = [Verdict::Added, Verdict::Invalid, Verdict::Known, Verdict::Refused, Verdict::Added];
    assert_eq!(verdicts, expected);
}

#[test]
fn a_block_takes_what_pays_best_and_each_sender_in_order() {
    let pool = pool();
    let pay = |i: usize, nonce, gwei| assert!(add(&pool, &key(i).pay(nonce, gwei)).is_ok());
    pay(0, 0, 1);
    pay(0, 1, 9);
    pay(1, 0, 5);
    pay(1, 1, 2);
    pay(2, 0, 3);
    let order = [a(1, 0), a(2, 0), a(1, 1), a(0, 0), a(0, 1)];
    assert_eq!(best(&pool, 7, 30_000_000), order);
    // 30,000 gas each.
    assert_eq!(best(&pool, 7, 90_000), order[..3]);
    assert_eq!(best(&pool, 7, 29_999), []);
}

#[test]
fn one_too_large_for_what_is_left_lets_others_pass() {
    let pool = pool();
    let large = key(0).send(0, |tx| {
        tx.gas_limit = 80_000;
        tx.max_priority_fee_per_gas = 50;
    });
    add(&pool, &large).unwrap();
    add(&pool, &key(0).send(1, |_| ())).unwrap();
    add(&pool, &key(1).send(0, |_| ())).unwrap();
    assert_eq!(best(&pool, 7, 79_999), [a(1, 0)]);
    assert_eq!(best(&pool, 7, 110_000).len(), 2);
}

#[test]
fn the_base_fee_decides_who_pays_and_how_much_is_left() {
    let pool = pool();
    let fees = |i: usize, tip: u128, fee: u128| {
        let sent = key(i).send(0, |tx| {
            tx.max_priority_fee_per_gas = tip;
            tx.max_fee_per_gas = fee;
        });
        add(&pool, &sent).unwrap();
    };
    fees(0, 50, 60);
    fees(1, 20, 1_000);
    assert_eq!(best(&pool, 7, 30_000_000), [a(0, 0), a(1, 0)]);
    assert_eq!(best(&pool, 50, 30_000_000), [a(1, 0), a(0, 0)]);
    assert_eq!(best(&pool, 61, 30_000_000), [a(1, 0)]);
    assert_eq!(best(&pool, 1_001, 30_000_000), []);
}

#[test]
fn what_is_not_here_is_not_served() {
    let pool = pool();
    assert_eq!(pool.pooled(&B256::ZERO), None);
    assert!(!pool.knows(&B256::ZERO));
    assert_eq!(pool.next_nonce(&key(0).address), None);
}
