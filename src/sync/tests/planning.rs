//! Honest peers, fast and slow: order, speed, windows, targets, resuming.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;

use super::sim::Sim;
use super::world::{Manner, TestChain};
use crate::sync::config::SyncConfig;
use crate::sync::source::Claim;

const S: Duration = Duration::from_secs(1);

fn chain(len: u64) -> Arc<TestChain> {
    Arc::new(TestChain::new(1, len))
}

fn sim(seed: u64, chain: &TestChain) -> Sim {
    Sim::new(seed, SyncConfig::default(), &chain.blocks[..1])
}

fn complete(chain: &TestChain) -> impl Fn(&Sim) -> bool {
    let head = chain.head();
    move |sim| sim.head() == Some(head) && sim.reached.last() == Some(&head)
}

#[test]
fn one_peer_brings_the_whole_chain_in_order() {
    let chain = chain(3_000);
    let mut sim = sim(1, &chain);
    sim.peer(1, &chain, Manner::Honest);
    sim.run_until(10 * S, complete(&chain));
    assert_eq!(sim.store, chain.blocks);
    let progress = sim.plan.progress();
    assert_eq!((progress.headers, progress.bodies, progress.target), (3_000, 3_000, 3_000));
    assert!(progress.at_target);
    let counts = progress.requests;
    assert_eq!(counts.outcomes().iter().map(|(_, n)| n).sum::<u64>(), counts.ok, "all were answered");
    // Each header is asked for once, apart from the one that overlaps.
    let ranges = sim.trace.lines().filter(|line| line.contains("Number")).count() as u64;
    assert_eq!(sim.asked_headers, 3_000 + ranges);
    assert_eq!((progress.fetched.headers, progress.fetched.bodies), (sim.asked_headers, sim.asked_bodies));
    assert!(sim.asked_bodies < 3_000, "empty blocks need no question");
}

#[test]
fn several_requests_are_in_flight_to_one_far_peer() {
    let chain = chain(6_000);
    let mut sim = sim(2, &chain);
    let session = sim.peer(1, &chain, Manner::Honest);
    let peer = sim.peers.get_mut(&session).unwrap();
    (peer.latency, peer.bandwidth) = (200 * Duration::from_millis(1), 64 << 20);
    sim.run_until(20 * S, complete(&chain));
    let most = sim.peers[&session].in_flight_most;
    assert!((8..=16).contains(&most), "{most}");
}

#[test]
fn several_peers_share_the_work_and_the_fast_one_does_more() {
    let chain = chain(6_000);
    let mut sim = sim(3, &chain);
    let slow = sim.peer(1, &chain, Manner::Honest);
    let fast = sim.peer(2, &chain, Manner::Honest);
    sim.peers.get_mut(&slow).unwrap().bandwidth = 64 << 10;
    sim.run_until(60 * S, complete(&chain));
    let asked = |session| sim.trace.lines().filter(|l| l.contains(&format!("ask {session} "))).count();
    assert!(asked(fast) > asked(slow) && asked(slow) > 2, "{} {}", asked(fast), asked(slow));
    // Alone, the slow one would need half a minute for its megabytes.
    assert!(sim.elapsed() < 12 * S, "{:?}", sim.elapsed());
    assert!(sim.blamed.is_empty());
}

/// The block that everything waits for is asked of somebody else.
#[test]
fn a_peer_that_stops_answering_holds_nothing_up_for_long() {
    let chain = chain(2_000);
    let mut sim = sim(4, &chain);
    sim.peer(1, &chain, Manner::Silent);
    sim.peer(2, &chain, Manner::Honest);
    sim.run_until(10 * S, complete(&chain));
    assert!(sim.blamed.is_empty(), "silence is no bad data");
}

#[test]
fn short_answers_are_normal_and_the_rest_is_asked_for_again() {
    let chain = chain(400);
    let mut sim = sim(5, &chain);
    sim.peer(1, &chain, Manner::Short(7));
    sim.run_until(60 * S, complete(&chain));
    assert_eq!(sim.store, chain.blocks);
    assert!(sim.blamed.is_empty());
    assert!(sim.asked_bodies < 2_000, "questions shrink to what is answered: {}", sim.asked_bodies);
}

/// F18 is the opposite; peers that leave unknown blocks out (geth 1.17.0) are honest.
#[test]
fn bodies_left_out_in_the_middle_are_matched_by_content() {
    let chain = chain(600);
    let mut sim = sim(6, &chain);
    sim.peer(1, &chain, Manner::Leaky);
    sim.peer(2, &chain, Manner::Honest);
    sim.run_until(60 * S, complete(&chain));
    assert_eq!(sim.store, chain.blocks);
    assert!(sim.blamed.is_empty());
}

#[test]
fn a_peer_that_vanishes_with_requests_in_flight_is_replaced() {
    let chain = chain(3_000);
    let mut sim = sim(7, &chain);
    sim.peer(1, &chain, Manner::Vanishes(9));
    sim.peer(2, &chain, Manner::Honest);
    sim.run_until(20 * S, complete(&chain));
    assert_eq!(sim.store, chain.blocks);
    assert_eq!(sim.peers.len(), 1);
}

/// G12.
#[test]
fn a_sync_resumes_where_the_store_ends_and_after_the_only_peer_came_back() {
    let chain = chain(2_000);
    let mut sim = Sim::new(8, SyncConfig::default(), &chain.blocks[..=700]);
    sim.peer(1, &chain, Manner::Vanishes(6));
    sim.run_for(5 * S);
    let before = sim.head().unwrap().number;
    assert!((700..2_000).contains(&before), "{before}");
    assert!(sim.peers.is_empty());
    sim.peer(2, &chain, Manner::Honest);
    sim.run_until(20 * S, complete(&chain));
    assert_eq!(sim.store, chain.blocks);
    let below =
        sim.trace.lines().filter(|line| line.contains("Number(") && line.contains("Number(6")).count();
    assert_eq!(below, 0, "nothing below the store is asked for");
}

/// G12: killed and resumed at random moments, with a fresh plan over what is stored.
#[test]
fn killed_at_random_moments_it_still_converges() {
    let chain = chain(1_500);
    let mut held = chain.blocks[..1].to_vec();
    for round in 0..40 {
        let mut sim = Sim::new(100 + round, SyncConfig::default(), &held);
        sim.peer(1, &chain, Manner::Honest);
        sim.peer(2, &chain, Manner::Short(20));
        sim.run_for(Duration::from_millis(60 + 37 * round));
        held = sim.store;
    }
    assert_eq!(held, chain.blocks);
}

#[test]
fn new_blocks_are_found_by_asking_even_if_nobody_announces_them() {
    let mut grown = TestChain::new(1, 50);
    let mut sim = sim(9, &grown);
    let session = sim.peer(1, &Arc::new(grown.clone()), Manner::Honest);
    sim.run_until(5 * S, complete(&grown));
    grown.grow(77, 3);
    let peer = sim.peers.get_mut(&session).unwrap();
    (peer.chain, peer.latest) = (Arc::new(grown.clone()), 53);
    let at = sim.elapsed();
    sim.run_until(5 * S, complete(&grown));
    assert!(sim.elapsed() - at < 2 * S, "{:?}", sim.elapsed() - at);
    sim.run_for(60 * S);
    let polls = sim.trace.lines().filter(|line| line.contains("+65")).count();
    assert!((59..=64).contains(&polls), "one question every second: {polls}");
}

#[test]
fn an_announced_range_is_fetched_at_once() {
    let mut grown = TestChain::new(1, 50);
    let mut sim = sim(10, &grown);
    let session = sim.peer(1, &Arc::new(grown.clone()), Manner::Honest);
    sim.run_until(5 * S, complete(&grown));
    grown.grow(78, 400);
    let peer = sim.peers.get_mut(&session).unwrap();
    (peer.chain, peer.latest) = (Arc::new(grown.clone()), 450);
    let at = sim.elapsed();
    sim.claim(session, grown.head());
    sim.run_until(5 * S, complete(&grown));
    assert!(sim.elapsed() - at < S, "{:?}", sim.elapsed() - at);
}

/// eth/68's Status has no number.
#[test]
fn a_head_claimed_by_its_hash_alone_is_looked_up() {
    let chain = chain(300);
    let mut sim = sim(11, &chain);
    let session = sim.liar(1, &chain, Manner::Honest, chain.at(0).block_ref());
    sim.claim(session, Claim { number: None, hash: chain.head().hash });
    sim.run_until(10 * S, complete(&chain));
}

#[test]
fn a_trusted_head_ends_the_sync_there() {
    let chain = chain(900);
    let trusted = chain.at(500).block_ref();
    let config = SyncConfig { trusted_head: Some(trusted.hash), ..SyncConfig::default() };
    let mut sim = Sim::new(12, config, &chain.blocks[..1]);
    sim.peer(1, &chain, Manner::Honest);
    sim.run_until(10 * S, |sim| sim.finished);
    assert_eq!(sim.head(), Some(trusted));
    let asked = sim.asked_headers;
    sim.run_for(60 * S);
    assert_eq!(sim.asked_headers, asked);
}

#[test]
fn a_trusted_head_that_our_chain_has_passed_is_impossible() {
    let chain = chain(100);
    let other = Arc::new(chain.branch(40, 9, 20));
    let config = SyncConfig { trusted_head: Some(other.head().hash), ..SyncConfig::default() };
    let mut sim = Sim::new(13, config, &chain.blocks);
    sim.peer(1, &other, Manner::Honest);
    sim.run_until(10 * S, |sim| sim.impossible);
}

#[test]
fn an_anchor_is_fetched_by_its_hash_and_built_upon() {
    let chain = chain(800);
    let anchor = chain.at(300);
    let config = SyncConfig { anchor: Some(anchor.hash), ..SyncConfig::default() };
    let mut sim = Sim::new(14, config, &[]);
    sim.peer(1, &Arc::new(TestChain::new(99, 5)), Manner::Honest);
    let session = sim.peer(2, &chain, Manner::Honest);
    sim.peers.get_mut(&session).unwrap().earliest = 300;
    sim.claim(session, chain.head());
    sim.run_until(10 * S, complete(&chain));
    assert_eq!(sim.store, chain.blocks[300..]);
}

#[test]
fn the_windows_are_never_exceeded() {
    let chain = chain(4_000);
    let config = SyncConfig {
        header_window: 256,
        header_bytes_max: 1 << 20,
        body_bytes_max: 4 << 20,
        ..SyncConfig::default()
    };
    let mut sim = Sim::new(15, config, &chain.blocks[..1]);
    for id in 1..=4 {
        sim.peer(id, &chain, Manner::Honest);
    }
    sim.run_until(60 * S, complete(&chain));
    assert!(sim.numbers_most <= 256);
    assert!(sim.headers_most <= 1 << 20 && sim.bodies_most <= 4 << 20);
}

/// However large the chain's blocks are, what is held stays within its bounds and one answer.
#[test]
fn large_headers_and_bodies_stay_within_their_bounds() {
    let mut large = TestChain::new(1, 3);
    large.grow_large(5, 120, 300, 300_000);
    large.grow_large(6, 120, 60_000, 100);
    let large = Arc::new(large);
    let config = SyncConfig { header_bytes_max: 1 << 20, body_bytes_max: 4 << 20, ..SyncConfig::default() };
    for seed in 0..4 {
        let mut sim = Sim::new(seed, config.clone(), &large.blocks[..1]);
        for id in 1..=4 {
            let session = sim.peer(id, &large, Manner::Honest);
            sim.peers.get_mut(&session).unwrap().bandwidth = 64 << 20;
        }
        sim.run_until(120 * S, complete(&large));
        assert_eq!(sim.store, large.blocks);
        let answer = (2 << 20) + 300_000;
        assert!(sim.bodies_most <= (4 << 20) + answer, "{} bytes of bodies", sim.bodies_most);
        let answer = (2 << 20) + 60_600;
        assert!(sim.headers_most <= (2 << 20) + answer, "{} bytes of headers", sim.headers_most);
    }
}

#[test]
fn nothing_is_asked_of_nobody_and_no_timer_runs_without_peers() {
    let chain = chain(10);
    let mut sim = sim(16, &chain);
    assert_eq!(sim.plan.poll_timeout(), None);
    let session = sim.peer(1, &chain, Manner::Honest);
    sim.run_until(5 * S, complete(&chain));
    sim.down(session);
    sim.run_for(30 * S);
    assert!(sim.plan.poll_timeout().is_none());
}

#[test]
fn one_seed_gives_one_trace() {
    let chain = chain(1_200);
    let run = |seed| {
        let mut sim = sim(seed, &chain);
        let manners = [Manner::Honest, Manner::Short(9), Manner::Silent, Manner::WrongBody, Manner::Leaky];
        for (id, manner) in (1..).zip(manners) {
            sim.peer(id, &chain, manner);
        }
        sim.run_until(60 * S, complete(&chain));
        sim.trace
    };
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

/// The plan's own cost for 20,000 blocks: printed, and far from quadratic.
#[test]
fn twenty_thousand_blocks_cost_the_plan_little() {
    let chain = chain(20_000);
    let mut sim = sim(17, &chain);
    for id in 1..=3 {
        let session = sim.peer(id, &chain, Manner::Honest);
        sim.peers.get_mut(&session).unwrap().bandwidth = 1 << 30;
    }
    let before = Instant::now();
    sim.run_until(60 * S, complete(&chain));
    println!("20,000 blocks: {:?} real, {:?} virtual", before.elapsed(), sim.elapsed());
    assert_eq!(sim.head().map(|head| head.hash), Some(chain.head().hash));
    assert_ne!(chain.head().hash, B256::ZERO);
}
