//! What we are and speak on this wire: the same for every connection.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::hello::Hello;
use super::identity::NodeKey;
use super::p2p;
use crate::ids::ProtocolId;
use crate::machine::message::Encoding;
use crate::protocols::Capability;
use crate::wire::{DecodeError, snappy};

/// The largest inflated message of an exchange whose bodies are plain.
const PLAIN_BYTES_MAX: usize = 16 << 20;

/// An exchange in one version, and how it is spelled here.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) id: ProtocolId,
    pub(crate) capability: Capability,
    pub(crate) encoding: Encoding,
}

/// Our end of every connection of this wire.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) key: NodeKey,
    client: Arc<str>,
    listen_port: u16,
    offers: Arc<[Offer]>,
}

impl Local {
    pub(crate) fn new(key: NodeKey, client: &str, listen_port: u16, offers: Vec<Offer>) -> Self {
        Self { key, client: client.into(), listen_port, offers: offers.into() }
    }

    pub(super) fn hello(&self) -> Hello {
        let capabilities = self.capabilities();
        Hello {
            version: p2p::VERSION,
            client: self.client.to_string(),
            capabilities: capabilities.iter().map(|one| (one.name.to_owned(), one.version)).collect(),
            listen_port: self.listen_port,
            node_id: self.key.node_id(),
        }
    }

    pub(super) fn capabilities(&self) -> Vec<Capability> {
        self.offers.iter().map(|offer| offer.capability).collect()
    }

    pub(super) fn offer(&self, index: usize) -> Option<&Offer> {
        self.offers.get(index)
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("node", &self.key.node_id()).field("offers", &self.offers).finish()
    }
}

/// What has to be done to the bodies of an exchange: on this wire every one is a snappy block if
/// both ends are recent enough, and none is otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bodies {
    /// Nothing.
    AsTheyAre,
    /// The exchange writes them plain, the wire compresses them.
    CompressedOnWire,
    /// The exchange compresses them, the wire does not.
    PlainOnWire { inflated_max: usize },
}

impl Bodies {
    pub(super) fn of(encoding: Encoding, wire_compresses: bool) -> Self {
        match (encoding, wire_compresses) {
            (Encoding::Plain, true) => Self::CompressedOnWire,
            (Encoding::Snappy { inflated_max }, false) => Self::PlainOnWire { inflated_max },
            (Encoding::Plain, false) | (Encoding::Snappy { .. }, true) => Self::AsTheyAre,
        }
    }

    /// As the wire has it. What does not inflate was not made by this exchange.
    pub(super) fn onto_wire(self, body: Bytes) -> Result<Bytes, DecodeError> {
        match self {
            Self::AsTheyAre => Ok(body),
            Self::CompressedOnWire => Ok(snappy::compress(&body)),
            Self::PlainOnWire { inflated_max } => snappy::inflate(&body, inflated_max),
        }
    }

    /// As the exchange has it. The declared length is checked before anything is inflated.
    pub(super) fn off_wire(self, body: Bytes) -> Result<Bytes, DecodeError> {
        match self {
            Self::AsTheyAre => Ok(body),
            Self::CompressedOnWire => snappy::inflate(&body, PLAIN_BYTES_MAX),
            Self::PlainOnWire { .. } => Ok(snappy::compress(&body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_change_only_where_exchange_and_wire_differ() {
        let snappy = Encoding::Snappy { inflated_max: 100 };
        let plain = Bytes::from_static(b"payload payload payload");
        let packed = snappy::compress(&plain);
        for (encoding, compresses, ours, wire) in [
            (Encoding::Plain, false, &plain, &plain),
            (Encoding::Plain, true, &plain, &packed),
            (snappy, false, &packed, &plain),
            (snappy, true, &packed, &packed),
        ] {
            let bodies = Bodies::of(encoding, compresses);
            assert_eq!(bodies.onto_wire(ours.clone()).as_ref(), Ok(wire));
            assert_eq!(bodies.off_wire(wire.clone()).as_ref(), Ok(ours));
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        // The preamble says 16 MiB and one byte.
        let bomb = Bytes::from_static(&[0x81, 0x80, 0x80, 0x08, 0]);
        assert!(Bodies::CompressedOnWire.off_wire(bomb).is_err());
    }
}
