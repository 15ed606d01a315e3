//! How the eth service is made.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use super::chain::Chain;
use super::pooled::PooledSource;
use super::service::{Eth, IDS, Parts};
use crate::offload::{BlockingThreads, Offload};

/// What may be said about an [`Eth`] before it is made. Made by [`Eth::builder`].
pub struct EthBuilder {
    parts: Parts,
}

impl Eth {
    /// Serves this chain, without a pool of transactions, in every version; what takes long is done
    /// on tokio's blocking threads.
    pub fn new(chain: Arc<dyn Chain>) -> Arc<Self> {
        Self::builder(chain).build()
    }

    /// The same, with more to be said.
    pub fn builder(chain: Arc<dyn Chain>) -> EthBuilder {
        EthBuilder {
            parts: Parts { ids: IDS.to_vec(), chain, offload: Arc::new(BlockingThreads), pool: None },
        }
    }
}

impl EthBuilder {
    /// Where what takes long is done. Default: tokio's blocking threads.
    pub fn offload(mut self, offload: Arc<dyn Offload>) -> Self {
        self.parts.offload = offload;
        self
    }

    /// Speaks only those of our versions (68, 69, 70) that `wanted` says yes to. Without any left
    /// there will be no eth peers. Default: all.
    pub fn versions(mut self, wanted: impl Fn(u32) -> bool) -> Self {
        self.parts.ids.retain(|(_, version)| wanted(*version));
        self
    }

    /// The pool from which questions for transactions are answered, such as a
    /// [`TransactionPool`](crate::transactions::TransactionPool). Default: none, they are answered with
    /// nothing.
    pub fn pool<P: PooledSource + ?Sized>(mut self, pool: Arc<P>) -> Self {
        self.parts.pool = Some(Arc::new(Shared(pool)));
        self
    }

    /// The service, for [`NetworkBuilder::exchange`](crate::NetworkBuilder::exchange).
    pub fn build(self) -> Arc<Eth> {
        Eth::assembled(self.parts)
    }
}

/// Makes one type of pools that may be trait objects of another.
struct Shared<P: ?Sized>(Arc<P>);

impl<P: PooledSource + ?Sized> PooledSource for Shared<P> {
    fn encoded(&self, hash: &B256) -> Option<Bytes> {
        self.0.encoded(hash)
    }
}
