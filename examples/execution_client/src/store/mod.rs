//! The data folder: blocks, their receipts, and the state after the last executed block, in one redb file.
//!
//! Owns: the file, what stands in it, and two views of its chain: the *stored* one, which the sync fills
//! ([`Store`] as trunkline's `ChainStore`), and the *executed* one, which is claimed and served
//! ([`Store::served`]). Never: the network, the EVM, whether a block or a state is right; it checks only that
//! blocks follow each other and that what is committed belongs to them.
//!
//! ```text
//! sync ─ append, truncate, put_receipts ─> chain.rs ──┐
//! pipeline ─ commit, unwind ─> commit.rs, batch.rs ───┼─> handle.rs ─> tables.rs ─> redb
//! served.rs, state.rs <── the View of the last write ─┘
//! ```
//!
//! Every write is one redb transaction: a kill leaves all of it or nothing of it. Reading order: `tables.rs`
//! (what stands where), `codec.rs`, `handle.rs`, `open.rs`, `chain.rs`, `served.rs`, `commit.rs`.

mod batch;
mod chain;
mod codec;
mod commit;
mod dropped;
mod error;
mod handle;
mod heads;
mod identity;
mod left;
mod open;
mod served;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod view;

pub use commit::{ExecutedBlock, UNDO_MAX, Undo};
pub use error::{OpenError, StoreFailure};
pub use handle::{AHEAD_MAX, CACHE_BYTES, Store};
pub use heads::Executed;
pub use state::StateSnapshot;
pub use tables::FORMAT;
