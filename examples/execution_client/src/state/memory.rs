//! Committed state in memory: for tests, and for making the first batch of a chain.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use alloy_primitives::{Address, B256, U256};
use alloy_trie::Nibbles;
use bytes::Bytes;

use super::types::{Account, NodeKey, StateBatch, StateError, StateSource, StateView};

/// A handle; its clones see the same state.
#[derive(Debug, Default, Clone)]
pub struct MemorySource {
    content: Arc<RwLock<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    accounts: HashMap<Address, Account>,
    storage: HashMap<Address, BTreeMap<U256, U256>>,
    codes: HashMap<B256, Bytes>,
    /// Ordered, so that all nodes of an owner are beside each other.
    nodes: BTreeMap<NodeKey, Bytes>,
    hashes: HashMap<u64, B256>,
}

impl MemorySource {
    /// Writes a batch, as a store does.
    pub fn commit(&self, batch: StateBatch) {
        let mut content = self.write();
        for (address, account) in batch.accounts {
            match account {
                Some(account) => content.accounts.insert(address, account),
                None => content.accounts.remove(&address),
            };
        }
        for (address, batch) in batch.storage {
            let slots = content.storage.entry(address).or_default();
            if batch.wiped {
                slots.clear();
            }
            for (slot, value) in batch.slots {
                if value.is_zero() {
                    slots.remove(&slot)
                } else {
                    slots.insert(slot, value)
                };
            }
            if slots.is_empty() {
                content.storage.remove(&address);
            }
        }
        content.codes.extend(batch.codes);
        for owner in batch.dropped {
            let first = NodeKey { owner, path: Nibbles::new() };
            let keys = content.nodes.range(first..).map(|(key, _)| key.clone());
            let keys: Vec<_> = keys.take_while(|key| key.owner == owner).collect();
            keys.iter().for_each(|key| drop(content.nodes.remove(key)));
        }
        for (key, node) in batch.nodes {
            match node {
                Some(node) => content.nodes.insert(key, node),
                None => content.nodes.remove(&key),
            };
        }
    }

    /// Makes a canonical block known to BLOCKHASH.
    pub fn set_block_hash(&self, number: u64, hash: B256) {
        self.write().hashes.insert(number, hash);
    }

    /// All trie nodes, in order.
    pub fn nodes(&self) -> BTreeMap<NodeKey, Bytes> {
        self.read().nodes.clone()
    }

    /// Puts a node, or none, in the place of what is there: how a test damages state.
    pub fn set_node(&self, key: NodeKey, node: Option<Bytes>) {
        let mut content = self.write();
        match node {
            Some(node) => content.nodes.insert(key, node),
            None => content.nodes.remove(&key),
        };
    }

    // Content is whole between calls whatever a panicking holder did, so poison says nothing.
    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateView for MemorySource {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Ok(self.read().accounts.get(address).copied())
    }

    fn slot(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        let content = self.read();
        Ok(content.storage.get(address).and_then(|slots| slots.get(slot)).copied().unwrap_or_default())
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        let code = self.read().codes.get(hash).cloned();
        code.ok_or_else(|| StateError::Damaged(format!("code {hash} is not there")))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        Ok(self.read().hashes.get(&number).copied())
    }
}

impl StateSource for MemorySource {
    fn node(&self, key: &NodeKey) -> Result<Option<Bytes>, StateError> {
        Ok(self.read().nodes.get(key).cloned())
    }

    fn slots(&self, address: &Address) -> Result<Vec<(U256, U256)>, StateError> {
        let content = self.read();
        let slots = content.storage.get(address).into_iter().flatten();
        Ok(slots.map(|(&slot, &value)| (slot, value)).collect())
    }
}
