//! What an `Exchange` says about messages, in the words of the session machine.

use std::sync::Arc;

use bytes::Bytes;

use crate::disconnect::{Breach, DisconnectReason};
use crate::machine::message::{Class, Encoding, Payload};
use crate::machine::session::{DISCONNECT_CODE, Rules};
use crate::protocols::Exchange;
use crate::wire::snappy;

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
        let plain = match self.exchange.encoding() {
            Encoding::Plain => body.clone(),
            // Peers differ in whether this one message is compressed: accept both.
            Encoding::Snappy { .. } => snappy::inflate(body, PREFIX).unwrap_or_else(|_| body.clone()),
        };
        DisconnectReason::from_code(reason_code(&plain))
    }
}

/// The Disconnect message: the RLP list `[reason]` (rlpx.md, "Disconnect").
pub(super) fn disconnect_payload(encoding: Encoding, reason: DisconnectReason) -> Payload {
    // In RLP the integer 0 is the empty string.
    let code = match reason.code() {
        0 => 0x80,
        code => code,
    };
    let rlp = [0xc1, code];
    let body = match encoding {
        Encoding::Plain => Bytes::copy_from_slice(&rlp),
        Encoding::Snappy { .. } => snappy::compress(&rlp),
    };
    Payload { code: DISCONNECT_CODE, body }
}

/// The reason number in any of its spellings: `[n]`, `[]`, a bare byte, nothing at all.
fn reason_code(rlp: &[u8]) -> u8 {
    let item = match rlp {
        [0xc1, item] | [item] => *item,
        _ => 0,
    };
    if item < 0x80 { item } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_reason_is_understood() {
        for (bytes, code) in
            [(&[0xc1, 0x04][..], 4), (&[0xc0], 0), (&[0xc1, 0x80], 0), (&[0x05], 5), (&[0x80], 0), (&[], 0)]
        {
            assert_eq!(reason_code(bytes), code, "{bytes:02x?}");
        }
    }
}
