//! Headers, then bodies, from several peers at once, into a store.

pub mod store;

pub use store::{ChainStore, StoreError};
