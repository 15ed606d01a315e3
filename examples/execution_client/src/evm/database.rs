//! State as revm reads it, and what revm changed as a [`BlockDiff`].

use std::cell::RefCell;

use alloy_primitives::{Address, B256, U256};
use revm::database::BundleState;
use revm::database_interface::DBErrorMarker;
use revm::state::{AccountInfo, Bytecode};

use crate::state::{Account, AccountDiff, BlockDiff, StateError, StateView};

/// State behind revm. The error that it met is kept, because revm's own errors do not carry it out.
pub(super) struct Reader<'a> {
    pub(super) state: &'a dyn StateView,
    pub(super) failed: &'a RefCell<Option<StateError>>,
}

/// State could not be read; [`Reader::failed`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("state cannot be read")]
pub(super) struct Unreadable;

impl DBErrorMarker for Unreadable {}

impl Reader<'_> {
    fn keep<T>(&self, read: Result<T, StateError>) -> Result<T, Unreadable> {
        read.map_err(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            Unreadable
        })
    }
}

impl revm::Database for Reader<'_> {
    type Error = Unreadable;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Unreadable> {
        let account = self.keep(self.state.account(&address))?;
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            ..AccountInfo::default().without_code()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Unreadable> {
        let code = self.keep(self.state.code(&hash))?;
        let code = Bytecode::new_raw_checked(code.into());
        self.keep(code.map_err(|error| StateError::Damaged(format!("code {hash}: {error}"))))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Unreadable> {
        self.keep(self.state.slot(&address, &slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Unreadable> {
        Ok(self.keep(self.state.block_hash(number))?.unwrap_or_default())
    }
}

/// What a block changed.
pub(super) fn diff_of(bundle: BundleState) -> BlockDiff {
    let mut diff = BlockDiff::default();
    for (address, account) in bundle.state {
        let wiped = account.status.was_destroyed();
        let slots = account.storage.iter().filter(|(_, slot)| {
            // After a wipe everything that is not zero is new.
            if wiped { !slot.present_value.is_zero() } else { slot.is_changed() }
        });
        let slots: std::collections::BTreeMap<U256, U256> =
            slots.map(|(key, slot)| (*key, slot.present_value)).collect();
        let same = match (&account.info, &account.original_info) {
            (Some(now), Some(before)) => {
                now.nonce == before.nonce && now.balance == before.balance && now.code_hash == before.code_hash
            }
            (None, None) => true,
            _ => false,
        };
        if same && !wiped && slots.is_empty() {
            continue;
        }
        // EIP-161: an account that has nothing does not exist.
        let after = account.info.filter(|info| !info.is_empty()).map(|info| Account {
            nonce: info.nonce,
            balance: info.balance,
            code_hash: info.code_hash,
            ..Account::default()
        });
        diff.accounts.insert(address, AccountDiff { after, wiped, slots });
    }
    let deployed = bundle.contracts.into_iter().filter(|(_, code)| !code.is_empty());
    diff.codes = deployed.map(|(hash, code)| (hash, code.original_bytes().0)).collect();
    diff
}
