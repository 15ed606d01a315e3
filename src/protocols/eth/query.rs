//! The questions of eth and the lists that answer them, as they go over the wire.
//!
//! Every question is `[request id, argument]`, every answer `[request id, [item, ...]]`; from eth/70
//! receipts have a number between the two, in the question and in the answer.

use alloy_primitives::B256;
use bytes::{BufMut, Bytes, BytesMut};

use super::message::{ETH_70, HASH_BYTES, ITEMS_MAX, asked_items, code, hash, put_hashes};
use crate::wire::rlp::{Item, List};
use crate::wire::{DecodeError, rlp};

/// Where a row of headers starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashOrNumber {
    /// At the block with this hash, wherever it is.
    Hash(B256),
    /// At this number of the canonical chain.
    Number(u64),
}

/// Asks for headers: `limit` of them, from `start`, every `skip + 1`-th, rising unless `reverse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetBlockHeaders {
    /// The first one.
    pub start: HashOrNumber,
    /// How many at most.
    pub limit: u64,
    /// How many to leave out between two.
    pub skip: u64,
    /// Towards the genesis.
    pub reverse: bool,
}

impl GetBlockHeaders {
    /// The `limit` headers from number `start` up; above 1,024 it is cut down to that, because no
    /// answer has more.
    pub fn range(start: u64, limit: u64) -> Self {
        Self::from(HashOrNumber::Number(start), limit)
    }

    /// The `limit` headers from the block with this hash up, cut down as in [`Self::range`].
    pub fn by_hash(start: B256, limit: u64) -> Self {
        Self::from(HashOrNumber::Hash(start), limit)
    }

    /// The same, leaving out `skip` headers between two.
    pub fn skip(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// The same, towards the genesis.
    pub fn reverse(self) -> Self {
        Self { reverse: true, ..self }
    }

    fn from(start: HashOrNumber, limit: u64) -> Self {
        Self { start, limit: limit.min(ITEMS_MAX as u64), skip: 0, reverse: false }
    }

    /// Reads the argument.
    fn decode(item: Item<'_>) -> Result<Self, DecodeError> {
        let mut fields = item.list()?;
        let start = fields.item()?;
        let start = match start.string()?.len() {
            32 => HashOrNumber::Hash(hash(start)?),
            _ => HashOrNumber::Number(start.u64()?),
        };
        let (limit, skip) = (fields.item()?.u64()?, fields.item()?.u64()?);
        let reverse = match fields.item()?.u64()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::Invalid("reverse")),
        };
        fields.end()?;
        Ok(Self { start, limit, skip, reverse })
    }

    fn put(&self, out: &mut BytesMut) {
        let mut fields = BytesMut::with_capacity(64);
        match self.start {
            HashOrNumber::Hash(hash) => rlp::put_bytes(hash.as_slice(), &mut fields),
            HashOrNumber::Number(number) => rlp::put_u64(number, &mut fields),
        }
        rlp::put_u64(self.limit, &mut fields);
        rlp::put_u64(self.skip, &mut fields);
        rlp::put_u64(u64::from(self.reverse), &mut fields);
        rlp::put_list_head(fields.len(), out);
        out.put_slice(&fields);
    }
}

/// Asks for the bodies of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetBlockBodies {
    /// The blocks, in the order in which answers come; those the peer does not have are left out, or
    /// end the answer.
    pub hashes: Vec<B256>,
}

/// Asks for the receipts of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetReceipts {
    /// The blocks, in the order in which answers come, until the first that the peer does not have.
    pub hashes: Vec<B256>,
    /// The place, in the first block, of the first receipt wanted; the blocks behind it are wanted
    /// whole. Up to eth/69 it cannot be said: there a question with another one than 0 ends as
    /// [`Unsupported`](crate::error::RequestError::Unsupported) and nothing is sent.
    pub first_index: u64,
}

impl GetReceipts {
    /// Asks for all receipts of these blocks; what is beyond 1,024 blocks is cut off, because no
    /// answer has more.
    pub fn new(mut hashes: Vec<B256>) -> Self {
        hashes.truncate(ITEMS_MAX);
        Self { hashes, first_index: 0 }
    }

    /// The same, from this receipt of the first block on: how the rest of a block is asked for whose
    /// receipts came in part ([`ReceiptLists::last_incomplete`](super::ReceiptLists::last_incomplete)).
    pub fn from_index(self, first_index: u64) -> Self {
        Self { first_index, ..self }
    }
}

/// Asks for transactions by hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetPooledTransactions {
    /// The transactions, in the order in which answers come; gaps are allowed.
    pub hashes: Vec<B256>,
}

/// A constructor that keeps to the 1,024 items an answer has at most.
macro_rules! by_hashes {
    ($($question:ident),*) => {$(
        impl $question {
            /// Asks for these; what is beyond 1,024 is cut off, because no answer has more.
            pub fn new(mut hashes: Vec<B256>) -> Self {
                hashes.truncate(ITEMS_MAX);
                Self { hashes }
            }
        }
    )*};
}

by_hashes!(GetBlockBodies, GetPooledTransactions);

/// Any of the questions, as we answer them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Headers.
    Headers(GetBlockHeaders),
    /// Bodies.
    Bodies(GetBlockBodies),
    /// Receipts.
    Receipts(GetReceipts),
    /// Transactions.
    PooledTransactions(GetPooledTransactions),
}

impl Query {
    /// Reads a question and its request id. Of a list of hashes the first 1,024 are kept: nothing
    /// beyond them is answered.
    pub fn decode(version: u32, code: u8, plain: &[u8]) -> Result<(u64, Self), DecodeError> {
        let mut fields = List::whole(plain)?;
        let id = fields.item()?.u64()?;
        let indexed = code == code::GET_RECEIPTS && version >= ETH_70;
        let first_index = if indexed { fields.item()?.u64()? } else { 0 };
        let argument = fields.item()?;
        fields.end()?;
        let query = match code {
            code::GET_BLOCK_HEADERS => Self::Headers(GetBlockHeaders::decode(argument)?),
            code::GET_BLOCK_BODIES => Self::Bodies(GetBlockBodies { hashes: hashes(argument)? }),
            code::GET_RECEIPTS => Self::Receipts(GetReceipts { hashes: hashes(argument)?, first_index }),
            code::GET_POOLED_TRANSACTIONS => {
                Self::PooledTransactions(GetPooledTransactions { hashes: hashes(argument)? })
            }
            _ => return Err(DecodeError::Invalid("message code")),
        };
        Ok((id, query))
    }

    /// The code of the answer.
    pub fn answer_code(&self) -> u8 {
        match self {
            Self::Headers(_) => code::BLOCK_HEADERS,
            Self::Bodies(_) => code::BLOCK_BODIES,
            Self::Receipts(_) => code::RECEIPTS,
            Self::PooledTransactions(_) => code::POOLED_TRANSACTIONS,
        }
    }

    /// Whether an answer is made in no time: few items, and none that is written anew. Receipts are,
    /// and those of one block can have megabytes; so can a transaction with its blobs.
    pub fn is_light(&self) -> bool {
        const ITEMS: usize = 16;
        match self {
            Self::Receipts(GetReceipts { hashes, .. })
            | Self::PooledTransactions(GetPooledTransactions { hashes }) => hashes.is_empty(),
            _ => self.items_max() <= ITEMS,
        }
    }

    /// How many items the answer has at most.
    pub fn items_max(&self) -> usize {
        match self {
            Self::Headers(query) => usize::try_from(query.limit).unwrap_or(usize::MAX).min(ITEMS_MAX),
            Self::Bodies(GetBlockBodies { hashes })
            | Self::Receipts(GetReceipts { hashes, .. })
            | Self::PooledTransactions(GetPooledTransactions { hashes }) => hashes.len(),
        }
    }
}

/// The RLP of a question about headers.
pub(super) fn encode_headers(id: u64, query: &GetBlockHeaders) -> BytesMut {
    let mut argument = BytesMut::with_capacity(64);
    query.put(&mut argument);
    let mut out = BytesMut::with_capacity(argument.len() + 16);
    rlp::put_list_head(rlp::u64_len(id) + argument.len(), &mut out);
    rlp::put_u64(id, &mut out);
    out.put_slice(&argument);
    out
}

/// The RLP of a question by hashes.
pub(super) fn encode_hashes(id: u64, hashes: &[B256]) -> BytesMut {
    encode_hashes_from(id, None, hashes)
}

/// The RLP of a question about receipts, which starts at its index only from eth/70 on.
pub(super) fn encode_receipts(version: u32, id: u64, query: &GetReceipts) -> BytesMut {
    encode_hashes_from(id, (version >= ETH_70).then_some(query.first_index), &query.hashes)
}

fn encode_hashes_from(id: u64, first: Option<u64>, hashes: &[B256]) -> BytesMut {
    let list_len = rlp::item_len(hashes.len() * HASH_BYTES);
    let mut out = begin(id, first, list_len);
    put_hashes(hashes, &mut out);
    out
}

/// The RLP of an answer.
pub(super) fn encode_answer(id: u64, items: &[Bytes]) -> BytesMut {
    put_items(begin(id, None, rlp::item_len(items_len(items))), items)
}

/// The RLP of an answer with receipts, as the version has it: `incomplete` is said from eth/70 on.
pub(super) fn encode_receipt_lists(version: u32, id: u64, lists: &[Bytes], incomplete: bool) -> BytesMut {
    let flag = (version >= ETH_70).then_some(u64::from(incomplete));
    put_items(begin(id, flag, rlp::item_len(items_len(lists))), lists)
}

/// The head of a message, its request id, and the number that some have behind it.
fn begin(id: u64, number: Option<u64>, argument_len: usize) -> BytesMut {
    let payload_len = rlp::u64_len(id) + number.map_or(0, rlp::u64_len) + argument_len;
    let mut out = BytesMut::with_capacity(rlp::item_len(payload_len));
    rlp::put_list_head(payload_len, &mut out);
    rlp::put_u64(id, &mut out);
    if let Some(number) = number {
        rlp::put_u64(number, &mut out);
    }
    out
}

fn items_len(items: &[Bytes]) -> usize {
    items.iter().map(Bytes::len).sum()
}

fn put_items(mut out: BytesMut, items: &[Bytes]) -> BytesMut {
    rlp::put_list_head(items_len(items), &mut out);
    items.iter().for_each(|item| out.put_slice(item));
    out
}

/// The items of an answer, not more than were asked for.
pub(super) fn answer_items(plain: &[u8], asked: u64, least: usize) -> Result<List<'_>, DecodeError> {
    let mut fields = List::whole(plain)?;
    fields.item()?.u64()?;
    let items = fields.item()?;
    fields.end()?;
    asked_items(items, asked, least)
}

/// The lists of an answer with receipts, and whether the last of them is only the front of a block's.
pub(super) fn answer_receipts(
    version: u32,
    plain: &[u8],
    asked: u64,
) -> Result<(List<'_>, bool), DecodeError> {
    let mut fields = List::whole(plain)?;
    fields.item()?.u64()?;
    let incomplete = match if version >= ETH_70 { fields.item()?.u64()? } else { 0 } {
        0 => false,
        1 => true,
        _ => return Err(DecodeError::Invalid("incomplete flag")),
    };
    let items = fields.item()?;
    fields.end()?;
    Ok((asked_items(items, asked, RECEIPT_LIST_BYTES_MIN)?, incomplete))
}

/// The least the receipts of a block take: an empty list.
const RECEIPT_LIST_BYTES_MIN: usize = 1;

fn hashes(argument: Item<'_>) -> Result<Vec<B256>, DecodeError> {
    let mut items = argument.list()?;
    let mut hashes = Vec::with_capacity(items.count(HASH_BYTES)?.min(ITEMS_MAX));
    while let Some(item) = items.next_item()? {
        let hash = hash(item)?;
        if hashes.len() < ITEMS_MAX {
            hashes.push(hash);
        }
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests;
