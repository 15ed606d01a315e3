//! A Merkle Patricia trie that changes block after block, over nodes kept by their path.
//!
//! Owns: the nodes of one trie that are in memory, and what has to be written to the source to have it
//! there as it is here. Never: whose trie it is, when it is committed.
//!
//! ```text
//! changes ─> update ─ Dirty nodes ─> hash ─ root ··· collect ─> nodes to write, paths to delete
//!              └── codec: what is not in memory, from the source, checked by its hash
//! ```
//!
//! A node shorter than 32 bytes is part of its parent's RLP and not stored by itself; the root always
//! is. Nodes are shared with the version before the block, so that a block is taken back for nothing.

mod cache;
mod codec;
mod hash;
mod node;
mod update;

use alloy_primitives::{B256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, nodes::RlpNode};
use bytes::Bytes;

use self::{codec::Reader, node::Child, update::Walk};
use super::types::{NodeKey, StateError, StateSource};

pub(super) use self::{
    cache::Weight,
    update::{Change, Growth},
};

/// The trie of the accounts, or that of one account's storage.
#[derive(Debug)]
pub(super) struct Trie {
    owner: B256,
    root: Child,
    hash: B256,
    /// Paths at which the source has a node and the trie none any more.
    gone: Vec<Nibbles>,
    /// The source has nodes of this trie.
    is_stored: bool,
    /// All that the source has of this trie does not count any more.
    is_dropped: bool,
}

/// A version of a trie to come back to.
#[derive(Debug)]
pub(super) struct Mark {
    root: Child,
    hash: B256,
    gone: usize,
    is_dropped: bool,
}

impl Trie {
    /// The trie with this root, as the source has it.
    pub(super) fn new(owner: B256, hash: B256) -> Self {
        let is_stored = hash != EMPTY_ROOT_HASH;
        let root = if is_stored { Child::Ref(RlpNode::word_rlp(&hash)) } else { Child::None };
        Self { owner, root, hash, gone: Vec::new(), is_stored, is_dropped: false }
    }

    /// The root of what the source has under this owner.
    pub(super) fn stored_root(source: &dyn StateSource, owner: B256) -> Result<B256, StateError> {
        let root = source.node(&NodeKey { owner, path: Nibbles::new() })?;
        Ok(root.map_or(EMPTY_ROOT_HASH, keccak256))
    }

    pub(super) fn owner(&self) -> B256 {
        self.owner
    }

    pub(super) fn root(&self) -> B256 {
        self.hash
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { root: self.root.clone(), hash: self.hash, gone: self.gone.len(), is_dropped: self.is_dropped }
    }

    /// Back to an earlier version since the last commit.
    pub(super) fn restore(&mut self, mark: Mark) {
        self.root = mark.root;
        self.hash = mark.hash;
        self.gone.truncate(mark.gone);
        self.is_dropped = mark.is_dropped;
    }

    /// Empties it.
    pub(super) fn wipe(&mut self) {
        self.root = Child::None;
        self.hash = EMPTY_ROOT_HASH;
        self.is_dropped |= self.is_stored;
    }

    /// Writes all `changes`. After an error it has to be restored.
    pub(super) fn update(
        &mut self,
        source: &dyn StateSource,
        now: u32,
        mut changes: Vec<Change>,
    ) -> Result<Growth, StateError> {
        changes.sort_unstable_by_key(|change| change.key);
        changes.dedup_by_key(|change| change.key);
        let reader = Reader { source, owner: self.owner, now };
        let mut walk = Walk { reader, gone: &mut self.gone, growth: Growth::default() };
        let (root, _) = walk.update(std::mem::take(&mut self.root), Nibbles::new(), &mut changes)?;
        let growth = walk.growth;
        self.root = root;
        self.hash = hash::root(&mut self.root);
        Ok(growth)
    }

    /// Hands over what has to be written to the source, and takes it as written. Says whether all that
    /// the source has of this trie is to be dropped before.
    pub(super) fn collect(&mut self, mut write: impl FnMut(NodeKey, Option<Bytes>)) -> bool {
        let owner = self.owner;
        let mut write = |path, node| write(NodeKey { owner, path }, node);
        for path in std::mem::take(&mut self.gone) {
            if !self.is_dropped {
                write(path, None);
            }
        }
        hash::collect(&mut self.root, &mut write);
        self.is_stored = !matches!(self.root, Child::None);
        std::mem::take(&mut self.is_dropped)
    }
}

#[cfg(test)]
mod tests;
