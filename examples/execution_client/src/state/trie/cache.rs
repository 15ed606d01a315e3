//! Which nodes stay in memory from one batch to the next.

use std::sync::Arc;

use super::{
    Trie,
    codec::KEY_NIBBLES,
    node::{Child, Node},
};

/// Batches further back than this are all the same.
const AGE_MAX: usize = 30;

const DEPTHS: usize = KEY_NIBBLES + 1;

/// About how many bytes are held, by what they are worth keeping: the batch that used them last counts
/// first, then how near to the root they are. No node is worth more than the one above it.
#[derive(Debug)]
pub(in crate::state) struct Weight {
    now: u32,
    bytes: Vec<usize>,
}

/// How much of what was weighed may stay.
#[derive(Debug, Clone, Copy)]
pub(in crate::state) struct Keep {
    now: u32,
    places: usize,
}

impl Weight {
    pub(in crate::state) fn new(now: u32) -> Self {
        Self { now, bytes: vec![0; (AGE_MAX + 1) * DEPTHS] }
    }

    pub(in crate::state) fn total(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// The most that fits into this many bytes.
    pub(in crate::state) fn keep(&self, bytes_max: usize) -> Keep {
        let mut left = Some(bytes_max);
        let places = self.bytes.iter().take_while(|&&bytes| {
            left = left.and_then(|left| left.checked_sub(bytes));
            left.is_some()
        });
        Keep { now: self.now, places: places.count() }
    }

    fn add(&mut self, child: &Child, depth: usize) {
        let Child::Clean(node, _) = child else { return };
        self.add_bytes(node, depth, node.bytes());
        match node {
            Node::Branch(branch) => branch.children().for_each(|(_, child)| self.add(child, depth + 1)),
            Node::Extension(node) => self.add(&node.child, depth + node.key.len()),
            Node::Leaf(_) => {}
        }
    }

    fn add_bytes(&mut self, node: &Node, depth: usize, bytes: usize) {
        if let Some(sum) = self.bytes.get_mut(place(node, depth, self.now)) {
            *sum += bytes;
        }
    }
}

impl Trie {
    pub(in crate::state) fn weigh(&self, weight: &mut Weight) {
        if let Child::Clean(node, _) = &self.root {
            // The trie itself, and its share of the map that holds it.
            weight.add_bytes(node, 0, 2 * size_of::<Self>());
        }
        weight.add(&self.root, 0);
    }

    /// Anything of it is in memory.
    pub(in crate::state) fn is_held(&self) -> bool {
        matches!(self.root, Child::Clean(..))
    }

    /// Forgets what is not worth keeping and committed.
    pub(in crate::state) fn evict(&mut self, keep: Keep) {
        evict(&mut self.root, 0, keep);
    }
}

fn evict(child: &mut Child, depth: usize, keep: Keep) {
    let Child::Clean(node, reference) = child else { return };
    if place(node, depth, keep.now) >= keep.places && !node.meta().fresh {
        *child = Child::Ref(std::mem::take(reference));
        return;
    }
    match node {
        Node::Branch(branch) => {
            Arc::make_mut(branch).children_mut().for_each(|(_, child)| evict(child, depth + 1, keep));
        }
        Node::Extension(node) => {
            let below = depth + node.key.len();
            evict(&mut Arc::make_mut(node).child, below, keep);
        }
        Node::Leaf(_) => {}
    }
}

/// The less, the more it is worth.
fn place(node: &Node, depth: usize, now: u32) -> usize {
    let age = usize::try_from(now.saturating_sub(node.meta().used)).unwrap_or(usize::MAX);
    age.min(AGE_MAX) * DEPTHS + depth.min(KEY_NIBBLES)
}
