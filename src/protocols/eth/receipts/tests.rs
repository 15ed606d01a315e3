//! Receipts in both forms, in parts, and against the header of their block.

use alloy_consensus::proofs::calculate_receipt_root;
use alloy_primitives::hex;

use super::*;
use crate::protocols::eth::fixtures::{consensus_receipts, receipts};
use crate::wire::fixtures::Junk;

fn decoded(version: u32, list: &[u8]) -> Result<Vec<ReceiptEnvelope>, DecodeError> {
    let mut room = RECEIPTS_MAX;
    decode(version, List::whole(list)?, &mut room)
}

/// Every type, with and without logs, failed ones, and a post-state of before Byzantium.
#[test]
fn both_forms_have_the_same_root_and_the_same_values() {
    let typed = receipts();
    let consensus = consensus_receipts(&typed);
    let flat = flatten(&consensus).unwrap();
    assert!(flat.len() + typed.len() * BLOOM_BYTES < consensus.len());
    assert_eq!(to_consensus(&flat).unwrap(), consensus);
    assert_eq!(to_consensus(&consensus).unwrap(), consensus);
    assert_eq!(flatten(&flat).unwrap(), flat);
    let expected = calculate_receipt_root(&typed);
    assert_eq!(root(&consensus), Ok(expected));
    assert_eq!(root(&flat), Ok(expected));
    assert_eq!(decoded(68, &consensus), Ok(typed.clone()));
    assert_eq!(decoded(69, &flat), Ok(typed));
}

#[test]
fn a_block_without_transactions_has_the_empty_root() {
    let empty = hex!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
    assert_eq!(root(&[0xc0]), Ok(B256::new(empty)));
    assert_eq!(flatten(&[0xc0]).as_deref(), Ok(&[0xc0][..]));
}

#[test]
fn a_version_takes_no_receipts_of_the_other_form() {
    let consensus = consensus_receipts(&receipts());
    let flat = flatten(&consensus).unwrap();
    assert!(decoded(69, &consensus).is_err());
    assert!(decoded(68, &flat).is_err());
}

/// E5: what an answer costs in memory is bounded by a count, because bytes do not bound it.
#[test]
fn more_receipts_than_there_is_room_for_are_refused() {
    let consensus = consensus_receipts(&receipts());
    let list = List::whole(&consensus).unwrap();
    let mut room = receipts().len() - 1;
    let refusal = decode(68, list, &mut room);
    assert!(matches!(refusal, Err(DecodeError::TooLarge { what: "receipts", .. })), "{refusal:?}");
    let mut many = BytesMut::new();
    rlp::put_list_head((RECEIPTS_MAX + 1) * 5, &mut many);
    many.extend(std::iter::repeat_n([0xc4, 0x80, 0x80, 0x80, 0xc0], RECEIPTS_MAX + 1).flatten());
    assert!(matches!(root(&many), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn every_truncation_fails() {
    let consensus = consensus_receipts(&receipts());
    for list in [flatten(&consensus).unwrap(), consensus] {
        for cut in 0..list.len() {
            assert!(root(&list[..cut]).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn what_no_receipt_holds_is_refused() {
    let refused = [
        "c5c403025bc0",         // a post-state of one byte
        "c5c48101",             // too short
        "c6c58180 01 5b c0",    // a type of 0x80
        "c6c5 80 01 5b c0 80",  // a fifth field
        "c7c6 80 01 820001 c0", // gas with a leading zero
        "c5c4 80 01 5b 80",     // logs that are no list
        "c4c3 80 01 5b",        // no logs
        "c3820180",             // a typed receipt without a list
        "c18180",               // a string with no type
    ];
    for text in refused {
        let bytes = crate::wire::fixtures::unhex(text);
        assert!(root(&bytes).is_err(), "{text}");
        assert!(decoded(69, &bytes).is_err(), "{text}");
    }
}

#[test]
fn junk_is_refused_or_keeps_its_root_in_both_forms() {
    let consensus = consensus_receipts(&receipts());
    let mut junk = Junk::seeded(11);
    let mut kept = 0;
    for _ in 0..3_000 {
        let mut bytes = consensus.to_vec();
        let at = junk.below(bytes.len());
        bytes[at] = junk.next() as u8;
        let _ = decoded(68, &bytes);
        if let Ok(root_before) = root(&bytes)
            && let Ok(flat) = flatten(&bytes)
        {
            kept += usize::from(root(&flat).is_ok_and(|after| after == root_before));
        }
    }
    assert!(kept > 0);
}

/// The parts that a peer may send of this list, cut behind each of these receipts.
fn cut(flat: &[u8], at: &[usize]) -> Vec<Bytes> {
    let items = each(List::whole(flat).unwrap(), 1, |item| Ok(item.encoded().to_vec())).unwrap();
    let mut ends = at.to_vec();
    ends.push(items.len());
    let starts = [0].into_iter().chain(at.iter().copied());
    starts.zip(ends).map(|(from, to)| list_of(&items[from..to].concat())).collect()
}

fn facts_of(receipts: &[u8]) -> HeaderFacts {
    let header =
        alloy_consensus::Header { gas_used: 10_000_000, ..crate::protocols::eth::fixtures::header(4) };
    let facts = HeaderFacts::read(&alloy_rlp::encode(header)).unwrap();
    HeaderFacts { receipts_root: root(receipts).unwrap(), ..facts }
}

#[test]
fn parts_are_joined_to_the_list_they_were_cut_from() {
    let flat = flatten(&consensus_receipts(&receipts())).unwrap();
    let all = receipts().len();
    for at in [vec![], vec![1], vec![all - 1], vec![2, 3], vec![0], vec![all], (1..all).collect()] {
        let parts = cut(&flat, &at);
        assert_eq!(join(&parts, flat.len()), Ok(flat.clone()), "cut at {at:?}");
        let counts: usize = parts.iter().map(|part| count(part).unwrap()).sum();
        assert_eq!(counts, all);
    }
    assert_eq!(join(&[], 1).as_deref(), Ok(&[0xc0][..]));
}

/// A block that never ends: what is joined has a bound, whatever the parts say.
#[test]
fn parts_that_are_larger_than_a_block_can_be_are_not_joined() {
    let flat = flatten(&consensus_receipts(&receipts())).unwrap();
    let parts = cut(&flat, &[2]);
    let refusal = join(&parts, flat.len() - 1);
    assert!(matches!(refusal, Err(DecodeError::TooLarge { what: "receipts of a block", .. })));
    assert_eq!(join(&[flat.slice(..flat.len() - 1)], flat.len()), Err(DecodeError::Truncated));
    assert!(join(&[Bytes::from_static(&[0x80])], 9).is_err(), "no list");
}

#[test]
fn the_bound_of_a_block_follows_from_its_gas() {
    let facts = facts_of(&[0xc0]);
    let bound = |gas_used| bytes_max(&HeaderFacts { gas_used, ..facts });
    assert!(bound(0) >= 1, "an empty list");
    assert_eq!(bound(30_000_000), 7_500_009);
    assert_eq!(bound(u64::MAX), JOINED_BYTES_MAX);
    // 42,000 gas: two transfers, whose receipts are as small as they get.
    assert!(bound(42_000) > flatten(&consensus_receipts(&receipts()[..2])).unwrap().len());
}

/// Too few, too many, others, in another order; in either form.
#[test]
fn receipts_are_verified_by_their_number_and_their_root() {
    let typed = receipts();
    let all = typed.len();
    let consensus = consensus_receipts(&typed);
    let facts = facts_of(&consensus);
    for list in [flatten(&consensus).unwrap(), consensus] {
        assert_eq!(verify(&facts, all, &list), Ok(()));
        for expected in [0, all - 1, all + 1] {
            let refusal = VerifyError::Count { part: BlockPart::Receipts, expected, got: all };
            assert_eq!(verify(&facts, expected, &list), Err(refusal));
        }
        let first = &cut(&list, &[all - 1])[0];
        let too_few = VerifyError::Count { part: BlockPart::Receipts, expected: all, got: all - 1 };
        assert_eq!(verify(&facts, all, first), Err(too_few));
        let mut parts = cut(&list, &[1]);
        parts.reverse();
        let swapped = join(&parts, list.len()).unwrap();
        assert_eq!(verify(&facts, all, &swapped), Err(VerifyError::Mismatch(BlockPart::Receipts)));
        let malformed = verify(&facts, all, &list[..list.len() - 1]);
        assert!(matches!(malformed, Err(VerifyError::Malformed { part: BlockPart::Receipts, .. })));
    }
    let empty = facts_of(&[0xc0]);
    assert_eq!(verify(&empty, 0, &[0xc0]), Ok(()));
    assert_eq!(verify(&facts, 0, &[0xc0]), Err(VerifyError::Mismatch(BlockPart::Receipts)));
}

#[test]
fn no_byte_of_a_verified_list_can_be_another() {
    let consensus = consensus_receipts(&receipts());
    let (facts, all) = (facts_of(&consensus), receipts().len());
    for list in [flatten(&consensus).unwrap(), consensus] {
        for at in 0..list.len() {
            let mut changed = list.to_vec();
            changed[at] ^= 1;
            assert!(verify(&facts, all, &changed).is_err(), "byte {at}");
        }
    }
}

/// What a cut gives back is what fits: never an empty list where there is something.
#[test]
fn a_part_holds_as_many_receipts_as_there_is_room_for() {
    let consensus = consensus_receipts(&receipts());
    let flat = flatten(&consensus).unwrap();
    let items = each(List::whole(&flat).unwrap(), 1, |item| Ok(item.encoded().len())).unwrap();
    for first in 0..=items.len() as u64 {
        for room in 0..=flat.len() {
            let part = flatten_part(&consensus, first, room).unwrap();
            let wanted = &items[first as usize..];
            let Some(Part { list, incomplete }) = part else {
                assert!(room < rlp::item_len(wanted[0]));
                continue;
            };
            let got = count(&list).unwrap();
            assert_eq!(incomplete, got < wanted.len());
            assert!(list.len() <= room || wanted.is_empty());
            let one_more: usize = wanted.iter().take(got + 1).sum();
            assert!(!incomplete || got > 0 && rlp::item_len(one_more) > room);
        }
    }
}
