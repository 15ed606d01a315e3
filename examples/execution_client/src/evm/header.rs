//! A header by itself, and after its parent.

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use revm::primitives::hardfork::SpecId;

use super::error::BlockError;
use super::forks::{Forks, GAS_LIMIT_MAX, GAS_LIMIT_MIN, excess_blob_gas};

/// A block's gas limit differs from its parent's by less than this part of it.
const GAS_LIMIT_PART: u64 = 1_024;

pub(super) const EXTRA_DATA_BYTES_MAX: usize = 32;

/// What can be said of a header without any other block.
pub(super) fn check_alone(forks: &Forks, header: &Header) -> Result<(), BlockError> {
    check_fields(forks, header)?;
    let got = header.extra_data.len();
    if got > EXTRA_DATA_BYTES_MAX {
        return Err(BlockError::ExtraData { max: EXTRA_DATA_BYTES_MAX, got });
    }
    if header.difficulty != forks.difficulty() {
        return Err(BlockError::Difficulty { expected: forks.difficulty(), got: header.difficulty });
    }
    if !header.nonce.is_zero() {
        return Err(BlockError::Nonce { got: header.nonce.into() });
    }
    if forks.is_dev && !header.mix_hash.is_zero() {
        return Err(BlockError::MixHash { got: header.mix_hash });
    }
    if header.ommers_hash != EMPTY_OMMER_ROOT_HASH {
        return Err(BlockError::Ommers { expected: EMPTY_OMMER_ROOT_HASH, got: header.ommers_hash });
    }
    if let (Some(params), Some(got)) = (forks.blob_params(header.timestamp), header.blob_gas_used) {
        let max = params.max_blob_gas_per_block();
        if got > max || got % DATA_GAS_PER_BLOB != 0 {
            return Err(BlockError::BlobGasLimit { max, got });
        }
    }
    Ok(())
}

/// Every fork's fields are there from its time on, and not before.
fn check_fields(forks: &Forks, header: &Header) -> Result<(), BlockError> {
    let rules = forks.spec_id(header.timestamp);
    let (shanghai, cancun, prague) = (SpecId::SHANGHAI, SpecId::CANCUN, SpecId::PRAGUE);
    for (field, got, since) in [
        ("base-fee", header.base_fee_per_gas.is_some(), SpecId::LONDON),
        ("withdrawals-root", header.withdrawals_root.is_some(), shanghai),
        ("blob-gas-used", header.blob_gas_used.is_some(), cancun),
        ("excess-blob-gas", header.excess_blob_gas.is_some(), cancun),
        ("parent-beacon-block-root", header.parent_beacon_block_root.is_some(), cancun),
        ("requests-hash", header.requests_hash.is_some(), prague),
        ("block-access-list-hash", header.block_access_list_hash.is_some(), SpecId::AMSTERDAM),
        ("slot-number", header.slot_number.is_some(), SpecId::AMSTERDAM),
    ] {
        let expected = rules.is_enabled_in(since);
        if got != expected {
            return Err(BlockError::Field { field, expected, got });
        }
    }
    Ok(())
}

/// What follows from the parent.
pub(super) fn check_after(forks: &Forks, parent: &Header, header: &Header) -> Result<(), BlockError> {
    let expected = parent.number.saturating_add(1);
    if header.number != expected {
        return Err(BlockError::Number { expected, got: header.number });
    }
    let expected = parent.hash_slow();
    if header.parent_hash != expected {
        return Err(BlockError::ParentHash { expected, got: header.parent_hash });
    }
    if header.timestamp <= parent.timestamp {
        return Err(BlockError::Timestamp { parent: parent.timestamp, got: header.timestamp });
    }
    let change = (parent.gas_limit / GAS_LIMIT_PART).saturating_sub(1);
    let min = parent.gas_limit.saturating_sub(change).max(GAS_LIMIT_MIN);
    let max = parent.gas_limit.saturating_add(change).min(GAS_LIMIT_MAX);
    if !(min..=max).contains(&header.gas_limit) {
        return Err(BlockError::GasLimit { parent: parent.gas_limit, min, max, got: header.gas_limit });
    }
    let (expected, got) = (base_fee_after(parent), header.base_fee_per_gas.unwrap_or(0));
    if got != expected {
        return Err(BlockError::BaseFee { expected, got });
    }
    let expected = excess_blob_gas_after(forks, parent, header.timestamp).unwrap_or(0);
    let got = header.excess_blob_gas.unwrap_or(0);
    if got != expected {
        return Err(BlockError::ExcessBlobGas { expected, got });
    }
    Ok(())
}

/// The base fee of the block after `parent` (EIP-1559).
pub(super) fn base_fee_after(parent: &Header) -> u64 {
    // London is at the genesis (`Forks::new`): every parent has one.
    parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or(0)
}

/// The excess blob gas of a block after `parent`, from Cancun on.
pub(super) fn excess_blob_gas_after(forks: &Forks, parent: &Header, time: u64) -> Option<u64> {
    let params = forks.blob_params(time)?;
    let (excess, used) = (parent.excess_blob_gas.unwrap_or(0), parent.blob_gas_used.unwrap_or(0));
    Some(excess_blob_gas(params, excess, used, parent.base_fee_per_gas.unwrap_or(0)))
}
