//! Receipts behind the bodies: in parts, lacking, wrong, late, of a branch that is left.

use std::sync::Arc;
use std::time::Duration;

use super::receipt_world::Gives;
use super::sim::Sim;
use super::world::{Manner, TestChain};
use crate::ids::SessionId;
use crate::sync::config::{Receipts, SyncConfig};
use crate::sync::progress::ReceiptsState;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn chain(len: u64) -> Arc<TestChain> {
    Arc::new(TestChain::with_receipts(1, len))
}

fn config(receipts: Receipts) -> SyncConfig {
    SyncConfig { receipts, ..SyncConfig::default() }
}

fn sim(seed: u64, chain: &TestChain) -> Sim {
    Sim::new(seed, config(Receipts::Available), &chain.blocks[..1])
}

fn peer(sim: &mut Sim, id: u64, chain: &Arc<TestChain>, gives: Gives) -> SessionId {
    let session = sim.peer(id, chain, Manner::Honest);
    sim.peers.get_mut(&session).unwrap().gives = gives;
    session
}

/// All receipts of this chain are in the store, byte for byte.
fn complete(sim: &Sim, chain: &TestChain) -> bool {
    let full = chain.blocks.iter().filter(|block| chain.receipts(block.number).len() > 1);
    sim.plan.receipts_state() == ReceiptsState::Complete
        && sim.store == chain.blocks
        && sim.receipts.len() == full.clone().count()
        && full.clone().all(|block| sim.receipts.get(&block.hash) == Some(&chain.receipts(block.number)))
}

/// How many questions were for the rest of a block.
fn rests(sim: &Sim) -> usize {
    let first_index = |line: &str| line.split(' ').nth_back(1).map(|index| index != "0");
    let receipts = sim.trace.lines().filter(|line| line.contains(" receipts ") && line.contains("ask"));
    receipts.filter(|line| first_index(line) == Some(true)).count()
}

fn run(sim: &mut Sim, chain: &Arc<TestChain>) {
    let chain = chain.clone();
    sim.run_until(60 * S, move |sim| complete(sim, &chain));
}

#[test]
fn receipts_of_either_form_arrive_behind_the_bodies_and_each_is_asked_for_once() {
    let chain = chain(3_000);
    for gives in [Gives::Blooms, Gives::Flat] {
        let mut sim = sim(1, &chain);
        peer(&mut sim, 1, &chain, gives);
        run(&mut sim, &chain);
        let progress = sim.plan.progress();
        assert_eq!((progress.receipts, progress.bodies), (3_000, 3_000));
        assert_eq!(sim.asked_receipts, sim.receipts.len() as u64);
        assert!(sim.asked_receipts < 3_000, "blocks without transactions need no question");
        assert_eq!(progress.in_flight, 0);
        // Not one phase after the other.
        let lines: Vec<_> = sim.trace.lines().collect();
        let first = lines.iter().position(|line| line.contains(" receipts ")).unwrap();
        assert!(lines[first..].iter().any(|line| line.contains(" bodies ")), "in parallel with bodies");
    }
}

#[test]
fn a_sync_without_receipts_asks_for_none() {
    let chain = chain(300);
    let mut sim = Sim::new(1, config(Receipts::None), &chain.blocks[..1]);
    peer(&mut sim, 1, &chain, Gives::Flat);
    sim.run_until(10 * S, |sim| sim.reached.last() == Some(&chain.head()));
    assert_eq!((sim.asked_receipts, sim.plan.receipts_state()), (0, ReceiptsState::Off));
}

#[test]
fn several_requests_are_in_flight_to_several_peers() {
    let chain = chain(6_000);
    let mut sim = sim(2, &chain);
    for id in 1..=2 {
        let session = peer(&mut sim, id, &chain, Gives::Flat);
        let peer = sim.peers.get_mut(&session).unwrap();
        (peer.latency, peer.bandwidth) = (200 * MS, 64 << 20);
    }
    run(&mut sim, &chain);
    assert!(sim.elapsed() < 8 * S, "{:?}", sim.elapsed());
    for id in [1, 2] {
        let asked = format!("ask s{id} receipts");
        assert!(sim.trace.lines().filter(|line| line.contains(&asked)).count() > 4);
    }
}

/// eth/70: a block that does not fit into one answer is joined from parts, all from one peer.
#[test]
fn receipts_in_parts_are_joined_and_the_rest_of_a_part_is_asked_of_the_same_peer() {
    let chain = chain(300);
    for most in [1, 2, 5] {
        let mut sim = sim(3, &chain);
        peer(&mut sim, 1, &chain, Gives::Parts(most));
        peer(&mut sim, 2, &chain, Gives::Parts(most));
        run(&mut sim, &chain);
        assert!(sim.blamed.is_empty(), "{:?}", sim.blamed);
        assert!(most > 1 || rests(&sim) > 50, "asked from an index on");
    }
}

/// The peer with the first half goes: the block is asked for whole of somebody else.
#[test]
fn what_was_begun_with_a_peer_that_goes_is_begun_again() {
    let chain = chain(200);
    let mut sim = sim(4, &chain);
    let gone = peer(&mut sim, 1, &chain, Gives::Parts(1));
    sim.run_until(20 * S, |sim| rests(sim) > 5 && sim.receipts.len() > 20);
    sim.down(gone);
    sim.run_for(S);
    peer(&mut sim, 2, &chain, Gives::Flat);
    run(&mut sim, &chain);
    assert!(sim.blamed.is_empty());
    assert_eq!(sim.plan.receipts.bytes(), 0);
}

/// G5: each fault alone, beside one honest peer.
#[test]
fn bad_receipts_cost_the_sender_and_only_the_sender() {
    let chain = chain(400);
    let bad = [Gives::Stray, Gives::Wrong, Gives::TooMany, Gives::NoMore, Gives::SamePart, Gives::Endless];
    for gives in bad {
        assert!(gives.is_bad());
        for seed in 0..3 {
            let mut sim = sim(seed, &chain);
            let liar = peer(&mut sim, 1, &chain, gives);
            let honest = peer(&mut sim, 2, &chain, Gives::Flat);
            sim.peers.get_mut(&liar).unwrap().latency = MS;
            sim.peers.get_mut(&honest).unwrap().latency = 60 * MS;
            run(&mut sim, &chain);
            let blamed: Vec<_> = sim.blamed.iter().map(|(session, _)| *session).collect();
            assert_eq!(blamed, [liar], "{gives:?}, seed {seed}");
        }
    }
}

/// Alone with a liar: nothing that is not verified is stored, and what verified before is kept.
#[test]
fn the_receipts_before_bad_ones_are_kept() {
    let chain = chain(60);
    let mut sim = sim(5, &chain);
    peer(&mut sim, 1, &chain, Gives::Wrong);
    sim.run_for(5 * S);
    assert_eq!(sim.blamed.len(), 1);
    assert!(!sim.receipts.is_empty() && sim.receipts.len() < 55);
    assert_eq!(sim.plan.receipts_state(), ReceiptsState::Unavailable, "nobody is there any more");
    peer(&mut sim, 2, &chain, Gives::Flat);
    run(&mut sim, &chain);
}

#[test]
fn peers_without_receipts_are_told_apart_and_asked_ever_less() {
    let chain = chain(900);
    let mut sim = sim(6, &chain);
    peer(&mut sim, 1, &chain, Gives::Nothing);
    peer(&mut sim, 2, &chain, Gives::Nothing);
    let began = sim.elapsed();
    sim.run_until(20 * S, |sim| {
        sim.reached.last() == Some(&chain.head()) && sim.plan.receipts_state() == ReceiptsState::Unavailable
    });
    assert!(sim.elapsed() - began < 3 * S, "nobody waits for what is not there: {:?}", sim.elapsed());
    sim.run_for(120 * S);
    let asked = sim.trace.lines().filter(|line| line.contains(" receipts ")).count();
    assert!(asked < 60, "{asked} questions in two minutes");
    assert!(sim.blamed.is_empty());
    assert_eq!(sim.plan.progress().receipts, sim.plan.receipts_to(900));
    // Somebody comes who has them.
    peer(&mut sim, 3, &chain, Gives::Flat);
    run(&mut sim, &chain);
}

/// A relay fetches receipts itself: what it lacks now it has soon.
#[test]
fn a_peer_that_gets_its_receipts_late_is_followed() {
    let chain = chain(2_000);
    let mut sim = sim(7, &chain);
    let relay = peer(&mut sim, 1, &chain, Gives::UpTo(0));
    for has in (0..=2_000).step_by(100) {
        sim.peers.get_mut(&relay).unwrap().gives = Gives::UpTo(has);
        sim.run_for(100 * MS);
    }
    sim.run_for(2 * S);
    assert!(complete(&sim, &chain), "{:?}", sim.plan.progress());
    assert!(sim.blamed.is_empty());
}

/// Old receipts that nobody has do not keep those of new blocks away.
#[test]
fn receipts_of_new_blocks_come_although_older_ones_are_lacking() {
    let mut grown = TestChain::with_receipts(1, 600);
    let mut sim = sim(8, &grown);
    let only = peer(&mut sim, 1, &Arc::new(grown.clone()), Gives::From(601));
    sim.run_for(30 * S);
    assert_eq!((sim.receipts.len(), sim.plan.receipts_state()), (0, ReceiptsState::Unavailable));
    for seed in 0..10 {
        grown.grow(seed, 1);
        let new = Arc::new(grown.clone());
        let peer = sim.peers.get_mut(&only).unwrap();
        (peer.chain, peer.latest) = (new.clone(), new.head().number);
        sim.claim(only, new.head());
        let hash = new.head().hash;
        let empty = new.receipts(new.head().number).len() == 1;
        sim.run_until(2 * S, |sim| empty || sim.receipts.contains_key(&hash));
    }
}

/// 1.17.0 leaves out what it does not have and goes on.
#[test]
fn lists_left_out_in_the_middle_are_matched_by_their_root() {
    let chain = chain(600);
    let mut sim = sim(9, &chain);
    peer(&mut sim, 1, &chain, Gives::Leaky);
    sim.run_for(20 * S);
    assert!(sim.receipts.len() > 300, "what it has was taken: {}", sim.receipts.len());
    peer(&mut sim, 2, &chain, Gives::Flat);
    run(&mut sim, &chain);
    assert!(sim.blamed.is_empty());
}

#[test]
fn a_peer_that_never_answers_holds_nothing_up_for_good() {
    let chain = chain(300);
    let mut sim = sim(10, &chain);
    peer(&mut sim, 1, &chain, Gives::Silence);
    peer(&mut sim, 2, &chain, Gives::Flat);
    run(&mut sim, &chain);
    assert!(sim.blamed.is_empty(), "silence is no bad data");
    let mut sim = super::receipting::sim(10, &chain);
    let only = peer(&mut sim, 1, &chain, Gives::Silence);
    sim.run_until(5 * S, |sim| sim.plan.progress().requests.timed_out > 0);
    let state = sim.plan.receipts_state();
    assert_eq!(state, ReceiptsState::Fetching, "a late answer does not say that there are none");
    sim.run_until(120 * S, |sim| sim.plan.receipts_state() == ReceiptsState::Unavailable);
    assert!(sim.elapsed() < 20 * S, "{:?}", sim.elapsed());
    sim.peers.get_mut(&only).unwrap().gives = Gives::Flat;
    run(&mut sim, &chain);
}

#[test]
fn short_answers_and_a_peer_that_vanishes_are_normal() {
    let chain = chain(900);
    let mut sim = sim(11, &chain);
    peer(&mut sim, 1, &chain, Gives::Parts(7));
    let leaves = sim.peer(2, &chain, Manner::Vanishes(12));
    run(&mut sim, &chain);
    assert!(sim.blamed.is_empty() && !sim.peers.contains_key(&leaves));
}

/// The store dropped blocks for a heavier branch while their receipts were on their way.
#[test]
fn the_receipts_of_a_branch_that_is_left_are_no_longer_asked_for() {
    for seed in 0..6 {
        let base = chain(300);
        let branch = Arc::new(base.branch(270, 9, 40));
        let mut sim = sim(seed, &base);
        let first = peer(&mut sim, 1, &base, Gives::Parts(3));
        sim.run_until(20 * S, |sim| sim.head() == Some(base.head()));
        sim.run_for(Duration::from_millis(seed * 40));
        peer(&mut sim, 2, &branch, Gives::Flat);
        sim.run_until(60 * S, |sim| sim.head() == Some(branch.head()));
        let there = sim.peers.get_mut(&first).unwrap();
        (there.chain, there.latest, there.gives) = (branch.clone(), 310, Gives::Flat);
        sim.claim(first, branch.head());
        let done = |sim: &Sim| {
            sim.plan.progress().bodies == 310 && sim.plan.receipts_state() == ReceiptsState::Complete
        };
        sim.run_until(60 * S, done);
        for block in &branch.blocks {
            let list = branch.receipts(block.number);
            assert!(list.len() == 1 || sim.receipts.get(&block.hash) == Some(&list), "{}", block.number);
        }
        assert!(sim.blamed.is_empty(), "{:?}", sim.blamed);
        assert_eq!(sim.plan.receipts.bytes(), 0);
    }
}

/// G12: what is missing is found in the store.
#[test]
fn a_restart_asks_for_what_is_missing_and_for_nothing_else() {
    let chain = chain(2_500);
    let mut sim = Sim::new(12, config(Receipts::Available), &chain.blocks);
    for block in &chain.blocks[1..1_800] {
        if chain.receipts(block.number).len() > 1 && block.number != 77 {
            sim.receipts.insert(block.hash, chain.receipts(block.number));
        }
    }
    let held = sim.receipts.len() as u64;
    peer(&mut sim, 1, &chain, Gives::Flat);
    run(&mut sim, &chain);
    assert_eq!(sim.asked_receipts, sim.receipts.len() as u64 - held);
    assert_eq!(sim.asked_bodies, 0);
}

#[test]
fn required_receipts_are_part_of_the_target_and_others_are_not() {
    let chain = chain(200);
    for (receipts, waits) in [(Receipts::Available, false), (Receipts::Required, true)] {
        for trusted_head in [None, Some(chain.head().hash)] {
            let config = SyncConfig { trusted_head, ..config(receipts) };
            let mut sim = Sim::new(13, config, &chain.blocks[..1]);
            peer(&mut sim, 1, &chain, Gives::Nothing);
            sim.run_until(20 * S, |sim| sim.head() == Some(chain.head()));
            sim.run_for(S);
            assert_eq!(sim.plan.progress().at_target, !waits);
            assert_eq!(sim.finished, trusted_head.is_some() && !waits);
            if waits {
                peer(&mut sim, 2, &chain, Gives::Flat);
                run(&mut sim, &chain);
                assert_eq!((sim.plan.progress().at_target, sim.finished), (true, trusted_head.is_some()));
            }
        }
    }
}

/// While a sync to a trusted head is not asked to wait, it takes the receipts that are there.
#[test]
fn a_sync_to_a_trusted_head_ends_with_the_receipts_that_peers_have() {
    let chain = chain(500);
    let config = SyncConfig { trusted_head: Some(chain.head().hash), ..config(Receipts::Available) };
    let mut sim = Sim::new(14, config, &chain.blocks[..1]);
    peer(&mut sim, 1, &chain, Gives::Flat);
    sim.run_until(20 * S, |sim| sim.finished);
    assert!(complete(&sim, &chain));
}

/// The bytes of receipts are bounded however many peers answer, and everything arrives.
#[test]
fn the_bytes_of_receipts_stay_within_their_bound() {
    let mut large = TestChain::with_receipts(3, 40);
    large.grow_wide(4, 12, 12_000);
    let large = Arc::new(large);
    let config = SyncConfig { receipt_bytes_max: 0, ..config(Receipts::Available) };
    let mut sim = Sim::new(15, config, &large.blocks[..1]);
    let bound = sim.plan.config.receipt_bytes_max;
    for id in 1..=4 {
        let session = peer(&mut sim, id, &large, if id % 2 == 0 { Gives::Flat } else { Gives::Parts(5_000) });
        sim.peers.get_mut(&session).unwrap().bandwidth = 64 << 20;
    }
    run(&mut sim, &large);
    assert!(sim.receipts_most <= bound, "{} of {bound}", sim.receipts_most);
    assert!(sim.receipts_most > bound / 4, "{}", sim.receipts_most);
}

/// New blocks are heard of although the only peer is busy with receipts all the time.
#[test]
fn the_head_is_polled_while_receipts_are_fetched() {
    let chain = chain(4_000);
    let mut sim = Sim::new(16, config(Receipts::Available), &chain.blocks);
    let only = peer(&mut sim, 1, &chain, Gives::Flat);
    sim.peers.get_mut(&only).unwrap().bandwidth = 40 << 10;
    let mut grown = (*chain).clone();
    sim.run_for(3 * S);
    for seed in 0..5 {
        grown.grow(seed, 1);
        let peer = sim.peers.get_mut(&only).unwrap();
        (peer.chain, peer.latest) = (Arc::new(grown.clone()), grown.head().number);
        sim.run_until(6 * S, |sim| sim.head() == Some(grown.head()));
        assert_ne!(sim.plan.receipts_state(), ReceiptsState::Complete, "still fetching");
    }
}

/// A head that grows block by block, unannounced: never more than two seconds behind.
#[test]
fn an_unannounced_head_is_followed_within_two_seconds() {
    let mut grown = TestChain::with_receipts(1, 100);
    for every in [1_000, 200, 40, 7] {
        let mut sim = sim(17, &grown);
        let only = peer(&mut sim, 1, &Arc::new(grown.clone()), Gives::Flat);
        sim.run_until(20 * S, |sim| sim.head() == Some(grown.head()));
        let mut made = Vec::new();
        for _ in 0..(8_000 / every) {
            grown.grow(made.len() as u64, 1);
            made.push((grown.head().number, sim.elapsed()));
            let peer = sim.peers.get_mut(&only).unwrap();
            (peer.chain, peer.latest) = (Arc::new(grown.clone()), grown.head().number);
            sim.run_for(every as u32 * MS);
            let at = sim.head().unwrap().number;
            let behind =
                made.iter().find(|(number, _)| *number > at).map(|(_, since)| sim.elapsed() - *since);
            assert!(
                behind.is_none_or(|behind| behind < 2 * S),
                "one block per {every} ms: {behind:?} behind"
            );
        }
        grown = TestChain::with_receipts(1, 100);
    }
}
