//! Chains that geth made, executed on a `WorkingState` that is committed now and then: its root is the
//! header's after every block, and undoing leads back to every one of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use alloy_consensus::Header;
use alloy_rlp::Decodable;
use execution_client::evm::Executor;
use execution_client::genesis::Chain;
use execution_client::state::{MemorySource, WorkingState};
use trunkline::chain::{RawBlock, import};

const BLOCKS_PER_COMMIT: usize = 37;

fn real_chain(folder: &str, file: &str) -> Option<(Chain, Vec<RawBlock>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder);
    if !root.exists() {
        eprintln!("SKIPPED: {} is not there", root.display());
        return None;
    }
    let chain = Chain::read(&root.join("genesis.json")).unwrap();
    let blocks = import::open(&root.join(file), &chain.spec).unwrap().blocks;
    Some((chain, blocks))
}

/// Up and down again over all `blocks`.
fn follow(chain: &Chain, blocks: &[RawBlock], blocks_per_commit: usize) {
    let executor = Executor::new(chain).unwrap();
    let source = MemorySource::default();
    let mut state = WorkingState::new(source.clone());
    let genesis = chain.spec.genesis_header().clone();
    let to_nothing = state.apply(&chain.genesis_diff()).unwrap().undo;
    assert_eq!(state.root().unwrap(), genesis.state_root);
    state.push_block_hash(0, chain.spec.genesis().hash);

    let [mut executing, mut applying, mut committing] = [Duration::ZERO; 3];
    let mut parent = genesis;
    let mut undos = vec![(parent.state_root, to_nothing)];
    for (n, block) in blocks.iter().enumerate() {
        let prepared = executor.prepare(block.clone()).unwrap();
        let start = Instant::now();
        let output = executor.execute(&prepared, &parent, &state).unwrap();
        let executed = Instant::now();
        let applied = state.apply(&output.diff).unwrap();
        executing += executed - start;
        applying += executed.elapsed();
        parent = Header::decode(&mut &block.header[..]).unwrap();
        assert_eq!(applied.root, parent.state_root, "block {}", parent.number);
        state.push_block_hash(parent.number, block.hash);
        undos.push((applied.root, applied.undo));
        if n % blocks_per_commit == 0 {
            let start = Instant::now();
            source.commit(state.take());
            state.rebase(source.clone());
            committing += start.elapsed();
        }
    }
    eprintln!("{} blocks: executed in {executing:?}, applied in {applying:?}", blocks.len());
    eprintln!("commits to memory in {committing:?}, {} nodes stored", source.nodes().len());

    while let Some((root, undo)) = undos.pop() {
        assert_eq!(state.root().unwrap(), root, "undone to block {}", undos.len());
        state.apply(&undo).unwrap();
        if undos.len() % blocks_per_commit == 0 {
            source.commit(state.take());
            state.rebase(source.clone());
        }
    }
    assert!(source.nodes().is_empty(), "nothing is left before the genesis block");
}

#[test]
fn geths_600_blocks_there_and_back() {
    let Some((chain, blocks)) = real_chain("geth-ethtest", "chain.rlp") else { return };
    follow(&chain, &blocks, BLOCKS_PER_COMMIT);
}

#[test]
fn the_first_1_000_blocks_of_the_long_chain_there_and_back() {
    let Some((chain, blocks)) = real_chain("long", "chain.rlp.gz") else { return };
    follow(&chain, blocks.get(..1_000).unwrap(), BLOCKS_PER_COMMIT);
}

/// Run by hand, in release: `cargo test --release --test state_over_real_chains -- --ignored --nocapture`.
#[test]
#[ignore = "20,000 blocks take minutes where nothing is optimised"]
fn the_whole_long_chain_there_and_back() {
    let Some((chain, blocks)) = real_chain("long", "chain.rlp.gz") else { return };
    follow(&chain, &blocks, 500);
}
