//! Which nodes stay in memory from one batch to the next.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Trie,
    node::{Child, Node},
};

/// How long a node is worth keeping: by the batch that used it last, then by how near to the root it
/// is. No node is worth more than the one above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::state) struct Shelf {
    used: u32,
    height: u8,
}

/// About how many bytes are held, by what they are worth.
#[derive(Debug, Default)]
pub(in crate::state) struct Weight {
    bytes: BTreeMap<Shelf, usize>,
}

impl Weight {
    #[cfg(test)]
    pub(in crate::state) fn total(&self) -> usize {
        self.bytes.values().sum()
    }

    /// What is worth least of what may stay, if no more than `bytes_max` may.
    pub(in crate::state) fn least(&self, bytes_max: usize) -> Shelf {
        let mut left = bytes_max;
        let mut least = Shelf { used: u32::MAX, height: u8::MAX };
        for (&shelf, &bytes) in self.bytes.iter().rev() {
            let Some(rest) = left.checked_sub(bytes) else { break };
            left = rest;
            least = shelf;
        }
        least
    }

    fn add(&mut self, child: &Child, depth: usize) {
        let Child::Clean(node, _) = child else { return };
        *self.bytes.entry(shelf(node, depth)).or_default() += node.bytes();
        match node {
            Node::Branch(branch) => branch.children().for_each(|(_, child)| self.add(child, depth + 1)),
            Node::Extension(node) => self.add(&node.child, depth + node.key.len()),
            Node::Leaf(_) => {}
        }
    }
}

impl Trie {
    pub(in crate::state) fn weigh(&self, weight: &mut Weight) {
        weight.add(&self.root, 0);
    }

    /// Forgets what is worth less than `least`; says whether anything is still in memory. Only right
    /// after a commit: what is not stored must not be forgotten.
    pub(in crate::state) fn evict(&mut self, least: Shelf) -> bool {
        evict(&mut self.root, 0, least);
        matches!(self.root, Child::Clean(..))
    }
}

fn evict(child: &mut Child, depth: usize, least: Shelf) {
    let Child::Clean(node, reference) = child else { return };
    if shelf(node, depth) < least {
        *child = Child::Ref(std::mem::take(reference));
        return;
    }
    match node {
        Node::Branch(branch) => {
            Arc::make_mut(branch).children_mut().for_each(|(_, child)| evict(child, depth + 1, least));
        }
        Node::Extension(node) => {
            let below = depth + node.key.len();
            evict(&mut Arc::make_mut(node).child, below, least);
        }
        Node::Leaf(_) => {}
    }
}

fn shelf(node: &Node, depth: usize) -> Shelf {
    Shelf { used: node.meta().used, height: u8::MAX.saturating_sub(u8::try_from(depth).unwrap_or(u8::MAX)) }
}
