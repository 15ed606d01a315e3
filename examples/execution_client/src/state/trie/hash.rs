//! References, and with them the root, of what changed; and what of it is to be stored.

use std::sync::Arc;

use alloy_primitives::{B256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, nodes::RlpNode};
use bytes::Bytes;

use super::{
    codec::encode,
    node::{Child, Node},
};

/// A node with all sixteen children, and room to spare.
const NODE_BYTES: usize = 640;

/// Below this length a node is part of its parent.
const EMBEDDED_BELOW: usize = 32;

/// The root of the trie, all of whose references are known afterwards.
pub(super) fn root(child: &mut Child) -> B256 {
    let node = match child {
        Child::None => return EMPTY_ROOT_HASH,
        Child::Ref(reference) | Child::Clean(_, reference) => {
            return reference.as_hash().unwrap_or_default();
        }
        Child::Dirty(node) => node,
    };
    let mut buffer = Vec::with_capacity(NODE_BYTES);
    refer_below(node, &mut buffer);
    buffer.clear();
    encode(node, &mut buffer);
    let hash = keccak256(&buffer);
    *child = Child::Clean(node.clone(), RlpNode::word_rlp(&hash));
    hash
}

fn refer(child: &mut Child, buffer: &mut Vec<u8>) {
    if let Child::Dirty(node) = child {
        refer_below(node, buffer);
        buffer.clear();
        encode(node, buffer);
        let reference = RlpNode::from_rlp(buffer);
        // The node moves from one variant to the other; what stands in between is never seen.
        if let Child::Dirty(node) = std::mem::take(child) {
            *child = Child::Clean(node, reference);
        }
    }
}

fn refer_below(node: &mut Node, buffer: &mut Vec<u8>) {
    match node {
        Node::Branch(branch) => {
            Arc::make_mut(branch).children_mut().for_each(|(_, child)| refer(child, buffer));
        }
        Node::Extension(node) => refer(&mut Arc::make_mut(node).child, buffer),
        Node::Leaf(_) => {}
    }
}

/// Hands over every node that changed since the last commit, `None` for those that went into their
/// parent, and takes them as stored.
pub(super) fn collect(root: &mut Child, write: &mut impl FnMut(Nibbles, Option<Bytes>)) {
    // Most tries of a batch did not change: nothing is allocated for these.
    store(root, Nibbles::new(), &mut Vec::new(), write);
}

fn store(
    child: &mut Child,
    path: Nibbles,
    buffer: &mut Vec<u8>,
    write: &mut impl FnMut(Nibbles, Option<Bytes>),
) {
    let Child::Clean(node, _) = child else { return };
    if !node.meta().fresh {
        return;
    }
    let was_stored = node.meta().stored;
    buffer.clear();
    encode(node, buffer);
    let is_stored = path.is_empty() || buffer.len() >= EMBEDDED_BELOW;
    if is_stored {
        write(path, Some(Bytes::copy_from_slice(buffer)));
    } else if was_stored {
        write(path, None);
    }
    let meta = match node {
        Node::Branch(branch) => {
            let branch = Arc::make_mut(branch);
            for (nibble, child) in branch.children_mut() {
                let mut path = path;
                path.push(nibble);
                store(child, path, buffer, write);
            }
            &mut branch.meta
        }
        Node::Extension(node) => {
            let node = Arc::make_mut(node);
            store(&mut node.child, path.join(&node.key), buffer, write);
            &mut node.meta
        }
        Node::Leaf(leaf) => &mut Arc::make_mut(leaf).meta,
    };
    meta.fresh = false;
    meta.stored = is_stored;
}
