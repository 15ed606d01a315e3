//! The committed state, as it stood at one moment.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;

use super::codec;
use super::error::StoreFailure;
use super::handle::Store;
use super::view::View;
use crate::state::{Account, NodeKey, StateError, StateSource, StateView};

/// The state after the block that was the executed head when it was taken, and the block hashes of that
/// moment. Cloning shares it.
///
/// It keeps the pages it sees from being used again: take a fresh one after each commit.
#[derive(Clone)]
pub struct StateSnapshot(Arc<View>);

impl Store {
    /// The state as it stands now.
    pub fn state(&self) -> StateSnapshot {
        StateSnapshot(self.view())
    }
}

impl StateSnapshot {
    fn read<T>(&self, read: impl FnOnce(&View) -> Result<T, StoreFailure>) -> Result<T, StateError> {
        read(&self.0).map_err(|failure| self.0.full.note(failure).into())
    }
}

impl StateView for StateSnapshot {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.read(|view| {
            let row = view.accounts.get(&address.0.0)?;
            row.map(|row| codec::read_account(row.value())).transpose()
        })
    }

    fn slot(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        self.read(|view| match view.storage.get(&codec::slot_key(address, slot))? {
            Some(row) => codec::read_value(row.value()),
            None => Ok(U256::ZERO),
        })
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.read(|view| match view.codes.get(&hash.0)? {
            Some(row) => Ok(Bytes::copy_from_slice(row.value())),
            None => Err(StoreFailure::Damaged(format!("no code with hash {hash}"))),
        })
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        self.read(|view| view.hash(number))
    }
}

impl StateSource for StateSnapshot {
    fn node(&self, key: &NodeKey) -> Result<Option<Bytes>, StateError> {
        self.read(|view| {
            let row = view.nodes.get(&codec::node_key(key)[..])?;
            Ok(row.map(|row| Bytes::copy_from_slice(row.value())))
        })
    }

    fn slots(&self, address: &Address) -> Result<Vec<(U256, U256)>, StateError> {
        let (first, last) = codec::slot_range(address);
        self.read(|view| {
            let rows = view.storage.range::<&[u8; 52]>(&first..=&last)?;
            rows.map(|row| {
                let (key, value) = row?;
                Ok((codec::slot_of(key.value()), codec::read_value(value.value())?))
            })
            .collect()
        })
    }
}

impl std::fmt::Debug for StateSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateSnapshot").finish_non_exhaustive()
    }
}
