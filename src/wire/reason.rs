//! The Disconnect message in every spelling that peers use (rlpx.md, "Disconnect").
//!
//! Implementations differ in whether they compress it, and in whether the reason stands in a
//! list. What we send is what the specification says; what we take is anything.

use bytes::Bytes;

use super::rlp::{EMPTY_LIST, EMPTY_STRING};
use super::snappy;

/// The most bytes a Disconnect is inflated to. A reason takes two.
const INFLATED_MAX: usize = 16;

/// The list `[reason]`, as one snappy block if the connection compresses.
pub fn encode(reason: u8, compressed: bool) -> Bytes {
    // In RLP the integer 0 is the empty string.
    let rlp = [EMPTY_LIST + 1, if reason == 0 { EMPTY_STRING } else { reason }];
    if compressed { snappy::compress(&rlp) } else { Bytes::copy_from_slice(&rlp) }
}

/// The reason number: `[n]`, `[]`, a bare byte or nothing at all, compressed or not. What is none
/// of these is 0, as no reason is.
///
/// No spelling is that of another number compressed, so it need not be known whether the peer
/// should have compressed it.
pub fn decode(body: &[u8]) -> u8 {
    number(body).or_else(|| number(&snappy::inflate(body, INFLATED_MAX).ok()?)).unwrap_or(0)
}

fn number(rlp: &[u8]) -> Option<u8> {
    match rlp {
        [] | [EMPTY_LIST | EMPTY_STRING] | [0xc1, EMPTY_STRING] => Some(0),
        [0xc1, number @ ..0x80] | [number @ ..0x80] => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_reason_is_understood() {
        for (bytes, code) in
            [(&[0xc1, 0x04][..], 4), (&[0xc0], 0), (&[0xc1, 0x80], 0), (&[0x05], 5), (&[0x80], 0), (&[], 0)]
        {
            assert_eq!(decode(bytes), code, "{bytes:02x?}");
        }
    }
}
