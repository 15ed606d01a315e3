//! The state that execution works on, over a store: committed in batches, undone block by block.

use trunkline::sync::ChainStore;

use super::*;
use crate::state::{MemorySource, StateSource, StateView, WorkingState};

const ACCOUNTS: u64 = 24;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    /// Accounts that come, change and go, with slots that do.
    fn diff(&mut self) -> BlockDiff {
        let mut diff = BlockDiff::default();
        for _ in 0..5 {
            let gone = self.below(6) == 0;
            let after = (!gone).then(|| account(1 + self.below(1 << 20)));
            let wiped = gone || self.below(8) == 0;
            let slots = if gone { 0 } else { self.below(4) };
            let slots = (0..slots).map(|_| (U256::from(self.below(12)), U256::from(self.below(4)))).collect();
            diff.accounts.insert(address(self.below(ACCOUNTS)), AccountDiff { after, wiped, slots });
        }
        diff
    }
}

/// Reads must agree; nodes too, wherever the memory has one.
fn agree(store: &Store, memory: &MemorySource) {
    let state = store.state();
    for n in 0..ACCOUNTS {
        let address = address(n);
        assert_eq!(state.account(&address).unwrap(), memory.account(&address).unwrap(), "account {n}");
        assert_eq!(state.slots(&address).unwrap(), memory.slots(&address).unwrap(), "slots of {n}");
    }
    let nodes = memory.nodes();
    assert_eq!(store.view().nodes.range::<&[u8]>(..).unwrap().count(), nodes.len());
    for (key, node) in nodes {
        assert_eq!(state.node(&key).unwrap(), Some(node), "{key:?}");
    }
}

#[test]
fn batches_of_blocks_are_committed_and_undone_to_the_same_roots() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &chain(), || Ok(StateBatch::default())).unwrap();
    let blocks = blocks(chain().spec.genesis(), 60, 0);
    store.append(blocks.clone()).unwrap();
    let (memory, mut random) = (MemorySource::default(), Random(5));
    let mut working = WorkingState::new(store.state());
    let mut roots = vec![working.root().unwrap()];
    for part in blocks.chunks(7) {
        let executed = part.iter().map(|block| {
            let applied = working.apply(&random.diff()).unwrap();
            roots.push(applied.root);
            ExecutedBlock { block: block.block_ref(), receipts: receipts(block.number), undo: applied.undo }
        });
        let executed = executed.collect();
        let batch = working.take();
        memory.commit(batch.clone());
        store.commit(executed, batch).unwrap();
        working.rebase(store.state());
        agree(&store, &memory);
    }
    drop((store, working));

    let store = open(folder.path()).unwrap();
    agree(&store, &memory);
    let mut working = WorkingState::new(store.state());
    for to in [54, 31, 30, 0] {
        let mut parent = store.executed().block;
        for number in (to + 1..=store.executed().block.number).rev() {
            let undo = store.undo(number).unwrap().unwrap();
            assert_eq!(undo.block, parent);
            assert_eq!(working.apply(&undo.diff).unwrap().root, roots[number as usize - 1], "block {number}");
            parent = undo.parent;
        }
        let batch = working.take();
        memory.commit(batch.clone());
        store.unwind(parent, batch).unwrap();
        working.rebase(store.state());
        agree(&store, &memory);
    }
    assert_eq!(store.executed().block, chain().spec.genesis());
    assert!(memory.nodes().is_empty(), "nothing is left of 60 blocks");
}
