//! Questions and their answers as the caller sees them.

use alloy_primitives::B256;
use alloy_rlp::Encodable;

use super::super::pooled::wrap;
use super::super::query::{Query, encode_answer, encode_receipt_lists};
use super::*;
use crate::protocols::eth::fixtures::{
    body, consensus_receipts, header, pooled_transactions, receipts as typed_receipts, with_blobs,
};
use crate::wire::fixtures::Junk;

fn answer(items: &[Bytes]) -> Bytes {
    snappy::compress(&encode_answer(9, items))
}

fn encoded(value: &impl Encodable) -> Bytes {
    Bytes::from(alloy_rlp::encode(value))
}

fn hashes(count: usize) -> Vec<B256> {
    vec![B256::repeat_byte(1); count]
}

#[test]
fn a_question_arrives_as_it_was_asked() {
    let asked = GetBlockHeaders::range(1, 2);
    let plain = inflate(&asked.encode(69, 7)).unwrap();
    assert_eq!(Query::decode(69, GetBlockHeaders::CODE, &plain), Ok((7, Query::Headers(asked))));
    let asked = GetBlockBodies::new(hashes(3));
    let plain = inflate(&asked.clone().raw().encode(69, 8)).unwrap();
    assert_eq!(Query::decode(69, GetBlockBodies::CODE, &plain), Ok((8, Query::Bodies(asked))));
}

#[test]
fn answers_are_decoded_to_values() {
    let headers: Vec<_> = (1..=3).map(header).collect();
    let items: Vec<_> = headers.iter().map(encoded).collect();
    let asked = GetBlockHeaders::range(1, 3);
    assert_eq!(asked.decode_answer(69, answer(&items)), Ok(headers));

    let bodies = vec![body(0), body(5)];
    let items: Vec<_> = bodies.iter().map(encoded).collect();
    assert_eq!(GetBlockBodies::new(hashes(2)).decode_answer(68, answer(&items)), Ok(bodies));

    let blocks = vec![typed_receipts(), Vec::new()];
    let consensus: Vec<_> = blocks.iter().map(|receipts| consensus_receipts(receipts)).collect();
    let flat: Vec<_> = consensus.iter().map(|list| receipts::flatten(list).unwrap()).collect();
    let asked = GetReceipts::new(hashes(3));
    let whole = Receipts { blocks, last_incomplete: false };
    assert_eq!(asked.decode_answer(68, answer(&consensus)).as_ref(), Ok(&whole));
    assert_eq!(asked.decode_answer(69, answer(&flat)).as_ref(), Ok(&whole));
    assert!(asked.decode_answer(68, answer(&flat)).is_err());
    for last_incomplete in [false, true] {
        let lists = &flat[..1];
        let body = snappy::compress(&encode_receipt_lists(70, 9, lists, last_incomplete));
        let Receipts { blocks, .. } = &whole;
        let expected = Receipts { blocks: blocks[..1].to_vec(), last_incomplete };
        assert_eq!(asked.decode_answer(70, body.clone()), Ok(expected));
        let expected = ReceiptLists { blocks: lists.to_vec(), last_incomplete };
        assert_eq!(asked.clone().raw().decode_answer(70, body.clone()), Ok(expected));
        // Neither version reads the other's form.
        assert!(asked.decode_answer(69, body).is_err());
    }
    assert!(asked.decode_answer(70, answer(&flat)).is_err());
}

#[test]
fn raw_items_are_slices_of_the_answer() {
    let items: Vec<_> = (1..=3).map(|number| encoded(&header(number))).collect();
    let raw = GetBlockHeaders::range(1, 3).raw().decode_answer(69, answer(&items)).unwrap();
    assert_eq!(raw, items);
    let gap = raw[1].as_ptr() as usize - raw[0].as_ptr() as usize;
    assert_eq!(gap, raw[0].len());
    let none = ReceiptLists { blocks: Vec::new(), last_incomplete: false };
    assert_eq!(GetReceipts::new(hashes(1)).raw().decode_answer(69, answer(&[])), Ok(none));
}

/// F18, G4: one more than asked, of each kind.
#[test]
fn more_items_than_asked_for_are_an_excess() {
    let items: Vec<_> = (1..=3).map(|number| encoded(&header(number))).collect();
    let excess = DecodeError::Excess { got: 3, asked: 2 };
    let headers = GetBlockHeaders::range(1, 2);
    assert_eq!(headers.decode_answer(69, answer(&items)), Err(excess));
    assert_eq!(headers.raw().decode_answer(69, answer(&items)), Err(excess));
    let items = vec![encoded(&body(0)); 3];
    assert_eq!(GetBlockBodies::new(hashes(2)).decode_answer(69, answer(&items)), Err(excess));
    let items = vec![Bytes::from_static(&[0xc0]); 3];
    assert_eq!(GetReceipts::new(hashes(2)).decode_answer(69, answer(&items)), Err(excess));
}

/// E5: millions of empty items are refused before a vector is made for them.
#[test]
fn items_too_small_to_be_real_are_refused() {
    let items = vec![Bytes::from_static(&[0xc0]); 1_000_000];
    let mut headers = GetBlockHeaders::range(1, 1);
    headers.limit = u64::MAX;
    let size = DecodeError::Invalid("item size");
    assert_eq!(headers.decode_answer(69, answer(&items)), Err(size));
    let mut body = vec![0xf9, 0x04, 0x04, 0xf9, 0x04, 0x00];
    body.extend([0xc0; 0x400]);
    body.push(0xc0);
    let items = [Bytes::from(body)];
    assert_eq!(GetBlockBodies::new(hashes(1)).decode_answer(69, answer(&items)), Err(size));
}

/// E7: an answer that claims to be larger than 16 MiB inflated.
#[test]
fn an_answer_above_the_inflated_cap_is_refused_unread() {
    let claim = Bytes::from_static(&[0x81, 0x80, 0x80, 0x08, 0x00, 0xc0]);
    let refusal = GetBlockHeaders::range(1, 1).decode_answer(69, claim);
    assert!(matches!(refusal, Err(DecodeError::TooLarge { what: "inflated length", .. })));
}

/// E1, E3: truncation and junk in every answer; G7: a header is never larger than its message.
#[test]
fn truncation_and_junk_are_refused_or_read_the_same_way_again() {
    let asked = GetBlockHeaders::range(1, 2);
    let plain = encode_answer(9, &[encoded(&header(1)), encoded(&header(2))]);
    for cut in 0..plain.len() {
        assert!(asked.decode_answer(69, snappy::compress(&plain[..cut])).is_err());
    }
    let mut junk = Junk::seeded(12);
    let bodies = encode_answer(9, &[encoded(&body(5))]);
    for _ in 0..3_000 {
        let mut bytes = plain.to_vec();
        let at = junk.below(bytes.len());
        bytes[at] = junk.next() as u8;
        if let Ok(headers) = asked.decode_answer(69, snappy::compress(&bytes)) {
            let items: Vec<_> = headers.iter().map(encoded).collect();
            let id = inflate(&answer(&items)).unwrap();
            assert_eq!(id[4..], bytes[4..], "byte {at}");
        }
        let mut bytes = bodies.to_vec();
        let at = junk.below(bytes.len());
        bytes[at] = junk.next() as u8;
        let _ = GetBlockBodies::new(hashes(1)).decode_answer(69, snappy::compress(&bytes));
    }
}

/// Where a version has no words for an index, the question is not asked at all: sent without it, it
/// would be another question.
#[test]
fn receipts_from_an_index_on_can_be_asked_from_eth_70_on() {
    let asked = GetReceipts::new(hashes(2)).from_index(55);
    for (version, can_be_asked) in [(68, false), (69, false), (70, true)] {
        assert_eq!(asked.can_be_asked(version), can_be_asked);
        assert_eq!(asked.clone().raw().can_be_asked(version), can_be_asked);
        assert!(GetReceipts::new(hashes(2)).can_be_asked(version));
    }
    let plain = inflate(&asked.encode(70, 7)).unwrap();
    assert_eq!(Query::decode(70, GetReceipts::CODE, &plain), Ok((7, Query::Receipts(asked))));
}

/// A part that brings nothing would be asked for again, for ever.
#[test]
fn an_incomplete_answer_without_a_receipt_is_malformed() {
    let asked = GetReceipts::new(hashes(2)).from_index(3);
    let malformed = DecodeError::Invalid("incomplete flag");
    let empty = Bytes::from_static(&[0xc0]);
    let full = receipts::flatten(&consensus_receipts(&typed_receipts())).unwrap();
    for lists in [vec![], vec![empty.clone()], vec![full, empty]] {
        let body = snappy::compress(&encode_receipt_lists(70, 9, &lists, true));
        assert_eq!(asked.decode_answer(70, body.clone()), Err(malformed));
        assert_eq!(asked.clone().raw().decode_answer(70, body), Err(malformed));
        let body = snappy::compress(&encode_receipt_lists(70, 9, &lists, false));
        assert!(asked.decode_answer(70, body).is_ok());
    }
    let neither = snappy::compress(&crate::wire::fixtures::unhex("c30902c0"));
    assert_eq!(asked.decode_answer(70, neither), Err(malformed));
}

/// E1, E3: the answers that eth/70 brought, cut anywhere, and with any byte changed.
#[test]
fn receipts_in_parts_survive_truncation_and_junk() {
    let flat = receipts::flatten(&consensus_receipts(&typed_receipts())).unwrap();
    let empty = Bytes::from_static(&[0xc0]);
    let asked = GetReceipts::new(hashes(3));
    let lists = [flat.clone(), empty, flat];
    for (version, incomplete) in [(69, false), (70, false), (70, true)] {
        let plain = encode_receipt_lists(version, 9, &lists, incomplete);
        for cut in 0..plain.len() {
            let body = snappy::compress(&plain[..cut]);
            assert!(asked.decode_answer(version, body.clone()).is_err(), "cut at {cut}");
            assert!(asked.clone().raw().decode_answer(version, body).is_err(), "cut at {cut}");
        }
        let mut junk = Junk::seeded(u64::from(version));
        let mut read = 0;
        for _ in 0..2_000 {
            let mut bytes = plain.to_vec();
            let at = junk.below(bytes.len());
            bytes[at] = junk.next() as u8;
            let body = snappy::compress(&bytes);
            let typed = asked.decode_answer(version, body.clone());
            // What is read as values can be had raw, and that is what came.
            let Ok(raw) = asked.clone().raw().decode_answer(version, body) else {
                assert!(typed.is_err(), "byte {at}");
                continue;
            };
            let again = encode_receipt_lists(version, 9, &raw.blocks, raw.last_incomplete);
            assert_eq!(again[4..], bytes[4..], "byte {at}");
            if let Ok(typed) = typed {
                read += 1;
                assert_eq!(typed.last_incomplete, raw.last_incomplete);
                let counts = raw.blocks.iter().map(|list| receipts::count(list).unwrap());
                assert!(typed.blocks.iter().map(Vec::len).eq(counts));
            }
        }
        assert!(read > 40, "junk that is read at all: {read}");
    }
}

/// Nothing but junk, as a list or not, to every decoder of an answer.
#[test]
fn junk_alone_is_never_an_answer_that_panics() {
    let mut junk = Junk::seeded(70);
    for _ in 0..20_000 {
        let inner = junk.bytes(40);
        let framed = super::super::fixtures::list_of(&[&[9], &inner]);
        for plain in [&inner[..], &framed[..]] {
            let body = snappy::compress(plain);
            for version in [68, 69, 70] {
                let _ = GetReceipts::new(hashes(2)).decode_answer(version, body.clone());
                let _ = GetReceipts::new(hashes(2)).raw().decode_answer(version, body.clone());
                let _ = Query::decode(version, GetReceipts::CODE, plain);
            }
        }
    }
}

/// The most memory that decoding takes at once, in bytes.
fn peak(decode: impl FnOnce()) -> u64 {
    allocation_counter::measure(decode).bytes_max
}

/// E5: raw lists cost the message itself; values cost what is documented, for the densest lists.
#[test]
fn what_an_answer_costs_in_memory_is_bounded() {
    let asked = GetReceipts::new(hashes(1_024));
    let raw = asked.clone().raw();
    let small = 64 * 1024;
    // As many lists as there can be, empty; then one list of the smallest receipts; then one of the
    // smallest logs.
    let empty = vec![Bytes::from_static(&[0xc0]); 1_024];
    let receipt = [0xc4, 0x80, 0x80, 0x80, 0xc0];
    let receipts = super::super::fixtures::list_of(&vec![&receipt[..]; 100_000]);
    let mut log = vec![0xd7, 0x94];
    log.extend([7; 20]);
    log.extend([0xc0, 0x80]);
    let logs = super::super::fixtures::list_of(&vec![&log[..]; 50_000]);
    let logs = super::super::fixtures::list_of(&[&[0x80], &[0x80], &[0x80], &logs]);
    let logs = super::super::fixtures::list_of(&[&logs]);
    let cases = [(empty, 0), (vec![receipts], 100_000 * 400), (vec![logs.clone()], 4 * logs.len() as u64)];
    for (lists, values) in cases {
        let plain = encode_receipt_lists(70, 9, &lists, false);
        let (body, len) = (snappy::compress(&plain), plain.len() as u64);
        let as_it_came = peak(|| drop(raw.decode_answer(70, body.clone()).unwrap()));
        assert!(as_it_came <= len + small, "{as_it_came} for {len} bytes");
        let typed = peak(|| drop(asked.decode_answer(70, body).unwrap()));
        assert!(typed <= len + values + small, "{typed} for {len} bytes");
    }
    let too_many = super::super::fixtures::list_of(&vec![&receipt[..]; receipts::RECEIPTS_MAX + 1]);
    let plain = encode_receipt_lists(70, 9, &[too_many], false);
    let (body, len) = (snappy::compress(&plain), plain.len() as u64);
    let refused = peak(|| assert!(asked.decode_answer(70, body).is_err()));
    assert!(refused <= len + small, "refused before a vector is made: {refused}");
}

/// 8 MiB of blobs fit; what was not asked for does not.
#[test]
fn transactions_are_cut_out_of_an_answer_with_their_blobs() {
    let mut pooled = pooled_transactions(4);
    pooled.extend([with_blobs(6, true), with_blobs(60, false)]);
    let items: Vec<_> = pooled.iter().map(|one| wrap(one.encoded.clone())).collect();
    let asked = GetPooledTransactions::new(hashes(6));
    assert_eq!(asked.decode_answer(68, answer(&items)), Ok(pooled));
    let fewer = GetPooledTransactions::new(hashes(5));
    let excess = DecodeError::Excess { got: 6, asked: 5 };
    assert_eq!(fewer.decode_answer(69, answer(&items)), Err(excess));
    let not_wrapped = answer(&[Bytes::from_static(&[2]), items[0].clone()]);
    assert!(fewer.decode_answer(69, not_wrapped).is_err());
}
