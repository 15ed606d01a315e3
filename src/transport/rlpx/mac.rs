//! The running MAC of one direction: a Keccak state that is stirred with AES.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use alloy_primitives::Keccak256;

/// Bytes of a MAC, of a cipher block, and of what frames are padded to.
pub(super) const BLOCK: usize = 16;

/// The hash under a [`Mac`].
#[derive(Clone)]
pub(super) enum State {
    Keccak(Keccak256),
    /// Takes anything and always says 01: the stub of the published frame vector.
    #[cfg(test)]
    Ones,
}

impl From<Keccak256> for State {
    fn from(state: Keccak256) -> Self {
        Self::Keccak(state)
    }
}

impl State {
    fn absorb(&mut self, bytes: &[u8]) {
        match self {
            Self::Keccak(state) => state.update(bytes),
            #[cfg(test)]
            Self::Ones => {}
        }
    }

    /// The first half of the digest of everything absorbed so far.
    fn digest(&self) -> [u8; BLOCK] {
        match self {
            Self::Keccak(state) => {
                let mut digest = [0; 32];
                state.clone().finalize_into_array(&mut digest);
                std::array::from_fn(|i| digest[i])
            }
            #[cfg(test)]
            Self::Ones => [1; BLOCK],
        }
    }
}

/// Tells frames that the other end sent from frames that somebody made up (rlpx.md, "MAC").
pub(super) struct Mac {
    cipher: Aes256,
    state: State,
    /// The digest of `state`. Every tag is one, so the next header finds it here.
    digest: [u8; BLOCK],
}

impl Mac {
    pub(super) fn new(key: &[u8; 32], state: State) -> Self {
        Self { cipher: Aes256::new(key.into()), digest: state.digest(), state }
    }

    /// The tag of a header, given its ciphertext.
    pub(super) fn header(&mut self, header: &[u8; BLOCK]) -> [u8; BLOCK] {
        self.stir(header)
    }

    /// Takes the next bytes of a body's ciphertext.
    pub(super) fn absorb(&mut self, body: &[u8]) {
        self.state.absorb(body);
    }

    /// The tag of the body absorbed since the header.
    pub(super) fn body(&mut self) -> [u8; BLOCK] {
        self.digest = self.state.digest();
        let with = self.digest;
        self.stir(&with)
    }

    /// Absorbs the encrypted digest, mixed with `with`, and takes the digest anew.
    fn stir(&mut self, with: &[u8; BLOCK]) -> [u8; BLOCK] {
        let mut seed = self.digest.into();
        self.cipher.encrypt_block(&mut seed);
        let seed: [u8; BLOCK] = seed.into();
        let seed: [u8; BLOCK] = std::array::from_fn(|i| seed[i] ^ with[i]);
        self.state.absorb(&seed);
        self.digest = self.state.digest();
        self.digest
    }
}
