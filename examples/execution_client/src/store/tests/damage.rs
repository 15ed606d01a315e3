//! A database that something else wrote to.

use super::disk::Disk;
use super::script::{contents, genesis_bytes, open_on, steps, steps_done};
use super::*;

/// A store with everything in it: closed, or as a kill leaves it.
fn grown(closed: bool) -> Vec<u8> {
    let disk = Disk::of(genesis_bytes());
    let store = open_on(disk.clone()).unwrap();
    steps().iter().for_each(|step| step(&store).unwrap());
    if closed {
        drop(store);
        return disk.bytes();
    }
    let bytes = disk.bytes();
    drop(store);
    bytes
}

/// Damage that opens all the same was where nothing is, or took back the last write.
fn check(bytes: Vec<u8>, contents: &[script::Content], what: &str) -> bool {
    match open_on(Disk::of(bytes)) {
        Ok(store) => {
            steps_done(&store, contents);
            false
        }
        Err(OpenError::Damaged { .. }) => true,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn flipped_bytes_are_damage_and_no_panic() {
    let contents = contents();
    for closed in [true, false] {
        let bytes = grown(closed);
        let mut damaged = 0;
        let offsets = (0..400).chain((400..bytes.len()).step_by(8 * 1024 + 37));
        for offset in offsets {
            let mut bytes = bytes.clone();
            bytes[offset] ^= 0x5a;
            damaged += usize::from(check(bytes, &contents, &format!("byte {offset}, closed {closed}")));
        }
        assert!(damaged > 20, "{damaged} were seen");
    }
}

#[test]
fn a_cut_file_is_damage_and_no_panic() {
    let contents = contents();
    for closed in [true, false] {
        let bytes = grown(closed);
        let lens = [1, 8, 9, 63, 64, 100, 319, 320, 4095, 4096, 4097].into_iter();
        for len in lens.chain((5000..bytes.len()).step_by(bytes.len() / 40)) {
            let what = format!("{len} bytes, closed {closed}");
            assert!(check(bytes[..len].to_vec(), &contents, &what), "{what}");
        }
    }
}

#[test]
fn something_else_than_a_database_is_damage() {
    for bytes in [vec![0; 10_000], vec![0xff; 10_000], b"not a database".to_vec()] {
        assert!(matches!(open_on(Disk::of(bytes)), Err(OpenError::Damaged { .. })));
    }
}
