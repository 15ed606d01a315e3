//! Who is told what.

use super::super::share::WHOLE_BYTES_MAX;
use super::*;

/// What each peer was told: whole ones, and hashes.
fn told(actions: Vec<Action>, peers: u64) -> Vec<(Vec<B256>, Vec<B256>)> {
    let mut told = vec![(Vec::new(), Vec::new()); peers as usize];
    for action in actions {
        let Action::Tell { to, news } = action else { panic!("{action:?}") };
        for session in to {
            let (whole, by_hash) = &mut told[session.0 as usize - 1];
            match &news {
                News::Whole(transactions) => whole.extend(hashes(transactions)),
                News::Hashes(said) => by_hash.extend(said.iter().map(|said| said.hash)),
            }
        }
    }
    told
}

#[test]
fn the_square_root_of_the_peers_get_them_whole_and_all_others_the_hashes() {
    for (peers, whole) in [(1, 1), (2, 1), (3, 1), (4, 2), (9, 3), (50, 7), (100, 10)] {
        let mut bench = Bench::new(peers);
        let txs = smalls(0..20);
        bench.plan.spread(&txs);
        let told = told(bench.actions(), peers);
        let got_whole = told.iter().filter(|(got, by_hash)| *got == hashes(&txs) && by_hash.is_empty());
        assert_eq!(got_whole.count() as u64, whole, "of {peers}");
        let by_hash = told.iter().filter(|(got, by_hash)| *by_hash == hashes(&txs) && got.is_empty());
        assert_eq!(by_hash.count() as u64, peers - whole, "of {peers}");
        bench.plan.spread(&txs);
        assert_eq!(bench.actions(), [], "all of them know them now");
    }
}

#[test]
fn the_choice_of_who_gets_whole_ones_goes_round() {
    let mut bench = Bench::new(9);
    let mut times = [0; 9];
    for at in 0..90 {
        bench.plan.spread(&smalls(at..at + 1));
        for (times, (whole, _)) in times.iter_mut().zip(told(bench.actions(), 9)) {
            *times += whole.len();
        }
    }
    assert_eq!(times, [30; 9]);
}

/// Who sent or announced one knows it; the whole ones go to others then.
#[test]
fn nobody_is_told_what_it_knows() {
    let mut bench = Bench::new(4);
    bench.broadcast(2, &smalls(0..1));
    bench.announce(1, &smalls(0..1));
    let told = told(bench.decide(Verdict::Added), 4);
    assert_eq!(told[0], (vec![], vec![]));
    assert_eq!(told[1], (vec![], vec![]));
    assert_eq!(told[2], (vec![small(0).hash], vec![]));
    assert_eq!(told[3], (vec![small(0).hash], vec![]));
}

/// EIP-4844, caps/eth.md.
#[test]
fn blob_transactions_and_large_ones_are_announced_only() {
    let mut bench = Bench::new(9);
    let large = transaction(1, 2, WHOLE_BYTES_MAX + 1);
    let blob = transaction(2, BLOB_KIND, 500);
    let largest = transaction(3, 2, WHOLE_BYTES_MAX);
    bench.plan.spread(&[large.clone(), blob.clone(), largest.clone()]);
    let told = told(bench.actions(), 9);
    assert!(told.iter().all(|(_, by_hash)| by_hash[..2] == [large.hash, blob.hash]));
    assert_eq!(told.iter().filter(|(whole, _)| *whole == [largest.hash]).count(), 3);
}

#[test]
fn messages_are_cut_at_100_kibibytes_and_4096_hashes_and_shared_by_who_gets_the_same() {
    let mut bench = Bench::new(4);
    let txs: Vec<_> = (0..40).map(|at| transaction(at, 2, 10_000)).collect();
    bench.plan.spread(&txs);
    let actions = bench.actions();
    let sizes: Vec<_> = actions
        .iter()
        .map(|action| match action {
            Action::Tell { to, news: News::Whole(txs) } => (to.len(), txs.len()),
            Action::Tell { to, news: News::Hashes(said) } => (to.len(), said.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [(2, 10), (2, 10), (2, 10), (2, 10), (2, 40)]);
    let blobs: Vec<_> = (100..100 + 5_000).map(|at| transaction(at, BLOB_KIND, 1)).collect();
    bench.plan.spread(&blobs);
    let sizes: Vec<_> = bench
        .actions()
        .iter()
        .map(|action| match action {
            Action::Tell { to, news: News::Hashes(said) } => (to.len(), said.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [(4, 4_096), (4, 904)]);
}

#[test]
fn a_new_peer_is_told_what_the_pool_has() {
    let mut bench = Bench::new(1);
    let held = smalls(0..5_000);
    bench.plan.on_peer_up(SessionId(2), said(&held));
    let due = News::Hashes(said(&held[..4_096]));
    assert_eq!(bench.actions(), [Action::Tell { to: vec![SessionId(2)], news: due }]);
    bench.plan.on_peer_up(SessionId(2), said(&held));
    assert_eq!(bench.actions(), [], "it is not new");
    bench.plan.on_peer_up(SessionId(3), Vec::new());
    assert_eq!(bench.actions(), [], "there is nothing to tell");
    bench.plan.spread(&held[..1]);
    let told = told(bench.actions(), 3);
    assert_eq!(told[1], (vec![], vec![]), "it knows that one");
}
