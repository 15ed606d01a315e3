//! From revm's account of a block to a [`BlockDiff`].

use std::collections::BTreeMap;

use alloy_trie::KECCAK_EMPTY;
use revm::database::{BundleAccount, BundleState};
use revm::state::AccountInfo;

use crate::state::{Account, AccountDiff, BlockDiff};

/// What really changed: accounts that were only looked at, or are again as they were, are left out.
pub(super) fn block_diff(mut bundle: BundleState) -> BlockDiff {
    let mut diff = BlockDiff::default();
    for (address, account) in &bundle.state {
        let Some(changed) = account_diff(account) else { continue };
        if let Some(code_hash) = new_code(account)
            && let Some(code) = bundle.contracts.remove(&code_hash)
        {
            diff.codes.insert(code_hash, code.original_bytes().0);
        }
        diff.accounts.insert(*address, changed);
    }
    diff
}

fn account_diff(account: &BundleAccount) -> Option<AccountDiff> {
    // One that was made and destroyed within the block had nothing to lose.
    let wiped = account.was_destroyed() && account.original_info.is_some();
    let slots: BTreeMap<_, _> = account
        .storage
        .iter()
        // After a destruction the slots count from zero, whatever was there.
        .filter(
            |(_, slot)| {
                if account.was_destroyed() { !slot.present_value.is_zero() } else { slot.is_changed() }
            },
        )
        .map(|(slot, value)| (*slot, value.present_value))
        .collect();
    let after = account.info.as_ref().and_then(exists);
    let before = account.original_info.as_ref().and_then(exists);
    let is_changed = wiped || !slots.is_empty() || after != before;
    is_changed.then_some(AccountDiff { after, wiped, slots })
}

fn exists(info: &AccountInfo) -> Option<Account> {
    let AccountInfo { nonce, balance, code_hash, .. } = *info;
    (!info.is_empty()).then_some(Account { nonce, balance, code_hash, ..Account::default() })
}

fn new_code(account: &BundleAccount) -> Option<alloy_primitives::B256> {
    let hash = account.info.as_ref()?.code_hash;
    let before = account.original_info.as_ref().map_or(KECCAK_EMPTY, |info| info.code_hash);
    (hash != KECCAK_EMPTY && hash != before).then_some(hash)
}
