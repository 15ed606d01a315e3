//! The questions of eth and the lists that answer them, as they go over the wire.
//!
//! Every question is `[request id, argument]`, every answer `[request id, [item, ...]]`.

use alloy_primitives::B256;
use bytes::{BufMut, Bytes, BytesMut};

use super::message::{HASH_BYTES, ITEMS_MAX, code, hash, put_hashes};
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
    /// The blocks, in the order in which answers come; those the peer does not have are left out.
    pub hashes: Vec<B256>,
}

/// Asks for the receipts of blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GetReceipts {
    /// The blocks, in the order in which answers come, until the first that the peer does not have.
    pub hashes: Vec<B256>,
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

by_hashes!(GetBlockBodies, GetReceipts, GetPooledTransactions);

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
    pub fn decode(code: u8, plain: &[u8]) -> Result<(u64, Self), DecodeError> {
        let mut fields = List::whole(plain)?;
        let id = fields.item()?.u64()?;
        let argument = fields.item()?;
        fields.end()?;
        let query = match code {
            code::GET_BLOCK_HEADERS => Self::Headers(GetBlockHeaders::decode(argument)?),
            code::GET_BLOCK_BODIES => Self::Bodies(GetBlockBodies { hashes: hashes(argument)? }),
            code::GET_RECEIPTS => Self::Receipts(GetReceipts { hashes: hashes(argument)? }),
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

    /// How many items the answer has at most.
    pub fn items_max(&self) -> usize {
        match self {
            Self::Headers(query) => usize::try_from(query.limit).unwrap_or(usize::MAX).min(ITEMS_MAX),
            Self::Bodies(GetBlockBodies { hashes }) | Self::Receipts(GetReceipts { hashes }) => hashes.len(),
            Self::PooledTransactions(_) => 0,
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
    let list_len = rlp::item_len(hashes.len() * HASH_BYTES);
    let payload_len = rlp::u64_len(id) + list_len;
    let mut out = BytesMut::with_capacity(rlp::item_len(payload_len));
    rlp::put_list_head(payload_len, &mut out);
    rlp::put_u64(id, &mut out);
    put_hashes(hashes, &mut out);
    out
}

/// The RLP of an answer.
pub(super) fn encode_answer(id: u64, items: &[Bytes]) -> BytesMut {
    let items_len: usize = items.iter().map(Bytes::len).sum();
    let payload_len = rlp::u64_len(id) + rlp::item_len(items_len);
    let mut out = BytesMut::with_capacity(rlp::item_len(payload_len));
    rlp::put_list_head(payload_len, &mut out);
    rlp::put_u64(id, &mut out);
    rlp::put_list_head(items_len, &mut out);
    items.iter().for_each(|item| out.put_slice(item));
    out
}

/// The items of an answer. More than were asked for, or one below the least size an item can have,
/// is refused here, before anything is made of them.
pub(super) fn answer_items(plain: &[u8], asked: u64, least: usize) -> Result<(usize, List<'_>), DecodeError> {
    let mut fields = List::whole(plain)?;
    fields.item()?.u64()?;
    let items = fields.item()?.list()?;
    fields.end()?;
    let got = items.count(least)?;
    if got as u64 > asked {
        return Err(DecodeError::Excess { got, asked: usize::try_from(asked).unwrap_or(usize::MAX) });
    }
    Ok((got, items))
}

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
mod tests {
    use super::*;
    use crate::wire::fixtures::{Junk, unhex};

    fn encoded(id: u64, query: &Query) -> BytesMut {
        match query {
            Query::Headers(query) => encode_headers(id, query),
            Query::Bodies(GetBlockBodies { hashes })
            | Query::Receipts(GetReceipts { hashes })
            | Query::PooledTransactions(GetPooledTransactions { hashes }) => encode_hashes(id, hashes),
        }
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
        for (id, query) in samples() {
            let bytes = encoded(id, &query);
            let code = code_of(&query);
            assert_eq!(Query::decode(code, &bytes), Ok((id, query.clone())));
            for cut in 0..bytes.len() {
                assert!(Query::decode(code, &bytes[..cut]).is_err());
            }
            let mut behind = bytes.to_vec();
            behind.push(0x80);
            assert_eq!(Query::decode(code, &behind), Err(DecodeError::Trailing));
        }
        let malformed = ["c707c40102808080", "c707c50102808080", "c607c401028002", "c607c301020a", "c10701"];
        for hex in malformed {
            assert!(Query::decode(code::GET_BLOCK_HEADERS, &unhex(hex)).is_err(), "{hex}");
        }
        assert!(Query::decode(code::GET_BLOCK_BODIES, &unhex("c307c180")).is_err());
    }

    #[test]
    fn a_question_with_more_hashes_than_we_answer_keeps_the_first() {
        let hashes: Vec<_> = (0..ITEMS_MAX + 1).map(|n| B256::with_last_byte(n as u8)).collect();
        let bytes = encode_hashes(1, &hashes);
        let (_, query) = Query::decode(code::GET_RECEIPTS, &bytes).unwrap();
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
        assert_eq!(answer_items(&answer, 5, 1).unwrap().0, 5);
        assert_eq!(answer_items(&answer, 4, 1), Err(DecodeError::Excess { got: 5, asked: 4 }));
        assert_eq!(answer_items(&answer, 5, 2), Err(DecodeError::Invalid("item size")));
    }

    #[test]
    fn junk_in_a_question_is_read_canonically_or_not_at_all() {
        let mut junk = Junk::seeded(9);
        for (id, query) in samples() {
            let bytes = encoded(id, &query);
            for _ in 0..3_000 {
                let mut bytes = bytes.to_vec();
                let at = junk.below(bytes.len());
                bytes[at] = junk.next() as u8;
                if let Ok((id, read)) = Query::decode(code_of(&query), &bytes) {
                    assert_eq!(encoded(id, &read), bytes);
                }
            }
        }
    }
}
