//! Transactions that are in no block yet: asked for when they are announced, checked by the host's
//! pool, handed on.
//!
//! Owns: who is asked for what, who knows what, who is sent what. Never: a verdict about a
//! transaction, which is the [`TransactionPool`]'s.

mod pool;

pub use crate::protocols::eth::PooledTransaction;
pub use pool::{TransactionPool, Verdict};
