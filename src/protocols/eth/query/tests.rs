//! Questions and answers as bytes: round trips, truncation, extra elements, junk.

use super::*;
use crate::wire::fixtures::{Junk, unhex};

fn encoded(version: u32, id: u64, query: &Query) -> BytesMut {
    match query {
        Query::Headers(query) => encode_headers(id, query),
        Query::Receipts(query) => encode_receipts(version, id, query),
        Query::Bodies(GetBlockBodies { hashes })
        | Query::PooledTransactions(GetPooledTransactions { hashes }) => encode_hashes(id, hashes),
    }
}

/// Each with every version it looks different in.
fn samples_by_version() -> Vec<(u32, u64, Query)> {
    let samples = samples();
    let mut all: Vec<_> = [68, 69, 70]
        .into_iter()
        .flat_map(|version| samples.iter().map(move |(id, query)| (version, *id, query.clone())))
        .collect();
    for first_index in [1, 55, u64::MAX] {
        let receipts = GetReceipts::new(vec![B256::repeat_byte(7); 2]).from_index(first_index);
        all.push((70, 9, Query::Receipts(receipts)));
    }
    all
}

fn code_of(query: &Query) -> u8 {
    match query.answer_code() {
        code::RECEIPTS => code::GET_RECEIPTS,
        answer => answer - 1,
    }
}

fn samples() -> Vec<(u64, Query)> {
    let hash = B256::repeat_byte(7);
    let extreme = GetBlockHeaders {
        start: HashOrNumber::Number(u64::MAX),
        limit: u64::MAX,
        skip: u64::MAX,
        reverse: true,
    };
    vec![
        (7, Query::Headers(GetBlockHeaders::range(1, 2))),
        (0, Query::Headers(GetBlockHeaders::by_hash(hash, 1_024).skip(300).reverse())),
        (u64::MAX, Query::Headers(extreme)),
        (128, Query::Bodies(GetBlockBodies::new(vec![]))),
        (1, Query::Bodies(GetBlockBodies::new(vec![hash]))),
        (1, Query::Receipts(GetReceipts::new(vec![hash; 3]))),
        (2, Query::Receipts(GetReceipts::new(vec![]))),
        (1 << 40, Query::PooledTransactions(GetPooledTransactions::new(vec![hash; 256]))),
    ]
}

#[test]
fn the_vector_of_the_profile_holds() {
    let query = GetBlockHeaders::range(1, 2);
    assert_eq!(encode_headers(7, &query), unhex("c607c401028080"));
    assert_eq!(encode_answer(7, &[]), unhex("c207c0"));
}

/// E3, E4: round trips, every truncation, something behind, an extra element in either list.
#[test]
fn questions_are_read_exactly() {
    for (version, id, query) in samples_by_version() {
        let bytes = encoded(version, id, &query);
        let code = code_of(&query);
        assert_eq!(Query::decode(version, code, &bytes), Ok((id, query.clone())));
        for cut in 0..bytes.len() {
            assert!(Query::decode(version, code, &bytes[..cut]).is_err());
        }
        let mut behind = bytes.to_vec();
        behind.push(0x80);
        assert_eq!(Query::decode(version, code, &behind), Err(DecodeError::Trailing));
    }
    let malformed = ["c707c40102808080", "c707c50102808080", "c607c401028002", "c607c301020a", "c10701"];
    for hex in malformed {
        assert!(Query::decode(69, code::GET_BLOCK_HEADERS, &unhex(hex)).is_err(), "{hex}");
    }
    assert!(Query::decode(69, code::GET_BLOCK_BODIES, &unhex("c307c180")).is_err());
}

#[test]
fn a_question_with_more_hashes_than_we_answer_keeps_the_first() {
    let hashes: Vec<_> = (0..ITEMS_MAX + 1).map(|n| B256::with_last_byte(n as u8)).collect();
    let bytes = encode_hashes(1, &hashes);
    let (_, query) = Query::decode(69, code::GET_RECEIPTS, &bytes).unwrap();
    assert_eq!(query, Query::Receipts(GetReceipts::new(hashes)));
    assert_eq!(query.items_max(), ITEMS_MAX);
}

/// E5, F18: the count is refused before any item is looked into.
#[test]
fn an_answer_with_more_than_was_asked_for_is_refused() {
    let items = vec![Bytes::from_static(&[0x01, 0xc0]); 1];
    assert!(answer_items(&encode_answer(1, &items), 1, 1).is_err(), "an item is two of them");
    let items = vec![Bytes::from_static(&[0xc0]); 5];
    let answer = encode_answer(1, &items);
    assert_eq!(answer_items(&answer, 5, 1).unwrap().count(1), Ok(5));
    assert_eq!(answer_items(&answer, 4, 1), Err(DecodeError::Excess { got: 5, asked: 4 }));
    assert_eq!(answer_items(&answer, 5, 2), Err(DecodeError::Invalid("item size")));
}

#[test]
fn junk_in_a_question_is_read_canonically_or_not_at_all() {
    let mut junk = Junk::seeded(9);
    for (version, id, query) in samples_by_version() {
        let bytes = encoded(version, id, &query);
        for _ in 0..3_000 {
            let mut bytes = bytes.to_vec();
            let at = junk.below(bytes.len());
            bytes[at] = junk.next() as u8;
            if let Ok((id, read)) = Query::decode(version, code_of(&query), &bytes) {
                assert_eq!(encoded(version, id, &read), bytes);
            }
        }
    }
}
