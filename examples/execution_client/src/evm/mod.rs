//! Executing blocks, and making them.
//!
//! Owns: every check of a block but its state root: header against parent, body against header,
//! signatures, execution with revm, receipts, requests. Never: a disk, the network, a trie, or which
//! chain is the best. What a block changes leaves as a [`BlockDiff`](crate::state::BlockDiff).
//!
//! ```text
//! RawBlock ─ prepare ─> Prepared ─ execute ─> Output { diff, receipts } ─> state::WorkingState
//!            any thread, ahead     in order, over a StateView
//! candidates ─ build ─> Built ─ seal(state root) ─> RawBlock
//! ```

mod build;
mod diff;
mod error;
mod execute;
mod forks;
mod header;
mod prepare;
mod view;

#[cfg(test)]
mod tests;

pub use build::Built;
pub use error::{BlockError, ExecuteError};
pub use execute::{Executor, Output};
pub use prepare::{Prepared, Transaction};
