//! The running MAC of one direction: a Keccak state that is stirred with AES.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use alloy_primitives::Keccak256;

/// Bytes of a MAC, of a cipher block, and of what frames are padded to.
pub(super) const BLOCK: usize = 16;

/// The hash under a [`Mac`].
pub(super) struct State {
    keccak: Keccak256,
    /// Always says 01, whatever it takes: the stub of the published frame vector.
    #[cfg(test)]
    is_stub: bool,
}

impl From<Keccak256> for State {
    fn from(keccak: Keccak256) -> Self {
        Self {
            keccak,
            #[cfg(test)]
            is_stub: false,
        }
    }
}

impl State {
    #[cfg(test)]
    pub(super) fn stub() -> Self {
        Self { keccak: Keccak256::new(), is_stub: true }
    }

    /// The first half of the digest of everything absorbed so far.
    fn digest(&self) -> [u8; BLOCK] {
        #[cfg(test)]
        if self.is_stub {
            return [1; BLOCK];
        }
        let mut digest = [0; 32];
        self.keccak.clone().finalize_into_array(&mut digest);
        std::array::from_fn(|i| digest[i])
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
        self.state.keccak.update(body);
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
        self.state.keccak.update(seed);
        self.digest = self.state.digest();
        self.digest
    }
}
