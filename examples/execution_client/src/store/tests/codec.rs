//! Rows come back, and nothing that is cut, lengthened or made up does harm.

use crate::state::BlockDiff;
use crate::store::codec::*;
use crate::store::heads::Executed;

use super::*;

fn head() -> Executed {
    Executed {
        block: BlockRef { number: 7, hash: B256::repeat_byte(1) },
        time: u64::MAX,
        total_difficulty: U256::MAX,
        state_root: B256::repeat_byte(2),
    }
}

fn accounts() -> [Account; 4] {
    let contract = Account { code_hash: B256::ZERO, storage_root: B256::repeat_byte(9), ..account(3) };
    let largest = Account { nonce: u64::MAX, balance: U256::MAX, ..contract };
    [Account::default(), account(300), contract, largest]
}

fn large_diff() -> BlockDiff {
    let mut diff = diff(3);
    for (n, account) in (0..).zip(accounts()) {
        let slots = BTreeMap::from([(U256::MAX, U256::from(n)), (U256::ZERO, U256::MAX)]);
        diff.accounts.insert(address(n + 5), AccountDiff { after: Some(account), wiped: n > 1, slots });
    }
    diff.accounts.insert(address(99), AccountDiff::default());
    diff.codes.insert(B256::ZERO, Bytes::from_static(b"code"));
    diff
}

/// Every row that is read by `read` and is not `row` itself.
fn spoil<T>(row: &[u8], read: impl Fn(&[u8]) -> Result<T, crate::store::StoreFailure>) -> usize {
    for len in 0..row.len() {
        assert!(read(&row[..len]).is_err(), "{len} of {} bytes", row.len());
    }
    assert!(read(&[row, &[0]].concat()).is_err(), "one byte more");
    let flipped = (0..row.len() * 8).filter(|bit| {
        let mut row = row.to_vec();
        row[bit / 8] ^= 1 << (bit % 8);
        read(&row).is_err()
    });
    let mut seed = 3u32;
    let mut junk = || {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        (seed >> 24) as u8
    };
    for len in 0..400 {
        let junk: Vec<u8> = (0..len).map(|_| junk()).collect();
        let _ = read(&junk);
    }
    flipped.count()
}

#[test]
fn accounts_come_back() {
    for account in accounts() {
        let row = write_account(&account);
        assert_eq!(read_account(&row).unwrap(), account);
        assert!(spoil(&row, read_account) > 0);
    }
    assert_eq!(write_account(&Account::default()).len(), 5, "neither code nor storage costs a hash");
}

#[test]
fn the_executed_head_comes_back() {
    let row = write_executed(&head());
    assert_eq!(read_executed(&row).unwrap(), head());
    spoil(&row, read_executed);
}

#[test]
fn undo_records_come_back() {
    for diff in [BlockDiff::default(), large_diff()] {
        let row = write_undo(B256::repeat_byte(3), &head(), diff.clone());
        let read = read_undo(&row).unwrap();
        assert_eq!(read, UndoRow { block: B256::repeat_byte(3), parent: head(), diff });
        assert!(spoil(&row, read_undo) > 0);
    }
}

#[test]
fn a_header_row_is_read_as_it_was_written() {
    let block = &blocks(chain().spec.genesis(), 1, 0)[0];
    let row = HeaderRow { hash: block.hash, total_difficulty: U256::from(9), rlp: &block.header };
    let bytes = row.write();
    let read = HeaderRow::read(&bytes).unwrap();
    assert_eq!(read, row);
    let facts = read.facts().unwrap();
    assert_eq!(read.executed(&facts).unwrap().state_root, keccak256(1u64.to_be_bytes()));
    spoil(&bytes, |row| HeaderRow::read(row)?.facts());
}

#[test]
fn keys_sort_as_what_they_stand_for() {
    let slots = [U256::ZERO, U256::ONE, U256::from(256), U256::MAX];
    let keys: Vec<_> = slots.iter().map(|slot| slot_key(&address(1), slot)).collect();
    assert!(keys.is_sorted());
    assert_eq!(keys.iter().map(slot_of).collect::<Vec<_>>(), slots);
    assert_eq!(slot_range(&address(1)), (keys[0], keys[3]));

    let longest = |owner| node_key(&NodeKey { owner, path: Nibbles::from_nibbles([15; 64]) });
    for owner in [B256::ZERO, B256::repeat_byte(1), B256::repeat_byte(0xff)] {
        let range = trie_range(&owner);
        assert!(range.contains(&node_key(&NodeKey { owner, path: Nibbles::new() })));
        assert!(range.contains(&longest(owner)));
        for other in [B256::ZERO, B256::with_last_byte(1), B256::repeat_byte(1), B256::repeat_byte(0xfe)] {
            assert_eq!(range.contains(&longest(other)), other == owner, "{owner} {other}");
        }
    }
    assert!(read_value(&[1; 33]).is_err());
    assert_eq!(read_value(&[1, 0]).unwrap(), U256::from(256));
}
