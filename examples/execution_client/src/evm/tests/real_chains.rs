//! Chains that geth made, executed to geth's state roots.

use std::time::Instant;

use trunkline::chain::HeaderFacts;
use trunkline::chain::verify::check_receipts;

use super::*;

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
    let mut executing = std::time::Duration::ZERO;
    for block in &prepared {
        let started = Instant::now();
        let output = follower.executor.execute(block, &follower.parent, &follower.state).unwrap();
        executing += started.elapsed();
        let number = block.header.number;
        follower.state.apply(&output.diff);
        follower.state.hashes.insert(number, block.hash);
        follower.parent = block.header.clone();
        if number % 100 == 0 || number as usize == prepared.len() {
            assert_eq!(follower.state.root(), follower.parent.state_root, "block {number}");
        }
    }
    eprintln!(
        "execute: {} blocks in {executing:?}; {} accounts",
        prepared.len(),
        follower.state.accounts.len()
    );
    assert_eq!(prepared.len(), 20_000);
}
