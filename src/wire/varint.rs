//! Unsigned varints, minimal and at most 9 bytes.
//!
//! The multiformats form (unsigned-varint README): 7 bits per byte, least significant first, the
//! top bit set on every byte but the last. Nine bytes carry 63 bits.

use bytes::{BufMut, BytesMut};

use super::DecodeError;

/// The longest encoding that is read or written, in bytes.
pub const BYTES_MAX: usize = 9;

/// The largest value that fits in [`BYTES_MAX`] bytes.
pub const VALUE_MAX: u64 = (1 << 63) - 1;

/// Appends the shortest encoding of `value`, which must not exceed [`VALUE_MAX`]: a larger one
/// takes a tenth byte, which nobody accepts.
pub fn encode(mut value: u64, out: &mut BytesMut) {
    debug_assert!(value <= VALUE_MAX, "{value} does not fit in {BYTES_MAX} bytes");
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// How many bytes [`encode`] appends for `value`.
pub fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Reads a value from the front of `bytes`: the value and how many bytes it took, or `None` if
/// `bytes` ends inside it.
pub fn decode(bytes: &[u8]) -> Result<Option<(u64, usize)>, DecodeError> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            // A last byte of zero adds nothing, so a shorter form exists.
            let minimal = byte != 0 || at == 0;
            return if minimal { Ok(Some((value, at + 1))) } else { Err(DecodeError::NonCanonical) };
        }
    }
    if bytes.len() < BYTES_MAX { Ok(None) } else { Err(DecodeError::Invalid("uvarint")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixtures::Junk;

    fn encoded(value: u64) -> BytesMut {
        let mut out = BytesMut::new();
        encode(value, &mut out);
        out
    }

    #[test]
    fn the_published_vectors_hold() {
        let vectors: [(u64, &[u8]); 7] = [
            (0, &[0x00]),
            (1, &[0x01]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (255, &[0xff, 0x01]),
            (300, &[0xac, 0x02]),
            (16_384, &[0x80, 0x80, 0x01]),
        ];
        for (value, bytes) in vectors {
            assert_eq!(encoded(value), bytes);
            assert_eq!(decode(bytes), Ok(Some((value, bytes.len()))));
        }
    }

    /// E10: every length, and every truncation of it, at the edges of each byte count.
    #[test]
    fn values_survive_a_round_trip_and_every_truncation_waits() {
        for shift in 0..63 {
            for value in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let bytes = encoded(value);
                assert_eq!(bytes.len(), len(value));
                assert_eq!(decode(&bytes), Ok(Some((value, bytes.len()))));
                for cut in 0..bytes.len() {
                    assert_eq!(decode(&bytes[..cut]), Ok(None));
                }
            }
        }
        assert_eq!(decode(&encoded(VALUE_MAX)), Ok(Some((VALUE_MAX, BYTES_MAX))));
    }

    /// E10: overlong and ten-byte forms.
    #[test]
    fn overlong_forms_are_refused() {
        assert_eq!(decode(&[0x81, 0x00]), Err(DecodeError::NonCanonical));
        assert_eq!(decode(&[0x80, 0x00]), Err(DecodeError::NonCanonical));
        assert!(decode(&[0xff; 9]).is_err());
        assert!(decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
    }

    #[test]
    fn what_follows_the_value_is_left_alone() {
        assert_eq!(decode(&[0xac, 0x02, 0xff, 0xff]), Ok(Some((300, 2))));
    }

    #[test]
    fn junk_is_read_canonically_or_not_at_all() {
        let mut junk = Junk::seeded(1);
        for _ in 0..20_000 {
            let bytes = junk.bytes(12);
            if let Ok(Some((value, taken))) = decode(&bytes) {
                assert_eq!(encoded(value), bytes[..taken]);
            }
        }
    }
}
