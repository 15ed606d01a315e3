//! Headers, then bodies, from several peers at once, into a store.

pub mod memory;
pub mod store;

pub use memory::MemoryStore;
pub use store::{ChainStore, StoreError};
