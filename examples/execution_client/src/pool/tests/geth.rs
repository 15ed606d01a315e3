//! What geth's `devp2p rlpx eth-test` sends, and what it wants to come of it.

use std::sync::Arc;

use alloy_eips::eip7594::BlobTransactionSidecarVariant;
use alloy_primitives::{B256, Bytes, FixedBytes, TxKind, U256};
use trunkline::transactions::{PooledTransaction, TransactionPool, Verdict};

use super::super::{Pool, PoolLimits, decode};
use super::kit::{GWEI, Key, State, cell_sidecar, chain, key};

/// Its chain stands at block 600, under Prague's rules, with a base fee of 7 wei.
fn pool(state: State) -> Pool {
    let pool = Pool::new(&chain(), PoolLimits::default());
    let head =
        super::super::Head { number: 600, time: 310, base_fee: 7, blob_base_fee: 1, gas_limit: 300_000_000 };
    pool.on_head(head, Arc::new(state), &[], Vec::new());
    pool
}

fn plain(key: &Key, nonce: u64, gas: u64, value: U256, input: Bytes, to: TxKind) -> PooledTransaction {
    key.send(nonce, |tx| {
        tx.max_priority_fee_per_gas = 1;
        tx.max_fee_per_gas = 7;
        (tx.gas_limit, tx.value, tx.input, tx.to) = (gas, value, input, to);
    })
}

#[test]
fn two_thousand_creations_of_one_sender_are_kept_and_served() {
    let pool = pool(State::rich());
    let create = |nonce| plain(&key(1), nonce, 75_000, U256::ZERO, Bytes::new(), TxKind::Create);
    let sent: Vec<_> = (0..2_000).map(create).collect();
    assert_eq!(pool.add(sent.clone()), vec![Verdict::Added; 2_000]);
    assert!(sent.iter().all(|one| pool.pooled(&one.hash).is_some()));
    assert_eq!(pool.hashes().len(), 2_000);
    // Then fifty more are announced, and all of them must be asked for.
    assert!((2_000..2_050).map(create).all(|one| !pool.knows(&one.hash)));
    assert_eq!(pool.add((2_000..2_050).map(create).collect()), vec![Verdict::Added; 50]);
}

#[test]
fn one_that_leaves_the_producer_nothing_is_kept_and_the_invalid_ones_are_not() {
    let pool = pool(State::rich().with(&key(0), |account| account.nonce = 3));
    let to = TxKind::Call(alloy_primitives::Address::repeat_byte(0xaa));
    let good = plain(&key(0), 3, 30_000, U256::ZERO, Bytes::new(), to);
    assert_eq!(pool.add(vec![good]), [Verdict::Added]);
    let create = |nonce, gas, value| plain(&key(0), nonce, gas, value, Bytes::new(), TxKind::Create);
    let bad = [
        create(2, 100_000, U256::ZERO),
        create(3, 100_000, U256::from(GWEI * GWEI)),
        create(3, 1_337, U256::ZERO),
        plain(&key(0), 3, 1_000_000, U256::ZERO, vec![7; 50].into(), TxKind::Create),
        plain(&key(0), 3, 5_000_000, U256::ZERO, vec![7; 128].into(), to),
    ];
    let verdicts = pool.add(bad.to_vec());
    assert!(verdicts.iter().all(|v| matches!(v, Verdict::Refused | Verdict::Invalid)), "{verdicts:?}");
    assert!(bad.iter().all(|one| pool.pooled(&one.hash).is_none()));
}

/// Its blob transactions have proofs for each cell although Osaka is far, and all the same nonce.
#[test]
fn a_bad_sidecar_is_blamed_even_when_the_nonce_is_taken_and_a_good_one_never() {
    let pool = pool(State::rich());
    let good = |fee: u128| {
        key(5).blobs(0, &cell_sidecar(), |tx| {
            tx.max_fee_per_gas = 7;
            tx.gas_limit = 100_000 + fee as u64;
        })
    };
    for round in 0..2 {
        let tx = good(round);
        let (bare, _) = decode::split_blob(&tx.encoded).unwrap();
        let mut mangled = cell_sidecar();
        if let BlobTransactionSidecarVariant::Eip7594(sidecar) = &mut mangled {
            sidecar.commitments[0] = FixedBytes::ZERO;
        }
        let mangled = key(5).blobs(0, &mangled, |inner| {
            inner.max_fee_per_gas = 7;
            inner.gas_limit = 100_000 + round as u64;
            inner.blob_versioned_hashes = cell_sidecar().versioned_hashes().collect::<Vec<B256>>();
        });
        assert_eq!(mangled.hash, tx.hash);
        let bare = PooledTransaction { encoded: bare.into(), ..tx.clone() };
        assert_eq!(pool.add(vec![bare, mangled]), [Verdict::Invalid; 2]);
        assert!(!pool.knows(&tx.hash), "it must be asked for from the good peer");
        let expected = if round == 0 { Verdict::Added } else { Verdict::Refused };
        assert_eq!(pool.add(vec![tx]), [expected]);
    }
}
