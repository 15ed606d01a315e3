//! What stands where in the file.

use redb::{TableDefinition, WriteTransaction};

use super::error::StoreFailure;

/// What stands in the file, and how: another number, and the folder is refused.
pub const FORMAT: u32 = 1;

/// Format, genesis, chain id, executed head: by name.
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
/// Canonical headers by number: hash, total difficulty, RLP (`codec::HeaderRow`).
pub(super) const HEADERS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("headers");
/// The numbers of canonical blocks by hash.
pub(super) const NUMBERS: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("numbers");
/// Bodies of canonical blocks by number, as eth carries them.
pub(super) const BODIES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("bodies");
/// Receipts of canonical blocks by number, in consensus form; a block without transactions has no row.
pub(super) const RECEIPTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("receipts");
/// Accounts by address, after the executed head (`codec::account`).
pub(super) const ACCOUNTS: TableDefinition<'static, &[u8; 20], &[u8]> = TableDefinition::new("accounts");
/// Slots that are not zero, by address and slot, without leading zeros.
pub(super) const STORAGE: TableDefinition<'static, &[u8; 52], &[u8]> = TableDefinition::new("storage");
/// Code by its hash.
pub(super) const CODES: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("codes");
/// RLP of the trie nodes (`codec::node_key`).
pub(super) const NODES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("nodes");
/// How to get back from an executed block to its parent, by number (`codec::UndoRow`).
pub(super) const UNDO: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("undo");

/// Keys of [`META`].
pub(super) mod meta {
    pub(in super::super) const FORMAT: &str = "format";
    pub(in super::super) const GENESIS: &str = "genesis";
    pub(in super::super) const CHAIN_ID: &str = "chain id";
    pub(in super::super) const EXECUTED: &str = "executed";
}

/// Makes every table, so that reading never meets one that is not there.
pub(super) fn make_tables(transaction: &WriteTransaction) -> Result<(), StoreFailure> {
    transaction.open_table(META)?;
    transaction.open_table(HEADERS)?;
    transaction.open_table(NUMBERS)?;
    transaction.open_table(BODIES)?;
    transaction.open_table(RECEIPTS)?;
    transaction.open_table(ACCOUNTS)?;
    transaction.open_table(STORAGE)?;
    transaction.open_table(CODES)?;
    transaction.open_table(NODES)?;
    transaction.open_table(UNDO)?;
    Ok(())
}
