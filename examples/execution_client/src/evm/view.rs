//! State as revm reads it.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::Database;
use revm::database::State;
use revm::database_interface::DBErrorMarker;
use revm::state::{AccountInfo, Bytecode};

use crate::state::{StateError, StateView};

/// revm's overlay of what a block changes, over what was there.
pub(super) type BlockState<'a> = State<View<'a>>;

/// Reads a [`StateView`]. revm loses the type of an error on some of its ways, so the first one is
/// kept here: whoever runs a block looks at `failed` before anything else.
pub(super) struct View<'a> {
    state: &'a dyn StateView,
    pub(super) failed: Option<StateError>,
}

/// What revm is told of a [`StateError`].
#[derive(Debug, thiserror::Error)]
#[error("the state cannot be read")]
pub(super) struct Unreadable;

impl DBErrorMarker for Unreadable {}

/// A fresh overlay. The parent's hash is known without asking.
pub(super) fn block_state(state: &dyn StateView, parent: u64, parent_hash: B256) -> BlockState<'_> {
    let view = View { state, failed: None };
    let mut state = State::builder().with_database(view).with_bundle_update().build();
    state.block_hashes.insert(parent, parent_hash);
    state
}

impl View<'_> {
    fn keep<T>(&mut self, read: Result<T, StateError>) -> Result<T, Unreadable> {
        read.map_err(|error| {
            self.failed.get_or_insert(error);
            Unreadable
        })
    }
}

impl Database for View<'_> {
    type Error = Unreadable;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Unreadable> {
        let account = self.keep(self.state.account(&address))?;
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: None,
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Unreadable> {
        let code = self.keep(self.state.code(&hash))?;
        let code = Bytecode::new_raw_checked(Bytes(code));
        self.keep(code.map_err(|error| StateError::Damaged(format!("code {hash}: {error}"))))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Unreadable> {
        self.keep(self.state.slot(&address, &slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Unreadable> {
        let hash = self.state.block_hash(number).and_then(|hash| {
            hash.ok_or_else(|| StateError::Damaged(format!("the hash of block {number} is not there")))
        });
        self.keep(hash)
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("failed", &self.failed).finish_non_exhaustive()
    }
}
