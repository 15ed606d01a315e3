//! The Disconnect message in every spelling that peers use (rlpx.md, "Disconnect").
//!
//! Implementations differ in whether they compress it, and in whether the reason stands in a
//! list. What we send is what the specification says; what we take is anything.

use bytes::Bytes;

use super::rlp::{self, EMPTY_LIST, EMPTY_STRING};
use super::snappy;

/// The most bytes a Disconnect is inflated to. A reason takes two.
const INFLATED_MAX: usize = 16;

/// The list `[reason]`, as one snappy block if the connection compresses.
pub fn encode(reason: u8, compressed: bool) -> Bytes {
    let mut rlp = Vec::with_capacity(3);
    rlp::put_list_head(rlp::u64_len(u64::from(reason)), &mut rlp);
    rlp::put_u64(u64::from(reason), &mut rlp);
    if compressed { snappy::compress(&rlp) } else { Bytes::from(rlp) }
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

    /// Every way to spell each number that somebody uses.
    fn spellings(number: u8) -> Vec<Vec<u8>> {
        let zero = [&[][..], &[0xc0], &[0xc1, 0x80], &[0x80], &[0xc1, 0x00], &[0x00]].map(<[u8]>::to_vec);
        if number == 0 { zero.to_vec() } else { vec![vec![0xc1, number], vec![number]] }
    }

    /// devp2p.md sections 3 and 10; B15: before Hello, too, where nothing is compressed yet.
    #[test]
    fn every_spelling_of_a_reason_is_understood() {
        for number in 0..EMPTY_STRING {
            for plain in spellings(number) {
                assert_eq!(decode(&plain), number, "{plain:02x?}");
                assert_eq!(decode(&snappy::compress(&plain)), number, "{plain:02x?} compressed");
            }
        }
    }

    #[test]
    fn what_we_send_is_a_list_of_one() {
        assert_eq!(encode(0x04, false)[..], [0xc1, 0x04]);
        assert_eq!(encode(0, false)[..], [0xc1, 0x80]);
        for number in 0..EMPTY_STRING {
            assert_eq!(decode(&encode(number, false)), number);
            assert_eq!(decode(&encode(number, true)), number);
            assert_eq!(snappy::inflate(&encode(number, true), 2), Ok(encode(number, false)));
        }
    }

    /// B15, E7: a reason that is none, or claims to inflate to 4 GiB, is no reason.
    #[test]
    fn junk_is_no_reason() {
        for junk in [
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00][..],
            &[0xc2, 0x01, 0x02],
            &[0x81, 0x90],
            &[0xc1, 0xc0],
            &[0xff; 40],
            &snappy::compress(&[4; 1000]),
        ] {
            assert_eq!(decode(junk), 0, "{junk:02x?}");
        }
    }
}
