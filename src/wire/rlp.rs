//! RLP on byte slices, without allocating.
//!
//! Reading is strict: only canonical encodings pass (yellow paper, appendix B). An [`Item`] is a
//! slice of what arrived, header and payload together, so headers and bodies can be cut out of an
//! answer and hashed or stored as they are. Nothing here recurses: a list is opened by asking for
//! its [`List`], and [`check`] walks nested ones with a fixed stack.

use bytes::BufMut;

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
    /// The most bytes a head takes: one, and eight of a length.
    pub const LEN_MAX: usize = 9;

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
    pub fn list(self) -> Result<List<'a>, DecodeError> {
        if self.is_list() { Ok(List(self.payload())) } else { Err(DecodeError::Invalid("string for a list")) }
    }

    /// The bytes of a string.
    pub fn string(self) -> Result<&'a [u8], DecodeError> {
        if self.is_list() { Err(DecodeError::Invalid("list for a string")) } else { Ok(self.payload()) }
    }

    /// A string of exactly `N` bytes.
    pub fn fixed<const N: usize>(self) -> Result<[u8; N], DecodeError> {
        self.string()?.try_into().map_err(|_| DecodeError::Invalid("string length"))
    }

    /// The big-endian bytes of an integer of at most `max` bytes; none for zero.
    pub fn uint(self, max: usize) -> Result<&'a [u8], DecodeError> {
        match self.string()? {
            [0, ..] => Err(DecodeError::NonCanonical),
            bytes if bytes.len() > max => Err(DecodeError::Invalid("integer size")),
            bytes => Ok(bytes),
        }
    }

    /// An integer of at most 64 bits.
    pub fn u64(self) -> Result<u64, DecodeError> {
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
        if self.is_empty() { Ok(None) } else { self.item().map(Some) }
    }

    /// Takes the next item and reads it; a value that is not what it should be is called `what`.
    pub fn field<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(Item<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        read(self.item()?).map_err(|error| match error {
            DecodeError::Invalid(_) => DecodeError::Invalid(what),
            other => other,
        })
    }

    /// Whether no item is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails if anything is left: extra elements are malformed.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
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
pub fn put_list_head(payload_len: usize, out: &mut impl BufMut) {
    put_head(EMPTY_LIST, payload_len, out);
}

/// Appends a string.
pub fn put_bytes(bytes: &[u8], out: &mut impl BufMut) {
    if !is_own_encoding(bytes) {
        put_head(EMPTY_STRING, bytes.len(), out);
    }
    out.put_slice(bytes);
}

/// Appends an integer.
pub fn put_u64(value: u64, out: &mut impl BufMut) {
    put_uint(&value.to_be_bytes(), out);
}

/// Appends an integer given as big-endian bytes of any width.
pub fn put_uint(be_bytes: &[u8], out: &mut impl BufMut) {
    put_bytes(trimmed(be_bytes), out);
}

/// The bytes of an integer without its leading zeros.
pub fn trimmed(be_bytes: &[u8]) -> &[u8] {
    let zeros = be_bytes.iter().take_while(|&&byte| byte == 0).count();
    &be_bytes[zeros..]
}

fn put_head(base: u8, payload_len: usize, out: &mut impl BufMut) {
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
mod tests;
