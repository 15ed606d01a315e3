//! Who is told what of new transactions.
//!
//! Whole to about the square root of the peers, as hashes to all others that do not know them
//! (caps/eth.md, "Transaction Exchange"). Blob transactions and large ones only as hashes (EIP-4844).

use std::collections::BTreeMap;

use super::action::News;
use super::known::KnownHashes;
use crate::ids::SessionId;
use crate::protocols::eth::{BLOB_KIND, PooledHash, PooledTransaction};

/// Larger transactions are announced only.
pub(super) const WHOLE_BYTES_MAX: usize = 128 * 1024;
/// Hashes of an announcement.
pub(super) const HASHES_MAX: usize = 4_096;
/// Bytes of a message with whole transactions; one alone may have more.
const MESSAGE_BYTES_MAX: usize = 100 * 1024;

/// Shares transactions among peers, and remembers that they know them then. Those at the front get
/// the whole ones, so that the order says whose turn it is; all transactions of a call go to the same
/// peers, in the order in which they are.
///
/// Peers that are told the same are told it together.
pub(super) fn share(
    transactions: &[PooledTransaction],
    peers: &mut [(SessionId, &mut KnownHashes)],
) -> Vec<(Vec<SessionId>, News)> {
    let whole_max = peers.len().isqrt().max(1);
    let mut whole = vec![Vec::new(); peers.len()];
    let mut hashes = vec![Vec::new(); peers.len()];
    for (index, transaction) in transactions.iter().enumerate() {
        let small = transaction.kind != BLOB_KIND && transaction.encoded.len() <= WHOLE_BYTES_MAX;
        let mut left = if small { whole_max } else { 0 };
        for ((_, known), (whole, hashes)) in peers.iter_mut().zip(whole.iter_mut().zip(&mut hashes)) {
            if !known.insert(transaction.hash) {
                continue;
            }
            if left > 0 {
                left -= 1;
                whole.push(index);
            } else {
                hashes.push(index);
            }
        }
    }
    let at = |indexes: &[usize]| -> Vec<PooledTransaction> {
        indexes.iter().filter_map(|&index| transactions.get(index)).cloned().collect()
    };
    let mut news = Vec::new();
    for (indexes, to) in grouped(peers, whole) {
        news.extend(messages(at(&indexes)).map(|message| (to.clone(), News::Whole(message))));
    }
    for (indexes, to) in grouped(peers, hashes) {
        let hashes: Vec<PooledHash> = at(&indexes).iter().map(PooledTransaction::announcement).collect();
        news.extend(hashes.chunks(HASHES_MAX).map(|part| (to.clone(), News::Hashes(part.to_vec()))));
    }
    news
}

/// The peers by what they get; who gets nothing is left out.
fn grouped(
    peers: &[(SessionId, &mut KnownHashes)],
    lists: Vec<Vec<usize>>,
) -> BTreeMap<Vec<usize>, Vec<SessionId>> {
    let mut groups: BTreeMap<Vec<usize>, Vec<SessionId>> = BTreeMap::new();
    for ((session, _), list) in peers.iter().zip(lists) {
        if !list.is_empty() {
            groups.entry(list).or_default().push(*session);
        }
    }
    groups
}

/// Transactions cut into messages.
fn messages(transactions: Vec<PooledTransaction>) -> impl Iterator<Item = Vec<PooledTransaction>> {
    let mut rest = transactions.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut message = vec![rest.next()?];
        let mut bytes = message[0].encoded.len();
        while let Some(next) = rest.next_if(|next| bytes + next.encoded.len() <= MESSAGE_BYTES_MAX) {
            bytes += next.encoded.len();
            message.push(next);
        }
        Some(message)
    })
}
