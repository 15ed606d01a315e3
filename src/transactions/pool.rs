//! What a host keeps of transactions, as far as its peers are concerned.

use alloy_primitives::B256;
use bytes::Bytes;

use crate::protocols::eth::{PooledHash, PooledSource, PooledTransaction};

/// What a pool says of a transaction that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is in the pool now, and is to be handed on.
    Added,
    /// It was there.
    Known,
    /// It is not wanted: no room, a nonce that is used, too little to pay with. An honest peer may
    /// send such a one.
    Refused,
    /// No honest peer sends it: its signature, its chain or its blobs are wrong.
    Invalid,
}

/// A host's pool of transactions, shared in an `Arc`. Bounded by itself.
pub trait TransactionPool: Send + Sync + 'static {
    /// Whether a transaction need not be asked for: it is in the pool, or was refused lately. Called
    /// on the network's thread: a lookup in memory.
    fn knows(&self, hash: &B256) -> bool;

    /// A transaction in the form of [`PooledTransaction::encoded`].
    fn pooled(&self, hash: &B256) -> Option<Bytes>;

    /// What a peer is told that has just come: at most 4,096 are.
    fn hashes(&self) -> Vec<PooledHash>;

    /// Checks transactions and keeps those it wants; one verdict for each. Called through the
    /// [`Offload`](crate::offload::Offload), because signatures and blobs take their time.
    fn add(&self, transactions: Vec<PooledTransaction>) -> Vec<Verdict>;
}

/// So that a pool can be given to [`EthBuilder::pool`](crate::protocols::eth::EthBuilder::pool).
impl<P: TransactionPool + ?Sized> PooledSource for P {
    fn encoded(&self, hash: &B256) -> Option<Bytes> {
        self.pooled(hash)
    }
}
