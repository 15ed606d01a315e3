//! What both ends know after the handshake: a cipher key, and two running hashes.

use std::fmt;

use alloy_primitives::{Keccak256, keccak256};

use super::frame::{Egress, Ingress};

/// The secrets of one connection, seen from one end.
pub struct Secrets {
    pub(crate) aes: [u8; 32],
    pub(crate) mac: [u8; 32],
    pub(crate) egress: Keccak256,
    pub(crate) ingress: Keccak256,
}

/// What the handshake exchanged, from which both ends derive the same secrets.
pub(super) struct Exchanged<'a> {
    /// The agreement of the two ephemeral keys.
    pub(super) ephemeral: [u8; 32],
    /// The nonce of who dialled.
    pub(super) initiator_nonce: [u8; 32],
    /// The nonce of who was dialled.
    pub(super) recipient_nonce: [u8; 32],
    /// The message of who dialled, with its size prefix.
    pub(super) auth: &'a [u8],
    /// The answer, with its size prefix.
    pub(super) ack: &'a [u8],
}

impl Exchanged<'_> {
    /// The secrets of the end that dialled.
    pub(super) fn initiator(&self) -> Secrets {
        self.derive(true)
    }

    /// The secrets of the end that was dialled.
    pub(super) fn recipient(&self) -> Secrets {
        self.derive(false)
    }

    /// rlpx.md, "Initial Handshake" and "MAC".
    fn derive(&self, dialled: bool) -> Secrets {
        let nonces = pair(&self.recipient_nonce, &self.initiator_nonce);
        let shared = pair(&self.ephemeral, &nonces);
        let aes = pair(&self.ephemeral, &shared);
        let mac = pair(&self.ephemeral, &aes);
        let running = |nonce: &[u8; 32], message: &[u8]| {
            let mut state = Keccak256::new();
            state.update(xor(&mac, nonce));
            state.update(message);
            state
        };
        let from_initiator = running(&self.recipient_nonce, self.auth);
        let from_recipient = running(&self.initiator_nonce, self.ack);
        let (egress, ingress) =
            if dialled { (from_initiator, from_recipient) } else { (from_recipient, from_initiator) };
        Secrets { aes, mac, egress, ingress }
    }
}

impl Secrets {
    /// The two halves of the frame codec. A frame of the peer whose data is larger than
    /// `frame_bytes_max` is refused at its header.
    pub fn split(self, frame_bytes_max: usize) -> (Egress, Ingress) {
        let egress = Egress::new(&self.aes, &self.mac, self.egress.into());
        let ingress = Ingress::new(&self.aes, &self.mac, self.ingress.into(), frame_bytes_max);
        (egress, ingress)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// The hash of two values, one behind the other.
fn pair(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(a);
    both[32..].copy_from_slice(b);
    keccak256(both).0
}

/// Two values, bit by bit.
pub(super) fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}
