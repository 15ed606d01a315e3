//! Sources whose trie nodes are missing, junk, or flipped.

use super::{
    super::{
        memory::MemorySource,
        reference::{Model, Random},
        types::{AccountDiff, NodeKey},
    },
    *,
};

fn address(n: usize) -> Address {
    Address::left_padding_from(&n.to_be_bytes())
}

fn block(random: &mut Random, accounts: usize) -> BlockDiff {
    let mut diff = BlockDiff::default();
    for _ in 0..accounts {
        let mut account = AccountDiff::default();
        if !random.once_in(4) {
            account.after = Some(Account { balance: random.value(), ..Account::default() });
            let value = |random: &mut Random| if random.once_in(3) { U256::ZERO } else { random.value() };
            account.slots = (0..4).map(|_| (U256::from(random.below(30)), value(random))).collect();
        }
        diff.accounts.insert(address(random.below(60)), account);
    }
    diff
}

fn damage(random: &mut Random, node: &[u8]) -> Option<Bytes> {
    let mut bytes = node.to_vec();
    match random.below(5) {
        0 => return None,
        1 => bytes.truncate(random.below(node.len())),
        2 => bytes = (0..random.below(600)).map(|_| random.next() as u8).collect(),
        3 => bytes.push(0),
        _ => bytes[random.below(node.len())] ^= 1 << random.below(8),
    }
    Some(bytes.into())
}

#[test]
fn a_damaged_node_is_an_error_that_leaves_the_state_as_it_was() {
    let mut random = Random::seeded(11);
    let source = MemorySource::default();
    let mut state = WorkingState::new(source.clone());
    let mut model = Model::default();
    for _ in 0..6 {
        let diff = block(&mut random, 40);
        state.apply(&diff).unwrap();
        model.apply(&diff);
    }
    source.commit(state.take());
    let before = model.root();

    let (mut met, mut unmet) = (0, 0);
    for _ in 0..2 {
        for (key, node) in source.nodes() {
            // The root of the accounts has nothing above it that names it.
            if key == (NodeKey { owner: ACCOUNTS, path: Nibbles::new() }) {
                continue;
            }
            let first = block(&mut random, 3);
            let diff = block(&mut random, 25);
            let mut after = model.clone();
            after.apply(&first);
            let between = after.root();
            after.apply(&diff);

            // One block first, so that the damage meets a trie that is changed already.
            let mut state = WorkingState::new(source.clone());
            state.apply(&first).unwrap();
            source.set_node(key.clone(), damage(&mut random, &node));
            let applied = state.apply(&diff);
            source.set_node(key, Some(node));
            match applied {
                Ok(applied) => {
                    unmet += 1;
                    assert_eq!(applied.root, after.root());
                }
                Err(error) => {
                    met += 1;
                    assert!(matches!(error, StateError::Damaged(_)), "{error}");
                    assert!(!error.to_string().contains('\n'));
                    assert_eq!(state.root().unwrap(), between);
                    assert_eq!(state.apply(&diff).unwrap().root, after.root());
                }
            }
            state.discard().unwrap();
            assert_eq!(state.root().unwrap(), between);
            assert_eq!(WorkingState::new(source.clone()).root().unwrap(), before);
        }
    }
    assert!(met > 100 && unmet > 100, "{met} damaged nodes met, {unmet} not");
}

/// A root that is named by its right hash and still no node that can stand there, or none that a right
/// trie has: whatever comes of it, it comes as a value.
#[test]
fn junk_with_the_right_hash_does_no_harm() {
    let mut random = Random::seeded(12);
    let source = MemorySource::default();
    let mut state = WorkingState::new(source.clone());
    for _ in 0..6 {
        state.apply(&block(&mut random, 40)).unwrap();
    }
    source.commit(state.take());
    let nodes: Vec<_> = source.nodes().into_values().collect();

    let (mut refused, mut applied) = (0, 0);
    for _ in 0..8_000 {
        let node = random.pick(&nodes).clone();
        let mut bytes = match random.below(4) {
            0 => nested(&mut random),
            1 => short_node(&mut random),
            2 => damage(&mut random, &node).unwrap_or_default().to_vec(),
            // Almost right: only the path of a leaf or an extension, or a prefix within a branch.
            _ => {
                let mut bytes = node.to_vec();
                let at = random.below(bytes.len().min(8));
                bytes[at] = random.next() as u8;
                bytes
            }
        };
        bytes.truncate(2_000);
        let source = MemorySource::default();
        source.set_node(NodeKey { owner: ACCOUNTS, path: Nibbles::new() }, Some(bytes.into()));
        let mut state = WorkingState::new(source.clone());
        match state.apply(&block(&mut random, 4)) {
            Ok(_) => applied += 1,
            Err(error) => {
                refused += 1;
                assert!(matches!(error, StateError::Damaged(_)), "{error}");
            }
        }
        source.commit(state.take());
        state.rebase(source);
    }
    assert!(refused > 1_000 && applied > 10, "{refused} refused, {applied} applied");
}

/// Lists within lists within lists.
fn nested(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0x80];
    for _ in 0..random.below(300) {
        let mut list = Vec::new();
        alloy_rlp::Header { list: true, payload_length: bytes.len() + 1 }.encode(&mut list);
        list.push(random.next() as u8 & 0x7f);
        list.extend(bytes);
        bytes = list;
    }
    bytes
}

/// Extensions, branches and leaves short enough to be part of each other, in any order.
fn short_node(random: &mut Random) -> Vec<u8> {
    let mut node: Vec<u8> = match random.below(3) {
        0 => vec![0xc2, 0x20, 0x01],
        1 => [&[0xd1][..], &[0x80; 17]].concat(),
        _ => vec![0xa0; 33],
    };
    for _ in 0..random.below(30) {
        let list = if random.once_in(4) && node.len() < 15 {
            let place = random.below(16);
            [&vec![0x80; place][..], &node, &vec![0x80; 16 - place]].concat()
        } else {
            [&[0x10 | (random.next() as u8 & 0x0f)][..], &node].concat()
        };
        let mut bytes = Vec::new();
        alloy_rlp::Header { list: true, payload_length: list.len() }.encode(&mut bytes);
        bytes.extend(list);
        if bytes.len() > 31 && random.once_in(2) {
            break;
        }
        node = bytes;
    }
    node
}
