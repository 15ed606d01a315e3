//! What is answered, item by item, and how large an answer gets.

use alloy_primitives::B256;

use super::super::message::{each, inflate};
use super::super::query::{GetBlockBodies, GetPooledTransactions, answer_items, answer_receipts};
use super::*;
use crate::protocols::eth::fixtures::{FakeChain, consensus_receipts, receipts as typed_receipts};

fn items(chain: &FakeChain, version: u32, query: Query) -> Vec<Bytes> {
    let payload = answer(chain, version, 5, &query);
    assert_eq!(payload.code, query.answer_code());
    assert!(payload.body.len() < MESSAGE_BYTES_MAX);
    let plain = inflate(&payload.body).unwrap();
    let list = match query {
        Query::Receipts(_) => answer_receipts(version, &plain, u64::MAX).unwrap().0,
        _ => answer_items(&plain, u64::MAX, 1).unwrap(),
    };
    each(list, 1, |item| Ok(Bytes::copy_from_slice(item.encoded()))).unwrap()
}

fn numbers(chain: &FakeChain, query: GetBlockHeaders) -> Vec<u64> {
    let items = items(chain, 69, Query::Headers(query));
    items.iter().map(|item| chain.number_of(item)).collect()
}

#[test]
fn headers_follow_the_direction_the_limit_and_the_skip() {
    let chain = FakeChain::of(600);
    let range = GetBlockHeaders::range;
    assert_eq!(numbers(&chain, range(1, 3)), [1, 2, 3]);
    assert_eq!(numbers(&chain, range(10, 3).skip(1)), [10, 12, 14]);
    assert_eq!(numbers(&chain, range(10, 3).reverse()), [10, 9, 8]);
    assert_eq!(numbers(&chain, GetBlockHeaders::by_hash(chain.hash(7), 2)), [7, 8]);
    assert_eq!(numbers(&chain, GetBlockHeaders::by_hash(chain.hash(7), 2).skip(2).reverse()), [7, 4]);
    assert_eq!(numbers(&chain, range(595, 20)), [595, 596, 597, 598, 599, 600]);
    assert!(numbers(&chain, range(601, 20)).is_empty());
    assert!(numbers(&chain, GetBlockHeaders::by_hash(B256::repeat_byte(9), 5)).is_empty());
}

/// G10: the ends of the number range, in a build that checks overflow.
#[test]
fn extreme_questions_are_answered_and_never_overflow() {
    let chain = FakeChain::of(600);
    let range = |start, limit, skip| GetBlockHeaders {
        start: HashOrNumber::Number(start),
        limit,
        skip,
        reverse: false,
    };
    assert_eq!(numbers(&chain, range(3, u64::MAX, u64::MAX)), [3]);
    assert_eq!(numbers(&chain, range(3, u64::MAX, u64::MAX).reverse()), [3]);
    assert_eq!(numbers(&chain, range(3, u64::MAX, u64::MAX - 1)), [3]);
    assert_eq!(numbers(&chain, range(0, u64::MAX, 0).reverse()), [0]);
    assert_eq!(numbers(&chain, range(2, u64::MAX, 0).reverse()), [2, 1, 0]);
    assert!(numbers(&chain, range(1, 0, 0)).is_empty());
    assert!(numbers(&chain, range(u64::MAX, u64::MAX, 0)).is_empty());
    assert_eq!(numbers(&chain, range(0, u64::MAX, 0)).len(), 601);
}

#[test]
fn a_gap_ends_the_headers() {
    let mut chain = FakeChain::of(20);
    chain.forget(5);
    assert_eq!(numbers(&chain, GetBlockHeaders::range(3, 10)), [3, 4]);
    assert_eq!(numbers(&chain, GetBlockHeaders::range(7, 10).reverse()), [7, 6]);
}

#[test]
fn an_answer_has_at_most_1024_items() {
    let chain = FakeChain::of(1_100);
    let all = GetBlockHeaders { start: HashOrNumber::Number(1), limit: 2_000, skip: 0, reverse: false };
    assert_eq!(numbers(&chain, all).len(), ITEMS_MAX);
}

#[test]
fn bodies_skip_what_is_unknown_and_receipts_stop_there() {
    let chain = FakeChain::of(10);
    let asked = vec![chain.hash(4), B256::repeat_byte(9), chain.hash(2)];
    let bodies = items(&chain, 69, Query::Bodies(GetBlockBodies::new(asked.clone())));
    assert_eq!(bodies, [chain.body(&chain.hash(4)).unwrap(), chain.body(&chain.hash(2)).unwrap()]);
    let receipts = items(&chain, 69, Query::Receipts(GetReceipts::new(asked.clone())));
    assert_eq!(receipts.len(), 1);
    let pooled = Query::PooledTransactions(GetPooledTransactions::new(asked));
    assert_eq!(items(&chain, 69, pooled), Vec::<Bytes>::new());
}

#[test]
fn receipts_have_the_form_of_the_version() {
    let chain = FakeChain::of(3);
    let query = Query::Receipts(GetReceipts::new(vec![chain.hash(1)]));
    let consensus = consensus_receipts(&typed_receipts());
    assert_eq!(items(&chain, 68, query.clone()), std::slice::from_ref(&consensus));
    assert_eq!(items(&chain, 69, query), [receipts::flatten(&consensus).unwrap()]);
}

/// G11: the soft limit ends an answer with the item that reaches it; an item that no message
/// can carry is left out, inflated or as sent.
#[test]
fn an_answer_ends_with_the_item_that_reaches_its_soft_limit() {
    let mut chain = FakeChain::of(10);
    for number in 1..=10 {
        chain.swell(number, 900 * 1024);
    }
    let all: Vec<_> = (1..=10).map(|number| chain.hash(number)).collect();
    let bodies = |chain: &FakeChain| items(chain, 69, Query::Bodies(GetBlockBodies::new(all.clone()))).len();
    assert_eq!(bodies(&chain), 3);
    chain.swell(2, 17 * 1024 * 1024);
    assert_eq!(bodies(&chain), 1);
    chain.swell(2, 11 * 1024 * 1024);
    assert_eq!(bodies(&chain), 1, "incompressible, above 10 MiB as sent");
    chain.swell(2, 9 * 1024 * 1024);
    assert_eq!(bodies(&chain), 2);
}
