//! Everything that a batch of blocks changed of the state, into the tables.

use alloy_primitives::Address;
use redb::{Table, WriteTransaction};

use super::codec;
use super::error::StoreFailure;
use super::tables::{ACCOUNTS, CODES, NODES, STORAGE};
use crate::state::{StateBatch, StorageBatch};

/// Keys are written in order: neighbours are on the same page.
pub(super) fn write_state(transaction: &WriteTransaction, state: &StateBatch) -> Result<(), StoreFailure> {
    let StateBatch { accounts, storage, codes, nodes, dropped } = state;
    let mut table = transaction.open_table(ACCOUNTS)?;
    for (address, account) in sorted(accounts) {
        match account {
            Some(account) => table.insert(&address.0.0, &codec::write_account(account)[..])?,
            None => table.remove(&address.0.0)?,
        };
    }
    let mut table = transaction.open_table(STORAGE)?;
    for (address, slots) in sorted(storage) {
        write_storage(&mut table, address, slots)?;
    }
    let mut table = transaction.open_table(CODES)?;
    for (hash, code) in sorted(codes) {
        table.insert(&hash.0, &code[..])?;
    }
    let mut table = transaction.open_table(NODES)?;
    for owner in dropped {
        let range = codec::trie_range(owner);
        table.retain_in::<&[u8], _>(&range.start[..]..&range.end[..], |_, _| false)?;
    }
    for (key, node) in sorted(nodes) {
        let key = codec::node_key(key);
        match node {
            Some(node) => table.insert(&key[..], &node[..])?,
            None => table.remove(&key[..])?,
        };
    }
    Ok(())
}

fn write_storage(
    table: &mut Table<'_, &'static [u8; 52], &'static [u8]>,
    address: &Address,
    batch: &StorageBatch,
) -> Result<(), StoreFailure> {
    if batch.wiped {
        let (first, last) = codec::slot_range(address);
        table.retain_in::<&[u8; 52], _>(&first..=&last, |_, _| false)?;
    }
    for (slot, value) in sorted(&batch.slots) {
        let key = codec::slot_key(address, slot);
        match value.is_zero() {
            false => table.insert(&key, &value.to_be_bytes_trimmed_vec()[..])?,
            true => table.remove(&key)?,
        };
    }
    Ok(())
}

fn sorted<K: Ord, V>(map: &std::collections::HashMap<K, V>) -> Vec<(&K, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}
