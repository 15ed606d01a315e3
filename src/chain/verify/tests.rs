use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_TRANSACTIONS};
use alloy_consensus::{Header, SignableTransaction};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, Signature, TxKind, U256};
use proptest::prelude::*;

use super::super::block::RawBlock;
use super::super::testdata;
use super::*;
use crate::wire::rlp::put_list_head;

fn signature() -> Signature {
    Signature::new(U256::from(1) << 250, U256::from(7) << 240, true)
}

fn legacy() -> Vec<u8> {
    let tx = TxLegacy {
        chain_id: Some(5),
        gas_price: 1 << 40,
        gas_limit: 21_000,
        to: TxKind::Call(Address::repeat_byte(7)),
        value: U256::from(9),
        ..TxLegacy::default()
    };
    tx.into_signed(signature()).encoded_2718()
}

fn dynamic_fee() -> Vec<u8> {
    let tx = TxEip1559 {
        chain_id: 5,
        gas_limit: 21_000,
        to: TxKind::Call(Address::repeat_byte(8)),
        max_fee_per_gas: 1 << 40,
        ..TxEip1559::default()
    };
    tx.into_signed(signature()).encoded_2718()
}

fn list(parts: &[&[u8]]) -> Vec<u8> {
    let payload = parts.concat();
    let mut out = Vec::new();
    put_list_head(payload.len(), &mut out);
    out.extend_from_slice(&payload);
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(bytes)
}

/// A header that commits to this body, and the body.
fn sealed(transactions: &[u8], ommers: &[u8], withdrawals: Option<&[u8]>) -> (HeaderFacts, Vec<u8>) {
    let body = list(&[transactions, ommers, withdrawals.unwrap_or_default()]);
    let roots = BodyRoots::of(&body).unwrap();
    let header = Header {
        number: 9,
        transactions_root: roots.transactions,
        ommers_hash: roots.ommers,
        base_fee_per_gas: Some(7),
        withdrawals_root: roots.withdrawals,
        ..Header::default()
    };
    (HeaderFacts::read(&alloy_rlp::encode(header)).unwrap(), body)
}

fn good() -> (HeaderFacts, Vec<u8>) {
    let withdrawal = Withdrawal { index: 1, validator_index: 300, address: Address::ZERO, amount: 5 };
    let ommer = alloy_rlp::encode(Header::default());
    sealed(
        &list(&[&legacy(), &string(&dynamic_fee())]),
        &list(&[&ommer]),
        Some(&list(&[&alloy_rlp::encode(withdrawal)])),
    )
}

#[test]
fn a_header_links_to_the_block_before() {
    let parent = BlockRef { number: 8, hash: B256::repeat_byte(3) };
    let header = Header { number: 9, parent_hash: parent.hash, ..Header::default() };
    let rlp = alloy_rlp::encode(&header);
    assert_eq!(check_header_link(parent, &rlp).unwrap().hash, header.hash_slow());
    let number = VerifyError::Number { expected: 8, got: 9 };
    assert_eq!(check_header_link(BlockRef { number: 7, ..parent }, &rlp), Err(number));
    let other = BlockRef { hash: B256::ZERO, ..parent };
    assert!(matches!(check_header_link(other, &rlp), Err(VerifyError::Parent { .. })));
    assert!(matches!(
        check_header_link(parent, &rlp[1..]),
        Err(VerifyError::Malformed { part: Part::Header, .. })
    ));
}

#[test]
fn nothing_follows_the_last_number() {
    let parent = BlockRef { number: u64::MAX, hash: B256::ZERO };
    let header = Header { number: u64::MAX, ..Header::default() };
    assert!(check_header_link(parent, &alloy_rlp::encode(header)).is_err());
}

#[test]
fn roots_are_those_of_alloy() {
    let (facts, body) = sealed(&[0xc0], &[0xc0], None);
    assert_eq!(facts.transactions_root, EMPTY_TRANSACTIONS);
    assert_eq!(facts.ommers_hash, EMPTY_OMMER_ROOT_HASH);
    assert_eq!(check_body(&facts, &body), Ok(()));
}

#[test]
fn a_body_passes_with_its_own_header_only() {
    let (facts, body) = good();
    assert_eq!(check_body(&facts, &body), Ok(()));
    let zero = B256::ZERO;
    for (other, part) in [
        (HeaderFacts { transactions_root: zero, ..facts }, Part::Transactions),
        (HeaderFacts { ommers_hash: zero, ..facts }, Part::Ommers),
        (HeaderFacts { withdrawals_root: Some(zero), ..facts }, Part::Withdrawals),
        (HeaderFacts { withdrawals_root: None, ..facts }, Part::Withdrawals),
    ] {
        assert_eq!(check_body(&other, &body), Err(VerifyError::Mismatch(part)));
    }
}

#[test]
fn a_cut_body_is_refused() {
    let (facts, mut body) = good();
    for len in 0..body.len() {
        assert!(check_body(&facts, &body[..len]).is_err(), "{len} bytes");
    }
    body.push(0xc0);
    assert!(check_body(&facts, &body).is_err());
}

#[test]
fn a_transaction_wrapped_in_a_string_has_the_same_root_and_is_refused() {
    let (facts, body) = sealed(&list(&[&legacy()]), &[0xc0], None);
    let wrapped = list(&[&list(&[&string(&legacy())]), &[0xc0]]);
    assert_eq!(BodyRoots::of(&wrapped), BodyRoots::of(&body));
    let cause = DecodeError::Invalid("transaction type");
    assert_eq!(check_body(&facts, &wrapped), Err(VerifyError::Malformed { part: Part::Transactions, cause }));
}

#[test]
fn malformed_items_are_refused_even_when_the_header_commits_to_them() {
    let junk = [0x2a; 100];
    let long_tx = [dynamic_fee(), vec![0]].concat();
    let unknown_type = [&[5], &dynamic_fee()[1..]].concat();
    let cases = [
        sealed(&list(&[&list(&[&junk])]), &[0xc0], None),
        sealed(&list(&[&string(&long_tx)]), &[0xc0], None),
        sealed(&list(&[&string(&unknown_type)]), &[0xc0], None),
        sealed(&list(&[&string(&[&[2][..], &junk].concat())]), &[0xc0], None),
        sealed(&[0xc0], &list(&[&list(&[&[0x2a; 500]])]), None),
        sealed(&[0xc0], &[0xc0], Some(&list(&[&list(&[&[0x2a; 40]])]))),
        sealed(&[0xc0], &[0xc0], Some(&list(&[&string(&junk)]))),
    ];
    for (facts, body) in cases {
        assert!(matches!(check_body(&facts, &body), Err(VerifyError::Malformed { .. })), "{body:x?}");
    }
}

#[test]
fn more_items_than_the_bytes_can_hold_are_refused_before_a_vector_is_made() {
    let tiny = list(&[&[0xc0; 800]]);
    for (body, part) in [
        (list(&[&tiny, &[0xc0]]), Part::Transactions),
        (list(&[&[0xc0], &tiny]), Part::Ommers),
        (list(&[&[0xc0], &[0xc0], &tiny]), Part::Withdrawals),
    ] {
        let error = BodyRoots::of(&body).unwrap_err();
        assert!(matches!(
            error,
            VerifyError::Malformed { part: p, cause: DecodeError::TooLarge { got: 800, .. } } if p == part
        ));
    }
}

#[test]
fn receipts_are_checked_for_root_and_form() {
    let bloom = string(&[0; 256]);
    let log = list(&[&string(&[1; 20]), &list(&[&string(&[2; 32])]), &string(b"data")]);
    let receipt = |status: &[u8], logs: &[u8]| list(&[status, &[0x82, 0x52, 0x08], &bloom, logs]);
    let typed = |receipt: &[u8]| string(&[&[2], receipt].concat());
    let facts_of = |receipts: &[u8]| {
        let items = items(List::whole(receipts).unwrap(), "receipts", 1).unwrap();
        HeaderFacts { receipts_root: ordered_root(&items), ..good().0 }
    };
    let fine = list(&[&receipt(&[0x01], &list(&[&log])), &typed(&receipt(&[0x80], &[0xc0]))]);
    let facts = facts_of(&fine);
    assert_eq!(check_receipts(&facts, &fine), Ok(()));
    assert_eq!(check_receipts(&good().0, &fine), Err(VerifyError::Mismatch(Part::Receipts)));
    for len in 0..fine.len() {
        assert!(check_receipts(&facts, &fine[..len]).is_err(), "{len} bytes");
    }
    for bad in [
        list(&[&string(&receipt(&[0x01], &[0xc0]))]),
        list(&[&receipt(&[0x02], &[0xc0])]),
        list(&[&receipt(&[0x01], &list(&[&[0x05]]))]),
        list(&[&receipt(&[0x01], &[0x80])]),
    ] {
        assert!(matches!(check_receipts(&facts_of(&bad), &bad), Err(VerifyError::Malformed { .. })));
    }
}

#[test]
fn real_bodies_pass_and_a_flipped_bit_fails() {
    let Some(file) = testdata::read("geth-ethtest/chain.rlp") else { return };
    let mut rest = &file[..];
    let mut parent = None;
    while !rest.is_empty() {
        let (block, facts) = RawBlock::from_rlp(Item::read(&mut rest).unwrap().encoded()).unwrap();
        if let Some(parent) = parent {
            assert_eq!(check_link(parent, &facts), Ok(()));
        }
        assert_eq!(check_body(&facts, &block.body), Ok(()), "block {}", block.number);
        if block.number % 20 == 0 {
            let mut flipped = block.body.to_vec();
            let at = flipped.len() / 2;
            flipped[at] ^= 0x10;
            assert!(check_body(&facts, &flipped).is_err());
        }
        parent = Some(block.block_ref());
    }
    assert_eq!(parent.map(|p| p.number), Some(600));
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let facts = good().0;
        let _ = check_body(&facts, &bytes);
        let _ = check_receipts(&facts, &bytes);
        let wrapped = list(&[&list(&[&bytes]), &[0xc0]]);
        let _ = check_body(&facts, &wrapped);
        if let Ok(roots) = BodyRoots::of(&wrapped) {
            let sealed = HeaderFacts {
                transactions_root: roots.transactions,
                ommers_hash: roots.ommers,
                withdrawals_root: None,
                ..facts
            };
            let _ = check_body(&sealed, &wrapped);
        }
    }

    #[test]
    fn any_single_changed_byte_fails(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (facts, mut body) = good();
        let at = at.index(body.len());
        body[at] ^= flip;
        prop_assert!(check_body(&facts, &body).is_err());
    }
}
