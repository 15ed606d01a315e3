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
    /// for every announced hash, by the task that runs [`Transactions`](super::Transactions): a lookup
    /// in memory.
    ///
    /// One that was [`Invalid`](Verdict::Invalid) for its blobs is not known by that: they are no part of
    /// its hash, and another peer may have the good ones.
    fn knows(&self, hash: &B256) -> bool;

    /// A transaction in the form of [`PooledTransaction::encoded`]. Called through the
    /// [`Offload`](crate::offload::Offload) for questions of peers, and for what is to be
    /// [spread](super::TransactionsHandle::spread).
    fn pooled(&self, hash: &B256) -> Option<Bytes>;

    /// What a peer is told that has just come: at most the first 4,096 are. From memory, like `knows`.
    fn hashes(&self) -> Vec<PooledHash>;

    /// Checks transactions and keeps those it wants; one verdict for each, in their order. Called
    /// through the [`Offload`](crate::offload::Offload), because signatures and blobs take their time,
    /// with at most 256 of them and one call at a time.
    ///
    /// Of each the form is right: see [`PooledTransaction::from_encoded`]. While this runs, the other
    /// methods should not have to wait for it for long.
    fn add(&self, transactions: Vec<PooledTransaction>) -> Vec<Verdict>;
}

/// So that a pool can be given to [`EthBuilder::pool`](crate::protocols::eth::EthBuilder::pool).
impl<P: TransactionPool + ?Sized> PooledSource for P {
    fn encoded(&self, hash: &B256) -> Option<Bytes> {
        self.pooled(hash)
    }
}
