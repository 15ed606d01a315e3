//! Chains as bytes: specifications, blocks, files, and the development chain.
//!
//! Owns: what a chain is (genesis, forks, ids), one block as it is stored and served, and reading
//! and writing of block files. Never: a peer, a socket, an actor. `protocols/eth` serves from it,
//! `sync/` fills it.

pub mod block;
pub mod dev;
pub mod dev_keys;
pub mod era1;
pub mod export;
mod genesis;
pub mod header;
pub mod import;
mod import_error;
pub mod networks;
pub mod spec;
#[cfg(test)]
pub(crate) mod testdata;
pub(crate) mod values;
pub mod verify;

pub use block::{BlockRef, RawBlock};
pub use dev::DevChain;
pub use header::HeaderFacts;
pub use import::Imported;
pub use spec::{ChainSpec, SpecError};
pub use verify::VerifyError;
