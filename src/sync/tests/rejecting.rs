//! Blocks that the host finds to be invalid after they were stored.

use std::sync::Arc;
use std::time::Duration;

use super::sim::Sim;
use super::world::{Manner, TestChain};
use crate::chain::BlockRef;
use crate::ids::SessionId;
use crate::sync::bad_data::BadData;
use crate::sync::config::SyncConfig;

const S: Duration = Duration::from_secs(1);

/// A chain, and a longer branch of it.
fn chains() -> (Arc<TestChain>, Arc<TestChain>) {
    let good = TestChain::new(1, 400);
    let bad = good.branch(200, 9, 300);
    (Arc::new(good), Arc::new(bad))
}

fn at_head(chain: &TestChain) -> impl Fn(&Sim) -> bool {
    let head = chain.head();
    move |sim| sim.head() == Some(head)
}

fn rejected(session: SessionId, block: BlockRef) -> (SessionId, BadData) {
    (session, BadData::Rejected { number: block.number })
}

#[test]
fn a_rejected_block_costs_its_sender_and_the_sync_goes_on_from_the_block_before() {
    let (good, bad) = chains();
    let mut sim = Sim::new(1, SyncConfig::default(), &good.blocks[..1]);
    let liar = sim.peer(1, &bad, Manner::Honest);
    sim.run_until(20 * S, at_head(&bad));
    sim.peer(2, &good, Manner::Honest);
    let block = bad.at(230).block_ref();
    sim.reject(block);
    sim.run_until(60 * S, at_head(&good));
    assert_eq!(sim.store, good.blocks);
    assert_eq!(sim.blamed, [rejected(liar, block)]);
    assert!(sim.trace.contains("drop above 229"), "{}", sim.trace);
}

#[test]
fn whoever_sends_a_rejected_block_again_is_blamed_as_well_and_the_block_is_not_stored() {
    let (good, bad) = chains();
    let mut sim = Sim::new(2, SyncConfig::default(), &good.blocks[..1]);
    let first = sim.peer(1, &bad, Manner::Honest);
    sim.run_until(20 * S, at_head(&bad));
    let block = bad.at(230).block_ref();
    sim.reject(block);
    sim.run_for(S);
    assert_eq!(sim.head().unwrap().number, 229);
    let second = sim.peer(2, &bad, Manner::Honest);
    sim.run_for(20 * S);
    assert_eq!(sim.blamed, [rejected(first, block), rejected(second, block)]);
    assert_eq!(sim.head().unwrap().number, 229, "{}", sim.trace);
    sim.peer(3, &good, Manner::Honest);
    sim.run_until(60 * S, at_head(&good));
    assert_eq!(sim.store, good.blocks);
}

#[test]
fn a_rejected_block_in_a_branch_costs_its_sender() {
    let (good, _) = chains();
    let bad = Arc::new(good.branch(380, 9, 60));
    let mut sim = Sim::new(6, SyncConfig::default(), &good.blocks);
    let block = bad.at(390).block_ref();
    sim.reject(block);
    let liar = sim.peer(1, &bad, Manner::Honest);
    sim.run_for(10 * S);
    assert_eq!(sim.blamed, [rejected(liar, block)]);
    assert_eq!(sim.store, good.blocks);
}

#[test]
fn a_rejected_block_in_an_announcement_costs_its_sender() {
    let (good, bad) = chains();
    let config = SyncConfig { heaviest: true, ..SyncConfig::default() };
    let held = &bad.blocks[..=230];
    let mut sim = Sim::new(3, config, held);
    let liar = sim.liar(1, &good, Manner::Silent, held[230].block_ref());
    let block = bad.at(231);
    sim.reject(block.block_ref());
    assert_eq!((sim.blamed.len(), sim.head()), (0, Some(held[230].block_ref())), "it was not stored");
    sim.announce(liar, block);
    sim.run_for(S);
    assert_eq!(sim.blamed, [rejected(liar, block.block_ref())]);
    assert_eq!(sim.head(), Some(held[230].block_ref()));
}

/// Bodies go on arriving while a block is rejected: nothing of the branch is stored after that.
#[test]
fn a_block_is_rejected_in_the_middle_of_a_sync() {
    let (good, bad) = chains();
    for seed in 0..50 {
        let config = SyncConfig { deliver_blocks_max: 16, ..SyncConfig::default() };
        let mut sim = Sim::new(seed, config, &good.blocks[..1]);
        let liar = sim.peer(1, &bad, Manner::Honest);
        let reached = 231 + seed * 5;
        sim.run_until(60 * S, |sim| sim.head().is_some_and(|head| head.number >= reached));
        let block = bad.at(230).block_ref();
        sim.peer(2, &good, Manner::Honest);
        sim.reject(block);
        sim.run_until(60 * S, at_head(&good));
        assert_eq!(sim.store, good.blocks, "seed {seed}");
        assert_eq!(sim.blamed, [rejected(liar, block)], "seed {seed}");
    }
}

#[test]
fn what_the_trusted_head_builds_on_is_nobodys_fault() {
    let (good, _) = chains();
    let config = SyncConfig { trusted_head: Some(good.head().hash), ..SyncConfig::default() };
    let mut sim = Sim::new(4, config, &good.blocks[..1]);
    sim.peer(1, &good, Manner::Honest);
    sim.run_until(20 * S, at_head(&good));
    sim.reject(good.at(100).block_ref());
    assert!(sim.impossible);
    assert_eq!((sim.blamed.len(), sim.head()), (0, Some(good.head())));
}

/// Short of the trusted head nobody knows yet whether it builds on this chain.
#[test]
fn a_made_up_chain_below_the_trusted_head_is_rejected_as_any_other() {
    let (good, bad) = chains();
    let config = SyncConfig { trusted_head: Some(good.head().hash), ..SyncConfig::default() };
    let mut sim = Sim::new(5, config, &good.blocks[..1]);
    let short = Arc::new(TestChain::full(bad.blocks[..=300].to_vec()));
    let honest = sim.peer(3, &good, Manner::NoBodies);
    sim.run_until(S, |sim| sim.plan.trusted.is_some_and(|trusted| trusted.number.is_some()));
    sim.down(honest);
    let liar = sim.liar(1, &short, Manner::Honest, good.head());
    sim.run_until(60 * S, |sim| sim.head().is_some_and(|head| head.number >= 290));
    sim.reject(bad.at(230).block_ref());
    sim.peer(2, &good, Manner::Honest);
    sim.run_until(60 * S, at_head(&good));
    assert_eq!(sim.blamed, [rejected(liar, bad.at(230).block_ref())]);
    assert!(!sim.impossible);
}

/// Whoever executes finds the bad blocks one after the other; nobody who is right waits for that.
#[test]
fn two_liars_beside_an_honest_peer_hold_nothing_up() {
    let good = Arc::new(TestChain::new(1, 600));
    let long = Arc::new(good.branch(299, 9, 301));
    let short = Arc::new(good.branch(29, 8, 11));
    let bad = [long.at(300).block_ref(), short.at(30).block_ref()];
    for seed in 0..100 {
        let mut sim = Sim::new(seed, SyncConfig::default(), &good.blocks[..1]);
        sim.peer(1, &long, Manner::Honest);
        sim.peer(2, &short, Manner::Honest);
        sim.peer(3, &good, Manner::Honest);
        let mut done = false;
        while !done {
            let is_bad = |sim: &Sim| {
                bad.iter().find(|bad| sim.store.iter().any(|block| block.hash == bad.hash)).copied()
            };
            sim.run_until(60 * S, |sim| is_bad(sim).is_some() || sim.head() == Some(good.head()));
            match is_bad(&sim) {
                Some(block) => {
                    sim.run_for(Duration::from_millis(seed * 7 % 200));
                    sim.reject(block);
                    sim.run_for(Duration::from_millis(2));
                }
                None => done = true,
            }
        }
        assert!(sim.elapsed() < 5 * S, "seed {seed}: {:?}\n{}", sim.elapsed(), sim.trace);
        assert!(sim.blamed.iter().all(|(session, _)| *session != SessionId(3)), "seed {seed}");
        assert_eq!(sim.store, good.blocks, "seed {seed}");
    }
}
