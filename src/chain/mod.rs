//! Chains as bytes: specifications, blocks, files, and the development chain.
//!
//! Owns: what a chain is (genesis, forks, ids), one block as it is stored and served, and reading
//! and writing of block files. Never: a peer, a socket, an actor. `protocols/eth` serves from it,
//! `sync/` fills it.

pub mod block;
pub mod spec;

pub use block::{BlockRef, RawBlock};
pub use spec::ChainSpec;
