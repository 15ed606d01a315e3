//! Receipts in both of their forms, and the root that commits to them.
//!
//! Consensus form (what the receipts root is made of, and eth/68): `[status, gas, bloom, logs]`, typed
//! ones as a string `type || list`. Flat form (eth/69): `[type, status, gas, logs]`, without the
//! bloom, which follows from the logs. The lists here are those of one block.

use std::borrow::Cow;

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom, TxType};
use alloy_primitives::{Address, B256, Bloom, Log};
use alloy_trie::EMPTY_ROOT_HASH;
use alloy_trie::root::ordered_trie_root_encoded;
use bytes::{BufMut, Bytes, BytesMut};

use super::message::{ETH_69, LOG_BYTES_MIN, each, hash};
use crate::chain::HeaderFacts;
use crate::chain::verify::{Part as BlockPart, VerifyError};
use crate::wire::rlp::{Head, Item, List};
use crate::wire::{DecodeError, rlp};

/// The most receipts that one answer is decoded to. A flat receipt of a plain transfer has 9 bytes
/// and takes about 350 in memory, so that bytes alone would bound nothing.
pub const RECEIPTS_MAX: usize = 262_144;

/// The most bytes to which the parts of one block's receipts are joined, whatever gas its header
/// names: nothing has checked that number when the receipts come.
pub const JOINED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The least a receipt takes in flat form: four fields of one byte and the head of the list.
const FLAT_BYTES_MIN: usize = 5;

/// The largest type of a typed receipt; above it a first byte is the head of a list (EIP-2718).
const KIND_MAX: u64 = 0x7f;

const BLOOM_BYTES: usize = 256;
const TOPICS_MAX: usize = 4;

/// Turns a block's receipts from consensus form to the flat form of eth/69.
pub fn flatten(consensus: &[u8]) -> Result<Bytes, DecodeError> {
    convert(consensus, |receipt, out| {
        receipt.put_flat(out);
        Ok(())
    })
}

/// Some of a block's receipts in flat form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// The RLP list of them.
    pub(super) list: Bytes,
    /// There are more behind the last of them.
    pub(super) incomplete: bool,
}

/// Turns a block's receipts to flat form, from this index on, and as many of them as fit into
/// `room` bytes. `None` if there are some and not even the first fits: an empty list would say that
/// there are none.
pub(super) fn flatten_part(
    consensus: &[u8],
    first_index: u64,
    room: usize,
) -> Result<Option<Part>, DecodeError> {
    let mut items = List::whole(consensus)?;
    let got = counted(items)?;
    for _ in 0..usize::try_from(first_index).map_or(got, |first| first.min(got)) {
        items.item()?;
    }
    let mut payload = BytesMut::with_capacity(items.rest().len().min(room));
    let mut incomplete = false;
    while let Some(item) = items.next_item()? {
        let before = payload.len();
        Fields::read(item)?.put_flat(&mut payload);
        if rlp::item_len(payload.len()) > room {
            payload.truncate(before);
            incomplete = true;
            break;
        }
    }
    if incomplete && payload.is_empty() {
        return Ok(None);
    }
    Ok(Some(Part { list: list_of(&payload), incomplete }))
}

/// Turns a block's receipts to consensus form, whichever form they have; blooms are computed where
/// they are missing.
pub fn to_consensus(receipts: &[u8]) -> Result<Bytes, DecodeError> {
    convert(receipts, |receipt, out| {
        let value = receipt.consensus()?;
        // A legacy receipt is a list in the list, a typed one a string.
        if receipt.kind == 0 {
            out.put_slice(&value)
        } else {
            rlp::put_bytes(&value, out)
        }
        Ok(())
    })
}

/// The receipts root of a block's receipts, whichever form they have.
pub fn root(receipts: &[u8]) -> Result<B256, DecodeError> {
    let receipts = List::whole(receipts)?;
    counted(receipts)?;
    let values = each(receipts, FLAT_BYTES_MIN, |item| Fields::read(item)?.consensus())?;
    Ok(ordered_trie_root_encoded(&values))
}

/// Checks that these are all receipts of a block, whichever form they have: as many as it has
/// transactions, and with its receipts root.
pub fn verify(facts: &HeaderFacts, transactions: usize, receipts: &[u8]) -> Result<(), VerifyError> {
    let got = count(receipts).map_err(malformed)?;
    if got != transactions {
        return Err(VerifyError::Count { part: BlockPart::Receipts, expected: transactions, got });
    }
    // Empty roots are common, and known.
    if got > 0 && root(receipts).map_err(malformed)? == facts.receipts_root
        || got == 0 && facts.receipts_root == EMPTY_ROOT_HASH
    {
        return Ok(());
    }
    Err(VerifyError::Mismatch(BlockPart::Receipts))
}

/// How many receipts are in the list of a block or a part of one.
pub fn count(receipts: &[u8]) -> Result<usize, DecodeError> {
    counted(List::whole(receipts)?)
}

/// How many bytes the receipts of a block can have in flat form; at most [`JOINED_BYTES_MAX`].
///
/// A log costs 8 gas for each byte of its data, and more than that for the rest of it, so a receipt
/// has no more bytes than its transaction consumed gas, divided by 8 (EIP-7975). Refunds can take off
/// as much as half of what was consumed (a fifth from London on) before it counts as used by the
/// block: hence the 4.
pub fn bytes_max(facts: &HeaderFacts) -> usize {
    let of_gas = (facts.gas_used / 4).saturating_add(Head::LEN_MAX as u64);
    usize::try_from(of_gas).map_or(JOINED_BYTES_MAX, |bytes| bytes.min(JOINED_BYTES_MAX))
}

/// Joins the parts of one block's receipts, each an RLP list, to the list of them all.
///
/// Parts that have more than `bytes_max` bytes together are refused; see [`bytes_max()`]. Whether
/// they belong together, [`verify`] tells.
pub fn join(parts: &[Bytes], bytes_max: usize) -> Result<Bytes, DecodeError> {
    let mut payload_len = 0_usize;
    for part in parts {
        payload_len = payload_len.saturating_add(List::whole(part)?.rest().len());
    }
    let list_len = rlp::item_len(payload_len);
    if list_len > bytes_max {
        let (got, max) = (list_len as u64, bytes_max as u64);
        return Err(DecodeError::TooLarge { what: "receipts of a block", got, max });
    }
    let mut joined = BytesMut::with_capacity(list_len);
    rlp::put_list_head(payload_len, &mut joined);
    for part in parts {
        joined.put_slice(List::whole(part)?.rest());
    }
    Ok(joined.freeze())
}

fn malformed(cause: DecodeError) -> VerifyError {
    VerifyError::Malformed { part: BlockPart::Receipts, cause }
}

/// The receipts of one block as values, from the form that the version has. `room` is how many
/// there may be, and is reduced by how many there are.
pub(super) fn decode(
    version: u32,
    receipts: List<'_>,
    room: &mut usize,
) -> Result<Vec<ReceiptEnvelope>, DecodeError> {
    let got = receipts.count(FLAT_BYTES_MIN)?;
    *room = room.checked_sub(got).ok_or(DecodeError::TooLarge {
        what: "receipts",
        got: got as u64,
        max: *room as u64,
    })?;
    each(receipts, FLAT_BYTES_MIN, |item| {
        let fields = Fields::read(item)?;
        if fields.bloom.is_some() == (version < ETH_69) { fields.typed() } else { Err(INVALID) }
    })
}

const INVALID: DecodeError = DecodeError::Invalid("receipt");

/// A receipt as slices of either form.
struct Fields<'a> {
    kind: u8,
    status: Item<'a>,
    gas: Item<'a>,
    /// Present in consensus form.
    bloom: Option<[u8; BLOOM_BYTES]>,
    logs: Item<'a>,
    /// What the receipts root is made of, if that is a slice of what arrived.
    consensus: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn read(item: Item<'a>) -> Result<Self, DecodeError> {
        if !item.is_list() {
            let (&kind, list) = item.payload().split_first().ok_or(INVALID)?;
            if kind == 0 || u64::from(kind) > KIND_MAX {
                return Err(INVALID);
            }
            return Self::read_consensus(kind, List::whole(list)?, item.payload());
        }
        let fields = item.list()?;
        // The third of the four fields tells the forms apart: a bloom, or the gas.
        let mut ahead = fields;
        ahead.item()?;
        ahead.item()?;
        if ahead.item()?.payload().len() == BLOOM_BYTES {
            return Self::read_consensus(0, fields, item.encoded());
        }
        let mut fields = fields;
        let kind = fields.item()?.u64()?;
        let kind = u8::try_from(kind).ok().filter(|_| kind <= KIND_MAX).ok_or(INVALID)?;
        let (status, gas, logs) = (fields.item()?, fields.item()?, fields.item()?);
        fields.end()?;
        Self { kind, status, gas, bloom: None, logs, consensus: None }.checked()
    }

    fn read_consensus(kind: u8, mut fields: List<'a>, consensus: &'a [u8]) -> Result<Self, DecodeError> {
        let (status, gas) = (fields.item()?, fields.item()?);
        let bloom = Some(fields.item()?.fixed()?);
        let logs = fields.item()?;
        fields.end()?;
        Self { kind, status, gas, bloom, logs, consensus: Some(consensus) }.checked()
    }

    /// Checks the fields that both forms share.
    fn checked(self) -> Result<Self, DecodeError> {
        self.status()?;
        self.gas.u64()?;
        self.logs.list()?.count(LOG_BYTES_MIN)?;
        Ok(self)
    }

    fn status(&self) -> Result<Eip658Value, DecodeError> {
        match self.status.string()? {
            [] => Ok(Eip658Value::Eip658(false)),
            [1] => Ok(Eip658Value::Eip658(true)),
            _ => hash(self.status).map(Eip658Value::PostState),
        }
    }

    fn bloom(&self) -> Result<Bloom, DecodeError> {
        if let Some(bloom) = self.bloom {
            return Ok(Bloom::new(bloom));
        }
        let mut bloom = Bloom::ZERO;
        let mut logs = self.logs.list()?;
        while let Some(log) = logs.next_item()? {
            let log = LogFields::read(log)?;
            bloom.accrue_raw_log(log.address, &log.topics()?);
        }
        Ok(bloom)
    }

    /// The value in the receipts trie: the list, behind the type of a typed receipt.
    fn consensus(&self) -> Result<Cow<'a, [u8]>, DecodeError> {
        if let Some(consensus) = self.consensus {
            return Ok(Cow::Borrowed(consensus));
        }
        let bloom = self.bloom()?;
        let [status, gas, logs] = [self.status, self.gas, self.logs].map(|item| item.encoded());
        let fields_len = status.len() + gas.len() + rlp::item_len(BLOOM_BYTES) + logs.len();
        let mut value = BytesMut::with_capacity(1 + rlp::item_len(fields_len));
        if self.kind != 0 {
            value.put_u8(self.kind);
        }
        rlp::put_list_head(fields_len, &mut value);
        value.put_slice(status);
        value.put_slice(gas);
        rlp::put_bytes(bloom.as_slice(), &mut value);
        value.put_slice(logs);
        Ok(Cow::Owned(value.into()))
    }

    fn put_flat(&self, out: &mut BytesMut) {
        let fields = [self.status, self.gas, self.logs].map(|item| item.encoded());
        let kind = u64::from(self.kind);
        rlp::put_list_head(rlp::u64_len(kind) + fields.iter().map(|field| field.len()).sum::<usize>(), out);
        rlp::put_u64(kind, out);
        fields.iter().for_each(|field| out.put_slice(field));
    }

    fn typed(&self) -> Result<ReceiptEnvelope, DecodeError> {
        let kind = TxType::try_from(self.kind).map_err(|_| DecodeError::Invalid("receipt type"))?;
        let logs = each(self.logs.list()?, LOG_BYTES_MIN, |item| {
            let log = LogFields::read(item)?;
            let data = alloy_primitives::Bytes::copy_from_slice(log.data);
            Log::new(log.address, log.topics()?, data).ok_or(DecodeError::Invalid("log topics"))
        })?;
        let receipt = Receipt { status: self.status()?, cumulative_gas_used: self.gas.u64()?, logs };
        Ok(ReceiptEnvelope::from_typed(kind, ReceiptWithBloom { receipt, logs_bloom: self.bloom()? }))
    }
}

/// A log: `[address, [topic, ...], data]`.
struct LogFields<'a> {
    address: Address,
    topics: List<'a>,
    data: &'a [u8],
}

impl<'a> LogFields<'a> {
    fn read(log: Item<'a>) -> Result<Self, DecodeError> {
        let mut fields = log.list()?;
        let address = Address::new(fields.item()?.fixed()?);
        let topics = fields.item()?.list()?;
        let data = fields.item()?.string()?;
        fields.end()?;
        Ok(Self { address, topics, data })
    }

    fn topics(&self) -> Result<Vec<B256>, DecodeError> {
        let topics = each(self.topics, 1, hash)?;
        if topics.len() <= TOPICS_MAX { Ok(topics) } else { Err(DecodeError::Invalid("log topics")) }
    }
}

/// Writes every receipt of a list anew.
fn convert(
    receipts: &[u8],
    mut put: impl FnMut(Fields<'_>, &mut BytesMut) -> Result<(), DecodeError>,
) -> Result<Bytes, DecodeError> {
    let mut items = List::whole(receipts)?;
    counted(items)?;
    let mut payload = BytesMut::with_capacity(receipts.len());
    while let Some(item) = items.next_item()? {
        put(Fields::read(item)?, &mut payload)?;
    }
    Ok(list_of(&payload))
}

/// The RLP list with this payload.
fn list_of(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(rlp::item_len(payload.len()));
    rlp::put_list_head(payload.len(), &mut out);
    out.put_slice(payload);
    out.freeze()
}

/// Counts the receipts of a block: no block has more than we decode of a whole answer.
fn counted(receipts: List<'_>) -> Result<usize, DecodeError> {
    match receipts.count(FLAT_BYTES_MIN)? {
        got if got > RECEIPTS_MAX => {
            Err(DecodeError::TooLarge { what: "receipts", got: got as u64, max: RECEIPTS_MAX as u64 })
        }
        got => Ok(got),
    }
}

#[cfg(test)]
mod tests;
