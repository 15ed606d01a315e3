use std::collections::BTreeMap;

use alloy_primitives::U256;
use alloy_trie::{
    TrieMask,
    nodes::{BranchNode, ExtensionNode, LeafNode, TrieNode},
    root::storage_root_unsorted,
};

use super::{
    super::{
        memory::MemorySource,
        reference::{Random, trie_nodes},
        types::StateBatch,
    },
    *,
};

const OWNER: B256 = B256::repeat_byte(7);

/// Keys that part at a few places only, early, in the middle and at the very end.
fn key(random: &mut Random, places: &[usize], digits: usize) -> B256 {
    let mut key = Nibbles::from_nibbles([0; 64]);
    for &place in places {
        key.set_at(place, random.below(digits) as u8);
    }
    B256::from_slice(&key.pack())
}

fn changes(of: &BTreeMap<B256, U256>) -> Vec<Change> {
    of.iter()
        .map(|(key, value)| Change {
            key: Nibbles::unpack(key),
            value: (!value.is_zero()).then(|| alloy_rlp::encode(value).into()),
        })
        .collect()
}

fn commit(trie: &mut Trie, source: &MemorySource) {
    let mut batch = StateBatch::default();
    let is_dropped = trie.collect(|key, node| drop(batch.nodes.insert(key, node)));
    let stored = source.nodes();
    let mut gone = batch.nodes.iter().filter(|(_, node)| node.is_none());
    assert!(gone.all(|(key, _)| stored.contains_key(key)), "what is not stored is not deleted");
    batch.dropped.extend(is_dropped.then_some(OWNER));
    source.commit(batch);
}

/// Random blocks against one trie; after each the root is alloy's, after each commit the source has
/// the nodes that a builder without history makes.
fn run(seed: u64, places: &[usize], digits: usize, evicts: bool) {
    let mut random = Random::seeded(seed);
    let source = MemorySource::default();
    let mut trie = Trie::new(OWNER, EMPTY_ROOT_HASH);
    let mut model = BTreeMap::new();
    for now in 0..120 {
        if random.once_in(25) {
            trie.wipe();
            model.clear();
        }
        let mut block = BTreeMap::new();
        let removes_of_4 = random.below(5);
        for _ in 0..random.below(9) {
            let value = if random.below(4) < removes_of_4 { U256::ZERO } else { random.value() };
            block.insert(key(&mut random, places, digits), value);
        }
        let mark = trie.mark();
        trie.update(&source, now, changes(&block)).unwrap();
        if random.once_in(8) {
            trie.restore(mark);
        } else {
            model.extend(block);
            model.retain(|_, value: &mut U256| !value.is_zero());
        }
        assert_eq!(trie.root(), storage_root_unsorted(model.clone()), "seed {seed}, block {now}");
        if random.once_in(4) {
            commit(&mut trie, &source);
            let entries = model.iter().map(|(key, value)| (Nibbles::unpack(key), alloy_rlp::encode(value)));
            assert_eq!(source.nodes(), trie_nodes(OWNER, entries.collect()), "seed {seed}, block {now}");
            if evicts {
                let weight = weighed(&trie, now);
                trie.evict(weight.keep(random.below(weight.total() + 1)));
            }
        }
    }
}

#[test]
fn roots_and_stored_nodes_are_those_of_a_trie_without_history() {
    for seed in 0..20 {
        run(seed, &[0, 1, 2], 16, false);
        run(seed, &[0, 1, 2], 3, true);
    }
}

#[test]
fn nodes_short_enough_to_be_part_of_their_parents_are() {
    for seed in 0..20 {
        run(seed, &[3, 20, 61, 62, 63], 2, true);
        run(seed, &[58, 59, 60, 61, 62, 63], 4, true);
        run(seed, &[0, 8, 9, 10, 63], 3, false);
    }
}

#[test]
fn what_is_used_lately_and_near_the_root_stays_in_memory() {
    let mut random = Random::seeded(1);
    let source = MemorySource::default();
    let mut trie = Trie::new(OWNER, EMPTY_ROOT_HASH);
    let block = (0..2_000).map(|_| (key(&mut random, &[0, 1, 2, 3, 4, 5], 16), random.value())).collect();
    trie.update(&source, 0, changes(&block)).unwrap();
    commit(&mut trie, &source);
    let all = weighed(&trie, 0).total();

    trie.evict(weighed(&trie, 0).keep(all / 2));
    let half = weighed(&trie, 0).total();
    assert!(half <= all / 2 && half > all / 20, "{half} of {all}");

    // The upper nodes are there: nothing of the source is asked for them.
    let Child::Clean(node::Node::Branch(root), _) = &trie.root else { panic!("the root is not in memory") };
    assert!(root.children().all(|(_, child)| matches!(child, Child::Clean(..))));

    trie.evict(weighed(&trie, 0).keep(0));
    assert!(!trie.is_held(), "nothing fits into no bytes");
}

fn weighed(trie: &Trie, now: u32) -> Weight {
    let mut weight = Weight::new(now);
    trie.weigh(&mut weight);
    weight
}

#[test]
fn a_node_that_cannot_stand_where_it_stands_is_refused() {
    let stands = |node: &TrieNode, path: Nibbles| {
        let rlp = alloy_rlp::encode(node);
        let source = MemorySource::default();
        source.set_node(NodeKey { owner: OWNER, path }, Some(rlp.clone().into()));
        let reader = Reader { source: &source, owner: OWNER, now: 0 };
        match reader.node(&RlpNode::word_rlp(&keccak256(rlp)), path) {
            Ok(_) => true,
            Err(error) => {
                assert!(matches!(error, StateError::Damaged(_)), "{error}");
                false
            }
        }
    };
    let zeroes = |length| Nibbles::from_nibbles(vec![0; length]);
    let child = RlpNode::word_rlp(&OWNER);
    let branch = TrieNode::Branch(BranchNode::new(vec![child.clone(); 2], TrieMask::new(0b11)));
    assert!(stands(&branch, zeroes(0)) && stands(&branch, zeroes(63)));
    assert!(!stands(&branch, zeroes(64)));
    for length in 1..64 {
        let leaf = TrieNode::Leaf(LeafNode::new(zeroes(length), vec![1]));
        let extension = TrieNode::Extension(ExtensionNode::new(zeroes(length), child.clone()));
        assert!(stands(&leaf, zeroes(64 - length)));
        assert!(!stands(&leaf, zeroes(63 - length)) && !stands(&leaf, zeroes(65 - length)));
        assert!(stands(&extension, zeroes(63 - length)));
        assert!(!stands(&extension, zeroes(64 - length)));
    }
    assert!(!stands(&TrieNode::EmptyRoot, zeroes(0)));
    let empty = TrieNode::Extension(ExtensionNode::new(zeroes(0), child));
    assert!(!stands(&empty, zeroes(0)));
    let nothing = RlpNode::from_rlp(&[0x80]);
    let childless = TrieNode::Extension(ExtensionNode::new(zeroes(1), nothing));
    assert!(!stands(&childless, zeroes(0)));
}
