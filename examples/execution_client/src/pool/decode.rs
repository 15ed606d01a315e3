//! Bytes of a peer or a file to a transaction.

use alloy_consensus::TxEnvelope;
use alloy_consensus::transaction::TxEip4844Variant;
use alloy_eips::eip2718::Decodable2718;
use alloy_eips::eip7594::{BlobTransactionSidecarVariant, Decodable7594};
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Header;

use super::refusal::Refusal;

/// The type of blob transactions (EIP-4844).
pub(super) const BLOB: u8 = 3;

/// A transaction, and apart from it what belongs to its blobs.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) transaction: TxEnvelope,
    pub(super) hash: B256,
    pub(super) sidecar: Option<BlobTransactionSidecarVariant>,
    /// The length without what belongs to the blobs.
    pub(super) plain_bytes: usize,
}

/// The EIP-2718 type that the first byte tells.
pub(super) fn kind_of(encoded: &[u8]) -> Option<u8> {
    match encoded.first()? {
        0xc0..=0xff => Some(0),
        kind @ 0..0x80 => Some(*kind),
        _ => None,
    }
}

/// Decodes the form in which transactions go from peer to peer.
pub(super) fn decode(encoded: &[u8]) -> Result<Decoded, Refusal> {
    let kind = kind_of(encoded).ok_or_else(|| Refusal::Malformed("no type".into()))?;
    match kind {
        BLOB => decode_blob(encoded),
        0..=4 => {
            let transaction = decode_plain(encoded)?;
            Ok(Decoded { transaction, hash: keccak256(encoded), sidecar: None, plain_bytes: encoded.len() })
        }
        other => Err(Refusal::UnknownType(other)),
    }
}

/// The form that blocks have.
pub(super) fn decode_plain(encoded: &[u8]) -> Result<TxEnvelope, Refusal> {
    let transaction = TxEnvelope::decode_2718_exact(encoded).map_err(malformed)?;
    match &transaction {
        TxEnvelope::Eip4844(signed) if matches!(signed.tx(), TxEip4844Variant::TxEip4844WithSidecar(_)) => {
            Err(Refusal::Malformed("blobs within blobs".into()))
        }
        _ => Ok(transaction),
    }
}

/// `3 || [transaction, 1?, blobs, commitments, proofs]`: the form that blocks have, and the rest.
pub(super) fn split_blob(encoded: &[u8]) -> Result<(Vec<u8>, &[u8]), Refusal> {
    let mut list = encoded.get(1..).unwrap_or_default();
    let whole = Header::decode(&mut list).map_err(malformed)?;
    if !whole.list || whole.payload_length != list.len() {
        return Err(Refusal::Malformed("not one list".into()));
    }
    if list.first().is_none_or(|first| *first < 0xc0) {
        // Either it is as in a block, or nothing at all.
        return Err(decode_plain(encoded).map_or_else(|error| error, |_| Refusal::SidecarMissing));
    }
    let mut inner = list;
    let header = Header::decode(&mut inner).map_err(malformed)?;
    let (inner, rest) = list.split_at_checked(header.length_with_payload()).ok_or_else(too_short)?;
    Ok(([&[BLOB], inner].concat(), rest))
}

fn decode_blob(encoded: &[u8]) -> Result<Decoded, Refusal> {
    let (plain, mut rest) = split_blob(encoded)?;
    let transaction = decode_plain(&plain)?;
    let sidecar = BlobTransactionSidecarVariant::decode_7594(&mut rest).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(Refusal::Malformed("more than one transaction".into()));
    }
    Ok(Decoded { transaction, hash: keccak256(&plain), sidecar: Some(sidecar), plain_bytes: plain.len() })
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(error.to_string())
}

fn too_short() -> Refusal {
    Refusal::Malformed("it ends too early".into())
}
