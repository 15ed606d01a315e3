//! The questions we ask, as [`Request`]s: encoded by the session, their answers decoded by the
//! caller.

use alloy_consensus::{BlockBody, Header, ReceiptEnvelope};
use bytes::Bytes;

use super::message::{
    ETH_70, HEADER_BYTES_MIN, TRANSACTION_BYTES_MIN, Transaction, check_body, code, each, inflate, typed,
};
use super::pooled::PooledTransaction;
use super::query::{
    GetBlockBodies, GetBlockHeaders, GetPooledTransactions, GetReceipts, answer_items, answer_receipts,
    encode_hashes, encode_headers, encode_receipts,
};
use super::receipts;
use crate::protocols::Request;
use crate::wire::rlp::{EMPTY_LIST, Item};
use crate::wire::{DecodeError, snappy};

/// The [`Exchange::name`](crate::protocols::Exchange::name) of eth.
pub const NAME: &str = "eth";

/// A question whose answer is a list, so that its items can be had without being decoded.
pub trait ListRequest: Request {
    /// The least an item of the answer takes, in bytes.
    const ITEM_BYTES_MIN: usize;

    /// How many items were asked for.
    fn asked(&self) -> u64;
}

/// The same question; its answer is cut into its RLP items, which are not decoded.
///
/// The items share the memory of the whole answer. Of each of them only its outermost head is
/// known to be canonical, and that it is a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Raw<R>(pub R);

impl<R: ListRequest> Request for Raw<R> {
    type Response = Vec<Bytes>;
    const CODE: u8 = R::CODE;
    const ANSWER: u8 = R::ANSWER;

    fn exchange() -> &'static str {
        R::exchange()
    }

    fn can_be_asked(&self, version: u32) -> bool {
        self.0.can_be_asked(version)
    }

    fn encode(&self, version: u32, id: u64) -> Bytes {
        self.0.encode(version, id)
    }

    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Vec<Bytes>, DecodeError> {
        let plain = inflate(&body)?;
        decode_items(&plain, self.0.asked(), R::ITEM_BYTES_MIN, |item| {
            item.list().map(|_| plain.slice_ref(item.encoded()))
        })
    }
}

impl Request for GetBlockHeaders {
    type Response = Vec<Header>;
    const CODE: u8 = code::GET_BLOCK_HEADERS;
    const ANSWER: u8 = code::BLOCK_HEADERS;

    fn exchange() -> &'static str {
        NAME
    }

    fn encode(&self, _version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_headers(id, self))
    }

    /// A header takes about 800 bytes in memory: less than twice its RLP.
    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Vec<Header>, DecodeError> {
        let plain = inflate(&body)?;
        decode_items(&plain, self.asked(), Self::ITEM_BYTES_MIN, |item| typed(item.encoded(), "header"))
    }
}

impl ListRequest for GetBlockHeaders {
    const ITEM_BYTES_MIN: usize = HEADER_BYTES_MIN;

    fn asked(&self) -> u64 {
        self.limit
    }
}

impl GetBlockHeaders {
    /// Asks for the headers' RLP rather than for values.
    pub fn raw(self) -> Raw<Self> {
        Raw(self)
    }
}

impl Request for GetBlockBodies {
    type Response = Vec<BlockBody<Transaction>>;
    const CODE: u8 = code::GET_BLOCK_BODIES;
    const ANSWER: u8 = code::BLOCK_BODIES;

    fn exchange() -> &'static str {
        NAME
    }

    fn encode(&self, _version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_hashes(id, &self.hashes))
    }

    /// Fewer bodies than were asked for are no error: the caller matches them to headers by their
    /// roots. A body takes at most about five times its RLP in memory.
    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Self::Response, DecodeError> {
        let plain = inflate(&body)?;
        decode_items(&plain, self.asked(), Self::ITEM_BYTES_MIN, |item| {
            check_body(item.list()?)?;
            typed(item.encoded(), "body")
        })
    }
}

impl ListRequest for GetBlockBodies {
    /// Two empty lists.
    const ITEM_BYTES_MIN: usize = 3;

    fn asked(&self) -> u64 {
        self.hashes.len() as u64
    }
}

impl GetBlockBodies {
    /// Asks for the bodies' RLP rather than for values.
    pub fn raw(self) -> Raw<Self> {
        Raw(self)
    }
}

/// The receipts of blocks as values: the answer to [`GetReceipts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// For each block its receipts; of the first, those from the index on that was asked for. Blooms
    /// come from the peer up to eth/68, and are computed from the logs from eth/69.
    pub blocks: Vec<Vec<ReceiptEnvelope>>,
    /// The last block has more receipts than are in its list, which holds one at least. Only from
    /// eth/70 on.
    pub last_incomplete: bool,
}

/// The receipts of blocks as they came: the answer to [`GetReceipts::raw`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptLists {
    /// For each block the RLP list of its receipts, as in [`Receipts::blocks`]: in consensus form up
    /// to eth/68, flat from eth/69. All are slices of the message. Nothing within a list has been
    /// looked at; [`receipts::verify`] does that.
    pub blocks: Vec<Bytes>,
    /// The last block has more receipts than are in its list, which is not empty. Only from eth/70 on.
    pub last_incomplete: bool,
}

impl Request for GetReceipts {
    type Response = Receipts;
    const CODE: u8 = code::GET_RECEIPTS;
    const ANSWER: u8 = code::RECEIPTS;

    fn exchange() -> &'static str {
        NAME
    }

    fn can_be_asked(&self, version: u32) -> bool {
        self.first_index == 0 || version >= ETH_70
    }

    fn encode(&self, version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_receipts(version, id, self))
    }

    /// A receipt takes less than 400 bytes in memory however small it is, and 80 more per log: at most
    /// four times a log of the least size. Of more than 262,144 receipts in one answer no values are made.
    fn decode_answer(&self, version: u32, body: Bytes) -> Result<Receipts, DecodeError> {
        let plain = inflate(&body)?;
        let (lists, last_incomplete) = answer_receipts(version, &plain, self.hashes.len() as u64)?;
        let mut room = receipts::RECEIPTS_MAX;
        let blocks = each(lists, 1, |item| receipts::decode(version, item.list()?, &mut room))?;
        checked_flag(last_incomplete, blocks.last().is_some_and(|last| !last.is_empty()))?;
        Ok(Receipts { blocks, last_incomplete })
    }
}

impl GetReceipts {
    /// Asks for the RLP of each block's receipts rather than for values.
    pub fn raw(self) -> Raw<Self> {
        Raw(self)
    }
}

impl Request for Raw<GetReceipts> {
    type Response = ReceiptLists;
    const CODE: u8 = GetReceipts::CODE;
    const ANSWER: u8 = GetReceipts::ANSWER;

    fn exchange() -> &'static str {
        NAME
    }

    fn can_be_asked(&self, version: u32) -> bool {
        self.0.can_be_asked(version)
    }

    fn encode(&self, version: u32, id: u64) -> Bytes {
        self.0.encode(version, id)
    }

    fn decode_answer(&self, version: u32, body: Bytes) -> Result<ReceiptLists, DecodeError> {
        let plain = inflate(&body)?;
        let (lists, last_incomplete) = answer_receipts(version, &plain, self.0.hashes.len() as u64)?;
        let blocks = each(lists, 1, |item| item.list().map(|_| plain.slice_ref(item.encoded())))?;
        checked_flag(last_incomplete, blocks.last().is_some_and(|last| last[..] != [EMPTY_LIST]))?;
        Ok(ReceiptLists { blocks, last_incomplete })
    }
}

impl Request for GetPooledTransactions {
    type Response = Vec<PooledTransaction>;
    const CODE: u8 = code::GET_POOLED_TRANSACTIONS;
    const ANSWER: u8 = code::POOLED_TRANSACTIONS;

    fn exchange() -> &'static str {
        NAME
    }

    fn encode(&self, _version: u32, id: u64) -> Bytes {
        snappy::compress(&encode_hashes(id, &self.hashes))
    }

    /// Fewer transactions than were asked for are no error: the caller knows them by their hashes. A
    /// transaction takes at most three times its RLP in memory.
    fn decode_answer(&self, _version: u32, body: Bytes) -> Result<Self::Response, DecodeError> {
        let plain = inflate(&body)?;
        let asked = self.hashes.len() as u64;
        decode_items(&plain, asked, TRANSACTION_BYTES_MIN, PooledTransaction::from_item)
    }
}

/// A part without a receipt would be no progress, and whoever asks for the rest would ask for ever.
fn checked_flag(incomplete: bool, something_came: bool) -> Result<(), DecodeError> {
    if incomplete && !something_came { Err(DecodeError::Invalid("incomplete flag")) } else { Ok(()) }
}

fn decode_items<'a, T>(
    plain: &'a [u8],
    asked: u64,
    least: usize,
    decode: impl FnMut(Item<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    each(answer_items(plain, asked, least)?, least, decode)
}

#[cfg(test)]
mod tests;
