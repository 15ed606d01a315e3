//! Nodes to and from their RLP. What comes from the source is checked against the hash its parent has
//! of it before it is decoded, so damage is told here and not by a wrong root.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::{BufMut, Decodable, EMPTY_STRING_CODE, Encodable, Header};
use alloy_trie::{
    Nibbles,
    nodes::{ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode},
};

use super::{
    super::types::{NodeKey, StateError, StateSource},
    node::{Branch, Child, Meta, Node},
};

/// Keys are hashes: paths have this many nibbles from the root to a leaf's end.
pub(super) const KEY_NIBBLES: usize = 64;

/// Reads the nodes of one trie.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a dyn StateSource,
    pub(super) owner: B256,
    /// The batch that reads.
    pub(super) now: u32,
}

impl Reader<'_> {
    /// The node that `reference` stands for.
    pub(super) fn node(&self, reference: &RlpNode, path: Nibbles) -> Result<Node, StateError> {
        let Some(hash) = hash_of(reference) else {
            return self.decode(reference, path, false);
        };
        let key = NodeKey { owner: self.owner, path };
        let bytes = self.source.node(&key)?.ok_or_else(|| self.damaged(&path, "is not there"))?;
        if keccak256(&bytes) != hash {
            return Err(self.damaged(&path, "is not what the node above it names"));
        }
        self.decode(&bytes, path, true)
    }

    fn decode(&self, mut bytes: &[u8], path: Nibbles, stored: bool) -> Result<Node, StateError> {
        let meta = Meta { stored, fresh: false, used: self.now };
        let node = TrieNode::decode(&mut bytes)
            .map_err(|error| self.damaged(&path, &format!("does not decode: {error}")))?;
        if !bytes.is_empty() {
            return Err(self.damaged(&path, "is followed by more bytes"));
        }
        match node {
            TrieNode::Branch(node) if path.len() < KEY_NIBBLES => {
                let mut branch = Branch::with_room_for(node.stack.len(), meta);
                let nibbles = (0..16).filter(|&nibble| node.state_mask.is_bit_set(nibble));
                for (nibble, child) in nibbles.zip(node.stack) {
                    branch.put(nibble, self.reference(child, &path)?);
                }
                Ok(Node::branch(branch))
            }
            TrieNode::Extension(node)
                if !node.key.is_empty() && path.len() + node.key.len() < KEY_NIBBLES =>
            {
                Ok(Node::extension(meta, node.key, self.reference(node.child, &path)?))
            }
            TrieNode::Leaf(node) if path.len() + node.key.len() == KEY_NIBBLES => {
                Ok(Node::leaf(meta, node.key, node.value.into_boxed_slice()))
            }
            _ => Err(self.damaged(&path, "cannot stand where it stands")),
        }
    }

    /// A hash, or a whole node that is shorter than one.
    fn reference(&self, child: RlpNode, path: &Nibbles) -> Result<Child, StateError> {
        let is_list = child.first().is_some_and(|&first| first >= 0xc0) && child.len() < 32;
        if is_list || hash_of(&child).is_some() {
            Ok(Child::Ref(child))
        } else {
            Err(self.damaged(path, "names a child that is neither a hash nor a node"))
        }
    }

    pub(super) fn damaged(&self, path: &Nibbles, what: &str) -> StateError {
        let trie =
            if self.owner.is_zero() { "the accounts".to_owned() } else { format!("storage {}", self.owner) };
        StateError::Damaged(format!("the node at {path:?} in the trie of {trie} {what}"))
    }
}

fn hash_of(reference: &RlpNode) -> Option<B256> {
    match reference.split_first() {
        Some((&0xa0, hash)) if hash.len() == 32 => Some(B256::from_slice(hash)),
        _ => None,
    }
}

/// Writes a node's RLP; all its children must be known by reference.
pub(super) fn encode(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Branch(branch) => {
            let empty = 16 - branch.len() + 1;
            let payload_length = branch.children().map(|(_, child)| reference_of(child).len()).sum::<usize>();
            Header { list: true, payload_length: payload_length + empty }.encode(out);
            for child in branch.slots() {
                match child {
                    Some(child) => out.put_slice(reference_of(child)),
                    None => out.put_u8(EMPTY_STRING_CODE),
                }
            }
            out.put_u8(EMPTY_STRING_CODE);
        }
        Node::Extension(node) => ExtensionNodeRef::new(&node.key, reference_of(&node.child)).encode(out),
        Node::Leaf(node) => LeafNodeRef::new(&node.key, &node.value).encode(out),
    }
}

fn reference_of(child: &Child) -> &[u8] {
    match child {
        Child::Ref(reference) | Child::Clean(_, reference) => reference,
        Child::None | Child::Dirty(_) => {
            debug_assert!(false, "a child is encoded before its own reference is known");
            &[EMPTY_STRING_CODE]
        }
    }
}
