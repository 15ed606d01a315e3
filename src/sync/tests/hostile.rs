//! Peers that lie, withhold and waste: blamed when they are caught, outlived when they are not.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::sim::Sim;
use super::world::{Manner, TestChain};
use crate::chain::{BlockRef, RawBlock};
use crate::ids::SessionId;
use crate::sync::config::SyncConfig;

const S: Duration = Duration::from_secs(1);

fn chain(len: u64) -> Arc<TestChain> {
    Arc::new(TestChain::new(1, len))
}

fn sim(seed: u64, chain: &TestChain) -> Sim {
    Sim::new(seed, SyncConfig::default(), &chain.blocks[..1])
}

fn stored(chain: &TestChain) -> impl Fn(&Sim) -> bool {
    let head = chain.head();
    move |sim| sim.head() == Some(head)
}

/// How many seeds to try: so many, or what `SYNC_SEEDS` says.
fn seeds(usual: u64) -> u64 {
    std::env::var("SYNC_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

/// G3, G4, G5, F18: each fault alone, beside one honest peer.
#[test]
fn bad_data_costs_the_sender_and_only_the_sender() {
    let chain = chain(900);
    let manners = [
        Manner::Unlinked,
        Manner::Reversed,
        Manner::WrongStart,
        Manner::Gap,
        Manner::Twice,
        Manner::Junk,
        Manner::TooMany,
        Manner::WrongBody,
        Manner::Swapped,
        Manner::OtherBodies,
    ];
    for manner in manners {
        for seed in 0..4 {
            let mut sim = sim(seed, &chain);
            let bad = sim.peer(1, &chain, manner);
            let honest = sim.peer(2, &chain, Manner::Honest);
            // The bad one is the faster, so that it is asked a lot.
            sim.peers.get_mut(&bad).unwrap().latency = Duration::from_millis(1);
            sim.peers.get_mut(&honest).unwrap().latency = Duration::from_millis(60);
            sim.run_until(60 * S, stored(&chain));
            sim.run_for(S);
            assert_eq!(sim.store, chain.blocks, "{manner:?}");
            let blamed: Vec<_> = sim.blamed.iter().map(|(session, _)| *session).collect();
            assert_eq!(blamed, [bad], "{manner:?}, seed {seed}");
        }
    }
}

/// G5: what verified before the bad body is kept.
#[test]
fn the_bodies_before_a_bad_one_are_kept() {
    let chain = chain(60);
    let mut sim = sim(3, &chain);
    let bad = sim.peer(1, &chain, Manner::WrongBody);
    sim.run_for(2 * S);
    assert_eq!(sim.blamed.len(), 1);
    assert_eq!(sim.blamed[0].0, bad);
    sim.peer(2, &chain, Manner::Honest);
    sim.run_until(10 * S, stored(&chain));
    assert_eq!(sim.store, chain.blocks);
}

/// G3: a made-up last header links to those before it; only what follows shows it.
#[test]
fn a_made_up_header_at_the_end_of_a_range_is_found_out_and_replaced() {
    let chain = chain(3_000);
    for seed in 0..10 {
        let mut sim = sim(seed, &chain);
        let bad = sim.peer(1, &chain, Manner::FakeTip);
        sim.peer(2, &chain, Manner::Honest);
        sim.peer(3, &chain, Manner::Honest);
        sim.peers.get_mut(&bad).unwrap().latency = Duration::from_millis(1);
        sim.run_until(120 * S, |sim| sim.head().is_some_and(|head| head.number >= 2_999));
        assert_eq!(sim.store[..3_000], chain.blocks[..3_000], "seed {seed}");
        assert!(sim.blamed.iter().all(|(session, _)| *session == bad), "{:?}", sim.blamed);
    }
}

/// G4.
#[test]
fn peers_that_answer_with_nothing_are_counted_and_asked_ever_less() {
    let chain = chain(600);
    for manner in [Manner::Empty, Manner::NoBodies] {
        let mut sim = sim(4, &chain);
        let useless = sim.peer(1, &chain, manner);
        sim.run_for(120 * S);
        let alone = sim.trace.lines().filter(|line| line.contains("ask s1 ")).count();
        assert!(alone < 160, "no busy loop with a useless peer: {alone} requests in two minutes");
        assert!(sim.plan.progress().requests.empty > 0);
        sim.peer(2, &chain, Manner::Honest);
        sim.run_until(60 * S, stored(&chain));
        assert_eq!(sim.store, chain.blocks);
        assert!(sim.peers.contains_key(&useless), "no bad data, no blame");
    }
}

/// G6: anchored to the target, bounded by the window.
#[test]
fn an_endless_chain_of_headers_is_bounded_by_window_and_target() {
    let honest = chain(300);
    let endless = Arc::new(TestChain::new(1, 12_000));
    let config = SyncConfig { trusted_head: Some(honest.head().hash), ..SyncConfig::default() };
    let mut sim = Sim::new(5, config, &honest.blocks[..1]);
    sim.peer(1, &endless, Manner::NoBodies);
    sim.peer(2, &honest, Manner::Honest);
    sim.run_until(60 * S, |sim| sim.finished);
    assert_eq!(sim.head(), Some(honest.head()));
    assert!(sim.asked_headers < 2_000, "nothing above the trusted head is asked for");

    // Without a trusted head its headers are taken, but no more than the window holds.
    let config = SyncConfig { header_window: 512, ..SyncConfig::default() };
    let mut sim = Sim::new(6, config, &honest.blocks[..1]);
    sim.peer(1, &endless, Manner::NoBodies);
    sim.run_for(120 * S);
    assert!(sim.numbers_most <= 512);
    assert!(sim.head().unwrap().number < 600);
}

/// G8.
#[test]
fn a_peer_that_lies_about_its_head_does_not_stop_the_sync() {
    let chain = chain(500);
    for manner in [Manner::Honest, Manner::Silent, Manner::Empty] {
        let mut sim = sim(7, &chain);
        let far = BlockRef { number: u64::MAX, hash: chain.head().hash };
        let liar = sim.liar(1, &chain, manner, far);
        let honest = sim.peer(2, &chain, Manner::Honest);
        sim.run_until(60 * S, |sim| sim.reached.last() == Some(&chain.head()));
        // It goes on lying; new blocks are followed nevertheless, within a few seconds.
        let mut grown = (*chain).clone();
        grown.grow(5, 10);
        let peer = sim.peers.get_mut(&honest).unwrap();
        (peer.chain, peer.latest) = (Arc::new(grown.clone()), 510);
        sim.claim(liar, BlockRef { number: u64::MAX - 1, hash: chain.head().hash });
        sim.claim(honest, grown.head());
        sim.run_until(10 * S, stored(&grown));
        let requests = sim.trace.lines().count();
        sim.run_for(60 * S);
        assert!(sim.trace.lines().count() - requests < 400, "no livelock with {manner:?}");
    }
}

/// G8.
#[test]
fn a_head_that_regresses_lowers_the_target() {
    let chain = chain(500);
    let mut sim = sim(8, &chain);
    let session = sim.peer(1, &chain, Manner::Honest);
    sim.peers.get_mut(&session).unwrap().latest = 200;
    sim.claim(session, chain.at(200).block_ref());
    sim.run_until(30 * S, |sim| sim.reached.last() == Some(&chain.at(200).block_ref()));
    assert_eq!(sim.plan.progress().target, 200);
}

/// G9.
#[test]
fn when_all_stall_and_one_recovers_there_is_progress_within_two_timeouts() {
    let chain = chain(400);
    for recovers in [1_000, 14_000, 16_000, 47_000, 130_000] {
        let mut sim = sim(9, &chain);
        sim.peer(1, &chain, Manner::Silent);
        sim.peer(2, &chain, Manner::SilentUntil(recovers));
        sim.peer(3, &chain, Manner::Silent);
        sim.run_for(Duration::from_millis(recovers));
        sim.run_until(40 * S, |sim| sim.head().unwrap().number > 0);
        sim.run_until(60 * S, stored(&chain));
        assert!(sim.blamed.is_empty());
    }
}

#[test]
fn another_genesis_under_the_same_claims_is_bad_data() {
    let chain = chain(100);
    let mut sim = sim(10, &chain);
    let other = sim.peer(1, &Arc::new(TestChain::new(2, 100)), Manner::Honest);
    sim.run_for(2 * S);
    assert_eq!(sim.blamed.len(), 1);
    assert_eq!(sim.blamed[0].0, other);
    assert_eq!(sim.store.len(), 1);
}

#[test]
fn a_header_that_is_not_the_trusted_one_is_bad_data() {
    let chain = chain(300);
    let config = SyncConfig { trusted_head: Some(chain.head().hash), ..SyncConfig::default() };
    let mut sim = Sim::new(11, config, &chain.blocks[..1]);
    let other = sim.peer(1, &Arc::new(chain.branch(250, 8, 100)), Manner::Honest);
    // It knows the trusted head by its hash, and claims nothing yet.
    let honest = sim.liar(2, &chain, Manner::Honest, chain.at(0).block_ref());
    sim.run_until(20 * S, |sim| !sim.blamed.is_empty());
    assert_eq!(sim.blamed[0].0, other);
    sim.claim(honest, chain.head());
    sim.run_until(20 * S, |sim| sim.finished || sim.impossible);
    assert!(sim.head().is_some_and(|head| head.number <= 300));
    assert_eq!(sim.blamed.len(), 1, "{:?}", sim.blamed);
}

/// Whoever sent the last header has to build on it. If it does not, its rivals are right.
#[test]
fn a_made_up_header_that_nobody_builds_on_is_dropped_without_blame() {
    let chain = chain(2_000);
    for seed in 0..6 {
        let mut sim = sim(seed, &chain);
        sim.peer(1, &chain, Manner::FakeTipOnce);
        sim.run_until(S, |sim| sim.plan.line.next() > 100);
        sim.peer(2, &chain, Manner::Honest);
        sim.peer(3, &chain, Manner::Honest);
        sim.run_until(40 * S, stored(&chain));
        assert_eq!(sim.store, chain.blocks, "seed {seed}");
        assert!(sim.blamed.is_empty(), "{:?}", sim.blamed);
    }
}

/// After the merge: headers say nothing about their weight, the highest head is followed.
#[test]
fn a_longer_branch_replaces_a_few_blocks_and_a_tie_does_not() {
    let base = chain(100);
    let ours = base.branch(97, 3, 3);
    let tie = Arc::new(base.branch(97, 4, 3));
    let mut sim = Sim::new(12, SyncConfig::default(), &ours.blocks);
    let session = sim.peer(1, &tie, Manner::Honest);
    sim.run_for(60 * S);
    assert_eq!(sim.store, ours.blocks);
    let longer = Arc::new(tie.branch(100, 5, 1));
    let peer = sim.peers.get_mut(&session).unwrap();
    (peer.chain, peer.latest) = (longer.clone(), 101);
    sim.claim(session, longer.head());
    sim.run_until(40 * S, stored(&longer));
    assert_eq!(sim.store, longer.blocks);
    assert!(sim.blamed.is_empty());
}

/// Without the merge's rules: heavier total difficulty wins, ties go to the first seen.
mod heaviest {
    use super::*;

    fn dev(seed: u64, held: &[RawBlock]) -> Sim {
        Sim::new(seed, SyncConfig { heaviest: true, ..SyncConfig::default() }, held)
    }

    #[test]
    fn an_announced_block_that_links_extends_the_head_without_a_request() {
        let mut grown = TestChain::new(1, 20);
        let mut sim = dev(1, &grown.blocks);
        let session = sim.peer(1, &Arc::new(grown.clone()), Manner::Honest);
        sim.run_for(Duration::from_millis(100));
        grown.grow(4, 3);
        for number in 21..=23 {
            sim.announce(session, grown.at(number));
            sim.run_for(Duration::from_millis(20));
        }
        assert_eq!(sim.head(), Some(grown.head()));
        assert_eq!((sim.asked_headers, sim.asked_bodies), (0, 0));
        assert!(sim.blamed.is_empty());
    }

    #[test]
    fn an_announced_block_with_a_wrong_body_is_bad_data() {
        let mut grown = TestChain::new(1, 20);
        let mut sim = dev(2, &grown.blocks);
        let session = sim.peer(1, &Arc::new(grown.clone()), Manner::Honest);
        grown.push(&mut StdRng::seed_from_u64(4), 2, 1);
        let bad = RawBlock { body: grown.at(19).body.clone(), ..grown.at(21).clone() };
        sim.announce(session, &bad);
        sim.run_for(S);
        assert_eq!(sim.blamed.len(), 1);
        assert_eq!(sim.head().unwrap().number, 20);
    }

    #[test]
    fn what_is_missing_before_an_announced_block_is_fetched() {
        let mut grown = TestChain::new(1, 20);
        let mut sim = dev(3, &grown.blocks);
        let session = sim.peer(1, &Arc::new(grown.clone()), Manner::Honest);
        grown.grow(4, 9);
        let peer = sim.peers.get_mut(&session).unwrap();
        (peer.chain, peer.latest) = (Arc::new(grown.clone()), 29);
        sim.announce(session, grown.at(29));
        sim.run_until(S, stored(&grown));
    }

    #[test]
    fn a_heavier_branch_replaces_ours_and_a_tie_does_not() {
        let base = TestChain::new(1, 40);
        let ours = base.branch(35, 5, 10);
        let tie = Arc::new(base.branch(35, 6, 10));
        let mut sim = dev(4, &ours.blocks);
        let session = sim.peer(1, &tie, Manner::Honest);
        sim.announce(session, tie.at(45));
        sim.run_for(30 * S);
        assert_eq!(sim.store, ours.blocks, "a tie goes to the first seen");
        assert!(sim.blamed.is_empty());

        let heavier = Arc::new(tie.branch(45, 7, 1));
        let peer = sim.peers.get_mut(&session).unwrap();
        (peer.chain, peer.latest) = (heavier.clone(), 46);
        sim.announce(session, heavier.at(46));
        sim.run_until(20 * S, stored(&heavier));
        assert_eq!(sim.store, heavier.blocks);
        assert!(sim.blamed.is_empty());
        assert!(sim.trace.contains("deliver Some(35)"), "{}", sim.trace);
    }

    /// The store never holds a lighter chain than before, not even between two deliveries.
    #[test]
    fn a_heavier_branch_is_delivered_in_one_piece_as_far_as_it_has_to_be() {
        let base = TestChain::new(1, 40);
        let ours = base.branch(20, 5, 20);
        let heavier = Arc::new(base.branch(20, 6, 40));
        let config = SyncConfig { heaviest: true, deliver_blocks_max: 2, ..SyncConfig::default() };
        let mut sim = Sim::new(8, config, &ours.blocks);
        sim.peer(1, &heavier, Manner::Honest);
        sim.run_until(20 * S, stored(&heavier));
        assert_eq!(sim.store, heavier.blocks);
    }

    #[test]
    fn difficulty_decides_not_length() {
        let base = TestChain::new(1, 10);
        let ours = base.branch(10, 5, 6);
        let mut shorter = base.clone();
        let mut rng = StdRng::seed_from_u64(3);
        (0..3).for_each(|_| shorter.push(&mut rng, 1, 3));
        let shorter = Arc::new(shorter);
        let mut sim = dev(5, &ours.blocks);
        let session = sim.peer(1, &shorter, Manner::Honest);
        sim.announce(session, shorter.at(13));
        sim.run_until(20 * S, stored(&shorter));
        assert_eq!(sim.store, shorter.blocks);
    }

    #[test]
    fn a_heavier_branch_whose_bodies_do_not_come_changes_nothing() {
        let base = TestChain::new(1, 40);
        let ours = base.branch(35, 5, 10);
        let heavier = Arc::new(base.branch(35, 6, 30));
        let mut sim = dev(6, &ours.blocks);
        sim.peer(1, &heavier, Manner::NoBodies);
        sim.run_for(300 * S);
        assert_eq!(sim.store, ours.blocks);
        assert!(sim.trace.lines().count() < 1_000);
    }

    #[test]
    fn a_branch_that_left_ours_too_long_ago_is_left_alone() {
        let base = TestChain::new(1, 200);
        let heavier = Arc::new(base.branch(100, 6, 300));
        let mut sim = dev(7, &base.blocks);
        let session = sim.peer(1, &heavier, Manner::Honest);
        sim.run_for(120 * S);
        assert_eq!(sim.store, base.blocks);
        assert!(sim.blamed.is_empty() && sim.peers.contains_key(&session));
    }

    /// Two producers that lose sight of each other and meet again, many times.
    #[test]
    fn followers_of_racing_producers_end_on_the_heaviest_chain() {
        for seed in 0..seeds(15) {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut best = TestChain::new(1, 5);
            let mut sim = dev(seed, &best.blocks);
            let first = sim.peer(1, &Arc::new(best.clone()), Manner::Honest);
            let second = sim.peer(2, &Arc::new(best.clone()), Manner::Honest);
            for round in 0..8 {
                let height = best.head().number;
                let at = height - rng.random_range(0..5.min(height));
                let longer = best.branch(at, 1_000 * seed + round, height - at + rng.random_range(1..4));
                let who = if rng.random_bool(0.5) { first } else { second };
                let peer = sim.peers.get_mut(&who).unwrap();
                (peer.chain, peer.latest) = (Arc::new(longer.clone()), longer.head().number);
                sim.announce(who, longer.blocks.last().unwrap());
                sim.run_for(Duration::from_millis(rng.random_range(0..3_000)));
                best = longer;
            }
            sim.run_until(120 * S, stored(&best));
            assert_eq!(sim.store, best.blocks, "seed {seed}");
            assert!(sim.blamed.is_empty(), "seed {seed}: {:?}", sim.blamed);
        }
    }
}

/// G3 G4 G5 G8 F18: crowds of everything at once, under settings of every kind.
///
/// Longer runs: `SYNC_SEEDS=3000 cargo test --release --lib sync::tests::hostile`.
#[test]
fn a_crowd_of_every_kind_ends_with_the_right_chain() {
    let chain = chain(900);
    // Headers of this branch link, and are no fault of those who send them.
    let other = Arc::new(chain.branch(860, 77, 20));
    let all = [
        Manner::Honest,
        Manner::Silent,
        Manner::SilentUntil(20_000),
        Manner::Short(3),
        Manner::Short(40),
        Manner::NoBodies,
        Manner::Empty,
        Manner::Leaky,
        Manner::Vanishes(5),
        Manner::Unlinked,
        Manner::Reversed,
        Manner::WrongStart,
        Manner::Gap,
        Manner::Twice,
        Manner::Junk,
        Manner::TooMany,
        Manner::FakeTip,
        Manner::FakeTipOnce,
        Manner::WrongBody,
        Manner::Swapped,
        Manner::OtherBodies,
    ];
    for seed in 0..seeds(30) {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = SyncConfig {
            heaviest: rng.random_bool(0.3),
            header_window: [64, 300, 8_192][rng.random_range(0..3)],
            in_flight_max: rng.random_range(1..17),
            deliver_blocks_max: rng.random_range(1..600),
            trusted_head: rng.random_bool(0.2).then_some(chain.head().hash),
            ..SyncConfig::default()
        };
        let mut sim = Sim::new(seed, config, &chain.blocks[..1]);
        let mut honest = Vec::new();
        let last = rng.random_range(2..9);
        for id in 1..=last {
            let manner = if id == last { Manner::Honest } else { all[rng.random_range(0..all.len())] };
            let theirs = if id != last && rng.random_bool(0.1) { &other } else { &chain };
            let session = sim.peer(id, theirs, manner);
            let fakes = matches!(manner, Manner::FakeTip | Manner::FakeTipOnce);
            if !manner.is_bad() && !fakes && Arc::ptr_eq(theirs, &chain) {
                honest.push(session);
            }
            sim.run_for(Duration::from_millis(rng.random_range(0..100)));
        }
        // A made-up last header cannot be told from a true one: all below it can.
        sim.run_until(300 * S, |sim| sim.finished || sim.store.get(898) == Some(chain.at(898)));
        assert_eq!(sim.store[..899], chain.blocks[..899], "seed {seed}");
        let wrongly: Vec<&SessionId> = sim
            .blamed
            .iter()
            .map(|(session, _)| session)
            .filter(|session| honest.contains(session))
            .collect();
        assert!(wrongly.is_empty(), "seed {seed}: {wrongly:?} {:?}", sim.blamed);
    }
}
