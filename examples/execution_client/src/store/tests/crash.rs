//! A kill, a power cut or a full disk in the middle of a write.

use super::disk::{Deed, Disk};
use super::script::{contents, genesis_bytes, is_no_space, open_on, steps, steps_done};
use super::*;
use crate::state::StateView;
use crate::store::StoreFailure;
use trunkline::sync::ChainStore;

/// Runs all steps; what was done to the disk, and after how many deeds each step was over.
fn lived() -> (Vec<u8>, Vec<Deed>, Vec<usize>) {
    let start = genesis_bytes();
    let disk = Disk::of(start.clone());
    let store = open_on(disk.clone()).unwrap();
    let mut over = vec![disk.deed_count()];
    for step in steps() {
        step(&store).unwrap();
        over.push(disk.deed_count());
    }
    (start, disk.deeds(), over)
}

/// Opens what is on the disk at moment `at`: the last step that was over then, or the one that was under way.
fn check(bytes: Vec<u8>, at: usize, over: &[usize], contents: &[script::Content]) {
    let disk = Disk::of(bytes);
    let store = open_on(disk).unwrap_or_else(|error| panic!("deed {at}: {error}"));
    let least = over.iter().filter(|over| **over <= at).count().saturating_sub(1);
    let done = steps_done(&store, contents);
    assert!((least..=least + 1).contains(&done), "deed {at}: {done} steps, where {least} were over");
    // It goes on from there.
    if at.is_multiple_of(7) {
        steps()[done..].iter().for_each(|step| step(&store).unwrap());
        assert_eq!(steps_done(&store, contents), contents.len() - 1);
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_last_batch() {
    let (start, deeds, over) = lived();
    let contents = contents();
    let mut bytes = start;
    for (at, deed) in deeds.iter().enumerate() {
        check(bytes.clone(), at, &over, &contents);
        deed.apply(&mut bytes);
    }
    check(bytes, deeds.len(), &over, &contents);
    assert!(deeds.len() > 100, "{} moments", deeds.len());
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_last_batch() {
    let (start, deeds, over) = lived();
    let contents = contents();
    // What is synced is there; of the rest, only some writes are, a few of them in part.
    let mut synced = start;
    let mut loose: Vec<&Deed> = Vec::new();
    let mut seed = 11u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for (at, deed) in deeds.iter().enumerate() {
        let mut bytes = synced.clone();
        for deed in &loose {
            match (deed, random(4)) {
                (_, 0) => {}
                (Deed::Write(offset, data), 1) => {
                    let cut = data.len() / 512 * 512 / 2;
                    Deed::Write(*offset, data[..cut].to_vec()).apply(&mut bytes);
                }
                (deed, _) => deed.apply(&mut bytes),
            }
        }
        // A file that is shorter than what is in it has lost its length, not its bytes.
        let len = loose.iter().rev().find_map(|deed| match deed {
            Deed::SetLen(len) => Some(*len),
            _ => None,
        });
        bytes.resize(len.unwrap_or(bytes.len()).max(bytes.len()), 0);
        check(bytes, at, &over, &contents);
        loose.push(deed);
        if matches!(deed, Deed::Sync) {
            loose.drain(..).for_each(|deed| deed.apply(&mut synced));
        }
    }
}

#[test]
fn a_full_disk_is_an_error_until_there_is_room_again() {
    let start = genesis_bytes();
    let contents = contents();
    let mut failed_in = std::collections::BTreeSet::new();
    for left in (1..40).map(|n| n * 37_000) {
        for counts_growth in [false, true] {
            let disk = Disk::of(start.clone());
            let store = open_on(disk.clone()).unwrap();
            disk.fills_up(left, counts_growth);
            let Some((done, error)) =
                steps().iter().enumerate().find_map(|(done, step)| Some((done, step(&store).err()?)))
            else {
                continue;
            };
            failed_in.insert(done);
            assert!(is_no_space(&error), "{left} bytes, step {done}: {error}");
            assert_eq!(error.to_string().lines().count(), 1);
            assert!(store.is_full());
            // Everything that is asked now has an answer, and nothing moves.
            let (executed, stored) = (store.executed(), store.stored());
            steps().iter().for_each(|step| drop(step(&store)));
            let next = blocks(stored, 1, 0);
            assert!(store.append(next).is_err_and(|error| is_no_space(&error)));
            let reads = [store.block(1).err(), store.undo(1).err()];
            assert!(reads.iter().flatten().all(|failure| matches!(failure, StoreFailure::NoSpace)));
            let (state, full) = (store.state(), StoreFailure::NoSpace.to_string());
            let reads = [state.account(&address(0)).err(), state.block_hash(1).err()];
            assert!(reads.iter().flatten().all(|error| error.to_string().ends_with(&full)));
            let _ = (store.missing_receipts(0, 9), store.take_dropped());
            assert_eq!((store.executed(), store.stored()), (executed, stored));
            drop(store);

            let store = open_on(Disk::of(disk.bytes())).unwrap();
            let now = steps_done(&store, &contents);
            assert!((done..=done + 1).contains(&now), "{left} bytes: {now} steps, where {done} were over");
            steps()[now..].iter().for_each(|step| step(&store).unwrap());
            assert_eq!(steps_done(&store, &contents), contents.len() - 1);
        }
    }
    assert!(failed_in.len() > 5, "steps that failed: {failed_in:?}");
}

#[test]
fn a_disk_that_is_full_already_is_said_so_when_opening() {
    let disk = Disk::of(genesis_bytes());
    disk.fills_up(1, false);
    let error = open_on(disk).unwrap_err();
    assert!(matches!(error, OpenError::NoSpace(_)), "{error}");
}
