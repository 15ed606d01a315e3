//! RLP items as slices of their input: nothing is copied, nothing is allocated unasked.
//!
//! The wire has a cursor of its own; this one serves block files and verification.

use alloy_primitives::{B256, U256};
use alloy_rlp::Header;

use crate::wire::DecodeError;

/// One item: what it is, its content, and its whole encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    /// Whether it is a list.
    pub(crate) list: bool,
    /// The content, without the item's own header.
    pub(crate) payload: &'a [u8],
    /// The header and the content.
    pub(crate) raw: &'a [u8],
}

impl<'a> Item<'a> {
    /// Takes the next item from the front of `bytes`.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let whole = *bytes;
        let mut rest = whole;
        let header = Header::decode(&mut rest).map_err(decode_error)?;
        let header_bytes = whole.len() - rest.len();
        let (payload, rest) = rest.split_at_checked(header.payload_length).ok_or(DecodeError::Truncated)?;
        *bytes = rest;
        Ok(Self { list: header.list, payload, raw: &whole[..header_bytes + payload.len()] })
    }

    /// The content of a list.
    pub(crate) fn list(self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if self.list { Ok(self.payload) } else { Err(DecodeError::Invalid(what)) }
    }

    /// The content of a string.
    pub(crate) fn string(self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if self.list { Err(DecodeError::Invalid(what)) } else { Ok(self.payload) }
    }

    /// A string of exactly 32 bytes.
    pub(crate) fn hash(self, what: &'static str) -> Result<B256, DecodeError> {
        B256::try_from(self.string(what)?).map_err(|_| DecodeError::Invalid(what))
    }

    /// An integer in its shortest form that fits 8 bytes.
    pub(crate) fn u64(self, what: &'static str) -> Result<u64, DecodeError> {
        let bytes = self.integer(what, 8)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// An integer in its shortest form that fits 32 bytes.
    pub(crate) fn u256(self, what: &'static str) -> Result<U256, DecodeError> {
        Ok(U256::from_be_slice(self.integer(what, 32)?))
    }

    fn integer(self, what: &'static str, bytes_max: usize) -> Result<&'a [u8], DecodeError> {
        let bytes = self.string(what)?;
        if bytes.len() > bytes_max {
            return Err(DecodeError::Invalid(what));
        }
        if bytes.first() == Some(&0) { Err(DecodeError::NonCanonical) } else { Ok(bytes) }
    }
}

/// The content of a list that fills `bytes` to the end.
pub(crate) fn whole_list<'a>(mut bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], DecodeError> {
    let item = Item::take(&mut bytes)?;
    if bytes.is_empty() { item.list(what) } else { Err(DecodeError::Trailing) }
}

/// The items of a list's content, counted before they are collected: as many as the content could
/// hold if each had `item_bytes_min` bytes, no more.
pub(crate) fn items<'a>(
    payload: &'a [u8],
    what: &'static str,
    item_bytes_min: usize,
) -> Result<Vec<Item<'a>>, DecodeError> {
    let mut rest = payload;
    let mut count = 0;
    while !rest.is_empty() {
        Item::take(&mut rest)?;
        count += 1;
    }
    let max = payload.len() / item_bytes_min;
    if count > max {
        return Err(DecodeError::TooLarge { what, got: count as u64, max: max as u64 });
    }
    let mut items = Vec::with_capacity(count);
    let mut rest = payload;
    while !rest.is_empty() {
        items.push(Item::take(&mut rest)?);
    }
    Ok(items)
}

/// Says in our terms what alloy found wrong.
pub(crate) fn decode_error(error: alloy_rlp::Error) -> DecodeError {
    match error {
        alloy_rlp::Error::InputTooShort => DecodeError::Truncated,
        alloy_rlp::Error::LeadingZero
        | alloy_rlp::Error::NonCanonicalSingleByte
        | alloy_rlp::Error::NonCanonicalSize => DecodeError::NonCanonical,
        _ => DecodeError::Invalid("RLP"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_slices_of_their_input() {
        let bytes = [0xc5, 0x01, 0x82, 0xab, 0xcd, 0x80];
        let payload = whole_list(&bytes, "list").unwrap();
        let items = items(payload, "items", 1).unwrap();
        let raw: Vec<_> = items.iter().map(|item| item.raw).collect();
        assert_eq!(raw, [&[0x01][..], &[0x82, 0xab, 0xcd], &[0x80]]);
        assert_eq!(items[1].payload, [0xab, 0xcd]);
        assert_eq!(items[0].u64("one"), Ok(1));
        assert_eq!(items[2].u64("zero"), Ok(0));
    }

    #[test]
    fn every_truncation_fails() {
        let bytes = [0xc5, 0x01, 0x82, 0xab, 0xcd, 0x80];
        for len in 0..bytes.len() {
            assert!(whole_list(&bytes[..len], "list").is_err(), "{len} bytes");
        }
        assert_eq!(whole_list(&[0xc0, 0x00], "list"), Err(DecodeError::Trailing));
    }

    #[test]
    fn lengths_and_integers_must_be_in_their_shortest_form() {
        assert_eq!(Item::take(&mut &[0x81, 0x05][..]), Err(DecodeError::NonCanonical));
        assert_eq!(Item::take(&mut &[0xb8, 0x01, 0xff][..]), Err(DecodeError::NonCanonical));
        let item = Item::take(&mut &[0x82, 0x00, 0x05][..]).unwrap();
        assert_eq!(item.u64("number"), Err(DecodeError::NonCanonical));
        let nine = Item::take(&mut &[0x89, 1, 2, 3, 4, 5, 6, 7, 8, 9][..]).unwrap();
        assert_eq!(nine.u64("number"), Err(DecodeError::Invalid("number")));
    }

    #[test]
    fn more_items_than_the_bytes_can_hold_are_refused() {
        let payload = [0x80; 160];
        assert!(items(&payload, "transactions", 1).is_ok());
        assert_eq!(
            items(&payload, "transactions", 80),
            Err(DecodeError::TooLarge { what: "transactions", got: 160, max: 2 })
        );
    }
}
