//! Chains that geth made, executed to geth's state roots.

use std::time::{Duration, Instant};

use trunkline::chain::HeaderFacts;
use trunkline::chain::verify::check_receipts;

use super::*;
use crate::state::{MemorySource, WorkingState};

#[test]
fn geths_600_blocks_have_their_state_root_at_every_block() {
    let Some((chain, blocks)) = geth_ethtest() else { return };
    let mut follower = Follower::new(&chain);
    let mut kinds = [0; 5];
    for block in &blocks {
        let prepared = follower.executor.prepare(block.clone()).unwrap();
        prepared.transactions.iter().for_each(|t| kinds[t.tx_type() as usize] += 1);
        let output = follower.follow(block, true);
        let facts = HeaderFacts::read(&block.header).unwrap();
        check_receipts(&facts, &output.receipts).unwrap();
        assert_eq!((output.gas_used, output.transactions), (facts.gas_used, prepared.transactions.len()));
    }
    assert_eq!((blocks.len(), kinds), (600, [331, 108, 109, 54, 1]));
}

#[test]
fn the_first_300_blocks_of_the_long_chain_have_their_state_roots() {
    let Some((chain, blocks)) = real_chain("long", "chain.rlp.gz") else { return };
    let mut follower = Follower::new(&chain);
    for block in &blocks[..300] {
        follower.follow(block, block.number % 10 == 0);
    }
}

/// Run by hand, in release: `cargo test --release --lib long_chain -- --ignored --nocapture`.
#[test]
#[ignore = "20,000 blocks take minutes where nothing is optimised"]
fn the_whole_long_chain_has_its_state_roots() {
    let Some((chain, blocks)) = real_chain("long", "chain.rlp.gz") else { return };
    let mut follower = Follower::new(&chain);
    let started = Instant::now();
    let prepared: Vec<_> =
        blocks.iter().map(|block| follower.executor.prepare(block.clone()).unwrap()).collect();
    eprintln!("prepare: {} blocks in {:?}", blocks.len(), started.elapsed());

    let source = MemorySource::default();
    let mut trie = WorkingState::new(source.clone());
    trie.apply(&chain.genesis_diff()).unwrap();
    let (mut executing, mut hashing) = (Duration::ZERO, Duration::ZERO);
    for block in &prepared {
        let number = block.header.number;
        let started = Instant::now();
        let output = follower.executor.execute(block, &follower.parent, &follower.state).unwrap();
        executing += started.elapsed();
        let started = Instant::now();
        assert_eq!(trie.apply(&output.diff).unwrap().root, block.header.state_root, "block {number}");
        hashing += started.elapsed();
        if number % 500 == 0 {
            source.commit(trie.take());
            trie.rebase(source.clone());
        }
        follower.state.apply(&output.diff);
        follower.state.hashes.insert(number, block.hash);
        follower.parent = block.header.clone();
        // The same without that trie.
        if number % 1_000 == 0 {
            assert_eq!(follower.state.root(), follower.parent.state_root, "block {number}");
        }
    }
    let accounts = follower.state.accounts.len();
    eprintln!(
        "execute: {} blocks in {executing:?}, roots in {hashing:?}; {accounts} accounts",
        prepared.len()
    );
    assert_eq!(prepared.len(), 20_000);
}
