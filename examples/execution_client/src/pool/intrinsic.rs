//! The gas that a transaction uses before it runs.

use alloy_consensus::{Transaction, TxEnvelope};

use super::rules::Rules;

const GAS_TRANSACTION: u64 = 21_000;
/// EIP-2, from Homestead.
const GAS_CREATE: u64 = 32_000;
const GAS_ZERO_BYTE: u64 = 4;
const GAS_BYTE_FRONTIER: u64 = 68;
/// EIP-2028, from Istanbul.
const GAS_BYTE_ISTANBUL: u64 = 16;
/// EIP-3860, from Shanghai.
const GAS_INIT_CODE_WORD: u64 = 2;
/// EIP-2930.
const GAS_ADDRESS: u64 = 2_400;
const GAS_STORAGE_KEY: u64 = 1_900;
/// EIP-7702: what an authorization of a new account costs.
const GAS_AUTHORIZATION: u64 = 25_000;
/// EIP-7623: the floor for each token; a byte is four tokens, a zero one.
const GAS_TOKEN_FLOOR: u64 = 10;

/// What it uses before it runs, and the least that its data cost from Prague on (0 before).
pub(super) fn gas(transaction: &TxEnvelope, rules: &Rules) -> (u64, u64) {
    let input = transaction.input();
    let len = input.len() as u64;
    let zeros = input.iter().filter(|byte| **byte == 0).count() as u64;
    let others = len - zeros;
    let byte = if rules.istanbul { GAS_BYTE_ISTANBUL } else { GAS_BYTE_FRONTIER };
    let mut gas = GAS_TRANSACTION + zeros * GAS_ZERO_BYTE + others * byte;
    if transaction.is_create() {
        gas += if rules.homestead { GAS_CREATE } else { 0 };
        gas += if rules.shanghai { len.div_ceil(32) * GAS_INIT_CODE_WORD } else { 0 };
    }
    if let Some(list) = transaction.access_list() {
        gas += list.len() as u64 * GAS_ADDRESS + list.storage_keys_count() as u64 * GAS_STORAGE_KEY;
    }
    gas += transaction.authorization_list().map_or(0, |list| list.len() as u64) * GAS_AUTHORIZATION;
    let floor = GAS_TRANSACTION + (zeros + others * 4) * GAS_TOKEN_FLOOR;
    (gas, if rules.prague { floor } else { 0 })
}
