//! Transactions as bytes against those of alloy, and everything about them that can be wrong.

use super::super::gossip::Transactions;
use super::super::message::Transaction;
use super::*;
use crate::protocols::eth::fixtures::{
    blob_transaction, list_of, pooled_transactions, transactions, with_blobs,
};
use crate::wire::decode_all;
use crate::wire::fixtures::Junk;

fn bytes(message: &impl Encode) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

/// A list of items that are lists or strings already.
fn list(items: &[Vec<u8>]) -> Vec<u8> {
    list_of(&items.iter().map(Vec::as_slice).collect::<Vec<_>>()).to_vec()
}

fn string(payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    rlp::put_bytes(payload, &mut out);
    out.to_vec()
}

#[test]
fn hashes_types_and_sizes_are_those_that_alloy_computes() {
    let typed = transactions(8);
    for (raw, typed) in pooled_transactions(8).iter().zip(&typed) {
        assert_eq!((raw.hash, raw.kind), (*typed.tx_hash(), typed.tx_type() as u8));
        let expected = PooledHash { kind: raw.kind, size: raw.encoded.len() as u64, hash: raw.hash };
        assert_eq!(raw.announcement(), expected);
    }
    let Transaction::Eip4844(without) = blob_transaction() else { panic!("another type") };
    for cells in [false, true] {
        for blobs in [1, 6] {
            let raw = with_blobs(blobs, cells);
            assert_eq!((raw.hash, raw.kind), (*without.hash(), BLOB_KIND));
            assert!(raw.encoded.len() > blobs * BLOB_BYTES);
        }
    }
}

/// The same bytes as the typed message, both ways.
#[test]
fn a_broadcast_is_the_one_of_typed_transactions() {
    let message = bytes(&Transactions(transactions(5)));
    let raw: RawTransactions = decode_all(message.clone()).unwrap();
    assert_eq!(raw.0, pooled_transactions(5));
    assert_eq!(bytes(&raw), message);
    for cut in 0..message.len() {
        assert!(decode_all::<RawTransactions>(message.slice(..cut)).is_err(), "cut at {cut}");
    }
    let mut junk = Junk::seeded(3);
    for _ in 0..5_000 {
        let mut changed = message.to_vec();
        let at = junk.below(changed.len());
        changed[at] = junk.next() as u8;
        if let Ok(read) = decode_all::<RawTransactions>(Bytes::from(changed.clone())) {
            assert_eq!(bytes(&read)[..], changed);
        }
    }
    let empty: RawTransactions = decode_all(Bytes::from_static(&[0xc0])).unwrap();
    assert_eq!(empty.0, []);
}

/// Who keeps one of them does not keep the message.
#[test]
fn what_is_read_is_a_copy_of_its_own() {
    let message = bytes(&Transactions(transactions(5)));
    let within = message.as_ptr() as usize..message.as_ptr() as usize + message.len();
    let raw: RawTransactions = decode_all(message.clone()).unwrap();
    assert!(raw.0.iter().all(|one| !within.contains(&(one.encoded.as_ptr() as usize))));
}

#[test]
fn what_is_no_transaction_is_refused() {
    let refused = |encoded: Vec<u8>| PooledTransaction::from_encoded(encoded.into()).unwrap_err();
    assert_eq!(refused(Vec::new()), DecodeError::Truncated);
    for kind in [0, 5, 0x7f, 0x80, 0xbf] {
        assert_eq!(refused(vec![kind, 0xc0]), DecodeError::Invalid("transaction type"));
    }
    for kind in 1..=4 {
        assert!(PooledTransaction::from_encoded(vec![kind].into()).is_err());
    }
    for raw in pooled_transactions(4) {
        let mut behind = raw.encoded.to_vec();
        behind.push(0x80);
        assert_eq!(refused(behind), DecodeError::Trailing);
        // One field too many, and one too few.
        let payload = &raw.encoded[usize::from(raw.kind != 0)..];
        let fields = List::whole(payload).unwrap();
        let mut without = fields;
        without.item().unwrap();
        for items in [[&[0x80], fields.rest()].concat(), without.rest().to_vec()] {
            let mut encoded = if raw.kind == 0 { Vec::new() } else { vec![raw.kind] };
            encoded.extend(list(&[items]));
            assert_eq!(refused(encoded), DecodeError::Invalid("transaction"));
        }
    }
}

/// EIP-4844, EIP-7594: the parts of the wrapper, one wrong at a time.
#[test]
fn a_blob_transaction_comes_with_all_that_belongs_to_it() {
    let refused = |encoded: Vec<u8>| PooledTransaction::from_encoded(encoded.into()).unwrap_err();
    let wrapped = |parts: &[Vec<u8>]| [vec![BLOB_KIND], list(parts)].concat();
    let whole = with_blobs(2, true).encoded;
    let transaction = List::whole(&whole[1..]).unwrap().item().unwrap().encoded().to_vec();
    let without = [vec![BLOB_KIND], transaction.clone()].concat();
    assert_eq!(refused(without), DecodeError::Invalid("blob transaction without its blobs"));

    let of = |len: usize, count: usize| list(&vec![string(&vec![7; len]); count]);
    let good = [transaction.clone(), vec![1], of(BLOB_BYTES, 1), of(48, 1), of(48, 128)];
    assert!(PooledTransaction::from_encoded(wrapped(&good).into()).is_ok());
    let with = |at: usize, part: Vec<u8>| {
        let mut parts = good.clone();
        parts[at] = part;
        refused(wrapped(&parts))
    };
    assert_eq!(with(1, vec![2]), DecodeError::Invalid("blob wrapper version"));
    assert_eq!(with(1, vec![0x80]), DecodeError::Invalid("blob wrapper version"));
    let shape = DecodeError::Invalid("blob, commitment or proof");
    assert_eq!(with(2, of(BLOB_BYTES - 1, 1)), shape);
    assert_eq!(with(3, of(47, 1)), shape);
    assert_eq!(with(4, of(49, 128)), shape);
    let number = DecodeError::Invalid("number of commitments or proofs");
    assert_eq!(with(2, of(BLOB_BYTES, 2)), number);
    assert_eq!(with(3, of(48, 2)), number);
    assert_eq!(with(4, of(48, 1)), number);
    assert_eq!(with(0, list(&[vec![0x80]])), DecodeError::Invalid("transaction"));
    let mut behind = good.to_vec();
    behind.push(vec![0x80]);
    assert_eq!(refused(wrapped(&behind)), DecodeError::Trailing);
    assert_eq!(refused(wrapped(&good[..4])), DecodeError::Truncated);
    // The old form with the new proofs.
    assert_eq!(refused(wrapped(&[transaction, of(BLOB_BYTES, 1), of(48, 1), of(48, 128)])), number);
}

/// In a broadcast they are as in a block, so that it can be told what was broken.
#[test]
fn a_broadcast_has_blob_transactions_without_blobs_only() {
    let message = bytes(&Transactions(vec![blob_transaction()]));
    let raw: RawTransactions = decode_all(message).unwrap();
    assert_eq!(raw.0[0].kind, BLOB_KIND);
    let message = bytes(&RawTransactions(vec![with_blobs(1, true)]));
    assert_eq!(decode_all::<RawTransactions>(message), Err(DecodeError::Invalid("transaction")));
}

#[test]
fn items_too_small_to_be_real_are_refused() {
    let many = list(&[vec![0xc0; 1_000_000]]);
    assert_eq!(decode_all::<RawTransactions>(many.into()), Err(DecodeError::Invalid("item size")));
}
