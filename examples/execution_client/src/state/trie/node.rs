//! Trie nodes as they are held in memory: decoded once, shared between the version before a block and
//! the one after it, copied only where a block changes them.

use std::sync::Arc;

use alloy_trie::{Nibbles, nodes::RlpNode};

/// What a parent, or the trie itself, has at one place.
#[derive(Debug, Default, Clone)]
pub(super) enum Child {
    #[default]
    None,
    /// Not read yet: its hash, or its whole RLP when that is shorter than 32 bytes.
    Ref(RlpNode),
    /// In memory, and what its parent says of it.
    Clean(Node, RlpNode),
    /// In memory and changed: what its parent says of it is still to be found.
    Dirty(Node),
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Branch(Arc<Branch>),
    Extension(Arc<Extension>),
    Leaf(Arc<Leaf>),
}

/// What is known of a node beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// The source has a node at this path, this one or what stood here at the last commit.
    pub(super) stored: bool,
    /// Changed since the last commit; then so are all the nodes above it.
    pub(super) fresh: bool,
    /// The batch that used it last; never later than those of the nodes above it.
    pub(super) used: u32,
}

/// Up to sixteen children, only those that exist: most branches of a large trie have two or three.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) meta: Meta,
    mask: u16,
    children: Vec<Child>,
}

#[derive(Debug, Clone)]
pub(super) struct Extension {
    pub(super) meta: Meta,
    pub(super) key: Nibbles,
    pub(super) child: Child,
}

#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) meta: Meta,
    pub(super) key: Nibbles,
    pub(super) value: Box<[u8]>,
}

impl Node {
    pub(super) fn branch(branch: Branch) -> Self {
        Self::Branch(Arc::new(branch))
    }

    pub(super) fn extension(meta: Meta, key: Nibbles, child: Child) -> Self {
        Self::Extension(Arc::new(Extension { meta, key, child }))
    }

    pub(super) fn leaf(meta: Meta, key: Nibbles, value: Box<[u8]>) -> Self {
        Self::Leaf(Arc::new(Leaf { meta, key, value }))
    }

    pub(super) fn meta(&self) -> Meta {
        match self {
            Self::Branch(node) => node.meta,
            Self::Extension(node) => node.meta,
            Self::Leaf(node) => node.meta,
        }
    }

    /// About what it occupies, itself and the references to its children, but not the children.
    pub(super) fn bytes(&self) -> usize {
        // Two counters in front of what an `Arc` holds, and what the allocator adds to each piece.
        const OVERHEAD: usize = 32;
        match self {
            Self::Branch(node) => {
                OVERHEAD + size_of::<Branch>() + OVERHEAD + node.children.capacity() * size_of::<Child>()
            }
            Self::Extension(_) => OVERHEAD + size_of::<Extension>(),
            Self::Leaf(node) => OVERHEAD + size_of::<Leaf>() + OVERHEAD + node.value.len(),
        }
    }
}

impl Branch {
    pub(super) fn new(meta: Meta) -> Self {
        Self { meta, mask: 0, children: Vec::new() }
    }

    pub(super) fn with_room_for(children: usize, meta: Meta) -> Self {
        Self { meta, mask: 0, children: Vec::with_capacity(children) }
    }

    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    /// Takes the child at `nibble` out. Whoever takes one puts one back with [`Self::put`].
    pub(super) fn take(&mut self, nibble: u8) -> Child {
        let index = self.index(nibble);
        match self.children.get_mut(index) {
            Some(child) if self.mask & (1 << nibble) != 0 => std::mem::take(child),
            _ => Child::None,
        }
    }

    pub(super) fn put(&mut self, nibble: u8, child: Child) {
        let index = self.index(nibble);
        match (self.has(nibble), matches!(child, Child::None)) {
            (true, true) => {
                self.children.remove(index);
                self.mask &= !(1 << nibble);
            }
            (true, false) => self.children[index] = child,
            (false, true) => {}
            (false, false) => {
                self.children.insert(index, child);
                self.mask |= 1 << nibble;
            }
        }
    }

    /// The child at each of the sixteen places.
    pub(super) fn slots(&self) -> impl Iterator<Item = Option<&Child>> {
        let mut children = self.children.iter();
        (0..16).map(move |nibble| if self.has(nibble) { children.next() } else { None })
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (u8, &Child)> {
        let nibbles = nibbles_of(self.mask);
        nibbles.zip(self.children.iter())
    }

    pub(super) fn children_mut(&mut self) -> impl Iterator<Item = (u8, &mut Child)> {
        let nibbles = nibbles_of(self.mask);
        nibbles.zip(self.children.iter_mut())
    }

    fn has(&self, nibble: u8) -> bool {
        self.mask & (1 << nibble) != 0
    }

    fn index(&self, nibble: u8) -> usize {
        (self.mask & ((1 << nibble) - 1)).count_ones() as usize
    }
}

fn nibbles_of(mask: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |nibble| mask & (1 << nibble) != 0)
}
