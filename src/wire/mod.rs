//! Bytes to values and back, pure.
//!
//! Owns: encodings and their limits. Never: a clock, a socket, a task. Every length a peer
//! supplies is checked here before anything is allocated for it. Data goes on to `machine/`.

#[cfg(test)]
pub(crate) mod fixtures;
pub mod reason;
pub mod rlp;
pub mod segment;
pub mod snappy;
pub mod varint;

use bytes::{Buf, Bytes, BytesMut};

/// Why bytes from a peer are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends too early.
    #[error("input ends too early")]
    Truncated,
    /// Bytes follow the value.
    #[error("trailing bytes")]
    Trailing,
    /// An encoding that is not the shortest one.
    #[error("non-canonical encoding")]
    NonCanonical,
    /// A length or count above its limit.
    #[error("{what} is {got}, above its limit {max}")]
    TooLarge {
        /// What was measured.
        what: &'static str,
        /// Its size in the unit of the limit.
        got: u64,
        /// The limit.
        max: u64,
    },
    /// A value that its type does not allow.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// More items than were asked for.
    #[error("{got} items where {asked} were asked for")]
    Excess {
        /// How many came.
        got: usize,
        /// How many were asked for.
        asked: usize,
    },
}

/// A value that can be written as bytes.
pub trait Encode {
    /// Appends the encoding of `self`.
    fn encode(&self, out: &mut BytesMut);
}

/// A value that can be read from bytes.
pub trait Decode: Sized {
    /// Takes the value from the front of `bytes`. The caller checks that nothing is left.
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError>;
}

/// Fails unless `bytes` holds at least `len` more.
pub fn need(bytes: &Bytes, len: usize) -> Result<(), DecodeError> {
    if bytes.remaining() < len { Err(DecodeError::Truncated) } else { Ok(()) }
}

/// Decodes a value that must fill `bytes` to the end.
pub fn decode_all<T: Decode>(mut bytes: Bytes) -> Result<T, DecodeError> {
    let value = T::decode(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(DecodeError::Trailing) }
}
