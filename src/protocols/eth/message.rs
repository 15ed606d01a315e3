//! What all eth messages share: codes, limits, and the way from a body to RLP and back.
//!
//! Codes are relative to eth (Status is 0), as on the substream of eth-stream section 2; over RLPx
//! the session adds the capability's offset. The table is devp2p's caps/eth.md.

use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};

use crate::disconnect::Breach;
use crate::protocols::{Class, Payload};
use crate::wire::rlp::{Head, Item, List};
use crate::wire::{DecodeError, Encode, rlp, snappy};

pub(super) use crate::chain::values::{hash, typed, u256};
pub use crate::chain::verify::{HEADER_BYTES_MIN, TRANSACTION_BYTES_MIN, WITHDRAWAL_BYTES_MIN};

/// The codes of eth/68, eth/69 and eth/70.
pub mod code {
    /// The handshake.
    pub const STATUS: u8 = 0x00;
    /// Hashes of blocks that were imported. Before the merge only.
    pub const NEW_BLOCK_HASHES: u8 = 0x01;
    /// Whole transactions.
    pub const TRANSACTIONS: u8 = 0x02;
    /// Asks for headers.
    pub const GET_BLOCK_HEADERS: u8 = 0x03;
    /// Answers with headers.
    pub const BLOCK_HEADERS: u8 = 0x04;
    /// Asks for bodies.
    pub const GET_BLOCK_BODIES: u8 = 0x05;
    /// Answers with bodies.
    pub const BLOCK_BODIES: u8 = 0x06;
    /// A whole block. Before the merge only.
    pub const NEW_BLOCK: u8 = 0x07;
    /// Hashes of transactions that can be asked for.
    pub const NEW_POOLED_TRANSACTION_HASHES: u8 = 0x08;
    /// Asks for transactions by hash.
    pub const GET_POOLED_TRANSACTIONS: u8 = 0x09;
    /// Answers with transactions.
    pub const POOLED_TRANSACTIONS: u8 = 0x0a;
    /// Asks for receipts.
    pub const GET_RECEIPTS: u8 = 0x0f;
    /// Answers with receipts.
    pub const RECEIPTS: u8 = 0x10;
    /// The range of blocks that can be asked for now. From eth/69.
    pub const BLOCK_RANGE_UPDATE: u8 = 0x11;

    /// The specification's noun for a code.
    pub fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            STATUS => "Status",
            NEW_BLOCK_HASHES => "NewBlockHashes",
            TRANSACTIONS => "Transactions",
            GET_BLOCK_HEADERS => "GetBlockHeaders",
            BLOCK_HEADERS => "BlockHeaders",
            GET_BLOCK_BODIES => "GetBlockBodies",
            BLOCK_BODIES => "BlockBodies",
            NEW_BLOCK => "NewBlock",
            NEW_POOLED_TRANSACTION_HASHES => "NewPooledTransactionHashes",
            GET_POOLED_TRANSACTIONS => "GetPooledTransactions",
            POOLED_TRANSACTIONS => "PooledTransactions",
            GET_RECEIPTS => "GetReceipts",
            RECEIPTS => "Receipts",
            BLOCK_RANGE_UPDATE => "BlockRangeUpdate",
            _ => return None,
        })
    }
}

/// The first version with the flat receipts, the short Status and BlockRangeUpdate.
pub const ETH_69: u32 = 69;

/// The first version in which a block's receipts may come in parts (EIP-7975).
pub const ETH_70: u32 = 70;

/// The largest message inflated, in bytes (eth-stream section 2).
pub const INFLATED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest message as sent, in bytes, its code included (eth-stream section 2).
pub const MESSAGE_BYTES_MAX: usize = 10 * 1024 * 1024;

/// The most items we ask for or answer with (caps/eth.md).
pub const ITEMS_MAX: usize = 1_024;

/// The least a log takes in RLP, in bytes: an address and two empty fields.
pub const LOG_BYTES_MIN: usize = 24;
/// What a hash takes in RLP, in bytes.
pub(super) const HASH_BYTES: usize = 33;

/// A transaction as blocks and broadcasts carry it: blob transactions without their blobs.
pub type Transaction = EthereumTxEnvelope<TxEip4844>;

/// What a message is, from its code and the first bytes of its RLP.
///
/// The prefix holds the whole RLP or at least 16 bytes of it: enough for the head of the list (at
/// most 4 bytes within [`INFLATED_BYTES_MAX`]) and a request id (at most 9).
pub fn classify(version: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
    use code::*;
    match code {
        GET_BLOCK_HEADERS | GET_BLOCK_BODIES | GET_RECEIPTS | GET_POOLED_TRANSACTIONS => {
            request_id(prefix).map(Class::Request).map_err(|_| Breach::Malformed)
        }
        BLOCK_HEADERS | BLOCK_BODIES | RECEIPTS | POOLED_TRANSACTIONS => {
            request_id(prefix).map(Class::Answer).map_err(|_| Breach::Malformed)
        }
        NEW_BLOCK_HASHES | TRANSACTIONS | NEW_BLOCK | NEW_POOLED_TRANSACTION_HASHES => Ok(Class::OneWay),
        BLOCK_RANGE_UPDATE if version >= ETH_69 => Ok(Class::OneWay),
        STATUS => Err(Breach::StatusTwice),
        _ => Err(Breach::UnknownCode),
    }
}

fn request_id(prefix: &[u8]) -> Result<u64, DecodeError> {
    let head = Head::read(prefix)?;
    let mut items = prefix.get(head.len..).ok_or(DecodeError::Truncated)?;
    if head.is_list { Item::read(&mut items)?.u64() } else { Err(DecodeError::Invalid("string for a list")) }
}

/// A message ready to be sent: encoded, then compressed.
pub fn payload(code: u8, message: &impl Encode) -> Payload {
    let mut plain = BytesMut::new();
    message.encode(&mut plain);
    Payload { code, body: snappy::compress(&plain) }
}

/// The RLP of a body as it came over the wire.
pub fn inflate(body: &[u8]) -> Result<Bytes, DecodeError> {
    snappy::inflate(body, INFLATED_BYTES_MAX)
}

/// The rule that a body broke which [`inflate`] refused.
pub(super) fn inflate_breach(error: DecodeError) -> Breach {
    match error {
        DecodeError::TooLarge { .. } => Breach::TooLarge,
        _ => Breach::Compression,
    }
}

/// Takes the RLP item at the front of `bytes` off it.
pub(super) fn take_item(bytes: &mut Bytes) -> Result<Bytes, DecodeError> {
    let mut rest = &bytes[..];
    let len = Item::read(&mut rest)?.encoded().len();
    Ok(bytes.split_to(len))
}

/// Decodes each item of a list, after all of them were counted against their least size.
pub(super) fn each<'a, T>(
    mut items: List<'a>,
    least: usize,
    mut decode: impl FnMut(Item<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut values = Vec::with_capacity(items.count(least)?);
    while let Some(item) = items.next_item()? {
        values.push(decode(item)?);
    }
    Ok(values)
}

/// The items of an answer's list. More than were asked for, or one below the least size an item can
/// have, is refused here, before anything is made of them.
pub(super) fn asked_items(list: Item<'_>, asked: u64, least: usize) -> Result<List<'_>, DecodeError> {
    let items = list.list()?;
    match items.count(least)? {
        got if got as u64 > asked => {
            Err(DecodeError::Excess { got, asked: usize::try_from(asked).unwrap_or(usize::MAX) })
        }
        _ => Ok(items),
    }
}

/// Whether these are the fields of a body: `transactions, ommers, withdrawals?`, each of items that
/// are as large as they must be.
pub(super) fn check_body(mut fields: List<'_>) -> Result<(), DecodeError> {
    fields.item()?.list()?.count(TRANSACTION_BYTES_MIN)?;
    fields.item()?.list()?.count(HEADER_BYTES_MIN)?;
    if let Some(withdrawals) = fields.next_item()? {
        withdrawals.list()?.count(WITHDRAWAL_BYTES_MIN)?;
    }
    fields.end()
}

/// Appends a list of hashes.
pub(super) fn put_hashes(hashes: &[B256], out: &mut BytesMut) {
    rlp::put_list_head(hashes.len() * HASH_BYTES, out);
    hashes.iter().for_each(|hash| rlp::put_bytes(hash.as_slice(), out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixtures::{Junk, unhex};

    /// E8: codes of the other version, of older versions, of snap, and the largest.
    #[test]
    fn a_code_the_version_does_not_have_is_a_breach() {
        let unknown = [0x0b, 0x0c, 0x0d, 0x0e, 0x12, 0x13, 0x14, 0x15, 0x20, 0x7f, 0x80, 0xff];
        for code in unknown {
            for version in [68, 69] {
                assert_eq!(classify(version, code, &[0xc0]), Err(Breach::UnknownCode));
            }
        }
        assert_eq!(classify(68, code::BLOCK_RANGE_UPDATE, &[0xc0]), Err(Breach::UnknownCode));
        assert_eq!(classify(69, code::BLOCK_RANGE_UPDATE, &[0xc0]), Ok(Class::OneWay));
    }

    #[test]
    fn a_second_status_is_a_breach_of_its_own() {
        assert_eq!(classify(69, code::STATUS, &unhex("f856458")), Err(Breach::StatusTwice));
    }

    #[test]
    fn requests_and_answers_are_told_by_code_and_carry_their_id() {
        let prefix = unhex("c607c401028080");
        assert_eq!(classify(68, code::GET_BLOCK_HEADERS, &prefix), Ok(Class::Request(7)));
        assert_eq!(classify(69, code::BLOCK_HEADERS, &unhex("c207c0")), Ok(Class::Answer(7)));
        let largest = unhex("fa100000 88ffffffffffffffff 0000 00");
        assert_eq!(largest.len(), snappy::PREFIX_BYTES);
        assert_eq!(classify(69, code::BLOCK_BODIES, &largest), Ok(Class::Answer(u64::MAX)));
    }

    #[test]
    fn an_unreadable_id_is_malformed() {
        for prefix in ["", "c0", "80", "c1", "c100", "c3820001", "c1c0", "ca89010000000000000000"] {
            assert_eq!(classify(69, code::RECEIPTS, &unhex(prefix)), Err(Breach::Malformed), "{prefix}");
        }
    }

    #[test]
    fn junk_is_classified_without_a_panic() {
        let mut junk = Junk::seeded(7);
        for _ in 0..20_000 {
            let prefix = junk.bytes(16);
            let _ = classify(69, junk.next() as u8, &prefix);
        }
    }
}
