//! What an `Exchange` says about messages, in the words of the session machine.

use std::sync::Arc;

use bytes::Bytes;

use crate::disconnect::{Breach, DisconnectReason};
use crate::machine::message::{Class, Encoding, Payload};
use crate::machine::session::{DISCONNECT_CODE, Rules};
use crate::protocols::Exchange;
use crate::wire::{reason, snappy};

/// Bytes of a body that an envelope is read from.
const PREFIX: usize = 16;

/// An exchange in its negotiated version.
#[derive(Clone)]
pub(super) struct ExchangeRules {
    pub(super) exchange: Arc<dyn Exchange>,
    pub(super) version: u32,
    pub(super) handshake_code: Option<u8>,
}

impl Rules for ExchangeRules {
    fn handshake_code(&self) -> Option<u8> {
        self.handshake_code
    }

    fn accept(&self, theirs: Bytes) -> Result<(), DisconnectReason> {
        self.exchange.accept(self.version, theirs)
    }

    fn classify(&self, code: u8, body: &Bytes) -> Result<Class, Breach> {
        match self.exchange.encoding() {
            Encoding::Plain => self.exchange.classify(self.version, code, body),
            Encoding::Snappy { inflated_max } => {
                let declared = snappy::declared_len(body).map_err(|_| Breach::Compression)?;
                if declared > inflated_max {
                    return Err(Breach::TooLarge);
                }
                let mut prefix = [0; PREFIX];
                let len = snappy::prefix(body, &mut prefix).map_err(|_| Breach::Compression)?;
                self.exchange.classify(self.version, code, &prefix[..len])
            }
        }
    }

    fn disconnect(&self, reason: DisconnectReason) -> Payload {
        disconnect_payload(self.exchange.encoding(), reason)
    }

    fn read_disconnect(&self, body: &Bytes) -> DisconnectReason {
        DisconnectReason::from_code(reason::decode(body))
    }
}

/// The Disconnect message: the RLP list `[reason]` (rlpx.md, "Disconnect").
pub(super) fn disconnect_payload(encoding: Encoding, reason: DisconnectReason) -> Payload {
    let body = reason::encode(reason.code(), matches!(encoding, Encoding::Snappy { .. }));
    Payload { code: DISCONNECT_CODE, body }
}
