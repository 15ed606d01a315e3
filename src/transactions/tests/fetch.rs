//! Who is asked, and what an answer means.

use super::*;

/// The whole way: announced, asked for in one request, checked, handed on to who does not know it.
#[test]
fn what_is_announced_is_asked_for_checked_and_handed_on() {
    let mut bench = Bench::new(2);
    let txs = smalls(0..50);
    bench.announce(1, &txs);
    assert_eq!(bench.asks(), [(1, hashes(&txs))]);
    bench.answer(1, &txs);
    let told = bench.decide(Verdict::Added);
    assert_eq!(told, [Action::Tell { to: vec![SessionId(2)], news: News::Whole(txs.clone()) }]);
    let counts = bench.plan.counts();
    assert_eq!((counts.heard, counts.asked, counts.delivered, counts.added), (50, 50, 50, 50));
    assert_eq!((counts.sent, counts.announced, counts.waiting_bytes), (50, 0, 0));
    assert_eq!(bench.plan.wants.len(), 0);
    bench.announce(2, &txs);
    assert_eq!(bench.asks(), [], "the pool knows them");
}

#[test]
fn each_transaction_is_asked_of_one_peer_at_a_time_and_each_peer_once_at_a_time() {
    let mut bench = Bench::new(3);
    let txs = smalls(0..300);
    bench.announce(1, &txs[..200]);
    bench.announce(2, &txs);
    bench.announce(3, &txs);
    // 1 has all that it announced, 2 the rest, 3 nothing.
    assert_eq!(bench.asks(), [(1, hashes(&txs[..200])), (2, hashes(&txs[200..]))]);
    bench.announce(1, &smalls(300..310));
    assert_eq!(bench.asks(), [], "collected while something is in flight");
    bench.answer(1, &txs[..200]);
    let asks: Vec<_> = bench.actions().into_iter().filter(|a| matches!(a, Action::Ask { .. })).collect();
    assert_eq!(asks, [ask(1, &smalls(300..310))]);
}

#[test]
fn a_request_has_256_transactions_and_128_kibibytes_unless_one_has_more() {
    let mut bench = Bench::new(1);
    bench.announce(1, &smalls(0..600));
    for (from, to) in [(0, 256), (256, 512), (512, 600)] {
        assert_eq!(bench.asks(), [(1, hashes(&smalls(from..to)))]);
        bench.fail(1, RequestError::Busy);
        assert_eq!(bench.asks(), [], "it pauses");
        bench.now += Duration::from_millis(100);
        assert_eq!(bench.plan.poll_timeout(), Some(bench.now));
        bench.plan.on_timeout(bench.now);
        assert_eq!(bench.asks(), [(1, hashes(&smalls(from..to)))]);
        bench.answer(1, &smalls(from..to));
        bench.plan.actions.retain(|action| matches!(action, Action::Ask { .. }));
        bench.plan.checking = Default::default();
    }
    let blobs: Vec<_> = [100_000, 31_000, 100, 140_000, 10].iter().zip(1_000..).collect();
    let blobs: Vec<_> = blobs.into_iter().map(|(&bytes, at)| transaction(at, BLOB_KIND, bytes)).collect();
    bench.announce(1, &blobs);
    for part in [0..2, 2..3, 3..4, 4..5] {
        let due = if part.start == 2 { 2..3 } else { part };
        assert_eq!(bench.asks(), [(1, hashes(&blobs[due.clone()]))]);
        bench.answer(1, &blobs[due]);
        bench.plan.actions.retain(|action| matches!(action, Action::Ask { .. }));
    }
}

/// The next announcer is asked at once, whatever went wrong.
#[test]
fn what_fails_is_asked_of_the_next_who_announced_it() {
    let errors = [
        timed_out(),
        RequestError::Panicked,
        RequestError::WrongKind,
        RequestError::Disconnected(crate::disconnect::Disconnected::lost()),
    ];
    for error in errors {
        let silent = u64::from(!matches!(error, RequestError::Disconnected(_)));
        let mut bench = Bench::new(2);
        let txs = smalls(0..3);
        bench.announce(1, &txs);
        bench.announce(2, &txs[..2]);
        assert_eq!(bench.asks(), [(1, hashes(&txs))]);
        bench.fail(1, error);
        assert_eq!(bench.asks(), [(2, hashes(&txs[..2]))], "nobody else has the third");
        bench.fail(2, timed_out());
        assert_eq!((bench.asks(), bench.plan.wants.len()), (vec![], 0));
        assert_eq!((bench.plan.expected, bench.plan.counts().unanswered), (0, 1 + silent));
    }
}

/// Whoever does not answer is asked for nothing more of what it announced before.
#[test]
fn a_peer_that_never_delivers_loses_its_place() {
    let mut bench = Bench::new(2);
    bench.announce(1, &smalls(0..1_000));
    bench.announce(2, &smalls(500..1_000));
    assert_eq!(bench.asks().len(), 2);
    bench.fail(1, timed_out());
    assert_eq!(bench.asks(), [], "2 is being asked, and 1 is not any more");
    bench.announce(1, &smalls(2_000..2_001));
    assert_eq!(bench.asks(), [(1, hashes(&smalls(2_000..2_001)))], "until it announces something");
}

#[test]
fn a_peer_that_leaves_in_the_middle_is_replaced() {
    let mut bench = Bench::new(2);
    let txs = smalls(0..5);
    bench.announce(1, &txs);
    bench.announce(2, &txs);
    assert_eq!(bench.asks(), [(1, hashes(&txs))]);
    bench.leave(1);
    assert_eq!(bench.asks(), [(2, hashes(&txs))]);
    bench.answer(1, &txs);
    assert_eq!(bench.actions(), [], "it came too late");
    bench.answer(2, &txs);
    assert_eq!(bench.decide(Verdict::Added), []);
    assert_eq!(bench.plan.counts().added, 5);
    bench.leave(2);
    assert_eq!((bench.plan.wants.len(), bench.plan.expected), (0, 0));
}

/// The last one that came says where the answer was full: what is behind is asked again, what is
/// before is not there.
#[test]
fn gaps_are_asked_of_others_and_the_rest_of_the_same_peer() {
    let mut bench = Bench::new(2);
    let txs = smalls(0..10);
    bench.announce(1, &txs);
    bench.announce(2, &txs[..1]);
    assert_eq!(bench.asks(), [(1, hashes(&txs))]);
    bench.answer(1, &txs[1..4]);
    let told = bench.decide(Verdict::Added);
    assert_eq!(told[..2], [ask(2, &txs[..1]), ask(1, &txs[4..])]);
    assert_eq!(told.len(), 3, "and 2 is told of those that came: {told:?}");
    bench.answer(1, &[]);
    assert_eq!(bench.asks(), [], "nothing is asked again");
    bench.answer(2, &[]);
    assert_eq!((bench.plan.wants.len(), bench.plan.counts().added), (0, 3));
}

#[test]
fn another_type_or_size_than_announced_ends_the_session_and_another_peer_delivers() {
    let honest = transaction(1, BLOB_KIND, 140_000);
    let cases = [
        (transaction(1, 2, 140_000), Some(Offence::Kind)),
        (transaction(1, BLOB_KIND, 140_009), Some(Offence::Size)),
        (transaction(1, BLOB_KIND, 139_991), Some(Offence::Size)),
        (transaction(1, BLOB_KIND, 140_008), None),
    ];
    for (announced, offence) in cases {
        let mut bench = Bench::new(2);
        bench.announce(1, &[announced]);
        bench.announce(2, std::slice::from_ref(&honest));
        assert_eq!(bench.asks().len(), 1);
        bench.answer(1, std::slice::from_ref(&honest));
        let done = bench.actions();
        let Some(why) = offence else {
            assert!(matches!(done[..], [Action::Add(_)]), "{done:?}");
            continue;
        };
        assert_eq!(done, [blame(1, why), ask(2, std::slice::from_ref(&honest))]);
        bench.answer(2, std::slice::from_ref(&honest));
        bench.decide(Verdict::Added);
        assert_eq!((bench.plan.counts().added, bench.plan.counts().blamed), (1, 1));
    }
}

#[test]
fn what_was_not_asked_for_and_what_cannot_be_read_end_the_session() {
    for twice in [false, true] {
        let mut bench = Bench::new(2);
        bench.announce(1, &smalls(0..2));
        bench.announce(2, &smalls(1..2));
        bench.actions();
        bench.answer(1, &[small(0), small(if twice { 0 } else { 7 })]);
        let done = bench.actions();
        assert_eq!(done[0], blame(1, Offence::NotAsked));
        assert!(done.contains(&ask(2, &smalls(1..2))), "{done:?}");
    }
    let mut bench = Bench::new(2);
    bench.announce(1, &smalls(0..2));
    bench.announce(2, &smalls(1..2));
    bench.actions();
    bench.fail(1, RequestError::Malformed(crate::wire::DecodeError::Truncated));
    assert_eq!(bench.actions(), [blame(1, Offence::Malformed), ask(2, &smalls(1..2))]);
}

/// Blobs are no part of the hash: the same transaction may be good at the next peer.
#[test]
fn an_invalid_transaction_ends_the_session_and_another_peer_delivers() {
    let mut bench = Bench::new(3);
    let blob = transaction(1, BLOB_KIND, 140_000);
    let alone = std::slice::from_ref(&blob);
    bench.announce(1, alone);
    bench.actions();
    bench.answer(1, alone);
    let [Action::Add(_)] = bench.actions()[..] else { panic!("not checked") };
    // It comes while the first is before the pool, and waits.
    bench.announce(2, alone);
    assert_eq!(bench.actions(), []);
    bench.plan.on_verdicts(bench.now, &[Verdict::Invalid]);
    assert_eq!(bench.actions(), [blame(1, Offence::Invalid), ask(2, alone)]);
    bench.answer(2, alone);
    let told = bench.decide(Verdict::Added);
    assert_eq!(told, [Action::Tell { to: vec![SessionId(3)], news: News::Hashes(said(alone)) }]);
    assert_eq!((bench.plan.counts().invalid, bench.plan.counts().added), (1, 1));
}

#[test]
fn refused_and_known_transactions_cost_nobody_anything_and_are_not_handed_on() {
    for verdict in [Verdict::Refused, Verdict::Known] {
        let mut bench = Bench::new(3);
        bench.broadcast(1, &smalls(0..5));
        assert_eq!(bench.decide(verdict), []);
        assert_eq!((bench.plan.wants.len(), bench.plan.peers.len()), (0, 3));
    }
    let mut bench = Bench::new(2);
    bench.broadcast(1, &smalls(0..5));
    bench.actions();
    bench.plan.on_verdicts(bench.now, &[Verdict::Added]);
    assert_eq!(bench.plan.counts().refused, 4, "a verdict too few counts as a no");
}

/// A broadcast and a request for the same transaction: the pool sees it once.
#[test]
fn a_transaction_that_comes_twice_is_checked_once() {
    let mut bench = Bench::new(3);
    let txs = smalls(0..3);
    bench.announce(1, &txs);
    bench.actions();
    bench.broadcast(2, &txs);
    bench.broadcast(3, &txs);
    bench.answer(1, &txs);
    let [Action::Add(lot)] = &bench.actions()[..] else { panic!("more than one lot") };
    assert_eq!(*lot, txs);
    bench.plan.on_verdicts(bench.now, &[Verdict::Added; 3]);
    assert_eq!(bench.actions(), [], "all of them know them, and nothing is left");
    assert_eq!(bench.plan.counts().added, 3);
}

#[test]
fn a_broadcast_that_belies_the_senders_announcement_ends_the_session() {
    let mut bench = Bench::new(2);
    bench.announce(2, &smalls(0..1));
    bench.announce(1, &[transaction(0, 2, 500)]);
    bench.actions();
    bench.broadcast(1, &smalls(0..1));
    assert_eq!(bench.actions(), [blame(1, Offence::Size)]);
    bench.broadcast(1, &smalls(5..6));
    assert_eq!(bench.actions(), [], "it is no peer any more");
}

/// What the host itself put into the pool in the meantime is not asked for.
#[test]
fn what_the_pool_has_got_by_the_time_it_would_be_asked_for_is_left_out() {
    let mut bench = Bench::new(1);
    bench.announce(1, &smalls(0..1));
    bench.announce(1, &smalls(1..4));
    bench.pool.lock().unwrap().insert(small(2).hash);
    bench.actions();
    bench.answer(1, &smalls(0..1));
    let asks: Vec<_> = bench.actions().into_iter().filter(|a| matches!(a, Action::Ask { .. })).collect();
    assert_eq!(asks, [ask(1, &[small(1), small(3)])]);
}

#[test]
fn peers_that_are_no_longer_listed_have_gone() {
    let mut bench = Bench::new(3);
    bench.announce(1, &smalls(0..5));
    bench.announce(3, &smalls(0..5));
    bench.actions();
    bench.plan.on_peers(bench.now, &[SessionId(2), SessionId(3), SessionId(9)]);
    assert_eq!(bench.asks(), [(3, hashes(&smalls(0..5)))]);
    assert_eq!(bench.plan.peers.keys().map(|session| session.0).collect::<Vec<_>>(), [2, 3]);
}
