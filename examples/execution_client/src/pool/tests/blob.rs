//! Blob transactions: what belongs to them, and what a wrong part of it does not do to the hash.

use std::sync::Arc;

use alloy_consensus::TxEnvelope;
use alloy_eips::eip4844::Blob;
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_primitives::{B256, FixedBytes};
use bytes::Bytes;
use trunkline::transactions::{PooledTransaction, TransactionPool, Verdict};

use super::super::{Pool, PoolLimits, Refusal, decode};
use super::kit::{HEAD, OSAKA, State, add, cell_sidecar, chain, key, pool, pool_with, refused, sidecar};

fn changed(
    sidecar: &BlobTransactionSidecarVariant,
    change: impl FnOnce(&mut Vec<Blob>, &mut Vec<FixedBytes<48>>, &mut Vec<FixedBytes<48>>),
) -> BlobTransactionSidecarVariant {
    let mut sidecar = sidecar.clone();
    match &mut sidecar {
        BlobTransactionSidecarVariant::Eip4844(s) => change(&mut s.blobs, &mut s.commitments, &mut s.proofs),
        BlobTransactionSidecarVariant::Eip7594(s) => {
            change(&mut s.blobs, &mut s.commitments, &mut s.cell_proofs)
        }
    }
    sidecar
}

/// The transaction that was signed for `good`, with something else in the place of its blobs.
fn with_other(
    good: &BlobTransactionSidecarVariant,
    other: &BlobTransactionSidecarVariant,
) -> PooledTransaction {
    key(0).blobs(0, other, |tx| tx.blob_versioned_hashes = good.versioned_hashes().collect())
}

fn bare(transaction: &PooledTransaction) -> PooledTransaction {
    let (plain, _) = decode::split_blob(&transaction.encoded).unwrap();
    PooledTransaction { encoded: plain.into(), ..transaction.clone() }
}

#[test]
fn both_forms_are_kept_before_osaka_and_served_as_they_came() {
    for sidecar in [sidecar(&[1, 2]), cell_sidecar()] {
        let pool = pool();
        let good = key(0).blobs(0, &sidecar, |_| ());
        assert_eq!(pool.add(vec![good.clone()]), [Verdict::Added]);
        assert_eq!(pool.pooled(&good.hash), Some(good.encoded.clone()));
        assert_eq!(pool.hashes()[0].size, good.encoded.len() as u64);
        let status = pool.status();
        assert_eq!((status.blob_transactions, status.pending), (1, 1));
        assert_eq!(status.bytes + status.blob_bytes, good.encoded.len());
        let best = pool.best(7, 30_000_000);
        assert_eq!(*best[0].tx_hash(), good.hash);
        let TxEnvelope::Eip4844(signed) = best[0].inner() else { panic!("{best:?}") };
        assert!(signed.tx().sidecar().is_none());
    }
}

#[test]
fn only_proofs_of_cells_count_from_osaka_on() {
    let pool = Pool::new(&chain(), PoolLimits::default());
    pool.on_head(OSAKA, Arc::new(State::rich()), &[], Vec::new());
    let old = key(0).blobs(0, &sidecar(&[42, 43]), |_| ());
    refused!(add(&pool, &old), Refusal::SidecarForm);
    assert_eq!(pool.add(vec![old.clone()]), [Verdict::Refused]);
    let new = key(0).blobs(0, &cell_sidecar(), |_| ());
    assert_eq!(new.hash, old.hash);
    assert_eq!(pool.add(vec![new]), [Verdict::Added]);
}

#[test]
fn osaka_takes_out_what_it_does_not_allow() {
    let pool = pool();
    add(&pool, &key(0).blobs(0, &sidecar(&[1]), |_| ())).unwrap();
    add(&pool, &key(1).blobs(0, &cell_sidecar(), |_| ())).unwrap();
    add(&pool, &key(2).send(0, |tx| tx.gas_limit = (1 << 24) + 1)).unwrap();
    add(&pool, &key(2).send(1, |_| ())).unwrap();
    pool.on_head(OSAKA, Arc::new(State::rich()), &[], Vec::new());
    let status = pool.status();
    assert_eq!((status.pending, status.queued, status.blob_transactions), (1, 1, 1));
}

#[test]
fn without_its_blobs_it_is_invalid_and_may_come_right_from_another() {
    let pool = pool();
    let good = key(0).blobs(0, &sidecar(&[1]), |_| ());
    let bare = bare(&good);
    refused!(add(&pool, &bare), Refusal::SidecarMissing);
    assert_eq!(pool.add(vec![bare]), [Verdict::Invalid]);
    assert!(!pool.knows(&good.hash));
    assert_eq!(pool.add(vec![good]), [Verdict::Added]);
}

#[test]
fn a_part_that_does_not_belong_to_it_is_invalid_and_may_come_right_from_another() {
    for good in [sidecar(&[1, 2]), cell_sidecar()] {
        let pool = pool();
        let mismatched = [
            changed(&good, |_, commitments, _| commitments[0] = FixedBytes::ZERO),
            changed(&good, |_, commitments, _| commitments.swap(0, 1)),
            changed(&good, |blobs, _, _| blobs.truncate(1)),
            changed(&good, |_, commitments, _| commitments.truncate(1)),
            changed(&good, |_, _, proofs| proofs.truncate(1)),
            changed(&good, |_, _, proofs| proofs.push(FixedBytes::ZERO)),
            sidecar(&[3, 4]),
            sidecar(&[]),
        ];
        for other in mismatched {
            let bad = with_other(&good, &other);
            refused!(add(&pool, &bad), Refusal::SidecarMismatch);
            assert_eq!(pool.add(vec![bad]), [Verdict::Invalid]);
        }
        let unproven = [
            changed(&good, |blobs, _, _| blobs.swap(0, 1)),
            changed(&good, |blobs, _, _| blobs[0][0] = 0xff),
            changed(&good, |_, _, proofs| proofs.swap(0, 1)),
            changed(&good, |_, _, proofs| proofs[0] = FixedBytes::repeat_byte(1)),
        ];
        for other in unproven {
            let bad = with_other(&good, &other);
            refused!(add(&pool, &bad), Refusal::WrongProof);
            assert_eq!(pool.add(vec![bad.clone()]), [Verdict::Invalid]);
            assert!(!pool.knows(&bad.hash) && pool.is_empty());
        }
        assert_eq!(pool.add(vec![with_other(&good, &good)]), [Verdict::Added]);
    }
}

#[test]
fn a_wrapper_that_is_not_exact_is_no_transaction() {
    let pool = pool();
    let good = key(0).blobs(0, &sidecar(&[1]), |_| ());
    let with = |encoded: Vec<u8>| PooledTransaction { encoded: encoded.into(), ..good.clone() };
    refused!(add(&pool, &with([&good.encoded[..], &[0]].concat())), Refusal::Malformed(_));
    for len in [1, 2, 4, 5, 6, 100, 200, 1_000, good.encoded.len() - 1] {
        refused!(add(&pool, &with(good.encoded[..len].to_vec())), Refusal::Malformed(_));
    }
    // Blobs within blobs: the inner transaction has some as well.
    let inner = good.encoded[1..].to_vec();
    let mut list = Vec::new();
    alloy_rlp::Header { list: true, payload_length: inner.len() + 3 }.encode(&mut list);
    refused!(add(&pool, &with([&[3], &list[..], &inner, &[0xc0; 3]].concat())), Refusal::Malformed(_));
}

#[test]
fn as_many_blobs_as_the_fork_allows() {
    let pool = pool();
    let none = key(0).blobs(0, &sidecar(&[]), |_| ());
    refused!(add(&pool, &none), Refusal::NoBlobs);
    assert_eq!(pool.add(vec![none]), [Verdict::Invalid]);
    refused!(
        add(&pool, &key(0).blobs(0, &sidecar(&[7; 10]), |_| ())),
        Refusal::TooManyBlobs { blobs: 10, max: 9 }
    );
    add(&pool, &key(0).blobs(0, &sidecar(&[7; 9]), |_| ())).unwrap();
    // One far above is not even decoded.
    refused!(add(&pool, &key(1).blobs(0, &sidecar(&[7; 11]), |_| ())), Refusal::SidecarTooLarge { .. });
}

#[test]
fn hashes_fees_and_fork_of_blobs() {
    let pool = pool();
    let blobs = sidecar(&[1]);
    refused!(
        add(&pool, &key(0).blobs(0, &blobs, |tx| tx.blob_versioned_hashes[0].0[0] = 2)),
        Refusal::BlobHashVersion
    );
    refused!(
        add(&pool, &key(0).blobs(0, &blobs, |tx| tx.blob_versioned_hashes[0] = B256::with_last_byte(1))),
        Refusal::BlobHashVersion
    );
    refused!(
        add(&pool, &key(0).blobs(0, &blobs, |tx| tx.max_fee_per_blob_gas = 0)),
        Refusal::BlobFeeTooLow { .. }
    );
    refused!(add(&pool, &key(0).blobs(1, &blobs, |_| ())), Refusal::NonceGap { nonce: 1, next: 0 });
    // A blob has 131,072 gas.
    let price = u128::from(1_u64 << 44);
    refused!(
        add(&pool, &key(0).blobs(0, &blobs, |tx| tx.max_fee_per_blob_gas = price)),
        Refusal::Balance { .. }
    );
    let shanghai = Pool::new(&chain(), PoolLimits::default());
    shanghai.on_head(super::super::Head { time: 150, ..HEAD }, Arc::new(State::rich()), &[], Vec::new());
    refused!(
        add(&shanghai, &key(0).blobs(0, &blobs, |_| ())),
        Refusal::InactiveType { kind: 3, fork: "cancun" }
    );
}

#[test]
fn a_block_takes_as_many_blobs_as_it_may_and_only_those_that_pay() {
    let pool = pool();
    for (i, count) in [4, 4, 4, 1].into_iter().enumerate() {
        let tip = 10 - i as u128;
        add(&pool, &key(i).blobs(0, &sidecar(&vec![1; count]), |tx| tx.max_priority_fee_per_gas = tip))
            .unwrap();
    }
    let senders = |pool: &Pool| pool.best(7, 30_000_000).iter().map(|tx| tx.signer()).collect::<Vec<_>>();
    assert_eq!(senders(&pool), [key(0).address, key(1).address, key(3).address]);
    pool.on_head(super::super::Head { blob_base_fee: 2, ..HEAD }, Arc::new(State::rich()), &[], Vec::new());
    assert!(senders(&pool).is_empty());
}

#[test]
fn blobs_are_replaced_for_twice_the_fees_only() {
    let pool = pool();
    let fees = |tip: u128, fee: u128, blob_fee: u128| {
        key(0).blobs(0, &sidecar(&[1]), |tx| {
            tx.max_priority_fee_per_gas = tip;
            tx.max_fee_per_gas = fee;
            tx.max_fee_per_blob_gas = blob_fee;
        })
    };
    add(&pool, &fees(1, 100, 3)).unwrap();
    for bad in [fees(1, 200, 6), fees(2, 199, 6), fees(2, 200, 5)] {
        refused!(add(&pool, &bad), Refusal::Underpriced { percent: 100 });
    }
    refused!(
        add(&pool, &key(0).send(0, |tx| tx.max_fee_per_gas = 199)),
        Refusal::Underpriced { percent: 100 }
    );
    add(&pool, &fees(2, 200, 6)).unwrap();
    assert_eq!((pool.len(), pool.status().blob_transactions), (1, 1));
    add(&pool, &key(0).send(0, |tx| tx.max_fee_per_gas = 400)).unwrap();
    assert_eq!((pool.len(), pool.status().blob_transactions, pool.status().blob_bytes), (1, 0, 0));
}

#[test]
fn one_over_the_bounds_of_blobs_takes_the_place_of_the_cheapest() {
    let paying =
        |i: usize, tip: u128| key(i).blobs(0, &sidecar(&[1]), |tx| tx.max_priority_fee_per_gas = tip);
    let bytes = key(0).blobs(0, &sidecar(&[1]), |_| ()).encoded.len();
    let by_count = PoolLimits { blob_transactions_max: 3, ..PoolLimits::default() };
    let by_bytes = PoolLimits { blob_bytes_max: 3 * bytes, ..PoolLimits::default() };
    for limits in [by_count, by_bytes] {
        let pool = pool_with(limits);
        (0..3).for_each(|i| assert!(add(&pool, &paying(i, 10 + i as u128)).is_ok()));
        refused!(add(&pool, &paying(3, 10)), Refusal::Full);
        // Cheap ones without blobs are not in the way.
        add(&pool, &key(4).send(0, |tx| tx.max_priority_fee_per_gas = 1)).unwrap();
        add(&pool, &paying(3, 11)).unwrap();
        assert!(!pool.knows(&paying(0, 10).hash) && pool.knows(&paying(1, 11).hash));
        assert_eq!((pool.len(), pool.status().blob_transactions), (4, 3));
    }
}

#[test]
fn a_sender_has_so_many_blob_transactions() {
    let pool = pool_with(PoolLimits { sender_blobs_max: 2, ..PoolLimits::default() });
    let blobs = |nonce| key(0).blobs(nonce, &sidecar(&[1]), |_| ());
    add(&pool, &blobs(0)).unwrap();
    add(&pool, &blobs(1)).unwrap();
    refused!(add(&pool, &blobs(2)), Refusal::SenderBlobsFull { max: 2 });
    add(&pool, &key(0).send(2, |_| ())).unwrap();
    pool.on_head(HEAD, Arc::new(State::rich().with(&key(0), |account| account.nonce = 1)), &[], Vec::new());
    add(&pool, &blobs(3)).unwrap();
}

#[test]
fn a_blob_that_goes_takes_with_it_what_comes_after() {
    let pool = pool_with(PoolLimits { blob_transactions_max: 1, ..PoolLimits::default() });
    add(&pool, &key(0).send(0, |_| ())).unwrap();
    add(&pool, &key(0).blobs(1, &sidecar(&[1]), |_| ())).unwrap();
    add(&pool, &key(0).send(2, |_| ())).unwrap();
    add(&pool, &key(1).blobs(0, &sidecar(&[1]), |tx| tx.max_priority_fee_per_gas = 5)).unwrap();
    let status = pool.status();
    assert_eq!((status.pending, status.queued, status.blob_transactions), (2, 0, 1));
}

#[test]
fn a_reorg_brings_mined_blobs_back_with_what_belongs_to_them() {
    let pool = pool();
    let good = key(0).blobs(0, &sidecar(&[1]), |_| ());
    add(&pool, &good).unwrap();
    let after = State::rich().with(&key(0), |account| account.nonce = 1);
    pool.on_head(HEAD, Arc::new(after), &[good.hash], Vec::new());
    assert!(pool.is_empty() && pool.knows(&good.hash));
    pool.on_head(HEAD, Arc::new(State::rich()), &[], vec![bare(&good)]);
    assert_eq!(pool.pooled(&good.hash), Some(good.encoded.clone()));
    // One that was never here cannot come back, and says nothing bad of anybody.
    let other = key(1).blobs(0, &sidecar(&[1]), |_| ());
    pool.on_head(HEAD, Arc::new(State::rich()), &[], vec![bare(&other)]);
    assert!(!pool.knows(&other.hash));
}

#[test]
fn blobs_of_mined_ones_are_kept_within_their_bound() {
    let bytes = key(0).blobs(0, &sidecar(&[1]), |_| ()).encoded.len();
    let pool = pool_with(PoolLimits { mined_blob_bytes_max: 2 * bytes, ..PoolLimits::default() });
    let all: Vec<_> = (0..3).map(|i| key(i).blobs(0, &sidecar(&[1]), |_| ())).collect();
    all.iter().for_each(|one| assert!(add(&pool, one).is_ok()));
    let hashes: Vec<_> = all.iter().map(|one| one.hash).collect();
    let after = (0..3).fold(State::rich(), |state, i| state.with(&key(i), |account| account.nonce = 1));
    pool.on_head(HEAD, Arc::new(after), &hashes, Vec::new());
    pool.on_head(HEAD, Arc::new(State::rich()), &[], all.iter().map(bare).collect());
    assert_eq!((pool.len(), pool.pooled(&all[0].hash)), (2, None::<Bytes>));
}

#[test]
fn one_wrong_bit_anywhere_keeps_a_blob_transaction_out() {
    let pool = pool();
    let good = cell_sidecar();
    let BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594 { cell_proofs, .. }) = &good
    else {
        unreachable!()
    };
    assert_eq!(cell_proofs.len(), 256);
    let mut random = super::model::Random(3);
    let encoded = key(0).blobs(0, &good, |_| ()).encoded;
    for _ in 0..40 {
        let mut bytes = encoded.to_vec();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        let hash = decode::decode(&bytes).map_or(B256::ZERO, |decoded| decoded.hash);
        assert!(add(&pool, &PooledTransaction { hash, kind: 3, encoded: bytes.into() }).is_err());
    }
}
