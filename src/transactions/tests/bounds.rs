//! Floods beyond every bound.

use super::super::plan::ANNOUNCED_MAX;
use super::super::wants::{HOLDERS_MAX, WANTS_MAX};
use super::*;

#[test]
fn announcements_beyond_a_peers_queue_are_dropped_and_counted() {
    let mut bench = Bench::new(1);
    // One message: what is beyond 4,096 is not even looked at.
    bench.announce(1, &smalls(0..ANNOUNCED_MAX + 10));
    assert_eq!(bench.plan.counts().dropped, 10);
    assert_eq!(bench.asks(), [(1, hashes(&smalls(0..256)))]);
    let queued = |bench: &Bench| bench.plan.peers[&SessionId(1)].queue.len();
    assert_eq!(queued(&bench), ANNOUNCED_MAX - 256);
    // Many: what there is no room for.
    for at in 0..20 {
        bench.announce(1, &smalls(10_000 + at * 1_000..11_000 + at * 1_000));
    }
    assert_eq!(queued(&bench), ANNOUNCED_MAX);
    assert_eq!(bench.plan.counts().dropped, 10 + 20_000 - 256);
    assert_eq!(bench.plan.wants.len(), ANNOUNCED_MAX + 256);
}

/// Entries that others have delivered make room.
#[test]
fn outdated_entries_of_a_queue_make_room() {
    let mut bench = Bench::new(2);
    bench.announce(1, &smalls(0..ANNOUNCED_MAX));
    bench.announce(1, &smalls(ANNOUNCED_MAX..ANNOUNCED_MAX + 256));
    bench.actions();
    bench.broadcast(2, &smalls(256..ANNOUNCED_MAX));
    bench.decide(Verdict::Added);
    assert_eq!(bench.plan.counts().added, ANNOUNCED_MAX as u64 - 256);
    let dropped = bench.plan.counts().dropped;
    bench.announce(1, &smalls(100_000..100_000 + ANNOUNCED_MAX - 256));
    assert_eq!(bench.plan.counts().dropped, dropped);
    assert_eq!(bench.plan.peers[&SessionId(1)].queue.len(), ANNOUNCED_MAX);
}

#[test]
fn transactions_wanted_of_all_peers_together_are_bounded() {
    let peers = (WANTS_MAX / ANNOUNCED_MAX) as u64 + 4;
    let mut bench = Bench::new(peers);
    for peer in 1..=peers {
        let from = peer as usize * 10_000;
        bench.announce(peer, &smalls(from..from + ANNOUNCED_MAX));
    }
    assert_eq!(bench.plan.wants.len(), WANTS_MAX);
    assert_eq!(bench.plan.counts().dropped, 4 * ANNOUNCED_MAX as u64);
    (1..=peers).for_each(|peer| bench.leave(peer));
    assert_eq!((bench.plan.wants.len(), bench.plan.expected), (0, 0));
}

#[test]
fn so_many_peers_are_remembered_per_transaction_and_no_more() {
    let mut bench = Bench::new(HOLDERS_MAX as u64 + 5);
    for peer in 1..=HOLDERS_MAX as u64 + 5 {
        bench.announce(peer, &smalls(0..1));
    }
    let mut asked = 0;
    while let [(peer, _)] = bench.asks()[..] {
        asked += 1;
        bench.fail(peer, timed_out());
    }
    assert_eq!(asked, HOLDERS_MAX + 1, "the one that was asked at once, and those remembered");
}

/// 16 MiB wait for a pool that takes its time.
#[test]
fn what_waits_for_the_pool_is_bounded_by_bytes() {
    let mut bench = Bench::new(6);
    let large =
        |range: std::ops::Range<usize>| -> Vec<_> { range.map(|at| transaction(at, 2, 100_000)).collect() };
    let (max, each) = (16 << 20, 100_256);
    // One peer gets a quarter.
    bench.broadcast(1, &large(0..200));
    let quarter = max / 4 / each;
    assert_eq!(bench.plan.counts().waiting_bytes, (quarter * each) as u64);
    assert_eq!(bench.plan.counts().dropped, 200 - quarter as u64);
    for peer in 3..=6 {
        let from = peer as usize * 1_000 + 10_000;
        bench.broadcast(peer, &large(from..from + quarter));
    }
    let counts = bench.plan.counts();
    assert_eq!(counts.waiting_bytes, (max / each * each) as u64);
    assert_eq!(counts.dropped, (200 + 4 * quarter - max / each) as u64);
    // Nothing is asked for that would come on top, and many small ones count for more than their bytes.
    bench.announce(2, &large(1_000..1_001));
    bench.broadcast(1, &(0..1_000).map(|at| transaction(5_000 + at, 2, 1)).collect::<Vec<_>>());
    assert!(bench.plan.counts().waiting_bytes <= max as u64);
    let actions = bench.actions();
    assert!(matches!(actions[..], [Action::Add(_)]), "{actions:?}");
    // One lot decided: there is room again.
    bench.plan.on_verdicts(bench.now, &[]);
    let actions = bench.actions();
    assert!(actions.contains(&ask(2, &large(1_000..1_001))), "{actions:?}");
    bench.answer(2, &[]);
    bench.plan.on_verdicts(bench.now, &[]);
    bench.decide(Verdict::Refused);
    assert_eq!(bench.plan.counts().waiting_bytes, 0);
    let dropped = bench.plan.counts().dropped;
    bench.broadcast(1, &large(300..300 + quarter));
    assert_eq!(bench.plan.counts().dropped, dropped, "its quarter is free again");
}

/// Answers of many peers at once count before they come.
#[test]
fn what_is_asked_for_counts_towards_the_bytes_that_may_wait() {
    let mut bench = Bench::new(100);
    for peer in 1..=100 {
        bench.announce(peer, &[transaction(peer as usize, BLOB_KIND, 1_000_000)]);
    }
    let asked = bench.asks();
    assert_eq!(asked.len(), (16 << 20) / 1_000_256);
    for (peer, _) in asked {
        bench.answer(peer, &[transaction(peer as usize, BLOB_KIND, 1_000_000)]);
        assert!(bench.plan.checking.bytes() + bench.plan.expected <= 16 << 20);
    }
    let rest: usize = bench.decide(Verdict::Added).iter().filter(|a| matches!(a, Action::Ask { .. })).count();
    assert!(rest > 0, "room again");
}

/// What no message can carry and types that do not exist are not asked for.
#[test]
fn impossible_announcements_are_dropped() {
    let mut bench = Bench::new(1);
    let said = |kind, size| PooledHash { kind, size, hash: B256::repeat_byte(kind) };
    let all = [said(5, 100), said(0xff, 100), said(3, u64::MAX), said(2, (16 << 20) + 1)];
    bench.plan.on_hashes(bench.now, SessionId(1), &all);
    assert_eq!(bench.asks(), []);
    assert_eq!((bench.plan.counts().dropped, bench.plan.wants.len()), (4, 0));
    // Sizes that are possible and absurd together.
    let large: Vec<_> = (10..14).map(|kind| PooledHash { kind: 3, ..said(kind, 16 << 20) }).collect();
    bench.plan.on_hashes(bench.now, SessionId(1), &large);
    assert_eq!(bench.asks().len(), 1, "one of them, since nothing else waits");
}

#[test]
fn peers_beyond_the_bound_are_not_used() {
    let config = TransactionsConfig { peers_max: 2, ..TransactionsConfig::default() };
    let mut bench = Bench::with(config, 3);
    bench.announce(3, &smalls(0..1));
    bench.broadcast(3, &smalls(1..2));
    assert_eq!(bench.actions(), []);
    bench.leave(1);
    assert!(bench.plan.is_new(SessionId(3)));
}
