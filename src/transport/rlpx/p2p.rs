//! The base protocol's ids: what every devp2p connection speaks beside its capabilities
//! (rlpx.md, "p2p Capability").

use bytes::{Buf, Bytes};

use crate::wire::DecodeError;
use crate::wire::rlp::{Head, Item};

/// The first message of both ends.
pub const HELLO: u16 = 0x00;

/// Why the sender is about to close the connection.
pub const DISCONNECT: u16 = 0x01;

/// Asks for a [`PONG`].
pub const PING: u16 = 0x02;

/// Answers a [`PING`].
pub const PONG: u16 = 0x03;

/// How many ids the base protocol takes: the first capability begins here.
pub const BASE: u16 = 0x10;

/// The version of the base protocol that we speak.
pub const VERSION: u32 = 5;

/// From this version on, when both ends have it, the payload of everything but a Hello is a
/// snappy block (EIP-706).
pub const SNAPPY_VERSION: u32 = 5;

/// The largest message of the base protocol that is looked at.
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// The payload of a Ping and of a Pong: the empty list.
pub const EMPTY: &[u8] = &[0xc0];

/// Takes the id off the front of a frame's data; the rest is the payload.
///
/// The id is an RLP integer: one byte below 0x80, and `80` for zero. One that does not fit 16 bits
/// belongs to nobody, and is an error as one with leading zeros is.
pub fn read_id(mut frame: Bytes) -> Result<(u16, Bytes), DecodeError> {
    let head = Head::read(&frame)?;
    let mut rest = frame.as_ref();
    let id = Item::read(&mut rest)?.uint(2).map_err(|error| match error {
        DecodeError::Invalid(_) => DecodeError::Invalid("message id"),
        other => other,
    })?;
    let id = id.iter().fold(0, |id, byte| id << 8 | u16::from(*byte));
    frame.advance(head.len + head.payload_len);
    Ok((id, frame))
}

/// An id as it stands in front of a frame's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    bytes: [u8; 3],
    len: u8,
}

impl Id {
    /// The encoding of this id.
    pub fn new(id: u16) -> Self {
        let [high, low] = id.to_be_bytes();
        let (bytes, len) = match id {
            0 => ([0x80, 0, 0], 1),
            0x01..=0x7f => ([low, 0, 0], 1),
            0x80..=0xff => ([0x81, low, 0], 2),
            _ => ([0x82, high, low], 3),
        };
        Self { bytes, len }
    }
}

impl AsRef<[u8]> for Id {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_written_and_read() {
        for id in (0..=0x200).chain([0x7fff, u16::MAX]) {
            let frame = [Id::new(id).as_ref(), b"payload"].concat();
            assert_eq!(read_id(frame.into()), Ok((id, Bytes::from_static(b"payload"))));
        }
        assert_eq!(Id::new(0).as_ref(), [0x80]);
        assert_eq!(Id::new(0x10).as_ref(), [0x10]);
        assert_eq!(read_id(Bytes::from_static(&[0x10])), Ok((0x10, Bytes::new())));
    }

    /// E8: an id above 255 is not taken for its last byte, and one that is no id is none.
    #[test]
    fn an_id_that_is_none_is_refused() {
        let read = |frame: &'static [u8]| read_id(Bytes::from_static(frame)).map(|(id, _)| id);
        assert_eq!(read(&[0x82, 0x01, 0x10]), Ok(0x110));
        for (frame, error) in [
            (&[][..], DecodeError::Truncated),
            (&[0x82, 0x01], DecodeError::Truncated),
            (&[0xb9], DecodeError::Truncated),
            (&[0x00], DecodeError::NonCanonical),
            (&[0x81, 0x10], DecodeError::NonCanonical),
            (&[0x82, 0x00, 0x10], DecodeError::NonCanonical),
            (&[0xc1, 0x10], DecodeError::Invalid("message id")),
            (&[0x83, 0x01, 0x00, 0x10], DecodeError::Invalid("message id")),
        ] {
            assert_eq!(read(frame), Err(error), "{frame:02x?}");
        }
    }
}
