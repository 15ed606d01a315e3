//! The chain as it is claimed and served: what is executed, and nothing above it.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;
use trunkline::chain::ChainSpec;
use trunkline::protocols::eth::{Chain, ChainStatus};

use super::error::StoreFailure;
use super::handle::Store;
use super::view::View;

impl Store {
    /// What is executed, for Status and for answers to peers. While the sync has dropped the executed head,
    /// the highest executed block that is still on the chain takes its place.
    pub fn served(self: &Arc<Self>) -> Arc<dyn Chain> {
        Arc::new(Served(self.clone()))
    }
}

struct Served(Arc<Store>);

impl Served {
    fn by_hash<T>(
        &self,
        what: &str,
        hash: &B256,
        read: impl FnOnce(&View, u64) -> Result<Option<T>, StoreFailure>,
    ) -> Option<T> {
        self.0.lookup(what, |view| match view.number(hash)? {
            Some(number) if number <= self.latest() => read(view, number),
            _ => Ok(None),
        })
    }

    fn latest(&self) -> u64 {
        self.0.heads().served.latest.number
    }
}

impl Chain for Served {
    fn spec(&self) -> &Arc<ChainSpec> {
        &self.0.spec
    }

    fn status(&self) -> ChainStatus {
        self.0.heads().served
    }

    fn header(&self, number: u64) -> Option<Bytes> {
        if number > self.latest() {
            return None;
        }
        self.0.lookup("header", |view| view.header(number))
    }

    fn number(&self, hash: &B256) -> Option<u64> {
        self.by_hash("number", hash, |_, number| Ok(Some(number)))
    }

    fn body(&self, hash: &B256) -> Option<Bytes> {
        self.by_hash("body", hash, View::body)
    }

    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        self.by_hash("receipts", hash, View::receipts)
    }
}
