//! What a header must be, given its parent and its block's body.

use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_consensus::{Header, Transaction, Typed2718};
use alloy_consensus::proofs::{calculate_transaction_root, calculate_withdrawals_root};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B64, U256};

use super::block::Prepared;
use super::error::BlockError;
use super::forks::Forks;

/// The least gas limit, and the share of the parent's by which it may change (the yellow paper's 4.4.2).
const GAS_LIMIT_MIN: u64 = 5_000;
const GAS_LIMIT_STEP: u64 = 1_024;
const EXTRA_BYTES_MAX: usize = 32;
const GAS_PER_BLOB: u64 = alloy_eips::eip4844::DATA_GAS_PER_BLOB;

pub(super) fn check(forks: &Forks, block: &Prepared, parent: &Header) -> Result<(), BlockError> {
    let header = block.header();
    let expected = parent.number.saturating_add(1);
    if header.number != expected {
        return Err(BlockError::Number { expected, got: header.number });
    }
    if header.timestamp <= parent.timestamp {
        return Err(BlockError::Timestamp { parent: parent.timestamp, got: header.timestamp });
    }
    if header.extra_data.len() > EXTRA_BYTES_MAX {
        return Err(BlockError::ExtraData { got: header.extra_data.len() });
    }
    check_gas_limit(forks, header, parent)?;
    let expected = base_fee(forks, parent);
    if header.base_fee_per_gas != expected {
        return Err(BlockError::BaseFee { expected, got: header.base_fee_per_gas });
    }
    if forks.is_merged() {
        let proof_of_work = header.difficulty != U256::ZERO || header.nonce != B64::ZERO;
        if proof_of_work || header.ommers_hash != EMPTY_OMMER_ROOT_HASH || !block.body.ommers.is_empty() {
            return Err(BlockError::NotMerged);
        }
    }
    let time = header.timestamp;
    let shanghai = forks.is_shanghai_active_at_timestamp(time);
    let cancun = forks.is_cancun_active_at_timestamp(time);
    let prague = forks.is_prague_active_at_timestamp(time);
    present("withdrawals-root", header.withdrawals_root.is_some(), shanghai)?;
    present("withdrawals-root", block.body.withdrawals.is_some(), shanghai)?;
    present("blob-gas-used", header.blob_gas_used.is_some(), cancun)?;
    present("excess-blob-gas", header.excess_blob_gas.is_some(), cancun)?;
    present("parent-beacon-block-root", header.parent_beacon_block_root.is_some(), cancun)?;
    present("requests-hash", header.requests_hash.is_some(), prague)?;
    check_blobs(forks, block, parent)?;
    check_body(forks, block)
}

fn present(field: &'static str, is: bool, wanted: bool) -> Result<(), BlockError> {
    if is == wanted { Ok(()) } else { Err(BlockError::Presence { field, wanted }) }
}

fn check_gas_limit(forks: &Forks, header: &Header, parent: &Header) -> Result<(), BlockError> {
    // The first block of London may have twice as much (EIP-1559).
    let begins = forks.is_london_active_at_block(header.number) && !forks.is_london_active_at_block(parent.number);
    let before = if begins { parent.gas_limit.saturating_mul(2) } else { parent.gas_limit };
    let got = header.gas_limit;
    if got < GAS_LIMIT_MIN || got.abs_diff(before) >= before / GAS_LIMIT_STEP {
        return Err(BlockError::GasLimit { parent: before, got });
    }
    Ok(())
}

/// The base fee of the block after this one; none before London.
pub(super) fn base_fee(forks: &Forks, parent: &Header) -> Option<u64> {
    let number = parent.number.saturating_add(1);
    if !forks.is_london_active_at_block(number) {
        return None;
    }
    let next = parent.next_block_base_fee(BaseFeeParams::ethereum());
    Some(next.unwrap_or(alloy_eips::eip1559::INITIAL_BASE_FEE))
}

/// The excess blob gas of a block with this time after this one; none before Cancun.
pub(super) fn excess_blob_gas(forks: &Forks, parent: &Header, time: u64) -> Option<u64> {
    let params = forks.blobs(time)?;
    Some(parent.next_block_excess_blob_gas(params).unwrap_or(0))
}

fn check_blobs(forks: &Forks, block: &Prepared, parent: &Header) -> Result<(), BlockError> {
    let header = block.header();
    let (Some(used), Some(excess)) = (header.blob_gas_used, header.excess_blob_gas) else { return Ok(()) };
    let Some(params) = forks.blobs(header.timestamp) else { return Ok(()) };
    let expected = excess_blob_gas(forks, parent, header.timestamp).unwrap_or(0);
    if excess != expected {
        return Err(BlockError::ExcessBlobGas { expected, got: excess });
    }
    let blobs: u64 = block.transactions().iter().map(|transaction| transaction.blob_count().unwrap_or(0)).sum();
    let expected = blobs.saturating_mul(GAS_PER_BLOB);
    if used != expected {
        return Err(BlockError::BlobGasUsed { expected, got: used });
    }
    let max = params.max_blob_count.saturating_mul(GAS_PER_BLOB);
    if used > max {
        return Err(BlockError::TooManyBlobs { max, got: used });
    }
    Ok(())
}

fn check_body(forks: &Forks, block: &Prepared) -> Result<(), BlockError> {
    let header = block.header();
    for (index, transaction) in block.transactions().iter().enumerate() {
        let known = match transaction.ty() {
            0 => true,
            1 => forks.is_berlin_active_at_block(header.number),
            2 => forks.is_london_active_at_block(header.number),
            3 => forks.is_cancun_active_at_timestamp(header.timestamp),
            4 => forks.is_prague_active_at_timestamp(header.timestamp),
            _ => false,
        };
        if !known {
            return Err(BlockError::Type { index, kind: transaction.ty() });
        }
    }
    // The sync has checked both roots; a block from elsewhere, such as one of our own, has not been.
    let got = calculate_transaction_root(
        &block.transactions().iter().map(|transaction| transaction.inner()).collect::<Vec<_>>(),
    );
    if got != header.transactions_root {
        return Err(BlockError::Transactions { expected: header.transactions_root, got });
    }
    if let (Some(expected), Some(withdrawals)) = (header.withdrawals_root, &block.body.withdrawals) {
        let got = calculate_withdrawals_root(withdrawals);
        if got != expected {
            return Err(BlockError::Withdrawals { expected, got });
        }
    }
    Ok(())
}
