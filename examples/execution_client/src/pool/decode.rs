//! Bytes of a peer or a file to a transaction.

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Header;

use super::blobs::Sidecar;
use super::refusal::Refusal;

/// The type of blob transactions (EIP-4844).
pub(super) const BLOB: u8 = 3;

/// The least first byte of an RLP list.
const LIST: u8 = 0xc0;

/// A transaction, and apart from it what belongs to its blobs.
#[derive(Debug)]
pub(super) struct Decoded<'a> {
    pub(super) transaction: TxEnvelope,
    pub(super) hash: B256,
    pub(super) sidecar: Option<Sidecar<'a>>,
    /// The length without what belongs to the blobs.
    pub(super) plain_bytes: usize,
}

/// The EIP-2718 type that the first byte tells.
pub(super) fn kind_of(encoded: &[u8]) -> Option<u8> {
    match encoded.first()? {
        LIST.. => Some(0),
        kind @ 0..0x80 => Some(*kind),
        _ => None,
    }
}

/// Decodes the form in which transactions go from peer to peer.
pub(super) fn decode(encoded: &[u8]) -> Result<Decoded<'_>, Refusal> {
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
    // The decoder would take what belongs to the blobs as well, by way of the stack.
    if kind_of(encoded) == Some(BLOB) && blob_list(encoded)?.first().is_none_or(|first| *first >= LIST) {
        return Err(Refusal::Malformed("blobs within blobs".into()));
    }
    TxEnvelope::decode_2718_exact(encoded).map_err(malformed)
}

/// `3 || [transaction, 1?, blobs, commitments, proofs]`: the form that blocks have, and the rest.
pub(super) fn split_blob(encoded: &[u8]) -> Result<(Vec<u8>, &[u8]), Refusal> {
    let list = blob_list(encoded)?;
    if list.first().is_none_or(|first| *first < LIST) {
        // Either it is as in a block, or nothing at all.
        return Err(decode_plain(encoded).map_or_else(|error| error, |_| Refusal::SidecarMissing));
    }
    let mut inner = list;
    let header = Header::decode(&mut inner).map_err(malformed)?;
    let (inner, rest) = list.split_at_checked(header.length_with_payload()).ok_or_else(too_short)?;
    Ok(([&[BLOB], inner].concat(), rest))
}

/// What is in the list that follows the type, and ends where the bytes do.
fn blob_list(encoded: &[u8]) -> Result<&[u8], Refusal> {
    let mut list = encoded.get(1..).unwrap_or_default();
    let items = Header::decode_bytes(&mut list, true).map_err(malformed)?;
    if list.is_empty() { Ok(items) } else { Err(Refusal::Malformed("more than one list".into())) }
}

fn decode_blob(encoded: &[u8]) -> Result<Decoded<'_>, Refusal> {
    let (plain, rest) = split_blob(encoded)?;
    let transaction = decode_plain(&plain)?;
    let sidecar = Sidecar::parse(rest).map_err(malformed)?;
    Ok(Decoded { transaction, hash: keccak256(&plain), sidecar: Some(sidecar), plain_bytes: plain.len() })
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(error.to_string())
}

fn too_short() -> Refusal {
    Refusal::Malformed("it ends too early".into())
}
