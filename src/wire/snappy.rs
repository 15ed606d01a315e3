//! Snappy blocks, bounded by their declared length.
//!
//! A block is the inflated length as a varint, then elements: literals, and copies of what was
//! inflated before (google/snappy, format_description.txt). [`inflate`] checks the declared length
//! before it allocates; [`prefix`] reads the first bytes without allocating at all.

use std::cell::RefCell;

use bytes::Bytes;

use super::DecodeError;

/// How many bytes of a block [`prefix`] inflates at most.
pub const PREFIX_BYTES: usize = 16;

/// Up to this size a block is made in a scratch buffer and copied out at its exact length.
const SCRATCH_BYTES: usize = 16 * 1024;

/// No element makes more than 64 bytes of three, so no honest block inflates by more than this.
const EXPANSION_MAX: usize = 22;

struct Scratch {
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
}

thread_local! {
    /// The encoder's hash table and the scratch buffer are worth keeping: without them a small
    /// message pays more for zeroing than for compressing.
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { encoder: snap::raw::Encoder::new(), block: Vec::new() });
}

/// Compresses `plain`, which must be shorter than 4 GiB.
pub fn compress(plain: &[u8]) -> Bytes {
    let room = snap::raw::max_compress_len(plain.len());
    SCRATCH.with_borrow_mut(|Scratch { encoder, block }| {
        // The encoder fails only on a buffer smaller than `room` or on input of 4 GiB and more,
        // and no message of ours is larger than a few MiB.
        let mut compress_into = |out: &mut [u8]| encoder.compress(plain, out).expect("room was made for it");
        if plain.len() <= SCRATCH_BYTES {
            if block.len() < room {
                block.resize(room, 0);
            }
            let len = compress_into(block);
            Bytes::copy_from_slice(&block[..len])
        } else {
            let mut large = vec![0; room];
            let len = compress_into(&mut large);
            large.truncate(len);
            // It may wait in an outbox for long: keep what it needs, not the worst case.
            large.shrink_to_fit();
            Bytes::from(large)
        }
    })
}

/// The inflated length that `block` declares. Nothing but the length is looked at.
pub fn declared_len(block: &[u8]) -> Result<usize, DecodeError> {
    preamble(block).map(|(len, _)| len)
}

/// Inflates a whole block whose declared length is at most `max` bytes.
///
/// The declared length is compared with `max`, and with what the block can hold at best, before
/// anything is allocated (E7).
pub fn inflate(block: &[u8], max: usize) -> Result<Bytes, DecodeError> {
    let (len, start) = preamble(block)?;
    if len > max {
        return Err(DecodeError::TooLarge { what: "inflated length", got: len as u64, max: max as u64 });
    }
    let elements = &block[start..];
    if len > elements.len().saturating_mul(EXPANSION_MAX) {
        return Err(DecodeError::Truncated);
    }
    let mut plain = vec![0; len];
    match snap::raw::Decoder::new().decompress(block, &mut plain) {
        Ok(inflated) if inflated == len => Ok(Bytes::from(plain)),
        Ok(_) | Err(_) => Err(DecodeError::Invalid("snappy block")),
    }
}

/// Inflates the first bytes of a block into `out`: 16, or all of them if there are fewer. Returns
/// how many.
///
/// What follows them is not looked at; only [`inflate`] says whether the block is whole.
pub fn prefix(block: &[u8], out: &mut [u8; PREFIX_BYTES]) -> Result<usize, DecodeError> {
    let (declared, start) = preamble(block)?;
    let want = declared.min(PREFIX_BYTES);
    let mut rest = &block[start..];
    let mut have = 0;
    while have < want {
        let element = Element::read(&mut rest)?;
        if element.len() > declared - have {
            return Err(DecodeError::Invalid("snappy block"));
        }
        let take = element.len().min(want - have);
        match element {
            Element::Literal(literal) => out[have..have + take].copy_from_slice(&literal[..take]),
            Element::Copy { offset, .. } => {
                if offset == 0 || offset > have {
                    return Err(DecodeError::Invalid("snappy block"));
                }
                // A copy may overlap what it writes, so it goes byte by byte.
                for at in have..have + take {
                    out[at] = out[at - offset];
                }
            }
        }
        have += take;
    }
    Ok(have)
}

/// The declared length, and where the elements start. At most 32 bits, in at most 5 bytes; padded
/// forms are legal here, unlike in our own varints.
fn preamble(block: &[u8]) -> Result<(usize, usize), DecodeError> {
    let mut len = 0_u64;
    for (at, &byte) in block.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let len = u32::try_from(len).map_err(|_| DecodeError::Invalid("snappy length"))?;
            let len = usize::try_from(len).map_err(|_| DecodeError::Invalid("snappy length"))?;
            return Ok((len, at + 1));
        }
    }
    if block.len() < 5 { Err(DecodeError::Truncated) } else { Err(DecodeError::Invalid("snappy length")) }
}

/// One element of a block.
enum Element<'a> {
    /// Bytes as they are.
    Literal(&'a [u8]),
    /// Bytes that were inflated `offset` bytes ago.
    Copy { offset: usize, len: usize },
}

impl<'a> Element<'a> {
    /// Takes the next element off the front of `rest`.
    fn read(rest: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let tag = take_le(rest, 1)?;
        let six_bits = tag >> 2;
        Ok(match tag & 3 {
            0 => {
                // Up to 60 the tag itself says the length, above it says how many bytes do.
                let len = match six_bits {
                    0..60 => six_bits + 1,
                    _ => take_le(rest, six_bits - 59)?.saturating_add(1),
                };
                let (literal, after) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
                *rest = after;
                Self::Literal(literal)
            }
            1 => Self::Copy { offset: tag >> 5 << 8 | take_le(rest, 1)?, len: (six_bits & 7) + 4 },
            2 => Self::Copy { offset: take_le(rest, 2)?, len: six_bits + 1 },
            _ => Self::Copy { offset: take_le(rest, 4)?, len: six_bits + 1 },
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Literal(literal) => literal.len(),
            Self::Copy { len, .. } => *len,
        }
    }
}

/// Takes a little-endian number of `width` bytes, at most 4, off the front of `rest`.
fn take_le(rest: &mut &[u8], width: usize) -> Result<usize, DecodeError> {
    let (bytes, after) = rest.split_at_checked(width).ok_or(DecodeError::Truncated)?;
    *rest = after;
    let number = bytes.iter().rev().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
    usize::try_from(number).map_err(|_| DecodeError::Invalid("snappy block"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fixtures::{Junk, unhex};

    const MAX: usize = 16 * 1024 * 1024;

    fn prefix_of(block: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut out = [0; PREFIX_BYTES];
        prefix(block, &mut out).map(|len| out[..len].to_vec())
    }

    /// Text of many sizes, compressible and not, among them both sides of the scratch buffer.
    fn samples() -> Vec<Vec<u8>> {
        let mut junk = Junk::seeded(2);
        let mut samples = vec![Vec::new(), vec![7], vec![0; 15], vec![0; 16], vec![0; 17]];
        for len in [60, 61, 256, 300, 5_000, SCRATCH_BYTES, SCRATCH_BYTES + 1, 70_000, 200_000] {
            samples.push(junk.exactly(len));
            samples.push(vec![9; len]);
            samples.push((0..len).map(|at| (at % 251) as u8 ^ (at / 1_000) as u8).collect());
        }
        samples
    }

    #[test]
    fn blocks_survive_a_round_trip() {
        for plain in samples() {
            let block = compress(&plain);
            assert_eq!(declared_len(&block), Ok(plain.len()));
            assert_eq!(inflate(&block, plain.len()).as_deref(), Ok(plain.as_slice()));
            assert_eq!(prefix_of(&block), Ok(plain[..plain.len().min(PREFIX_BYTES)].to_vec()));
        }
    }

    /// The message of eth-stream section 5 as one literal.
    #[test]
    fn the_vector_of_the_profile_inflates() {
        let block = unhex("0718c607c401028080");
        assert_eq!(inflate(&block, MAX).as_deref(), Ok(unhex("c607c401028080").as_slice()));
        assert_eq!(prefix_of(&block), Ok(unhex("c607c401028080")));
    }

    #[test]
    fn every_truncation_fails() {
        for plain in samples().into_iter().filter(|plain| plain.len() <= 5_000) {
            let block = compress(&plain);
            for cut in 0..block.len() {
                assert!(inflate(&block[..cut], MAX).is_err(), "{} bytes cut to {cut}", plain.len());
            }
        }
    }

    /// E7: the cap is checked first, whatever the block holds.
    #[test]
    fn a_declared_length_above_the_cap_is_refused() {
        let block = compress(&[1; 101]);
        let refusal = DecodeError::TooLarge { what: "inflated length", got: 101, max: 100 };
        assert_eq!(inflate(&block, 100), Err(refusal));
        assert!(inflate(&block, 101).is_ok());
    }

    /// E7: 4 GiB, 16 MiB and one, nothing, less than there is.
    #[test]
    fn lying_lengths_fail() {
        let lies: [&[u8]; 9] = [
            &[],                                   // no length at all
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 0],    // 4 GiB - 1
            &[0x80, 0x80, 0x80, 0x80, 0x10, 0],    // 4 GiB
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // a sixth length byte
            &[0x81, 0x80, 0x80, 0x08, 0, 1],       // 16 MiB + 1
            &[0x80, 0x80, 0x80, 0x08, 0, 1],       // 16 MiB that cannot be there
            &[0x00, 0x00, 1],                      // nothing, then a byte
            &[0x01, 0x04, 1, 2],                   // less than there is
            &[0x03, 0x04, 1, 2],                   // more than there is
        ];
        for lie in lies {
            assert!(inflate(lie, MAX).is_err(), "{lie:02x?}");
        }
    }

    /// E7: copies from before the start, from nowhere, past the end, and junk behind the block.
    #[test]
    fn corrupt_elements_fail() {
        let corrupt: [&[u8]; 6] = [
            &[4, 0x01, 0x01],                  // a copy with nothing before it
            &[5, 0x00, 7, 0x01, 0x00],         // offset 0
            &[5, 0x00, 7, 0x01, 0x02],         // offset 2 after one byte
            &[4, 0x00, 7, 0x01, 0x01],         // a copy of 4 where 3 are left
            &[2, 0xf0, 0x01, 7],               // a literal longer than the block
            &[2, 0xfc, 255, 255, 255, 255, 7], // a literal of 4 GiB
        ];
        for block in corrupt {
            assert!(inflate(block, MAX).is_err(), "{block:02x?}");
            assert!(prefix_of(block).is_err(), "{block:02x?}");
        }
        let mut junk_behind = compress(b"hello").to_vec();
        junk_behind.extend([0, 0]);
        assert!(inflate(&junk_behind, MAX).is_err());
    }

    #[test]
    fn a_prefix_follows_every_kind_of_copy() {
        let with_copies: [(&[u8], &[u8]); 3] = [
            (&[6, 0x04, 1, 2, 0x01, 0x02], &[1, 2, 1, 2, 1, 2]),
            (&[6, 0x04, 1, 2, 0x0e, 0x02, 0x00], &[1, 2, 1, 2, 1, 2]),
            (&[6, 0x04, 1, 2, 0x0f, 0x02, 0x00, 0x00, 0x00], &[1, 2, 1, 2, 1, 2]),
        ];
        for (block, plain) in with_copies {
            assert_eq!(inflate(block, MAX).as_deref(), Ok(plain));
            assert_eq!(prefix_of(block).as_deref(), Ok(plain));
        }
        let mut runs = vec![40, 0x00, 9];
        runs.extend([(39 - 1) << 2 | 2, 0x01, 0x00]);
        assert_eq!(inflate(&runs, MAX).as_deref(), Ok([9; 40].as_slice()));
        assert_eq!(prefix_of(&runs), Ok(vec![9; PREFIX_BYTES]));
    }

    #[test]
    fn junk_never_inflates_to_another_prefix() {
        let mut junk = Junk::seeded(3);
        let mut inflated = 0;
        for _ in 0..200_000 {
            let mut block = junk.bytes(24);
            if let Some(first) = block.first_mut() {
                *first &= 0x1f;
            }
            let walked = prefix_of(&block);
            if let Ok(plain) = inflate(&block, MAX) {
                inflated += 1;
                assert_eq!(walked.as_deref(), Ok(&plain[..plain.len().min(PREFIX_BYTES)]), "{block:02x?}");
            }
        }
        assert!(inflated > 100, "only {inflated} blocks of junk inflated");
    }
}
