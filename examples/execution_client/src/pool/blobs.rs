//! What belongs to blobs: as many as allowed, of the hashes that were signed, proven.

use alloy_eips::eip4844::{AsCkzg, Blob, Bytes48, VERSIONED_HASH_VERSION_KZG, kzg_to_versioned_hash};
use alloy_eips::eip7594::CELLS_PER_EXT_BLOB;
use alloy_primitives::{B256, FixedBytes};
use alloy_rlp::{Error, Header};

use super::refusal::Refusal;
use super::rules::Rules;

/// A blob with its list head, its commitment and a proof for each of its cells.
const SIDECAR_BYTES_PER_BLOB: usize = 131_072 + 4 + 49 + 49 * CELLS_PER_EXT_BLOB;

/// Heads of the lists, and the version.
const SIDECAR_OVERHEAD: usize = 32;

/// The byte that tells proofs of cells from proofs of blobs (EIP-7594).
const CELL_PROOFS: u8 = 1;

/// How long what belongs to the blobs of one transaction can be.
pub(super) fn sidecar_bytes_max(rules: &Rules) -> usize {
    let blobs = usize::try_from(rules.blobs.max_blobs_per_tx).unwrap_or(usize::MAX);
    blobs.saturating_mul(SIDECAR_BYTES_PER_BLOB).saturating_add(SIDECAR_OVERHEAD)
}

/// What belongs to the blobs of one transaction, in the bytes that it came in: a blob is too large to
/// be moved about.
#[derive(Debug)]
pub(super) struct Sidecar<'a> {
    /// A proof for each cell of each blob, rather than for each blob.
    has_cell_proofs: bool,
    blobs: Vec<&'a Blob>,
    commitments: Vec<&'a Bytes48>,
    proofs: Vec<&'a Bytes48>,
}

impl<'a> Sidecar<'a> {
    /// `1?, [blob, ...], [commitment, ...], [proof, ...]` (EIP-4844, EIP-7594), and nothing else.
    pub(super) fn parse(mut bytes: &'a [u8]) -> alloy_rlp::Result<Self> {
        let after_version = bytes.strip_prefix(&[CELL_PROOFS]);
        bytes = after_version.unwrap_or(bytes);
        let sidecar = Self {
            has_cell_proofs: after_version.is_some(),
            blobs: items(&mut bytes)?,
            commitments: items(&mut bytes)?,
            proofs: items(&mut bytes)?,
        };
        if bytes.is_empty() { Ok(sidecar) } else { Err(Error::UnexpectedLength) }
    }

    /// What can be said without the proofs. Both forms count until Osaka, because clients differ:
    /// geth sends proofs of cells whatever the fork, others proofs of blobs.
    pub(super) fn check_form(&self, hashes: &[B256], rules: &Rules) -> Result<(), Refusal> {
        if hashes.is_empty() {
            return Err(Refusal::NoBlobs);
        }
        if hashes.iter().any(|hash| hash[0] != VERSIONED_HASH_VERSION_KZG) {
            return Err(Refusal::BlobHashVersion);
        }
        let committed =
            self.commitments.iter().map(|commitment| kzg_to_versioned_hash(commitment.as_slice()));
        let proofs = hashes.len().saturating_mul(self.proofs_per_blob());
        if self.blobs.len() != hashes.len()
            || self.proofs.len() != proofs
            || !committed.eq(hashes.iter().copied())
        {
            return Err(Refusal::SidecarMismatch);
        }
        let max = rules.blobs.max_blobs_per_tx;
        if hashes.len() as u64 > max {
            return Err(Refusal::TooManyBlobs { blobs: hashes.len(), max });
        }
        if rules.osaka && !self.has_cell_proofs {
            return Err(Refusal::SidecarForm);
        }
        Ok(())
    }

    /// Checks the proofs: milliseconds for each blob, so this comes last, and never under a lock.
    ///
    /// The trusted setup is the one built into c-kzg. The tables that it can compute in advance help
    /// only with making proofs, and take much memory: none are asked for.
    pub(super) fn check_proofs(&self) -> Result<(), Refusal> {
        let settings = c_kzg::ethereum_kzg_settings(0);
        let proofs = self.proofs.chunks(self.proofs_per_blob());
        let all = self.blobs.iter().zip(&self.commitments).zip(proofs).all(|((blob, commitment), proofs)| {
            let (blob, commitment) = (blob.as_ckzg(), commitment.as_ckzg());
            let is_right = match proofs {
                [proof] if !self.has_cell_proofs => {
                    settings.verify_blob_kzg_proof(blob, commitment, proof.as_ckzg())
                }
                _ => check_cells(settings, blob, commitment, proofs),
            };
            is_right.unwrap_or(false)
        });
        if all { Ok(()) } else { Err(Refusal::WrongProof) }
    }

    fn proofs_per_blob(&self) -> usize {
        if self.has_cell_proofs { CELLS_PER_EXT_BLOB } else { 1 }
    }
}

fn check_cells(
    settings: &c_kzg::KzgSettings,
    blob: &c_kzg::Blob,
    commitment: &c_kzg::Bytes48,
    proofs: &[&Bytes48],
) -> Result<bool, c_kzg::Error> {
    let cells = settings.compute_cells(blob)?;
    let indices: Vec<u64> = (0..).take(cells.len()).collect();
    let commitments = vec![*commitment; cells.len()];
    let proofs: Vec<c_kzg::Bytes48> = proofs.iter().map(|proof| *proof.as_ckzg()).collect();
    settings.verify_cell_kzg_proof_batch(&commitments, &indices, cells.as_slice(), &proofs)
}

/// A list of strings of one length. What it takes in memory is bounded by the bytes it is read from.
fn items<'a, const N: usize>(bytes: &mut &'a [u8]) -> alloy_rlp::Result<Vec<&'a FixedBytes<N>>> {
    let mut list = Header::decode_bytes(bytes, true)?;
    let mut items = Vec::new();
    while !list.is_empty() {
        let item = Header::decode_bytes(&mut list, false)?;
        items.push(item.try_into().map_err(|_| Error::UnexpectedLength)?);
    }
    Ok(items)
}
