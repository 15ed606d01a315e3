//! ECIES as RLPx uses it: a message for the holder of one key (rlpx.md, "ECIES Encryption").
//!
//! A sealed message is `R (65) || iv (16) || ciphertext || tag (32)`. Lengths and the point are
//! checked before anything is computed with the secret key, and every failure looks the same from
//! outside: the socket is closed.

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use k256::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::identity::agree;
use super::node_id::UNCOMPRESSED;

/// What sealing adds to a message.
pub const OVERHEAD: usize = POINT + IV + TAG;

const POINT: usize = 65;
const IV: usize = 16;
const TAG: usize = 32;

/// Why a sealed message cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EciesError {
    /// Shorter than a sealed message of one byte.
    #[error("sealed message too short")]
    TooShort,
    /// The sender's key is not an uncompressed point on the curve.
    #[error("sender's key is not on the curve")]
    Point,
    /// Made for another key, or changed on the way.
    #[error("wrong tag")]
    Tag,
}

/// Seals `message` for the holder of `to`, appending to `out`. `authenticated` is not sent, but
/// the receiver must have the same.
pub(super) fn seal(
    to: &PublicKey,
    ephemeral: &SecretKey,
    iv: [u8; IV],
    message: &[u8],
    authenticated: &[u8],
    out: &mut Vec<u8>,
) {
    let keys = Keys::derive(&agree(ephemeral, to));
    out.extend_from_slice(&super::NodeId::from(&ephemeral.public_key()).uncompressed());
    out.extend_from_slice(&iv);
    let start = out.len();
    out.extend_from_slice(message);
    keys.cipher(&iv).apply_keystream(&mut out[start..]);
    let tag = keys.tag(&iv, &out[start..], authenticated);
    out.extend_from_slice(&tag);
}

/// Opens a message that was sealed for `secret`.
pub(super) fn open(secret: &SecretKey, sealed: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, EciesError> {
    let (point, rest) = sealed.split_first_chunk::<POINT>().ok_or(EciesError::TooShort)?;
    let (iv, rest) = rest.split_first_chunk::<IV>().ok_or(EciesError::TooShort)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(EciesError::TooShort)?;
    if ciphertext.is_empty() {
        return Err(EciesError::TooShort);
    }
    if point.first() != Some(&UNCOMPRESSED) {
        return Err(EciesError::Point);
    }
    let sender = PublicKey::from_sec1_bytes(point).map_err(|_| EciesError::Point)?;
    let keys = Keys::derive(&agree(secret, &sender));
    // B14: in constant time, as every comparison of a tag here.
    if !bool::from(keys.tag(iv, ciphertext, authenticated).ct_eq(tag)) {
        return Err(EciesError::Tag);
    }
    let mut message = ciphertext.to_vec();
    keys.cipher(iv).apply_keystream(&mut message);
    Ok(message)
}

/// The two keys of one message.
struct Keys {
    encryption: [u8; 16],
    /// The hash of the key that the derivation gives, filled up with zeros as HMAC does.
    mac: [u8; 64],
}

impl Keys {
    /// The concatenation KDF of NIST SP 800-56 with SHA-256: 32 bytes are its first round.
    fn derive(agreed: &[u8; 32]) -> Self {
        let round = Sha256::new().chain_update(1_u32.to_be_bytes()).chain_update(agreed).finalize();
        let (encryption, mac) = round.split_at(16);
        let mut keys = Self { encryption: [0; 16], mac: [0; 64] };
        keys.encryption.copy_from_slice(encryption);
        keys.mac[..32].copy_from_slice(&Sha256::digest(mac));
        keys
    }

    fn cipher(&self, iv: &[u8; IV]) -> Ctr128BE<Aes128> {
        Ctr128BE::new(&self.encryption.into(), iv.into())
    }

    fn tag(&self, iv: &[u8; IV], ciphertext: &[u8], authenticated: &[u8]) -> [u8; TAG] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.mac.into());
        mac.update(iv);
        mac.update(ciphertext);
        mac.update(authenticated);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::super::fixtures::{self, key};
    use super::*;

    fn sealed(message: &[u8], authenticated: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let to = key(fixtures::STATIC_B).node_id().point();
        seal(&to, key(fixtures::EPHEMERAL_A).secret(), [7; IV], message, authenticated, &mut out);
        out
    }

    fn opened(sealed: &[u8], authenticated: &[u8]) -> Result<Vec<u8>, EciesError> {
        open(key(fixtures::STATIC_B).secret(), sealed, authenticated)
    }

    #[test]
    fn what_is_sealed_can_be_opened_by_the_holder_of_the_key() {
        for len in [1, 15, 16, 17, 500] {
            let message = vec![0x5a; len];
            let sealed = sealed(&message, b"size");
            assert_eq!(sealed.len(), len + OVERHEAD);
            assert_eq!(opened(&sealed, b"size"), Ok(message));
            assert_eq!(opened(&sealed, b"siza"), Err(EciesError::Tag));
            assert_eq!(open(key(fixtures::STATIC_A).secret(), &sealed, b"size"), Err(EciesError::Tag));
        }
    }

    /// B10: no length of anything is a message, and none panics.
    #[test]
    fn every_length_from_nothing_to_600_is_refused() {
        let whole = sealed(&[0x5a; 600 - OVERHEAD], b"");
        let mut rng = StdRng::seed_from_u64(1);
        let mut junk = [0; 600];
        rng.fill(&mut junk[..]);
        for len in 0..600 {
            let error = if len <= OVERHEAD { EciesError::TooShort } else { EciesError::Tag };
            assert_eq!(opened(&whole[..len], b""), Err(error), "{len}");
            junk[0] = UNCOMPRESSED;
            let error = if len <= OVERHEAD { EciesError::TooShort } else { EciesError::Point };
            assert_eq!(opened(&junk[..len], b""), Err(error), "{len}");
        }
        assert!(opened(&whole, b"").is_ok());
    }

    /// B9: a sender's key that is not an uncompressed point on the curve is refused for that, so
    /// nothing was computed with our key: the tag would be wrong as well.
    #[test]
    fn a_point_off_the_curve_is_refused_before_the_agreement() {
        let good = sealed(b"a message", b"");
        let zero = [[UNCOMPRESSED].as_slice(), &[0; 64]].concat();
        let off_curve = [&good[..64], &[good[64] ^ 1]].concat();
        let identity = [0; POINT];
        let compressed = [&[2 | good[64] & 1][..], &good[1..33], &[0; 32]].concat();
        let hybrid = [&[6 | good[64] & 1][..], &good[1..65]].concat();
        let beyond_the_field = [[UNCOMPRESSED].as_slice(), &[0xff; 64]].concat();
        for point in [&zero, &off_curve, &identity.to_vec(), &compressed, &hybrid, &beyond_the_field] {
            let mut bad = good.clone();
            bad[..POINT].copy_from_slice(point);
            assert_eq!(opened(&bad, b""), Err(EciesError::Point), "{point:02x?}");
        }
    }
}
