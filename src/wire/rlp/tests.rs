//! RLP: what is written, what is refused, how deep and how much.

use bytes::BytesMut;

use super::*;
use crate::wire::fixtures::{Junk, unhex};

fn encoded(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

#[test]
fn strings_and_integers_survive_a_round_trip() {
    let mut junk = Junk::seeded(5);
    for len in [0, 1, 2, 55, 56, 57, 255, 256, 65_535, 65_536] {
        let string = junk.exactly(len);
        let bytes = encoded(|out| put_bytes(&string, out));
        assert_eq!(bytes.len(), bytes_len(&string));
        assert_eq!(Item::whole(&bytes).unwrap().string(), Ok(string.as_slice()));
    }
    for byte in 0..=255 {
        let bytes = encoded(|out| put_bytes(&[byte], out));
        assert_eq!(bytes.len(), bytes_len(&[byte]));
        assert_eq!(Item::whole(&bytes).unwrap().fixed(), Ok([byte]));
    }
    for shift in 0..64 {
        for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
            let bytes = encoded(|out| put_u64(value, out));
            assert_eq!(bytes.len(), u64_len(value), "{value}");
            assert_eq!(Item::whole(&bytes).unwrap().u64(), Ok(value));
        }
    }
}

#[test]
fn lists_survive_a_round_trip() {
    for count in [0, 1, 27, 28, 29, 500, 40_000] {
        let payload = encoded(|out| (0..count).for_each(|_| put_u64(300, out)));
        let bytes = encoded(|out| {
            put_list_head(payload.len(), out);
            out.put_slice(&payload);
        });
        assert_eq!(bytes.len(), item_len(payload.len()));
        let mut list = List::whole(&bytes).unwrap();
        assert_eq!(list.count(3), Ok(count));
        for _ in 0..count {
            assert_eq!(list.item().unwrap().u64(), Ok(300));
        }
        assert_eq!(list.next_item(), Ok(None));
        assert_eq!(list.item(), Err(DecodeError::Truncated));
        assert_eq!(list.end(), Ok(()));
    }
}

/// The examples of the yellow paper and of ethereum.org's page on RLP.
#[test]
fn published_examples_hold() {
    let cases = [
        ("83646f67", "dog"),
        ("80", ""),
        ("0f", "\u{f}"),
        (
            "b8384c6f72656d20697073756d20646f6c6f722073697420616d65742c20636f6e7365637465747572206164697069736963696e6720656c6974",
            "Lorem ipsum dolor sit amet, consectetur adipisicing elit",
        ),
    ];
    for (hex, text) in cases {
        assert_eq!(encoded(|out| put_bytes(text.as_bytes(), out)), unhex(hex));
        assert_eq!(Item::whole(&unhex(hex)).unwrap().string(), Ok(text.as_bytes()));
    }
    assert_eq!(encoded(|out| put_u64(1024, out)), unhex("820400"));
    assert_eq!(check(&unhex("c7c0c1c0c3c0c1c0")), Ok(()));
}

/// E1: every way to write a head that is not the shortest, and lengths that lie.
#[test]
fn only_canonical_heads_pass() {
    let cases = [
        ("8100", DecodeError::NonCanonical),
        ("817f", DecodeError::NonCanonical),
        ("b801ff", DecodeError::NonCanonical),
        ("b837", DecodeError::NonCanonical),
        ("b90038", DecodeError::NonCanonical),
        ("f800", DecodeError::NonCanonical),
        ("f90000", DecodeError::NonCanonical),
        ("", DecodeError::Truncated),
        ("81", DecodeError::Truncated),
        ("b8", DecodeError::Truncated),
        ("b838", DecodeError::Truncated),
        ("c1", DecodeError::Truncated),
        ("f9ff", DecodeError::Truncated),
        ("bfffffffffffffffff", DecodeError::Truncated),
        ("ffffffffffffffffff", DecodeError::Truncated),
        ("0000", DecodeError::Trailing),
        ("c000", DecodeError::Trailing),
    ];
    for (hex, error) in cases {
        assert_eq!(Item::whole(&unhex(hex)), Err(error), "{hex}");
    }
}

#[test]
fn integers_have_no_leading_zeros_and_at_most_their_width() {
    assert_eq!(Item::whole(&[0]).unwrap().u64(), Err(DecodeError::NonCanonical));
    assert_eq!(Item::whole(&unhex("820001")).unwrap().u64(), Err(DecodeError::NonCanonical));
    assert!(Item::whole(&unhex("89010000000000000000")).unwrap().u64().is_err());
    assert_eq!(Item::whole(&unhex("88ffffffffffffffff")).unwrap().u64(), Ok(u64::MAX));
    assert!(Item::whole(&[0xc0]).unwrap().u64().is_err());
    assert!(Item::whole(&[0x80]).unwrap().list().is_err());
    assert!(Item::whole(&unhex("820102")).unwrap().fixed::<3>().is_err());
}

/// E2: as deep as allowed, one deeper, and very deep, on a small stack.
#[test]
fn nesting_is_bounded_and_takes_no_stack() {
    fn nested(depth: usize) -> Vec<u8> {
        let mut lens = vec![0];
        for at in 1..depth {
            lens.push(item_len(lens[at - 1]));
        }
        encoded(|out| lens.iter().rev().for_each(|&len| put_list_head(len, out)))
    }
    let on_a_small_stack = || {
        assert_eq!(check(&nested(1)), Ok(()));
        assert_eq!(check(&nested(DEPTH_MAX)), Ok(()));
        for depth in [DEPTH_MAX + 1, 100_000] {
            assert_eq!(check(&nested(depth)), Err(DecodeError::Invalid("nesting")));
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(on_a_small_stack);
    assert!(thread.unwrap().join().is_ok());
}

/// E3: an item that reaches over the end of its list, and items after the last.
#[test]
fn items_stay_within_their_list() {
    assert_eq!(check(&unhex("c1820102")), Err(DecodeError::Trailing));
    assert_eq!(check(&unhex("c2820102")), Err(DecodeError::Trailing));
    assert_eq!(check(&unhex("c3c38201")), Err(DecodeError::Truncated));
    let bytes = unhex("c20102");
    let mut list = List::whole(&bytes).unwrap();
    list.item().unwrap();
    assert_eq!(list.rest(), [2]);
    assert_eq!(list.end(), Err(DecodeError::Trailing));
}

#[test]
fn a_field_that_is_not_what_it_should_be_is_called_by_its_name() {
    let bytes = unhex("c8 05 820005 82abcd c0");
    let mut list = List::whole(&bytes).unwrap();
    assert_eq!(list.field("number", Item::u64), Ok(5));
    assert_eq!(list.field("number", Item::u64), Err(DecodeError::NonCanonical));
    assert_eq!(list.field("word", Item::fixed::<3>), Err(DecodeError::Invalid("word")));
    assert!(!list.is_empty());
    assert_eq!(list.field("data", Item::string), Err(DecodeError::Invalid("data")));
    assert!(list.is_empty());
    assert_eq!(list.field("data", Item::string), Err(DecodeError::Truncated));
}

/// E5: many empty items are counted against their least size, not collected.
#[test]
fn items_below_their_least_size_are_refused() {
    let bytes = encoded(|out| {
        put_list_head(1_000_000, out);
        out.put_bytes(EMPTY_LIST, 1_000_000);
    });
    let list = List::whole(&bytes).unwrap();
    assert_eq!(list.count(1), Ok(1_000_000));
    assert_eq!(list.count(2), Err(DecodeError::Invalid("item size")));
}

#[test]
fn every_truncation_fails() {
    let bytes = unhex(
        "f83bc3010203b838000000000000000000000000000000000000000000000000000000000000000000000000\
        000000000000000000000000000000000000",
    );
    let whole = encoded(|out| {
        put_list_head(4 + item_len(56), out);
        out.put_slice(&unhex("c3010203"));
        put_bytes(&[0; 56], out);
    });
    assert!(check(&bytes).is_err());
    assert_eq!(check(&whole), Ok(()));
    for cut in 0..whole.len() {
        assert!(check(&whole[..cut]).is_err(), "cut at {cut}");
    }
}

/// What is accepted is written the same way again.
#[test]
fn junk_is_read_canonically_or_not_at_all() {
    let mut junk = Junk::seeded(6);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let bytes = junk.bytes(6);
        let checked = check(&bytes);
        if let Ok(item) = Item::whole(&bytes) {
            accepted += 1;
            let again = encoded(|out| match item.list() {
                Ok(list) => {
                    put_list_head(list.rest().len(), out);
                    out.put_slice(list.rest());
                }
                Err(_) => put_bytes(item.payload(), out),
            });
            assert_eq!(again, bytes);
        } else {
            assert!(checked.is_err());
        }
    }
    assert!(accepted > 1_000, "only {accepted} items of junk were accepted");
}
