//! State: accounts, their storage, their code, and the root that commits to all of it.
//!
//! Owns: what a block changes ([`BlockDiff`]), what was there before it (a `BlockDiff` as well: its
//! undo), the tries that give the root, and everything changed since the last commit
//! ([`WorkingState`]). Never: a disk, the EVM, the network. What is committed is behind
//! [`StateSource`]; the EVM and the transaction pool read through [`StateView`].
//!
//! ```text
//! evm ─ BlockDiff ─> WorkingState::apply ─ root, undo ─> compared with the header ─> StateBatch ─> store
//!  └── StateView ────────┘       └── StateSource: what the store has committed
//! ```

mod memory;
#[cfg(test)]
mod reference;
mod trie;
mod types;
mod working;

pub use memory::MemorySource;
pub use types::{
    Account, AccountDiff, BlockDiff, NodeKey, StateBatch, StateError, StateSource, StateView, StorageBatch,
};
pub use working::{Applied, CACHE_BYTES_MAX, WorkingState};
