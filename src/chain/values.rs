//! RLP items as values of alloy's types.

use alloy_primitives::{B256, U256};
use alloy_rlp::{Decodable, Error};

use crate::wire::DecodeError;
use crate::wire::rlp::Item;

/// A hash.
pub(crate) fn hash(item: Item<'_>) -> Result<B256, DecodeError> {
    item.fixed().map(B256::new)
}

/// An integer of at most 256 bits.
pub(crate) fn u256(item: Item<'_>) -> Result<U256, DecodeError> {
    item.uint(32).map(U256::from_be_slice)
}

/// A value of one of alloy's types, which must fill `encoded`.
pub(crate) fn typed<T: Decodable>(encoded: &[u8], what: &'static str) -> Result<T, DecodeError> {
    typed_by(T::decode, encoded, what)
}

/// The same for types that are read by a function of their own.
pub(crate) fn typed_by<T>(
    decode: impl FnOnce(&mut &[u8]) -> alloy_rlp::Result<T>,
    mut encoded: &[u8],
    what: &'static str,
) -> Result<T, DecodeError> {
    let value = decode(&mut encoded).map_err(|error| match error {
        Error::InputTooShort => DecodeError::Truncated,
        Error::LeadingZero | Error::NonCanonicalSingleByte | Error::NonCanonicalSize => {
            DecodeError::NonCanonical
        }
        Error::ListLengthMismatch { .. } => DecodeError::Trailing,
        _ => DecodeError::Invalid(what),
    })?;
    if encoded.is_empty() { Ok(value) } else { Err(DecodeError::Trailing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixtures::unhex;

    fn item(bytes: &[u8]) -> Item<'_> {
        Item::whole(bytes).unwrap()
    }

    #[test]
    fn hashes_and_integers_have_the_size_of_their_type() {
        let word = [&[0xa0][..], &[7; 32]].concat();
        assert_eq!(hash(item(&word)), Ok(B256::repeat_byte(7)));
        assert_eq!(u256(item(&word)), Ok(U256::from_be_bytes([7; 32])));
        let longer = [&[0xa1][..], &[7; 33]].concat();
        assert!(hash(item(&longer)).is_err() && u256(item(&longer)).is_err());
        assert!(hash(item(&word[1..2])).is_err());
        assert_eq!(u256(item(&[0x80])), Ok(U256::ZERO));
        assert_eq!(u256(item(&unhex("820001"))), Err(DecodeError::NonCanonical));
        assert!(u256(item(&[0xc0])).is_err());
    }

    #[test]
    fn what_alloy_finds_wrong_is_said_in_our_terms() {
        let read = |hex| typed::<u16>(&unhex(hex), "port");
        assert_eq!(read("820400"), Ok(1024));
        assert_eq!(read("8204"), Err(DecodeError::Truncated));
        assert_eq!(read("82040000"), Err(DecodeError::Trailing));
        assert_eq!(read("820001"), Err(DecodeError::NonCanonical));
        assert_eq!(read("8105"), Err(DecodeError::NonCanonical));
        assert_eq!(read("c0"), Err(DecodeError::Invalid("port")));
    }
}
