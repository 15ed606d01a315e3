//! What a message is to the router, before anybody has decoded it.

use bytes::Bytes;

/// A message ready for the wire: code and body, the body already compressed if the protocol does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The message's code within its protocol.
    pub code: u8,
    /// Everything behind the code, shared between all the peers it goes to.
    pub body: Bytes,
}

impl Payload {
    /// Bytes it takes on the wire, without segment heads.
    pub fn wire_bytes(&self) -> usize {
        1 + self.body.len()
    }
}

/// What a message is to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A request of the peer, with its id; the answer will carry the same id.
    Request(u64),
    /// An answer to a request of ours.
    Answer(u64),
    /// Neither: an announcement.
    OneWay,
}

/// How the body of a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// As one snappy block whose inflated length is at most `inflated_max` bytes.
    Snappy {
        /// The largest inflated length, in bytes.
        inflated_max: usize,
    },
}
