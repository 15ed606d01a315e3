//! RLP on byte slices, without allocating.
//!
//! Reading is strict: only canonical encodings pass (yellow paper, appendix B). An [`Item`] is a
//! slice of what arrived, header and payload together, so headers and bodies can be cut out of an
//! answer and hashed or stored as they are. Nothing here recurses: a list is opened by asking for
//! its [`List`], and [`check`] walks nested ones with a fixed stack.

use bytes::{BufMut, BytesMut};

use super::DecodeError;

/// How deep lists may be nested for [`check`]. Nothing in eth goes beyond 7.
pub const DEPTH_MAX: usize = 16;

/// The encoding of the empty string.
pub const EMPTY_STRING: u8 = 0x80;

/// The encoding of the empty list.
pub const EMPTY_LIST: u8 = 0xc0;

/// One item as it was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    encoded: &'a [u8],
    head: Head,
}

/// What the first bytes of an item say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whether the item is a list.
    pub is_list: bool,
    /// How many bytes the head takes: 0 for a byte that is its own encoding.
    pub len: usize,
    /// How many bytes of payload follow it.
    pub payload_len: usize,
}

impl Head {
    /// Reads the head at the front of `bytes`. The payload need not be there.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let &first = bytes.first().ok_or(DecodeError::Truncated)?;
        let (is_list, base) = if first < EMPTY_LIST { (false, EMPTY_STRING) } else { (true, EMPTY_LIST) };
        Ok(match first.checked_sub(base) {
            None => Self { is_list, len: 0, payload_len: 1 },
            Some(short @ 0..=55) => {
                let next = bytes.get(1);
                if !is_list && short == 1 && next.is_some_and(|&byte| byte < EMPTY_STRING) {
                    return Err(DecodeError::NonCanonical);
                }
                Self { is_list, len: 1, payload_len: usize::from(short) }
            }
            Some(long) => {
                let width = usize::from(long - 55);
                let payload_len = bytes.get(1..1 + width).ok_or(DecodeError::Truncated)?;
                let payload_len = be_u64(payload_len)?;
                if payload_len <= 55 {
                    return Err(DecodeError::NonCanonical);
                }
                // A length beyond the address space is beyond the input as well.
                let payload_len = usize::try_from(payload_len).map_err(|_| DecodeError::Truncated)?;
                Self { is_list, len: 1 + width, payload_len }
            }
        })
    }
}

impl<'a> Item<'a> {
    /// Takes an item off the front of `rest`.
    pub fn read(rest: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let head = Head::read(rest)?;
        let len = head.len.checked_add(head.payload_len).ok_or(DecodeError::Truncated)?;
        let (encoded, after) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        *rest = after;
        Ok(Self { encoded, head })
    }

    /// Reads an item that must fill `bytes` to the end.
    pub fn whole(mut bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let item = Self::read(&mut bytes)?;
        if bytes.is_empty() { Ok(item) } else { Err(DecodeError::Trailing) }
    }

    /// Header and payload together.
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.head.is_list
    }

    /// The payload, of a list or a string.
    pub fn payload(&self) -> &'a [u8] {
        &self.encoded[self.head.len..]
    }

    /// The items of a list.
    pub fn list(&self) -> Result<List<'a>, DecodeError> {
        if self.is_list() { Ok(List(self.payload())) } else { Err(DecodeError::Invalid("string for a list")) }
    }

    /// The bytes of a string.
    pub fn string(&self) -> Result<&'a [u8], DecodeError> {
        if self.is_list() { Err(DecodeError::Invalid("list for a string")) } else { Ok(self.payload()) }
    }

    /// A string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&self) -> Result<[u8; N], DecodeError> {
        self.string()?.try_into().map_err(|_| DecodeError::Invalid("string length"))
    }

    /// The big-endian bytes of an integer of at most `max` bytes; none for zero.
    pub fn uint(&self, max: usize) -> Result<&'a [u8], DecodeError> {
        match self.string()? {
            [0, ..] => Err(DecodeError::NonCanonical),
            bytes if bytes.len() > max => Err(DecodeError::Invalid("integer size")),
            bytes => Ok(bytes),
        }
    }

    /// An integer of at most 64 bits.
    pub fn u64(&self) -> Result<u64, DecodeError> {
        be_u64(self.uint(8)?)
    }
}

/// The items of a list that were not taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// Reads a list that must fill `bytes` to the end.
    pub fn whole(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Item::whole(bytes)?.list()
    }

    /// Takes the next item; its absence is an error.
    pub fn item(&mut self) -> Result<Item<'a>, DecodeError> {
        Item::read(&mut self.0)
    }

    /// Takes the next item, if there is one.
    pub fn next_item(&mut self) -> Result<Option<Item<'a>>, DecodeError> {
        if self.0.is_empty() { Ok(None) } else { self.item().map(Some) }
    }

    /// Fails if anything is left: extra elements are malformed.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    /// The encoding of the items that were not taken yet, one after the other.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Counts the items left, of which each must take at least `least` bytes.
    ///
    /// Asked before a vector is made for them: it bounds what a byte of input can cost (E5).
    pub fn count(self, least: usize) -> Result<usize, DecodeError> {
        let mut rest = self;
        let mut count = 0;
        while let Some(item) = rest.next_item()? {
            if item.encoded().len() < least {
                return Err(DecodeError::Invalid("item size"));
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Walks everything in `bytes`, which must be one item: every head canonical, every length within
/// its list, lists at most [`DEPTH_MAX`] deep.
pub fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    // What follows each open list, from the outside in.
    let mut after: [&[u8]; DEPTH_MAX] = [&[]; DEPTH_MAX];
    let mut depth = 0_usize;
    let mut rest = bytes;
    let outermost = Item::read(&mut rest)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing);
    }
    rest = outermost.encoded();
    loop {
        while rest.is_empty() {
            let Some(outer) = depth.checked_sub(1) else { return Ok(()) };
            depth = outer;
            rest = after[depth];
        }
        let item = Item::read(&mut rest)?;
        if item.is_list() {
            *after.get_mut(depth).ok_or(DecodeError::Invalid("nesting"))? = rest;
            depth += 1;
            rest = item.payload();
        }
    }
}

/// How many bytes an item with this payload takes, head included. A single byte below 0x80 is the
/// exception: see [`bytes_len`].
pub fn item_len(payload_len: usize) -> usize {
    let width = if payload_len <= 55 { 0 } else { be_width(payload_len as u64) };
    1 + width + payload_len
}

/// How many bytes [`put_bytes`] appends.
pub fn bytes_len(bytes: &[u8]) -> usize {
    if is_own_encoding(bytes) { 1 } else { item_len(bytes.len()) }
}

/// How many bytes [`put_u64`] appends.
pub fn u64_len(value: u64) -> usize {
    if value < u64::from(EMPTY_STRING) { 1 } else { 1 + be_width(value) }
}

/// Appends the head of a list whose items take `payload_len` bytes.
pub fn put_list_head(payload_len: usize, out: &mut BytesMut) {
    put_head(EMPTY_LIST, payload_len, out);
}

/// Appends a string.
pub fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    if !is_own_encoding(bytes) {
        put_head(EMPTY_STRING, bytes.len(), out);
    }
    out.put_slice(bytes);
}

/// Appends an integer.
pub fn put_u64(value: u64, out: &mut BytesMut) {
    put_uint(&value.to_be_bytes(), out);
}

/// Appends an integer given as big-endian bytes of any width.
pub fn put_uint(be_bytes: &[u8], out: &mut BytesMut) {
    put_bytes(trimmed(be_bytes), out);
}

/// The bytes of an integer without its leading zeros.
pub fn trimmed(be_bytes: &[u8]) -> &[u8] {
    let zeros = be_bytes.iter().take_while(|&&byte| byte == 0).count();
    &be_bytes[zeros..]
}

fn put_head(base: u8, payload_len: usize, out: &mut BytesMut) {
    if payload_len <= 55 {
        out.put_u8(base + payload_len as u8);
    } else {
        let be_bytes = (payload_len as u64).to_be_bytes();
        let len = trimmed(&be_bytes);
        out.put_u8(base + 55 + len.len() as u8);
        out.put_slice(len);
    }
}

fn is_own_encoding(bytes: &[u8]) -> bool {
    matches!(bytes, [byte] if *byte < EMPTY_STRING)
}

/// How many bytes an integer takes without leading zeros; 0 for zero.
fn be_width(value: u64) -> usize {
    8 - value.leading_zeros() as usize / 8
}

/// Reads at most 8 bytes, the first of which must not be zero.
fn be_u64(bytes: &[u8]) -> Result<u64, DecodeError> {
    if bytes.first() == Some(&0) {
        return Err(DecodeError::NonCanonical);
    }
    Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
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
}
