//! What is answered, item by item, and how large an answer gets.

use alloy_primitives::B256;

use super::super::message::{each, inflate};
use super::super::query::{GetBlockBodies, GetPooledTransactions, answer_items, answer_receipts};
use super::*;
use crate::protocols::eth::fixtures::{FakeChain, consensus_receipts, receipts as typed_receipts};
use crate::wire::rlp::List;

fn items(chain: &FakeChain, version: u32, query: Query) -> Vec<Bytes> {
    let payload = answer(chain, None, version, 5, &query);
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

/// As geth from 1.17.5 on does it.
#[test]
fn bodies_and_receipts_end_before_the_first_block_that_is_unknown() {
    let chain = FakeChain::of(10);
    let asked = vec![chain.hash(4), B256::repeat_byte(9), chain.hash(2)];
    for version in [68, 69, 70] {
        let bodies = items(&chain, version, Query::Bodies(GetBlockBodies::new(asked.clone())));
        assert_eq!(bodies, [chain.body(&chain.hash(4)).unwrap()]);
        let receipts = items(&chain, version, Query::Receipts(GetReceipts::new(asked.clone())));
        assert_eq!(receipts.len(), 1);
        let unknown = GetReceipts::new(vec![asked[1]]).from_index(u64::from(version == 70));
        assert!(items(&chain, version, Query::Receipts(unknown)).is_empty());
    }
    let pooled = Query::PooledTransactions(GetPooledTransactions::new(asked));
    assert_eq!(items(&chain, 69, pooled), Vec::<Bytes>::new());
}

/// The soft limit of 2 MiB is that of every answer, and gaps are no end.
#[test]
fn transactions_come_in_the_order_of_the_question_up_to_two_mebibytes() {
    struct Pool;
    impl PooledSource for Pool {
        fn encoded(&self, hash: &B256) -> Option<Bytes> {
            // Of every ten one is missing, and one is damaged.
            (hash[0] % 10 > 1)
                .then(|| [vec![2], vec![hash[0]; 150_000]].concat().into())
                .or_else(|| (hash[0] % 10 == 1).then(Bytes::new))
        }
    }
    let asked: Vec<_> = (0..100).map(B256::repeat_byte).collect();
    let query = Query::PooledTransactions(GetPooledTransactions::new(asked));
    let payload = answer(&FakeChain::of(1), Some(&Pool), 69, 5, &query);
    let plain = inflate(&payload.body).unwrap();
    let mut list = answer_items(&plain, 100, 1).unwrap();
    let mut came = Vec::new();
    while let Some(item) = list.next_item().unwrap() {
        came.push(item.string().unwrap()[1]);
    }
    assert_eq!(came, [2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17]);
}

/// geth.md section 4: 15 headers, 600 down to 586, for 20 from 605 down.
#[test]
fn a_row_that_comes_down_from_above_the_head_enters_the_chain_there() {
    let chain = FakeChain::of(600);
    let down: Vec<_> = (586..=600).rev().collect();
    let range = |start, limit| GetBlockHeaders::range(start, limit).reverse();
    assert_eq!(numbers(&chain, range(605, 20)), down);
    assert_eq!(numbers(&chain, range(601, 2)), [600]);
    assert!(numbers(&chain, range(605, 5)).is_empty(), "all of it is above");
    assert!(numbers(&chain, range(u64::MAX, 1_024)).is_empty());
    assert!(numbers(&chain, range(605, 20).skip(1)).is_empty(), "with gaps it is not moved");
}

#[test]
fn receipts_have_the_form_of_the_version() {
    let chain = FakeChain::of(3);
    let query = Query::Receipts(GetReceipts::new(vec![chain.hash(1)]));
    let consensus = consensus_receipts(&typed_receipts());
    assert_eq!(items(&chain, 68, query.clone()), std::slice::from_ref(&consensus));
    let flat = receipts::flatten(&consensus).unwrap();
    assert_eq!(items(&chain, 69, query.clone()), std::slice::from_ref(&flat));
    assert_eq!(items(&chain, 70, query), [flat]);
}

/// The lists that answer a question about receipts, and whether the last is incomplete.
fn parts(chain: &FakeChain, version: u32, query: GetReceipts) -> (Vec<Bytes>, bool) {
    let payload = answer(chain, None, version, 5, &Query::Receipts(query));
    let plain = inflate(&payload.body).unwrap();
    let (lists, incomplete) = answer_receipts(version, &plain, u64::MAX).unwrap();
    let lists = each(lists, 1, |item| Ok(Bytes::copy_from_slice(item.encoded())));
    (lists.unwrap(), incomplete)
}

/// The size of the answer as its receiver counts it.
fn inflated(chain: &FakeChain, version: u32, query: GetReceipts) -> usize {
    inflate(&answer(chain, None, version, 5, &Query::Receipts(query)).body).unwrap().len()
}

#[test]
fn receipts_start_at_the_index_that_is_asked_for() {
    let chain = FakeChain::of(3);
    let whole = receipts::flatten(&consensus_receipts(&typed_receipts())).unwrap();
    let all = typed_receipts().len() as u64;
    let asked = GetReceipts::new(vec![chain.hash(1), chain.hash(2)]);
    for first in 0..all {
        let (lists, incomplete) = parts(&chain, 70, asked.clone().from_index(first));
        assert_eq!((lists.len(), incomplete), (2, false));
        assert_eq!(receipts::count(&lists[0]), Ok((all - first) as usize));
        assert!(whole.ends_with(List::whole(&lists[0]).unwrap().rest()));
        assert_eq!(lists[1], whole, "the index is for the first block only");
    }
    // geth.md section 4: an empty list that says it is all there is.
    for past in [all, all + 1, u64::MAX] {
        let only = GetReceipts::new(vec![chain.hash(1)]).from_index(past);
        assert_eq!(parts(&chain, 70, only), (vec![Bytes::from_static(&[0xc0])], false));
    }
}

/// EIP-7975: a list that no message can carry is cut, and what was cut off can be asked for.
#[test]
fn a_block_with_too_many_receipts_for_a_message_comes_in_parts() {
    let mut chain = FakeChain::of(20);
    // 60 receipts of 500 KiB: 30 MB.
    chain.swell_receipts(11, 60, 500 * 1024);
    let whole = receipts::flatten(&chain.receipts(&chain.hash(11)).unwrap()).unwrap();
    let hashes = |from| (from..=20).map(|number| chain.hash(number)).collect::<Vec<_>>();
    let (first, incomplete) = parts(&chain, 70, GetReceipts::new(hashes(9)));
    assert!(incomplete);
    assert_eq!(first.len(), 3, "two small blocks before it, none behind it");
    let mut got = vec![first[2].clone()];
    loop {
        let index = got.iter().map(|part| receipts::count(part).unwrap() as u64).sum();
        let asked = GetReceipts::new(hashes(11)).from_index(index);
        assert!(inflated(&chain, 70, asked.clone()) <= 10 * 1024 * 1024);
        let (lists, incomplete) = parts(&chain, 70, asked);
        got.push(lists[0].clone());
        if !incomplete {
            break;
        }
        assert_eq!(lists.len(), 1);
    }
    assert_eq!(got.len(), 3, "not cut into more parts than need be");
    assert_eq!(receipts::join(&got, whole.len()).unwrap(), whole);
}

/// One receipt that fits in no message: there is no list that would be true.
#[test]
fn a_receipt_that_fits_in_no_message_ends_the_answer_before_its_block() {
    let mut chain = FakeChain::of(5);
    chain.swell_receipts(3, 2, 11 * 1024 * 1024);
    let hashes: Vec<_> = (2..=4).map(|number| chain.hash(number)).collect();
    let (lists, incomplete) = parts(&chain, 70, GetReceipts::new(hashes.clone()));
    assert_eq!((lists.len(), incomplete), (1, false));
    assert_eq!(parts(&chain, 70, GetReceipts::new(hashes[1..].to_vec())), (Vec::new(), false));
}

/// Peers such as geth take no more than 10 MiB inflated, but a single block has to go somehow: alone.
#[test]
fn up_to_eth_69_only_a_block_by_itself_makes_an_answer_above_ten_mebibytes() {
    let mut chain = FakeChain::of(20);
    // Compressible, as the receipts of geth's test chain are.
    chain.swell_receipts(11, 60, 180 * 1024);
    let hashes = |from| (from..=20).map(|number| chain.hash(number)).collect::<Vec<_>>();
    for version in [68, 69] {
        let before = GetReceipts::new(hashes(9));
        assert_eq!(parts(&chain, version, before).0.len(), 2);
        let alone = GetReceipts::new(hashes(11));
        assert_eq!(parts(&chain, version, alone.clone()).0.len(), 1);
        let bytes = inflated(&chain, version, alone);
        assert!(bytes > 10 * 1024 * 1024 && bytes < INFLATED_BYTES_MAX, "{bytes}");
    }
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
