use std::collections::BTreeMap;

use alloy_primitives::U256;
use alloy_trie::root::storage_root_unsorted;

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
    if trie.collect(|key, node| drop(batch.nodes.insert(key, node))) {
        batch.dropped.push(OWNER);
    }
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
                let mut weight = Weight::default();
                trie.weigh(&mut weight);
                trie.evict(weight.least(random.below(weight.total() + 1)));
            }
        }
    }
}

#[test]
fn roots_and_stored_nodes_are_those_of_a_trie_without_history() {
    for seed in 0..40 {
        run(seed, &[0, 1, 2], 16, false);
        run(seed, &[0, 1, 2], 3, true);
    }
}

#[test]
fn nodes_short_enough_to_be_part_of_their_parents_are() {
    for seed in 0..40 {
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
    let mut weight = Weight::default();
    trie.weigh(&mut weight);
    let all = weight.total();

    trie.evict(weight.least(all / 2));
    let mut weight = Weight::default();
    trie.weigh(&mut weight);
    assert!(weight.total() <= all / 2 && weight.total() > all / 20, "{} of {all}", weight.total());

    // The upper nodes are there: nothing of the source is asked for them.
    let Child::Clean(node::Node::Branch(root), _) = &trie.root else { panic!("the root is not in memory") };
    assert!(root.children().all(|(_, child)| matches!(child, Child::Clean(..))));

    assert!(!trie.evict(Weight::default().least(0).max(weight.least(0))), "nothing fits into no bytes");
}
