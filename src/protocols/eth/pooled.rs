//! Transactions that are in no block yet, as bytes: told apart and hashed without being decoded.

use alloy_primitives::{B256, Keccak256, keccak256};
use bytes::{BufMut, Bytes, BytesMut};

use super::gossip::PooledHash;
use super::message::{TRANSACTION_BYTES_MIN, each, take_item};
use crate::wire::rlp::{EMPTY_LIST, Item, List};
use crate::wire::{Decode, DecodeError, Encode, rlp};

/// The type of transactions that carry blobs (EIP-4844).
pub const BLOB_KIND: u8 = 3;

/// What a blob takes, in bytes (EIP-4844).
const BLOB_BYTES: usize = 131_072;
/// What a commitment or a proof takes, in bytes (EIP-4844).
const POINT_BYTES: usize = 48;
/// The cell proofs of a blob (EIP-7594).
const CELLS: usize = 128;

/// Where a peer's question for transactions is answered from: the part of a host's pool that
/// [`Eth`](super::Eth) knows of.
pub trait PooledSource: Send + Sync + 'static {
    /// A transaction in the form of [`PooledTransaction::encoded`]. Called through the
    /// [`Offload`](crate::offload::Offload).
    fn encoded(&self, hash: &B256) -> Option<Bytes>;
}

/// A transaction as peers hand it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PooledTransaction {
    /// Its hash, computed from `encoded`; that of a blob transaction leaves out what belongs to its
    /// blobs.
    pub hash: B256,
    /// Its EIP-2718 type, 0 for legacy ones.
    pub kind: u8,
    /// `type || payload`, or the RLP list of a legacy one; a blob transaction has its blobs,
    /// commitments and proofs with it (EIP-4844, EIP-7594). What came from a peer is a copy of its
    /// own: keeping it keeps nothing of the message it came in.
    pub encoded: Bytes,
}

impl PooledTransaction {
    /// Reads a transaction of one of the types 0 to 4. Its RLP is canonical then, and has as many
    /// fields as the type; blobs, commitments and proofs are as long and as many as they must be.
    /// What the fields say has not been looked at.
    pub fn from_encoded(encoded: Bytes) -> Result<Self, DecodeError> {
        let kind = kind(&encoded)?;
        let hash = if kind == BLOB_KIND { hash_with_blobs(&encoded)? } else { hash_of(kind, &encoded)? };
        Ok(Self { hash, kind, encoded })
    }

    /// How it is announced.
    pub fn announcement(&self) -> PooledHash {
        PooledHash { kind: self.kind, size: self.encoded.len() as u64, hash: self.hash }
    }

    /// Reads an item of an answer.
    pub(super) fn from_item(item: Item<'_>) -> Result<Self, DecodeError> {
        Self::from_encoded(Bytes::copy_from_slice(unwrapped(item)))
    }

    /// Reads an item of a broadcast, in which blob transactions are without their blobs, as in blocks.
    fn from_broadcast(item: Item<'_>) -> Result<Self, DecodeError> {
        let encoded = unwrapped(item);
        let kind = kind(encoded)?;
        Ok(Self { hash: hash_of(kind, encoded)?, kind, encoded: Bytes::copy_from_slice(encoded) })
    }
}

/// What [`wrap`] was made from: a list is the transaction itself.
fn unwrapped(item: Item<'_>) -> &[u8] {
    if item.is_list() { item.encoded() } else { item.payload() }
}

/// A transaction as an item of a message: typed ones are strings.
pub(super) fn wrap(encoded: Bytes) -> Bytes {
    if is_legacy(&encoded) {
        return encoded;
    }
    let mut item = BytesMut::with_capacity(rlp::bytes_len(&encoded));
    rlp::put_bytes(&encoded, &mut item);
    item.freeze()
}

fn is_legacy(encoded: &[u8]) -> bool {
    encoded.first().is_some_and(|&first| first >= EMPTY_LIST)
}

fn kind(encoded: &[u8]) -> Result<u8, DecodeError> {
    match encoded.first() {
        None => Err(DecodeError::Truncated),
        Some(EMPTY_LIST..) => Ok(0),
        Some(&kind @ 1..=4) => Ok(kind),
        Some(_) => Err(DecodeError::Invalid("transaction type")),
    }
}

/// The hash of a transaction that has nothing but its fields.
fn hash_of(kind: u8, encoded: &[u8]) -> Result<B256, DecodeError> {
    check_fields(kind, encoded.get(usize::from(kind != 0)..).unwrap_or_default())?;
    Ok(keccak256(encoded))
}

fn check_fields(kind: u8, list: &[u8]) -> Result<(), DecodeError> {
    let fields = match kind {
        0 => 9,
        1 => 11,
        2 => 12,
        BLOB_KIND => 14,
        _ => 13,
    };
    rlp::check(list)?;
    match List::whole(list)?.count(1)? {
        count if count == fields => Ok(()),
        _ => Err(DecodeError::Invalid("transaction")),
    }
}

/// The hash of `0x03 || [transaction, blobs, commitments, proofs]`, or of the same with the version 1
/// behind the transaction and a proof per cell (EIP-7594).
fn hash_with_blobs(encoded: &[u8]) -> Result<B256, DecodeError> {
    let mut parts = List::whole(encoded.get(1..).unwrap_or_default())?;
    let transaction = parts.item()?;
    if !transaction.is_list() {
        return Err(DecodeError::Invalid("blob transaction without its blobs"));
    }
    check_fields(BLOB_KIND, transaction.encoded())?;
    let mut part = parts.item()?;
    let proofs_per_blob = if part.is_list() {
        1
    } else {
        if part.u64()? != 1 {
            return Err(DecodeError::Invalid("blob wrapper version"));
        }
        part = parts.item()?;
        CELLS
    };
    let blobs = count_of(part, BLOB_BYTES)?;
    let (commitments, proofs) =
        (count_of(parts.item()?, POINT_BYTES)?, count_of(parts.item()?, POINT_BYTES)?);
    parts.end()?;
    if commitments != blobs || Some(proofs) != blobs.checked_mul(proofs_per_blob) {
        return Err(DecodeError::Invalid("number of commitments or proofs"));
    }
    let mut hash = Keccak256::new();
    hash.update([BLOB_KIND]);
    hash.update(transaction.encoded());
    Ok(hash.finalize())
}

/// How many strings of this length a list has; others it must not have.
fn count_of(list: Item<'_>, len: usize) -> Result<usize, DecodeError> {
    let mut items = list.list()?;
    let mut count = 0;
    while let Some(item) = items.next_item()? {
        if item.string()?.len() != len {
            return Err(DecodeError::Invalid("blob, commitment or proof"));
        }
        count += 1;
    }
    Ok(count)
}

/// `[transaction, ...]`, the same message as [`Transactions`](super::Transactions): its transactions
/// stay bytes. Blob transactions are read as blocks have them; no honest peer sends any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTransactions(pub Vec<PooledTransaction>);

impl Encode for RawTransactions {
    fn encode(&self, out: &mut BytesMut) {
        let item_len =
            |encoded: &[u8]| if is_legacy(encoded) { encoded.len() } else { rlp::bytes_len(encoded) };
        let items_len = self.0.iter().map(|transaction| item_len(&transaction.encoded)).sum();
        out.reserve(rlp::item_len(items_len));
        rlp::put_list_head(items_len, out);
        for PooledTransaction { encoded, .. } in &self.0 {
            if is_legacy(encoded) { out.put_slice(encoded) } else { rlp::put_bytes(encoded, out) }
        }
    }
}

impl Decode for RawTransactions {
    /// A transaction takes at most three times its RLP in memory.
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let encoded = take_item(bytes)?;
        each(List::whole(&encoded)?, TRANSACTION_BYTES_MIN, PooledTransaction::from_broadcast).map(Self)
    }
}

#[cfg(test)]
mod tests;
