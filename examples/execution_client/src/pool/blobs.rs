//! What belongs to blobs: as many as allowed, of the hashes that were signed, proven.

use alloy_eips::eip4844::VERSIONED_HASH_VERSION_KZG;
use alloy_eips::eip7594::{BlobTransactionSidecarVariant, CELLS_PER_EXT_BLOB};
use alloy_primitives::B256;

use super::refusal::Refusal;
use super::rules::Rules;

/// A blob with its list head, its commitment and a proof for each of its cells.
const SIDECAR_BYTES_PER_BLOB: usize = 131_072 + 4 + 49 + 49 * CELLS_PER_EXT_BLOB;

/// Heads of the lists, and the version.
const SIDECAR_OVERHEAD: usize = 32;

/// How long what belongs to the blobs of one transaction can be.
pub(super) fn sidecar_bytes_max(rules: &Rules) -> usize {
    let blobs = usize::try_from(rules.blobs.max_blobs_per_tx).unwrap_or(usize::MAX);
    blobs.saturating_mul(SIDECAR_BYTES_PER_BLOB).saturating_add(SIDECAR_OVERHEAD)
}

/// What can be said without the proofs. Both forms count until Osaka, because peers differ: geth of
/// this year sends proofs of cells before Osaka, others proofs of blobs.
pub(super) fn check_form(
    hashes: &[B256],
    sidecar: &BlobTransactionSidecarVariant,
    rules: &Rules,
) -> Result<(), Refusal> {
    if hashes.is_empty() {
        return Err(Refusal::NoBlobs);
    }
    if hashes.iter().any(|hash| hash[0] != VERSIONED_HASH_VERSION_KZG) {
        return Err(Refusal::BlobHashVersion);
    }
    let (proofs, per_blob) = match sidecar {
        BlobTransactionSidecarVariant::Eip4844(sidecar) => (sidecar.proofs.len(), 1),
        BlobTransactionSidecarVariant::Eip7594(sidecar) => (sidecar.cell_proofs.len(), CELLS_PER_EXT_BLOB),
    };
    let blobs = hashes.len();
    let counts_agree = sidecar.blobs().len() == blobs
        && sidecar.commitments().len() == blobs
        && Some(proofs) == blobs.checked_mul(per_blob);
    if !counts_agree || !sidecar.versioned_hashes().eq(hashes.iter().copied()) {
        return Err(Refusal::SidecarMismatch);
    }
    if blobs as u64 > rules.blobs.max_blobs_per_tx {
        return Err(Refusal::TooManyBlobs { blobs, max: rules.blobs.max_blobs_per_tx });
    }
    if rules.osaka && matches!(sidecar, BlobTransactionSidecarVariant::Eip4844(_)) {
        return Err(Refusal::SidecarForm);
    }
    Ok(())
}

/// Checks the proofs: milliseconds for each blob, so this comes last, and never under a lock.
///
/// The trusted setup is the one built into c-kzg. The tables that it can compute in advance help only
/// with making proofs, and take a hundred megabytes: none are asked for.
pub(super) fn check_proofs(hashes: &[B256], sidecar: &BlobTransactionSidecarVariant) -> Result<(), Refusal> {
    let settings = c_kzg::ethereum_kzg_settings(0);
    sidecar.validate(hashes, settings).map_err(|_| Refusal::WrongProof)
}
