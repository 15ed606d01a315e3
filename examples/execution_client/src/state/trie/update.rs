//! Writing many keys at once: one walk down, nodes settled into their right form on the way back.

use std::sync::Arc;

use alloy_trie::{Nibbles, nodes::RlpNode};

use super::{
    super::types::StateError,
    codec::{KEY_NIBBLES, Reader},
    node::{Branch, Child, Meta, Node},
};

/// What a key is to have; `None` for nothing.
#[derive(Debug)]
pub(in crate::state) struct Change {
    /// All 64 nibbles.
    pub(in crate::state) key: Nibbles,
    pub(in crate::state) value: Option<Box<[u8]>>,
}

/// One walk over a trie.
pub(super) struct Walk<'a> {
    pub(super) reader: Reader<'a>,
    /// Gets the paths at which the source has a node and the trie none any more.
    pub(super) gone: &'a mut Vec<Nibbles>,
    pub(super) growth: Growth,
}

/// About how many bytes of nodes came into memory.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::state) struct Growth {
    /// Read from the source.
    pub(in crate::state) read: usize,
    /// Different from what is committed.
    pub(in crate::state) written: usize,
}

impl std::ops::AddAssign for Growth {
    fn add_assign(&mut self, more: Self) {
        self.read = self.read.saturating_add(more.read);
        self.written = self.written.saturating_add(more.written);
    }
}

impl Walk<'_> {
    /// Writes `changes`, which are in order and all below `path`, to what stands there; says whether
    /// that made a difference.
    pub(super) fn update(
        &mut self,
        child: Child,
        path: Nibbles,
        changes: &mut [Change],
    ) -> Result<(Child, bool), StateError> {
        if changes.is_empty() {
            return Ok((child, false));
        }
        let before = match &child {
            Child::Ref(reference) | Child::Clean(_, reference) => Some(reference.clone()),
            Child::None | Child::Dirty(_) => None,
        };
        let (after, is_changed) = match self.load(child, path)? {
            None => return Ok(self.insert(path, changes, false)),
            Some(Node::Leaf(leaf)) => {
                let leaf_key = path.join(&leaf.key);
                match self.update_leaf(leaf_key, leaf.meta, &leaf.value, path, changes) {
                    Some(child) => (child, true),
                    None => (Child::Dirty(Node::Leaf(leaf)), false),
                }
            }
            Some(Node::Extension(node)) => {
                let (meta, key, child) = (node.meta, node.key, node.child.clone());
                self.update_extension(meta, key, child, path, changes)?
            }
            Some(Node::Branch(branch)) => self.update_branch(branch, path, changes)?,
        };
        match (after, before) {
            (Child::Dirty(node), Some(before)) if !is_changed => Ok((Child::Clean(node, before), false)),
            (after, _) => Ok((after, is_changed)),
        }
    }

    fn update_branch(
        &mut self,
        mut branch: Arc<Branch>,
        path: Nibbles,
        mut changes: &mut [Change],
    ) -> Result<(Child, bool), StateError> {
        let inner = Arc::make_mut(&mut branch);
        inner.meta.used = self.reader.now;
        let mut is_changed = false;
        while let Some(nibble) = changes.first().and_then(|change| change.key.get(path.len())) {
            let group =
                changes.iter().take_while(|change| change.key.get(path.len()) == Some(nibble)).count();
            let (below, rest) = changes.split_at_mut(group);
            let (child, changed) = self.update(inner.take(nibble), child_path(path, nibble), below)?;
            inner.put(nibble, child);
            is_changed |= changed;
            changes = rest;
        }
        if is_changed {
            Ok((self.settle_branch(branch, path)?, true))
        } else {
            Ok((Child::Dirty(Node::Branch(branch)), false))
        }
    }

    fn update_extension(
        &mut self,
        mut meta: Meta,
        key: Nibbles,
        child: Child,
        path: Nibbles,
        changes: &mut [Change],
    ) -> Result<(Child, bool), StateError> {
        meta.used = self.reader.now;
        let shared = |change: &Change| change.key.slice(path.len()..).common_prefix_length(&key);
        // Where a new key leaves the extension first; keys to be removed that leave it are not there.
        let fork = changes.iter().filter(|change| change.value.is_some()).map(shared).min();
        let fork = fork.unwrap_or(key.len());
        let below = changes.iter().position(|change| shared(change) >= fork).unwrap_or(changes.len());
        let above = changes.iter().rposition(|change| shared(change) >= fork).map_or(below, |last| last + 1);
        let changes = changes.get_mut(below..above).unwrap_or_default();

        let at_fork = path.join(&key.slice(..fork));
        let Some(nibble) = key.get(fork) else {
            let (child, is_changed) = self.update(child, at_fork, changes)?;
            if !is_changed {
                return Ok((Child::Dirty(Node::extension(meta, key, child)), false));
            }
            return Ok((self.settle_extension(meta, key, child, path)?, true));
        };
        // What is left of the extension hangs from a branch where the new keys leave it.
        let rest = key.slice(fork + 1..);
        let mut branch = Branch::new(self.fresh(fork == 0 && meta.stored));
        let child =
            if rest.is_empty() { child } else { self.dirty(false, |m| Node::extension(m, rest, child)) };
        branch.put(nibble, child);
        let (child, _) = self.update_branch(Arc::new(branch), at_fork, changes)?;
        if fork == 0 {
            return Ok((child, true));
        }
        Ok((self.settle_extension(meta, key.slice(..fork), child, path)?, true))
    }

    /// `None` when nothing became different.
    fn update_leaf(
        &mut self,
        leaf_key: Nibbles,
        meta: Meta,
        value: &[u8],
        path: Nibbles,
        changes: &mut [Change],
    ) -> Option<Child> {
        let at = changes.binary_search_by(|change| change.key.cmp(&leaf_key));
        let inserts = changes.iter().filter(|change| change.value.is_some()).count();
        match at.ok().and_then(|at| changes.get(at)) {
            Some(change) => {
                if inserts == 1 && change.value.as_deref() == Some(value) {
                    return None;
                }
                let (child, _) = self.insert(path, changes, meta.stored);
                if matches!(child, Child::None) && meta.stored {
                    self.gone.push(path);
                }
                Some(child)
            }
            None if inserts == 0 => None,
            None => {
                let mut all: Vec<Change> = Vec::with_capacity(inserts + 1);
                all.extend(changes.iter_mut().filter(|change| change.value.is_some()).map(take));
                let at = all.partition_point(|change| change.key < leaf_key);
                all.insert(at, Change { key: leaf_key, value: Some(value.into()) });
                Some(self.build(path, &mut all, meta.stored))
            }
        }
    }

    /// Writes to a place where nothing stands.
    fn insert(&mut self, path: Nibbles, changes: &mut [Change], stored: bool) -> (Child, bool) {
        if changes.iter().all(|change| change.value.is_some()) {
            return (self.build(path, changes, stored), true);
        }
        let mut inserts: Vec<Change> =
            changes.iter_mut().filter(|change| change.value.is_some()).map(take).collect();
        let is_changed = !inserts.is_empty();
        (self.build(path, &mut inserts, stored), is_changed)
    }

    /// A trie of its own out of `entries`, which all have a value, are in order and all different.
    fn build(&mut self, path: Nibbles, entries: &mut [Change], stored: bool) -> Child {
        let depth = path.len();
        let shared = match entries {
            [] => return Child::None,
            [entry] => {
                let (key, value) = (entry.key.slice(depth..), entry.value.take().unwrap_or_default());
                return self.dirty(stored, |meta| Node::leaf(meta, key, value));
            }
            [first, .., last] => first.key.common_prefix_length(&last.key).min(KEY_NIBBLES - 1),
        };
        let top = entries.first().map(|entry| entry.key.slice(..shared)).unwrap_or_default();
        let mut branch = Branch::new(self.fresh(stored && shared == depth));
        let mut rest = entries;
        while let Some(nibble) = rest.first().and_then(|entry| entry.key.get(shared)) {
            let group = rest.iter().take_while(|entry| entry.key.get(shared) == Some(nibble)).count();
            let (below, others) = rest.split_at_mut(group);
            branch.put(nibble, self.build(child_path(top, nibble), below, false));
            rest = others;
        }
        let branch = self.grow(Node::branch(branch));
        if shared == depth {
            return branch;
        }
        self.dirty(stored, |meta| Node::extension(meta, top.slice(depth..), branch))
    }

    /// A branch that changed: with one child left it is none, without any it is gone.
    fn settle_branch(&mut self, mut branch: Arc<Branch>, path: Nibbles) -> Result<Child, StateError> {
        let inner = Arc::make_mut(&mut branch);
        if inner.len() > 1 {
            let was_fresh = std::mem::replace(&mut inner.meta.fresh, true);
            let node = Node::Branch(branch);
            return Ok(if was_fresh { Child::Dirty(node) } else { self.grow(node) });
        }
        let meta = inner.meta;
        let only = inner.children_mut().next().map(|(nibble, child)| (nibble, std::mem::take(child)));
        let (nibble, child) = only.unwrap_or_default();
        let child = self.loaded(child, child_path(path, nibble))?;
        self.settle_extension(meta, Nibbles::from_nibbles([nibble]), child, path)
    }

    /// Joins `key` with what stands at its end: only above a branch an extension remains.
    fn settle_extension(
        &mut self,
        meta: Meta,
        key: Nibbles,
        child: Child,
        path: Nibbles,
    ) -> Result<Child, StateError> {
        let end = path.join(&key);
        let child = self.loaded(child, end)?;
        let (joined, was_stored) = match &child {
            Child::None | Child::Ref(_) => {
                if meta.stored {
                    self.gone.push(path);
                }
                return Ok(Child::None);
            }
            Child::Clean(Node::Branch(_), _) | Child::Dirty(Node::Branch(_)) => {
                return Ok(self.dirty(meta.stored, |meta| Node::extension(meta, key, child)));
            }
            Child::Clean(Node::Extension(below), _) | Child::Dirty(Node::Extension(below)) => {
                let (key, child) = (key.join(&below.key), below.child.clone());
                (self.dirty(meta.stored, |meta| Node::extension(meta, key, child)), below.meta.stored)
            }
            Child::Clean(Node::Leaf(below), _) | Child::Dirty(Node::Leaf(below)) => {
                let (key, value) = (key.join(&below.key), below.value.clone());
                (self.dirty(meta.stored, |meta| Node::leaf(meta, key, value)), below.meta.stored)
            }
        };
        if was_stored {
            self.gone.push(end);
        }
        Ok(joined)
    }

    fn load(&mut self, child: Child, path: Nibbles) -> Result<Option<Node>, StateError> {
        match child {
            Child::None => Ok(None),
            Child::Ref(reference) => self.read(&reference, path).map(Some),
            Child::Clean(node, _) | Child::Dirty(node) => Ok(Some(node)),
        }
    }

    /// The same child, in memory.
    fn loaded(&mut self, child: Child, path: Nibbles) -> Result<Child, StateError> {
        match child {
            Child::Ref(reference) => Ok(Child::Clean(self.read(&reference, path)?, reference)),
            child => Ok(child),
        }
    }

    fn read(&mut self, reference: &RlpNode, path: Nibbles) -> Result<Node, StateError> {
        let node = self.reader.node(reference, path)?;
        self.growth += Growth { read: node.bytes(), written: 0 };
        Ok(node)
    }

    fn fresh(&self, stored: bool) -> Meta {
        Meta { stored, fresh: true, used: self.reader.now }
    }

    fn dirty(&mut self, stored: bool, node: impl FnOnce(Meta) -> Node) -> Child {
        let node = node(self.fresh(stored));
        self.grow(node)
    }

    fn grow(&mut self, node: Node) -> Child {
        self.growth += Growth { read: 0, written: node.bytes() };
        Child::Dirty(node)
    }
}

fn child_path(mut path: Nibbles, nibble: u8) -> Nibbles {
    path.push(nibble);
    path
}

fn take(change: &mut Change) -> Change {
    Change { key: change.key, value: change.value.take() }
}
