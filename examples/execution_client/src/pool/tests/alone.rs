//! Each refusal, by a transaction that has just that fault.

use std::sync::Arc;

use alloy_consensus::{Signed, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, Signature, TxKind, U256};
use trunkline::transactions::{PooledTransaction, TransactionPool, Verdict};

use super::super::{Pool, PoolLimits, Refusal, decode};
use super::kit::{CHAIN_ID, HEAD, Key, OSAKA, State, add, chain, key, pool, pooled, refused, transfer};

fn at(time: u64) -> Pool {
    on(State::rich(), time)
}

fn on(state: State, time: u64) -> Pool {
    let pool = Pool::new(&chain(), PoolLimits::default());
    pool.on_head(super::super::Head { time, ..HEAD }, Arc::new(state), &[], Vec::new());
    pool
}

fn legacy(nonce: u64, chain_id: Option<u64>) -> TxLegacy {
    let to = TxKind::Call(Address::repeat_byte(0xaa));
    TxLegacy { chain_id, nonce, gas_price: 100, gas_limit: 30_000, to, ..TxLegacy::default() }
}

fn set_code(authorizations: usize) -> TxEip7702 {
    let one = Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 0 };
    let one = SignedAuthorization::new_unchecked(one, 0, U256::from(1), U256::from(1));
    TxEip7702 {
        chain_id: CHAIN_ID,
        gas_limit: 100_000,
        max_fee_per_gas: 100,
        max_priority_fee_per_gas: 10,
        authorization_list: vec![one; authorizations],
        ..TxEip7702::default()
    }
}

#[test]
fn before_the_first_head_all_are_refused_and_none_is_remembered() {
    let pool = Pool::new(&chain(), PoolLimits::default());
    let good = key(0).send(0, |_| ());
    assert_eq!(pool.add(vec![good.clone()]), [Verdict::Refused]);
    refused!(pool.add_local(good.clone()), Refusal::NoHead);
    assert!(!pool.knows(&good.hash) && pool.best(7, 1 << 30).is_empty());
    pool.on_head(HEAD, Arc::new(State::rich()), &[], Vec::new());
    assert_eq!(pool.add(vec![good.clone()]), [Verdict::Added]);
    assert_eq!(pool.add(vec![good]), [Verdict::Known]);
}

#[test]
fn every_type_is_kept_and_served_as_it_came() {
    let pool = pool();
    let access_list = TxEip2930 {
        chain_id: CHAIN_ID,
        nonce: 1,
        gas_price: 100,
        gas_limit: 30_000,
        to: TxKind::Call(Address::ZERO),
        ..TxEip2930::default()
    };
    let all = [
        pooled(&key(0).sign(legacy(0, Some(CHAIN_ID)))),
        pooled(&key(1).sign(legacy(0, None))),
        pooled(&key(0).sign(access_list)),
        key(0).send(2, |_| ()),
        pooled(&key(2).sign(set_code(1))),
    ];
    assert_eq!(pool.add(all.to_vec()), [Verdict::Added; 5]);
    for one in &all {
        assert!(pool.knows(&one.hash));
        assert_eq!(pool.pooled(&one.hash), Some(one.encoded.clone()));
    }
    let mut told: Vec<_> = pool.hashes().iter().map(|p| (p.hash, p.kind, p.size)).collect();
    told.sort();
    let mut expected: Vec<_> = all.iter().map(|p| (p.hash, p.kind, p.encoded.len() as u64)).collect();
    expected.sort();
    assert_eq!(told, expected);
    let mut best: Vec<_> = pool.best(7, 30_000_000).iter().map(|tx| (*tx.tx_hash(), tx.signer())).collect();
    best.sort();
    assert_eq!(
        best.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(),
        expected.iter().map(|e| e.0).collect::<Vec<_>>()
    );
    assert!(best.iter().all(|(_, signer)| (0..3).any(|i| key(i).address == *signer)));
}

#[test]
fn bytes_that_are_no_transaction() {
    let pool = pool();
    let good = key(0).send(0, |_| ());
    let with = |encoded: Vec<u8>| PooledTransaction { encoded: encoded.into(), ..good.clone() };
    refused!(add(&pool, &with(vec![])), Refusal::Malformed(_));
    refused!(add(&pool, &with(vec![0x80])), Refusal::Malformed(_));
    refused!(add(&pool, &with(vec![5, 0xc0])), Refusal::UnknownType(5));
    refused!(add(&pool, &with([good.encoded.as_ref(), &[0]].concat())), Refusal::Malformed(_));
    for len in 0..good.encoded.len() {
        refused!(add(&pool, &with(good.encoded[..len].to_vec())), Refusal::Malformed(_));
    }
    let other = PooledTransaction { hash: key(1).send(0, |_| ()).hash, ..good.clone() };
    refused!(add(&pool, &other), Refusal::WrongHash);
    assert_eq!(pool.add(vec![with(vec![5, 0xc0]), other]), [Verdict::Invalid; 2]);
    assert_eq!(pool.add(vec![good]), [Verdict::Added]);
}

#[test]
fn types_before_their_fork_are_refused_without_blame() {
    let prague = at(310);
    add(&prague, &pooled(&key(0).sign(set_code(1)))).unwrap();
    let cancun = at(210);
    refused!(
        add(&cancun, &pooled(&key(0).sign(set_code(1)))),
        Refusal::InactiveType { kind: 4, fork: "prague" }
    );
    // One second before the fork the next block may be the first of it.
    add(&at(299), &pooled(&key(0).sign(set_code(1)))).unwrap();
    refused!(add(&at(298), &pooled(&key(0).sign(set_code(1)))), Refusal::InactiveType { .. });
    assert_eq!(cancun.add(vec![pooled(&key(0).sign(set_code(1)))]), [Verdict::Refused]);
}

#[test]
fn sizes() {
    let pool = pool();
    let sized = |len: usize| {
        key(0).send(0, |tx| {
            tx.input = vec![0; len].into();
            tx.gas_limit = 6_000_000;
        })
    };
    let overhead = sized(131_000).encoded.len() - 131_000;
    let max = 128 * 1024;
    assert_eq!(sized(max - overhead).encoded.len(), max);
    refused!(add(&pool, &sized(max - overhead + 1)), Refusal::TooLarge { bytes: 131_073, max: 131_072 });
    add(&pool, &sized(max - overhead)).unwrap();

    let create = |len: usize| {
        key(1).send(0, |tx| {
            tx.to = TxKind::Create;
            tx.input = vec![1; len].into();
            tx.gas_limit = 6_000_000;
        })
    };
    refused!(add(&pool, &create(49_153)), Refusal::InitCodeTooLong { bytes: 49_153, max: 49_152 });
    add(&pool, &create(49_152)).unwrap();
    add(&at(50), &create(49_153)).unwrap();
}

#[test]
fn chain_and_signature() {
    let pool = pool();
    refused!(
        add(&pool, &key(0).send(0, |tx| tx.chain_id = 1)),
        Refusal::WrongChain { theirs: 1, ours: CHAIN_ID }
    );
    refused!(add(&pool, &pooled(&key(0).sign(legacy(0, Some(2))))), Refusal::WrongChain { theirs: 2, .. });

    let TxEnvelope::Eip1559(good) = key(0).sign(transfer(0)) else { unreachable!() };
    let (tx, signature, _) = good.into_parts();
    let order =
        U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
    let high = Signature::new(signature.r(), order - signature.s(), !signature.v());
    let zero = Signature::new(U256::ZERO, signature.s(), signature.v());
    for signature in [high, zero] {
        let bad = pooled(&TxEnvelope::from(Signed::new_unhashed(tx.clone(), signature)));
        refused!(add(&pool, &bad), Refusal::WrongSignature);
        assert_eq!(pool.add(vec![bad.clone()]), [Verdict::Invalid]);
        assert!(pool.knows(&bad.hash));
    }
}

#[test]
fn gas() {
    let pool = pool();
    let with_gas = |gas_limit: u64| key(0).send(0, |tx| tx.gas_limit = gas_limit);
    refused!(add(&pool, &with_gas(20_999)), Refusal::IntrinsicGas { limit: 20_999, needed: 21_000 });
    refused!(
        add(&pool, &with_gas(30_000_001)),
        Refusal::GasAboveBlock { limit: 30_000_001, block: 30_000_000 }
    );
    add(&pool, &with_gas(21_000)).unwrap();
    // 100 bytes: 1,600 gas each way until Prague, whose floor is 4,000.
    let with_data = |gas_limit: u64| {
        key(1).send(0, |tx| {
            tx.input = vec![1; 100].into();
            tx.gas_limit = gas_limit;
        })
    };
    refused!(add(&pool, &with_data(24_999)), Refusal::FloorGas { limit: 24_999, needed: 25_000 });
    add(&pool, &with_data(25_000)).unwrap();
    add(&at(210), &with_data(22_600)).unwrap();
    refused!(add(&at(210), &with_data(22_599)), Refusal::IntrinsicGas { limit: 22_599, needed: 22_600 });
    // A cap for each transaction from Osaka on (EIP-7825).
    let cap = 1 << 24;
    add(&pool, &key(2).send(0, |tx| tx.gas_limit = cap + 1)).unwrap();
    let osaka = at(OSAKA.time);
    refused!(add(&osaka, &with_gas(cap + 1)), Refusal::GasAboveCap { max: 16_777_216, .. });
    add(&osaka, &with_gas(cap)).unwrap();
}

#[test]
fn fees() {
    let pool = pool();
    let with_fees = |tip: u128, fee: u128| {
        key(0).send(0, |tx| {
            tx.max_priority_fee_per_gas = tip;
            tx.max_fee_per_gas = fee;
        })
    };
    refused!(add(&pool, &with_fees(8, 7)), Refusal::TipAboveFee { tip: 8, fee: 7 });
    refused!(add(&pool, &with_fees(0, 7)), Refusal::TipTooLow { tip: 0, min: 1 });
    refused!(add(&pool, &with_fees(u128::MAX, u128::MAX)), Refusal::Balance { .. });
    // Less than the base fee waits for a better one.
    add(&pool, &with_fees(1, 6)).unwrap();
    assert!(pool.best(7, 30_000_000).is_empty());
    assert_eq!(pool.best(6, 30_000_000).len(), 1);
}

#[test]
fn nonces() {
    let state = State::rich()
        .with(&key(0), |account| account.nonce = 5)
        .with(&key(1), |account| account.nonce = u64::MAX);
    let pool = on(state, HEAD.time);
    let send = |nonce| key(0).send(nonce, |_| ());
    refused!(add(&pool, &send(4)), Refusal::NonceUsed { nonce: 4, next: 5 });
    refused!(add(&pool, &send(5 + 65)), Refusal::NonceGap { nonce: 70, next: 5 });
    add(&pool, &send(5 + 64)).unwrap();
    add(&pool, &send(5)).unwrap();
    add(&pool, &send(6 + 64)).unwrap();
    refused!(add(&pool, &key(1).send(u64::MAX, |_| ())), Refusal::NonceLast);
    let last = u64::MAX - 1;
    let pool = on(State::rich().with(&key(1), |account| account.nonce = last), HEAD.time);
    add(&pool, &key(1).send(last, |_| ())).unwrap();
    assert_eq!(pool.best(7, 30_000_000).len(), 1);
}

#[test]
fn balances_count_for_all_of_a_sender() {
    let cost = U256::from(30_000 * 100 + 1);
    let state = State::rich().with(&key(0), |account| account.balance = cost * U256::from(2));
    let pool = on(state.clone(), HEAD.time);
    let send = |nonce, value: u64| key(0).send(nonce, |tx| tx.value = U256::from(value));
    refused!(add(&pool, &send(0, 3_000_003)), Refusal::Balance { .. });
    add(&pool, &send(0, 1)).unwrap();
    refused!(add(&pool, &send(1, 2)), Refusal::Balance { .. });
    add(&pool, &send(1, 1)).unwrap();
    refused!(add(&pool, &send(2, 0)), Refusal::Balance { .. });
    refused!(add(&pool, &key(39).send(0, |tx| tx.value = U256::MAX)), Refusal::Balance { .. });
    let stranger = Key::new(alloy_primitives::keccak256("nobody"));
    refused!(add(&pool, &stranger.send(0, |_| ())), Refusal::Balance { .. });
}

#[test]
fn contracts_do_not_send_but_delegating_accounts_do() {
    let delegation = [&[0xef, 0x01, 0x00][..], &[7; 20]].concat();
    let state = State::rich().with_code(&key(0), &[0x60]).with_code(&key(1), &delegation);
    let pool = on(state.with_code(&key(2), &[&delegation[..], &[0]].concat()), HEAD.time);
    refused!(add(&pool, &key(0).send(0, |_| ())), Refusal::SenderHasCode(_));
    refused!(add(&pool, &key(2).send(0, |_| ())), Refusal::SenderHasCode(_));
    for nonce in 0..16 {
        add(&pool, &key(1).send(nonce, |_| ())).unwrap();
    }
    refused!(add(&pool, &key(1).send(16, |_| ())), Refusal::SenderFull { max: 16 });
}

#[test]
fn set_code_needs_an_authorization() {
    let pool = pool();
    let empty = pooled(&key(0).sign(set_code(0)));
    refused!(add(&pool, &empty), Refusal::NoAuthorizations);
    assert_eq!(pool.add(vec![empty]), [Verdict::Invalid]);
    let two = TxEip7702 { gas_limit: 70_999, ..set_code(2) };
    refused!(add(&pool, &pooled(&key(0).sign(two))), Refusal::IntrinsicGas { needed: 71_000, .. });
}

#[test]
fn a_state_that_cannot_be_read_is_no_fault_of_the_sender() {
    let pool = on(State { is_broken: true, ..State::rich() }, HEAD.time);
    let good = key(0).send(0, |_| ());
    refused!(add(&pool, &good), Refusal::State(_));
    assert_eq!(pool.add(vec![good.clone()]), [Verdict::Refused]);
    assert!(!pool.knows(&good.hash));
}

#[test]
fn a_refused_one_is_known_until_the_next_head() {
    let pool = pool();
    let early = key(0).send(65, |_| ());
    assert_eq!(pool.add(vec![early.clone()]), [Verdict::Refused]);
    assert!(pool.knows(&early.hash));
    refused!(add(&pool, &early), Refusal::Lately);
    refused!(pool.add_local(early.clone()), Refusal::NonceGap { .. });
    pool.on_head(HEAD, Arc::new(State::rich().with(&key(0), |a| a.nonce = 1)), &[], Vec::new());
    assert!(!pool.knows(&early.hash));
    assert_eq!(pool.add(vec![early]), [Verdict::Added]);
}

#[test]
fn junk_of_any_kind_is_an_error_value() {
    let pool = pool();
    let mut random = super::model::Random(5);
    let good =
        [key(0).send(0, |_| ()), pooled(&key(0).sign(set_code(2))), pooled(&key(0).sign(legacy(0, None)))];
    for _ in 0..4_000 {
        let mut bytes = good[random.below(3) as usize].encoded.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
        }
        let hash = decode::decode(&bytes).map_or(good[0].hash, |decoded| decoded.hash);
        let _ = add(&pool, &PooledTransaction { hash, kind: 0, encoded: bytes.into() });
    }
    assert!(pool.len() <= 3);
}
