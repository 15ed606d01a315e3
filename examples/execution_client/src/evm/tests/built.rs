//! The development chain, and blocks made here.

use trunkline::chain::DevChain;
use trunkline::chain::dev::coinbase;
use trunkline::chain::spec::DEV_GENESIS_TIME;

use super::*;

#[test]
fn the_development_chain_has_its_state_root_at_every_block() {
    let mut follower = Follower::new(&Chain::dev());
    let mut dev = DevChain::new(7);
    for number in 1..=200 {
        let (block, receipts) = dev.next_block(number % 13, DEV_GENESIS_TIME + 2 * number as u64);
        let output = follower.follow(&block, true);
        assert_eq!(output.receipts, receipts, "block {number}");
    }
}

#[test]
fn the_producers_transactions_make_the_producers_block() {
    let mut follower = Follower::new(&Chain::dev());
    let mut dev = DevChain::new(11);
    for number in 1..=40 {
        let time = DEV_GENESIS_TIME + 2 * number;
        let (block, receipts) = dev.next_block(number as usize % 7, time);
        let prepared = follower.executor.prepare(block.clone()).unwrap();
        let mut candidates = prepared.transactions.into_iter();
        let state = &follower.state;
        let built =
            follower.executor.build(&follower.parent, time, coinbase(), &mut candidates, state).unwrap();
        assert_eq!((&built.receipts, built.skipped.len()), (&receipts, 0));
        let mut after = follower.state.clone();
        after.apply(&built.diff);
        assert_eq!(built.seal(after.root()), block);
        follower.follow(&block, false);
    }
}

#[test]
fn candidates_that_are_not_valid_or_do_not_fit_are_skipped() {
    let mut follower = Follower::new(&Chain::dev());
    let mut dev = DevChain::new(3);
    let (block, _) = dev.next_block(30, DEV_GENESIS_TIME + 5);
    let prepared = follower.executor.prepare(block).unwrap();
    let twice: Vec<_> = prepared.transactions.iter().flat_map(|t| [t.clone(), t.clone()]).collect();
    let parent = follower.parent.clone();
    let build = |candidates: Vec<_>, parent: &Header| {
        let mut candidates = candidates.into_iter();
        follower.executor.build(parent, 0, coinbase(), &mut candidates, &follower.state).unwrap()
    };
    let built = build(twice.clone(), &parent);
    let hashes: Vec<B256> = prepared.transactions.iter().map(|t| *t.tx_hash()).collect();
    assert_eq!(built.skipped, hashes);
    assert_eq!(built.header.timestamp, parent.timestamp + 1);

    // A parent with little gas leaves room for few; the others may come in a later block.
    let small = Header { gas_limit: 100_000, ..parent.clone() };
    let built = build(prepared.transactions.clone(), &small);
    assert!(built.header.gas_used <= 100_000 && built.header.gas_used > 60_000);

    // What was skipped goes into the next block, where its nonce is still good, or is not.
    let built = build(prepared.transactions.iter().rev().cloned().collect(), &parent);
    assert!(!built.skipped.is_empty() && built.skipped.len() < hashes.len());
    let mut after = follower.state.clone();
    after.apply(&built.diff);
    let block = built.seal(after.root());
    follower.follow(&block, true);
}

#[test]
fn a_block_made_after_any_of_geths_blocks_is_executed_to_what_it_was_made_with() {
    let Some((chain, blocks)) = geth_ethtest() else { return };
    let mut follower = Follower::new(&chain);
    for block in blocks.iter().take(150) {
        let prepared = follower.executor.prepare(block.clone()).unwrap();
        let header = &prepared.header;
        let mut candidates = prepared.transactions.iter().cloned();
        let (time, to) = (header.timestamp, header.beneficiary);
        let built =
            follower.executor.build(&follower.parent, time, to, &mut candidates, &follower.state).unwrap();
        assert_eq!((built.header.gas_used, built.skipped.len()), (header.gas_used, 0));
        assert_eq!(built.header.receipts_root, header.receipts_root);
        assert_eq!(built.header.requests_hash, header.requests_hash);
        assert_eq!(built.header.blob_gas_used, header.blob_gas_used);
        let diff = built.diff.clone();
        let output = follower.try_block(&built.seal(B256::ZERO)).unwrap();
        assert_eq!(output.diff, diff);
        follower.follow(block, false);
    }
}

#[test]
fn an_unreadable_state_makes_no_block() {
    let follower = Follower::new(&Chain::dev());
    let (block, _) = DevChain::new(3).next_block(3, 0);
    let prepared = follower.executor.prepare(block).unwrap();
    let broken = Some(prepared.transactions[1].signer());
    let state = Model { broken, ..follower.state.clone() };
    let mut candidates = prepared.transactions.into_iter();
    let failed = follower.executor.build(&follower.parent, 0, coinbase(), &mut candidates, &state);
    assert!(matches!(failed, Err(ExecuteError::State(_))), "{failed:?}");
}
