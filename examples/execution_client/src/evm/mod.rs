//! Blocks, executed: revm, with what a block does beside its transactions (alloy-evm), and every check
//! of a header but the state root.
//!
//! Owns: which rules hold at which block, what a block changes, what is wrong with a bad one. Never:
//! state itself, which is behind [`StateView`](crate::state::StateView), nor the trie.
//!
//! ```text
//! RawBlock ─ prepare ─> Prepared ─ header.rs ─ execute.rs ─> Output { diff, receipts, .. }
//!                       (senders)   checks      revm
//! ```

mod block;
mod build;
mod database;
mod error;
mod execute;
mod forks;
mod header;
#[cfg(test)]
mod tests;

pub use block::Prepared;
pub use build::Built;
pub use error::{BlockError, ExecuteError};
pub use execute::{Executor, Output};
