//! What is asked of a transaction alone, and of its sender's account: everything but its place in
//! the pool.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{Transaction, TxEnvelope, Typed2718};
use alloy_eips::eip7825::MAX_TX_GAS_LIMIT_OSAKA;
use alloy_primitives::{Address, U256};
use alloy_trie::KECCAK_EMPTY;
use bytes::Bytes;

use super::blobs;
use super::decode::{self, BLOB, Decoded};
use super::intrinsic;
use super::limits::PoolLimits;
use super::refusal::Refusal;
use super::rules::{Head, Rules};
use crate::state::{Account, StateView};

/// EIP-3860, from Shanghai.
const INIT_CODE_BYTES_MAX: usize = 49_152;

/// EIP-7702: what the code of an account that lets another's run begins with, and its length.
const DELEGATION_PREFIX: [u8; 3] = [0xef, 0x01, 0x00];
const DELEGATION_BYTES: usize = 23;

/// Decodes a transaction if its size allows it.
pub(super) fn open<'a>(
    encoded: &'a Bytes,
    rules: &Rules,
    limits: &PoolLimits,
) -> Result<Decoded<'a>, Refusal> {
    let max = limits.transaction_bytes_max;
    let bytes = encoded.len();
    if decode::kind_of(encoded) == Some(BLOB) {
        let max = max.saturating_add(blobs::sidecar_bytes_max(rules));
        if bytes > max {
            return Err(Refusal::SidecarTooLarge { bytes, max });
        }
    } else if bytes > max {
        return Err(Refusal::TooLarge { bytes, max });
    }
    let decoded = decode::decode(encoded)?;
    if decoded.plain_bytes > max {
        return Err(Refusal::TooLarge { bytes: decoded.plain_bytes, max });
    }
    Ok(decoded)
}

/// Everything that needs neither the signature nor the state, the cheap first.
pub(super) fn check_alone(
    decoded: &Decoded<'_>,
    head: &Head,
    rules: &Rules,
    limits: &PoolLimits,
) -> Result<(), Refusal> {
    let transaction = &decoded.transaction;
    let kind = transaction.ty();
    if let Some(fork) = rules.missing_fork(kind) {
        return Err(Refusal::InactiveType { kind, fork });
    }
    // Without a chain it is of before EIP-155, and still allowed.
    if let Some(theirs) = transaction.chain_id().filter(|id| *id != rules.chain_id) {
        return Err(Refusal::WrongChain { theirs, ours: rules.chain_id });
    }
    if transaction.nonce() == u64::MAX {
        return Err(Refusal::NonceLast);
    }
    let init_code = if transaction.is_create() { transaction.input().len() } else { 0 };
    if rules.shanghai && init_code > INIT_CODE_BYTES_MAX {
        return Err(Refusal::InitCodeTooLong { bytes: init_code, max: INIT_CODE_BYTES_MAX });
    }
    check_gas(transaction, head, rules)?;
    check_fees(transaction, limits)?;
    if transaction.authorization_list().is_some_and(<[_]>::is_empty) {
        return Err(Refusal::NoAuthorizations);
    }
    match (transaction.blob_versioned_hashes(), &decoded.sidecar) {
        (None, None) => Ok(()),
        (Some(hashes), Some(sidecar)) => sidecar.check_form(hashes, rules),
        _ => Err(Refusal::SidecarMissing),
    }
}

fn check_gas(transaction: &TxEnvelope, head: &Head, rules: &Rules) -> Result<(), Refusal> {
    let limit = transaction.gas_limit();
    let (needed, floor) = intrinsic::gas(transaction, rules);
    if limit < needed {
        return Err(Refusal::IntrinsicGas { limit, needed });
    }
    if limit < floor {
        return Err(Refusal::FloorGas { limit, needed: floor });
    }
    if limit > head.gas_limit {
        return Err(Refusal::GasAboveBlock { limit, block: head.gas_limit });
    }
    if rules.osaka && limit > MAX_TX_GAS_LIMIT_OSAKA {
        return Err(Refusal::GasAboveCap { limit, max: MAX_TX_GAS_LIMIT_OSAKA });
    }
    Ok(())
}

fn check_fees(transaction: &TxEnvelope, limits: &PoolLimits) -> Result<(), Refusal> {
    let (fee, tip) = (transaction.max_fee_per_gas(), transaction.priority_fee_or_price());
    if tip > fee {
        return Err(Refusal::TipAboveFee { tip, fee });
    }
    if tip < limits.tip_min {
        return Err(Refusal::TipTooLow { tip, min: limits.tip_min });
    }
    match transaction.max_fee_per_blob_gas() {
        Some(0) => Err(Refusal::BlobFeeTooLow { fee: 0, min: 1 }),
        _ => Ok(()),
    }
}

/// Who signed it; an `s` in the upper half is wrong (EIP-2).
pub(super) fn signer(transaction: &TxEnvelope) -> Result<Address, Refusal> {
    transaction.recover_signer().map_err(|_| Refusal::WrongSignature)
}

/// The sender's account, if it may send transactions at all.
pub(super) fn sender_account(state: &dyn StateView, sender: &Address) -> Result<Account, Refusal> {
    let account = state.account(sender)?.unwrap_or_default();
    if account.code_hash != KECCAK_EMPTY {
        let code = state.code(&account.code_hash)?;
        if code.len() != DELEGATION_BYTES || !code.starts_with(&DELEGATION_PREFIX) {
            return Err(Refusal::SenderHasCode(*sender));
        }
    }
    Ok(account)
}

/// The most that a transaction can take from its sender. [`U256::MAX`] if that is more than there
/// can be.
pub(super) fn cost_max(transaction: &TxEnvelope) -> U256 {
    let gas = U256::from(transaction.gas_limit()).checked_mul(U256::from(transaction.max_fee_per_gas()));
    let blob_gas = U256::from(transaction.blob_gas_used().unwrap_or_default());
    let blobs = blob_gas.checked_mul(U256::from(transaction.max_fee_per_blob_gas().unwrap_or_default()));
    gas.zip(blobs)
        .and_then(|(gas, blobs)| gas.checked_add(blobs))
        .and_then(|fees| fees.checked_add(transaction.value()))
        .unwrap_or(U256::MAX)
}
