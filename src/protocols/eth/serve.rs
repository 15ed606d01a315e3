//! Answers to the questions of peers, copied straight from the [`Chain`], transactions
//! from the [`PooledSource`].
//!
//! An answer has at most 1,024 items and ends with the item that brings it to 2 MiB (caps/eth.md).
//! It may be shorter than asked for, and empty; it is never an error. Bodies and receipts end before
//! the first block that we do not have, so that an answer belongs to the front of its question: that
//! is how geth answers from 1.17 on, and what its own checks of an answer expect. Transactions that
//! are not in the pool are left out, and the rest follows.
//!
//! Peers such as geth take no message above 10 MiB inflated, so none of ours is larger, with one
//! exception: a single item that is larger by itself, up to the 16 MiB which a message may have on
//! either wire. Real receipts of one block are (up to eth/69, where they cannot be cut), and geth
//! sends them as well. A receiver that refuses them would not get that block from anybody, and one
//! that takes them, as we do, gets it.

use alloy_primitives::B256;
use bytes::Bytes;

use super::chain::Chain;
use super::message::{ETH_69, ETH_70, INFLATED_BYTES_MAX, ITEMS_MAX, MESSAGE_BYTES_MAX};
use super::pooled::{PooledSource, wrap};
use super::query::{GetBlockHeaders, GetReceipts, HashOrNumber, Query, encode_answer, encode_receipt_lists};
use super::receipts;
use crate::protocols::Payload;
use crate::wire::snappy;

/// An answer ends with the item that brings it here, in bytes of RLP.
const ANSWER_BYTES_SOFT: usize = 2 * 1024 * 1024;

/// The items of an answer take no more, unless there is only one. What is left of 10 MiB is more than
/// its heads, its request id, and what compression adds to bytes that cannot be compressed.
const ANSWER_BYTES_MAX: usize = 10 * 1024 * 1024 - 64 * 1024;

/// What the heads of an answer and its request id take at most, in bytes.
const ENVELOPE_BYTES: usize = 32;

/// The answer to a question with this id, compressed.
pub(super) fn answer(
    chain: &dyn Chain,
    pool: Option<&dyn PooledSource>,
    version: u32,
    id: u64,
    query: &Query,
) -> Payload {
    let (mut items, mut incomplete) = match query {
        Query::Headers(query) => (headers(chain, query), false),
        Query::Bodies(query) => (gather(query.hashes.iter().map_while(|hash| chain.body(hash))), false),
        Query::Receipts(query) if version >= ETH_70 => parts_of_receipts(chain, query),
        Query::Receipts(query) => {
            let lists = query.hashes.iter().map_while(|hash| {
                let consensus = chain.receipts(hash)?;
                if version < ETH_69 { Some(consensus) } else { receipts::flatten(&consensus).ok() }
            });
            (gather(lists), false)
        }
        Query::PooledTransactions(query) => (pooled(pool, &query.hashes), false),
    };
    let encode = |items: &[Bytes], incomplete| {
        snappy::compress(&match query {
            Query::Receipts(_) => encode_receipt_lists(version, id, items, incomplete),
            _ => encode_answer(id, items),
        })
    };
    let mut body = encode(&items, incomplete);
    if body.len() >= MESSAGE_BYTES_MAX {
        // Everything but the last item is below the soft limit, so without it there is room.
        items.pop();
        incomplete = false;
        body = encode(&items, incomplete);
    }
    Payload { code: query.answer_code(), body }
}

/// Transactions of the pool, in the order of the question; what is not there is left out.
fn pooled(pool: Option<&dyn PooledSource>, hashes: &[B256]) -> Vec<Bytes> {
    let Some(pool) = pool else { return Vec::new() };
    gather(hashes.iter().filter_map(|hash| pool.encoded(hash)).filter(|found| !found.is_empty()).map(wrap))
}

/// Takes items until there are 1,024 of them, until they have 2 MiB, or until one more would not
/// fit in a message.
fn gather(items: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut gathered = Vec::new();
    let mut bytes = 0;
    for item in items.take(ITEMS_MAX) {
        bytes += item.len();
        let max = if gathered.is_empty() { INFLATED_BYTES_MAX - ENVELOPE_BYTES } else { ANSWER_BYTES_MAX };
        if bytes > max {
            break;
        }
        gathered.push(item);
        if bytes >= ANSWER_BYTES_SOFT {
            break;
        }
    }
    gathered
}

/// The receipts of blocks as eth/70 has them: the same limits, but a list that would not fit is cut
/// behind the last receipt that does. The flag says that this was done.
fn parts_of_receipts(chain: &dyn Chain, query: &GetReceipts) -> (Vec<Bytes>, bool) {
    let mut lists: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    for hash in query.hashes.iter().take(ITEMS_MAX) {
        let Some(consensus) = chain.receipts(hash) else { break };
        let first = if lists.is_empty() { query.first_index } else { 0 };
        let Ok(Some(part)) = receipts::flatten_part(&consensus, first, ANSWER_BYTES_MAX - bytes) else {
            break;
        };
        bytes += part.list.len();
        lists.push(part.list);
        if part.incomplete {
            return (lists, true);
        }
        if bytes >= ANSWER_BYTES_SOFT {
            break;
        }
    }
    (lists, false)
}

/// Headers of the canonical chain until the first gap, the limit, or an end of the number range.
fn headers(chain: &dyn Chain, query: &GetBlockHeaders) -> Vec<Bytes> {
    let start = match query.start {
        HashOrNumber::Number(number) => Some(number),
        HashOrNumber::Hash(hash) => chain.number(&hash),
    };
    let Some(mut start) = start else { return Vec::new() };
    let mut limit = query.limit;
    let latest = chain.status().latest.number;
    if query.reverse && query.skip == 0 && start > latest {
        // A row that comes down from above our head enters the chain there, as it does with geth.
        limit = limit.saturating_sub(start - latest);
        start = latest;
    }
    let next = |&number: &u64| {
        let step = query.skip.checked_add(1)?;
        if query.reverse { number.checked_sub(step) } else { number.checked_add(step) }
    };
    let numbers = std::iter::successors(Some(start), next).take(usize::try_from(limit).unwrap_or(usize::MAX));
    gather(numbers.map_while(|number| chain.header(number)))
}

#[cfg(test)]
mod tests;
