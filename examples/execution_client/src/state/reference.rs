//! What tests compare with: state as plain maps, its root as alloy computes it, its trie nodes as a
//! builder without any history makes them.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieAccount, TrieMask,
    nodes::{BranchNode, ExtensionNode, LeafNode, RlpNode, TrieNode},
    root::{state_root_unhashed, storage_root_unhashed},
};
use bytes::Bytes;

use super::types::{Account, BlockDiff, NodeKey};

/// SplitMix64: runs with the same seed are the same.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(super) fn value(&mut self) -> U256 {
        match self.below(3) {
            0 => U256::from(1 + self.next() % 0x7f),
            1 => U256::from(1 + self.next() % u64::from(u32::MAX)),
            _ => U256::from_limbs([self.next(), self.next(), self.next(), self.next() | 1]),
        }
    }
}

/// State as plain maps.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) accounts: BTreeMap<Address, Account>,
    pub(super) storage: BTreeMap<Address, BTreeMap<U256, U256>>,
}

impl Model {
    pub(super) fn apply(&mut self, diff: &BlockDiff) {
        for (&address, account) in &diff.accounts {
            let slots = self.storage.entry(address).or_default();
            if account.wiped {
                slots.clear();
            }
            slots.extend(&account.slots);
            slots.retain(|_, value| !value.is_zero());
            if account.after.is_none() || slots.is_empty() {
                self.storage.remove(&address);
            }
            match account.after {
                Some(after) => {
                    let storage_root = self.storage_root(&address);
                    self.accounts.insert(address, Account { storage_root, ..after })
                }
                None => self.accounts.remove(&address),
            };
        }
    }

    pub(super) fn root(&self) -> B256 {
        state_root_unhashed(
            self.accounts.iter().map(|(&address, &account)| (address, TrieAccount::from(account))),
        )
    }

    /// All trie nodes a store should have, and no others.
    pub(super) fn nodes(&self) -> BTreeMap<NodeKey, Bytes> {
        let accounts = self.accounts.iter().map(|(address, &account)| {
            (Nibbles::unpack(keccak256(address)), alloy_rlp::encode(TrieAccount::from(account)))
        });
        let mut nodes = trie_nodes(B256::ZERO, accounts.collect());
        for (address, slots) in &self.storage {
            let slots = slots.iter().map(|(slot, value)| {
                (Nibbles::unpack(keccak256(slot.to_be_bytes::<32>())), alloy_rlp::encode(value))
            });
            nodes.extend(trie_nodes(keccak256(address), slots.collect()));
        }
        nodes
    }

    fn storage_root(&self, address: &Address) -> B256 {
        self.storage.get(address).map_or(EMPTY_ROOT_HASH, |slots| {
            storage_root_unhashed(slots.iter().map(|(&slot, &value)| (B256::from(slot), value)))
        })
    }
}

/// The stored nodes of the trie with these entries.
pub(super) fn trie_nodes(owner: B256, entries: BTreeMap<Nibbles, Vec<u8>>) -> BTreeMap<NodeKey, Bytes> {
    let mut nodes = BTreeMap::new();
    let entries: Vec<_> = entries.into_iter().collect();
    if !entries.is_empty() {
        build(owner, &entries, Nibbles::new(), &mut nodes);
    }
    nodes
}

fn build(
    owner: B256,
    entries: &[(Nibbles, Vec<u8>)],
    path: Nibbles,
    nodes: &mut BTreeMap<NodeKey, Bytes>,
) -> RlpNode {
    let (first, last) = (&entries[0], &entries[entries.len() - 1]);
    let shared = first.0.common_prefix_length(&last.0);
    let node = if entries.len() == 1 {
        TrieNode::Leaf(LeafNode::new(first.0.slice(path.len()..), first.1.clone()))
    } else if shared > path.len() {
        let child = build(owner, entries, first.0.slice(..shared), nodes);
        TrieNode::Extension(ExtensionNode::new(first.0.slice(path.len()..shared), child))
    } else {
        let (mut stack, mut mask) = (Vec::new(), TrieMask::default());
        for group in entries.chunk_by(|a, b| a.0.get(shared) == b.0.get(shared)) {
            stack.push(build(owner, group, group[0].0.slice(..=shared), nodes));
            mask.set_bit(group[0].0.get(shared).unwrap());
        }
        TrieNode::Branch(BranchNode::new(stack, mask))
    };
    let mut rlp = Vec::new();
    node.encode(&mut rlp);
    if rlp.len() >= 32 || path.is_empty() {
        nodes.insert(NodeKey { owner, path }, rlp.clone().into());
    }
    RlpNode::from_rlp(&rlp)
}
