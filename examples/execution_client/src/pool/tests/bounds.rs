//! One over each bound.

use trunkline::transactions::{TransactionPool, Verdict};

use super::super::{Pool, PoolLimits, Refusal};
use super::kit::{add, key, pool_with, refused};

fn small() -> PoolLimits {
    PoolLimits {
        transactions_max: 8,
        sender_max: 5,
        sender_share: 2,
        sender_queued_max: 2,
        nonce_gap_max: 4,
        ..PoolLimits::default()
    }
}

fn pay(pool: &Pool, i: usize, nonce: u64, gwei: u128) -> Result<(), Refusal> {
    add(pool, &key(i).pay(nonce, gwei)).map(drop)
}

fn has(pool: &Pool, i: usize, nonce: u64, gwei: u128) -> bool {
    pool.pooled(&key(i).pay(nonce, gwei).hash).is_some()
}

#[test]
fn a_sender_has_so_many() {
    let pool = pool_with(small());
    (0..5).for_each(|nonce| pay(&pool, 0, nonce, 5).unwrap());
    refused!(pay(&pool, 0, 5, 5), Refusal::SenderFull { max: 5 });
    pay(&pool, 0, 4, 6).unwrap();
    pay(&pool, 1, 0, 1).unwrap();
}

#[test]
fn a_sender_has_so_many_that_wait() {
    let pool = pool_with(small());
    pay(&pool, 0, 1, 5).unwrap();
    pay(&pool, 0, 4, 5).unwrap();
    refused!(pay(&pool, 0, 3, 5), Refusal::SenderQueueFull { max: 2 });
    refused!(pay(&pool, 0, 5, 5), Refusal::NonceGap { nonce: 5, next: 0 });
    pay(&pool, 0, 0, 5).unwrap();
    pay(&pool, 0, 3, 5).unwrap();
    assert_eq!((pool.status().pending, pool.status().queued), (2, 2));
}

#[test]
fn a_flood_of_a_bound_and_one_is_refused_or_takes_the_place_of_the_cheapest() {
    let pool = pool_with(small());
    (0..8).for_each(|i| pay(&pool, i, 0, 10 + i as u128).unwrap());
    refused!(pay(&pool, 8, 0, 9), Refusal::Full);
    refused!(pay(&pool, 8, 0, 10), Refusal::Full);
    pay(&pool, 8, 0, 11).unwrap();
    assert!(!has(&pool, 0, 0, 10) && has(&pool, 1, 0, 11) && has(&pool, 8, 0, 11));
    assert_eq!(pool.len(), 8);
    // A replacement needs no room.
    pay(&pool, 8, 0, 20).unwrap();
    assert_eq!(pool.len(), 8);
}

#[test]
fn what_waits_makes_room_first_and_gets_none_from_what_does_not() {
    let pool = pool_with(small());
    pay(&pool, 0, 1, 1_000).unwrap();
    (1..8).for_each(|i| pay(&pool, i, 0, 10).unwrap());
    refused!(pay(&pool, 8, 1, 1_000), Refusal::Full);
    pay(&pool, 8, 0, 1).unwrap();
    assert!(!has(&pool, 0, 1, 1_000));
    refused!(pay(&pool, 0, 1, 1_000), Refusal::Full);
}

#[test]
fn who_sends_many_makes_room_before_those_who_send_few() {
    let pool = pool_with(small());
    (0..5).for_each(|nonce| pay(&pool, 0, nonce, 1_000).unwrap());
    (1..4).for_each(|i| pay(&pool, i, 0, 10).unwrap());
    for i in 4..7 {
        pay(&pool, i, 0, 1).unwrap();
    }
    // Only its share of two is left now, and counts by its price.
    assert!(has(&pool, 0, 1, 1_000) && !has(&pool, 0, 2, 1_000));
    refused!(pay(&pool, 7, 0, 1), Refusal::Full);
    refused!(pay(&pool, 0, 2, 5_000), Refusal::Full);
}

#[test]
fn room_is_made_from_the_end_of_a_chain_however_dear_its_end_is() {
    let pool = pool_with(small());
    pay(&pool, 0, 0, 1).unwrap();
    pay(&pool, 0, 1, 1_000).unwrap();
    (1..7).for_each(|i| pay(&pool, i, 0, 10).unwrap());
    pay(&pool, 7, 0, 10).unwrap();
    assert!(has(&pool, 0, 0, 1) && !has(&pool, 0, 1, 1_000));
    // Its own chain does not make room for its sender: that would leave a gap.
    refused!(pay(&pool, 0, 1, 1_000), Refusal::Full);
    pay(&pool, 8, 0, 10).unwrap();
    assert!(!has(&pool, 0, 0, 1));
    let status = pool.status();
    assert_eq!((status.pending, status.queued), (8, 0));
}

#[test]
fn bytes_are_bounded_and_a_large_one_needs_several_to_go() {
    let size = key(0).pay(0, 10).encoded.len();
    let pool = pool_with(PoolLimits { bytes_max: size * 6, ..PoolLimits::default() });
    (0..6).for_each(|i| pay(&pool, i, 0, 10 + i as u128).unwrap());
    let large = |gwei: u128| {
        key(6).send(0, |tx| {
            tx.input = vec![0; size * 2 - 20].into();
            tx.max_priority_fee_per_gas = gwei * super::kit::GWEI;
            tx.max_fee_per_gas = gwei * super::kit::GWEI + 1_000;
        })
    };
    // It would need the three cheapest, of which it outbids two: then none goes.
    refused!(add(&pool, &large(12)), Refusal::Full);
    assert_eq!(pool.len(), 6);
    add(&pool, &large(13)).unwrap();
    assert_eq!(pool.len(), 4);
    assert!(pool.status().bytes <= size * 6);
    let too_large = PoolLimits { bytes_max: 10, ..PoolLimits::default() };
    refused!(pay(&pool_with(too_large), 0, 0, 10), Refusal::Full);
}

#[test]
fn ours_make_no_room_and_get_it_from_any_other() {
    let pool = pool_with(small());
    pay(&pool, 0, 0, 1).unwrap();
    pool.add_local(key(0).pay(1, 1)).unwrap();
    (1..7).for_each(|i| pay(&pool, i, 0, 10).unwrap());
    pay(&pool, 7, 0, 11).unwrap();
    assert!(has(&pool, 0, 0, 1) && has(&pool, 0, 1, 1), "what is before ours stays with it");
    for i in 8..14 {
        pool.add_local(key(i).pay(0, 1)).unwrap();
    }
    refused!(pool.add_local(key(14).pay(0, 1)).map(drop), Refusal::Full);
    refused!(pay(&pool, 14, 0, 1_000), Refusal::Full);
    refused!(pool.add_local(key(8).pay(0, 1)).map(drop), Refusal::Known);
}

#[test]
fn a_flood_over_the_default_bounds_stays_within_them() {
    let pool = pool_with(PoolLimits { transactions_max: 512, ..PoolLimits::default() });
    // Forty senders with thirty each, all at one price: the first 512 stay.
    let flood: Vec<_> = (0..40).flat_map(|i| (0..30).map(move |nonce| key(i).pay(nonce, 5))).collect();
    let verdicts = pool.add(flood.clone());
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Added).count(), 512);
    assert_eq!((pool.len(), pool.status().pending), (512, 512));
    // All are known now, and none is asked for again before the next head.
    assert!(flood.iter().all(|one| pool.knows(&one.hash)));
    assert_eq!(pool.hashes().len(), 512);
}
