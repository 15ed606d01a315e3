//! Identities: who, which session, which protocol, which request, which way.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use libp2p_identity::{Keypair, PeerId, PublicKey};

/// One peer's life over one connection. Never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub(crate) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// A request of ours: `generation << 16 | slot`.
///
/// The slot says where the pending table keeps it, the generation makes sure that an answer to an
/// earlier request in the same slot is recognised as late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

impl RequestId {
    pub(crate) const SLOT_BITS: u32 = 16;

    /// The id of the `generation`-th request in `slot`.
    pub(crate) fn new(generation: u64, slot: u16) -> Self {
        Self(generation << Self::SLOT_BITS | u64::from(slot))
    }

    /// An id as it came over the wire; it may be one that was never issued.
    pub fn from_wire(id: u64) -> Self {
        Self(id)
    }

    /// The id as it goes over the wire.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> Self::SLOT_BITS
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A negotiated protocol name, such as `/eth/69/1.0.0`.
#[derive(Debug, Clone)]
pub struct ProtocolId(Name);

#[derive(Debug, Clone)]
enum Name {
    Static(&'static str),
    Shared(Arc<str>),
}

impl ProtocolId {
    /// A protocol known when the program is written.
    pub const fn new(name: &'static str) -> Self {
        Self(Name::Static(name))
    }

    /// A protocol whose name is made while the program runs.
    pub fn from_string(name: String) -> Self {
        Self(Name::Shared(name.into()))
    }

    /// The name as it is proposed.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Static(name) => name,
            Name::Shared(name) => name,
        }
    }

    /// The name, if it was written in the program.
    pub const fn as_static(&self) -> Option<&'static str> {
        match self.0 {
            Name::Static(name) => Some(name),
            Name::Shared(_) => None,
        }
    }
}

impl PartialEq for ProtocolId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ProtocolId {}

impl Hash for ProtocolId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl AsRef<str> for ProtocolId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    /// TCP, noise, yamux, multistream-select.
    Libp2p,
    /// devp2p: TCP, RLPx.
    Rlpx,
    /// Within the process.
    Memory,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Libp2p => "libp2p",
            Self::Rlpx => "rlpx",
            Self::Memory => "memory",
        })
    }
}

/// Who opened a connection, seen from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The peer dialled us.
    Inbound,
    /// We dialled the peer.
    Outbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}
