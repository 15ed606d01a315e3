//! State, its undo records, and what a commit refuses.

use trunkline::chain::BlockRef;
use trunkline::sync::ChainStore;

use super::*;
use crate::state::{StateSource, StateView};
use crate::store::{StoreFailure, UNDO_MAX, Undo};

#[test]
fn the_state_comes_back_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let blocks = blocks(chain().spec.genesis(), 3, 0);
    store.append(blocks.clone()).unwrap();
    let before = store.state();
    store.commit(blocks.iter().map(executed).collect(), batch(3, 0)).unwrap();
    assert_eq!(before.account(&address(3)).unwrap(), None, "as it was when it was taken");
    let was = store.executed();
    let check = |store: &Store| {
        let state = store.state();
        assert_eq!(store.executed(), was);
        assert_eq!((was.block, was.time), (blocks[2].block_ref(), 1030));
        assert_eq!(was.state_root, keccak256(3u64.to_be_bytes()));
        assert_eq!(state.account(&address(3)).unwrap(), Some(account(3)));
        assert_eq!(state.account(&address(9)).unwrap(), None);
        assert_eq!(state.slot(&address(3), &U256::from(3)).unwrap(), U256::from(4));
        assert_eq!(state.slot(&address(3), &U256::from(4)).unwrap(), U256::ZERO);
        let slots = vec![(U256::ZERO, U256::from(1)), (U256::from(3), U256::from(4))];
        assert_eq!(state.slots(&address(0)).unwrap(), slots);
        assert_eq!(state.code(&keccak256([3; 40])).unwrap(), vec![3; 40]);
        assert!(state.code(&B256::ZERO).is_err());
        assert_eq!(state.node(&key(3)).unwrap().unwrap(), &b"node 3 0"[..]);
        assert_eq!(state.node(&key(4)).unwrap(), None);
        assert_eq!(state.block_hash(2).unwrap(), Some(blocks[1].hash));
        assert_eq!(state.block_hash(4).unwrap(), None);
        let undo = Undo { block: blocks[2].block_ref(), parent: blocks[1].block_ref(), diff: diff(3) };
        assert_eq!(store.undo(3).unwrap(), Some(undo));
        assert_eq!(store.undo(4).unwrap(), None);
    };
    check(&store);
    drop((store, before));
    check(&open(folder.path()).unwrap());
}

#[test]
fn what_is_gone_is_removed_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let blocks = blocks(chain().spec.genesis(), 2, 0);
    store.append(blocks.clone()).unwrap();
    // Storage and tries of three neighbours, the ends of every range included.
    let slots = HashMap::from([(U256::ZERO, U256::ONE), (U256::MAX, U256::MAX), (U256::ONE, U256::ONE)]);
    let owners = [B256::ZERO, B256::repeat_byte(4), B256::repeat_byte(5), B256::repeat_byte(6)];
    let paths = [Nibbles::new(), Nibbles::from_nibbles([15; 64]), Nibbles::from_nibbles([0])];
    let mut first = StateBatch::default();
    for n in 4..7 {
        first.accounts.insert(address(n), Some(account(n)));
        first.storage.insert(address(n), StorageBatch { wiped: false, slots: slots.clone() });
    }
    for (owner, path) in owners.iter().flat_map(|owner| paths.iter().map(move |path| (*owner, *path))) {
        first.nodes.insert(NodeKey { owner, path }, Some(Bytes::from_static(b"node")));
    }
    store.commit(vec![executed(&blocks[0])], first).unwrap();

    let mut second = StateBatch { dropped: vec![owners[2]], ..StateBatch::default() };
    second.accounts.insert(address(5), None);
    let again = HashMap::from([(U256::from(7), U256::from(8))]);
    second.storage.insert(address(5), StorageBatch { wiped: true, slots: again });
    let one = HashMap::from([(U256::ONE, U256::ZERO)]);
    second.storage.insert(address(6), StorageBatch { wiped: false, slots: one });
    second.nodes.insert(NodeKey { owner: owners[0], path: paths[0] }, None);
    let new = NodeKey { owner: owners[2], path: paths[0] };
    second.nodes.insert(new.clone(), Some(Bytes::from_static(b"new")));
    store.commit(vec![executed(&blocks[1])], second).unwrap();

    let state = store.state();
    let accounts = [4, 5, 6].map(|n| state.account(&address(n)).unwrap().is_some());
    assert_eq!(accounts, [true, false, true]);
    let sorted = vec![(U256::ZERO, U256::ONE), (U256::ONE, U256::ONE), (U256::MAX, U256::MAX)];
    assert_eq!(state.slots(&address(4)).unwrap(), sorted);
    assert_eq!(state.slots(&address(5)).unwrap(), [(U256::from(7), U256::from(8))]);
    assert_eq!(state.slots(&address(6)).unwrap(), [sorted[0], sorted[2]]);
    let held = |owner: B256| paths.map(|path| state.node(&NodeKey { owner, path }).unwrap().is_some());
    assert_eq!(held(owners[0]), [false, true, true]);
    assert_eq!(held(owners[1]), [true; 3]);
    assert_eq!(held(owners[2]), [true, false, false]);
    assert_eq!(held(owners[3]), [true; 3]);
    assert_eq!(state.node(&new).unwrap().unwrap(), &b"new"[..]);
}

#[test]
fn only_the_last_blocks_can_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let blocks = blocks(chain().spec.genesis(), 300, 0);
    store.append(blocks.clone()).unwrap();
    let held = || (0..310).filter(|number| store.undo(*number).unwrap().is_some()).collect::<Vec<_>>();
    for (from, to) in [(0, 100), (100, 140), (140, 300)] {
        store.commit(blocks[from..to].iter().map(executed).collect(), batch(1, 0)).unwrap();
        let last = to as u64;
        assert_eq!(held(), ((last + 1).saturating_sub(UNDO_MAX).max(1)..=last).collect::<Vec<_>>());
    }
    assert!(store.truncate(171).is_err(), "129 blocks back");
    assert_eq!(store.stored(), blocks[299].block_ref());
    store.truncate(172).unwrap();
}

#[test]
fn blocks_that_are_not_on_the_chain_are_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let ours = blocks(chain().spec.genesis(), 4, 0);
    let theirs = blocks(chain().spec.genesis(), 4, 1);
    let commit = |blocks: &[RawBlock]| store.commit(blocks.iter().map(executed).collect(), batch(7, 0));
    store.append(ours[..3].to_vec()).unwrap();
    assert!(matches!(commit(&ours), Err(StoreFailure::Gone { number: 4 })), "not stored");
    assert!(matches!(commit(&theirs[..1]), Err(StoreFailure::Gone { number: 1 })));
    assert!(matches!(commit(&ours[1..2]), Err(StoreFailure::Gone { number: 2 })), "one left out");
    assert_eq!(store.executed().block, chain().spec.genesis());
    assert_eq!(store.state().account(&address(7)).unwrap(), None, "nothing written");
    commit(&ours[..2]).unwrap();

    store.truncate(0).unwrap();
    store.append(theirs.clone()).unwrap();
    assert!(matches!(commit(&theirs[2..3]), Err(StoreFailure::Gone { number: 3 })), "on another branch");
    assert!(matches!(commit(&ours[3..]), Err(StoreFailure::Gone { number: 4 })), "one left out");
    let unknown = BlockRef { number: 1, hash: B256::ZERO };
    assert!(matches!(store.unwind(unknown, batch(0, 0)), Err(StoreFailure::NoWayBack { .. })));
    let above = ours[3].block_ref();
    assert!(matches!(store.unwind(above, batch(0, 0)), Err(StoreFailure::NoWayBack { .. })));
}
