//! Our own key on the devp2p wire: agreement, and signatures that tell who made them.

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use k256::{PublicKey, SecretKey};

use super::node_id::{InvalidKey, NodeId};
use crate::ids::Keypair;

/// A secp256k1 secret key and the node id that goes with it.
#[derive(Clone)]
pub struct NodeKey {
    secret: SecretKey,
    id: NodeId,
}

impl NodeKey {
    /// The key of a libp2p identity. `None` unless it is a secp256k1 key.
    pub fn of(keypair: &Keypair) -> Option<Self> {
        let keypair = keypair.clone().try_into_secp256k1().ok()?;
        SecretKey::from_slice(&keypair.secret().to_bytes()).ok().map(Self::from)
    }

    /// Reads a secret scalar of 32 bytes, big-endian. Fails on zero and on what is not below the
    /// order of the curve.
    pub fn from_secret_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        SecretKey::from_slice(bytes).map(Self::from).map_err(|_| InvalidKey)
    }

    /// The public half.
    pub fn node_id(&self) -> NodeId {
        self.id
    }

    /// The secret scalar, big-endian, for libraries that want the key itself.
    pub fn secret_bytes(&self) -> [u8; 32] {
        self.secret.to_bytes().into()
    }

    /// Signs a hash of 32 bytes as `r || s || v`, from which [`recover`] finds the key again.
    pub fn sign(&self, prehash: &[u8; 32]) -> [u8; 65] {
        let (signature, id) = SigningKey::from(&self.secret).sign_prehash_recoverable(prehash);
        let mut bytes = [0; 65];
        let (rs, v) = bytes.split_at_mut(64);
        rs.copy_from_slice(&signature.to_bytes());
        v.copy_from_slice(&[id.to_byte()]);
        bytes
    }

    /// The x coordinate of the point that both ends can compute.
    pub(super) fn agree(&self, with: &PublicKey) -> [u8; 32] {
        agree(&self.secret, with)
    }

    /// The secret itself.
    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

impl From<SecretKey> for NodeKey {
    fn from(secret: SecretKey) -> Self {
        let id = NodeId::from(&secret.public_key());
        Self { secret, id }
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Who signed this hash? Takes `r || s || v` with `v` in 0..=3; anything that names no point is
/// refused.
pub fn recover(signature: &[u8; 65], prehash: &[u8; 32]) -> Result<NodeId, InvalidKey> {
    let [rs @ .., v] = signature;
    let id = RecoveryId::from_byte(*v).ok_or(InvalidKey)?;
    let signature = Signature::from_slice(rs).map_err(|_| InvalidKey)?;
    let key = VerifyingKey::recover_from_prehash(prehash, &signature, id).map_err(|_| InvalidKey)?;
    Ok(NodeId::from(&PublicKey::from(&key)))
}

/// The x coordinate of the point that both ends can compute (rlpx.md, "ECIES").
pub(super) fn agree(secret: &SecretKey, with: &PublicKey) -> [u8; 32] {
    (*secret.diffie_hellman(with).raw_secret_bytes()).into()
}

#[cfg(test)]
mod tests {
    use k256::elliptic_curve::PrimeField;
    use k256::{NonZeroScalar, Scalar};

    use super::super::fixtures::{self, key};
    use super::*;

    #[test]
    fn a_libp2p_identity_gives_the_same_peer() {
        let keypair = Keypair::generate_secp256k1();
        let key = NodeKey::of(&keypair).expect("a secp256k1 key");
        assert_eq!(key.node_id().peer_id(), keypair.public().to_peer_id());
        assert_eq!(
            NodeKey::from_secret_bytes(&key.secret_bytes()).map(|key| key.node_id()),
            Ok(key.node_id())
        );
        assert!(NodeKey::of(&Keypair::generate_ed25519()).is_none());
        assert!(NodeKey::from_secret_bytes(&[0; 32]).is_err());
        assert!(NodeKey::from_secret_bytes(&[0xff; 32]).is_err());
    }

    #[test]
    fn a_signature_tells_who_made_it() {
        let key = key(fixtures::STATIC_A);
        for byte in 0..20 {
            let signature = key.sign(&[byte; 32]);
            assert!(signature[64] < 4);
            assert_eq!(recover(&signature, &[byte; 32]), Ok(key.node_id()));
            assert_ne!(recover(&signature, &[byte ^ 1; 32]), Ok(key.node_id()));
        }
    }

    #[test]
    fn a_signature_in_the_upper_half_is_one_as_well() {
        let key = key(fixtures::STATIC_A);
        let mut signature = key.sign(&[3; 32]);
        let s = Option::<Scalar>::from(Scalar::from_repr(fixtures_array(&signature[32..64]).into()));
        let mirrored: [u8; 32] = (-s.expect("a scalar")).to_repr().into();
        signature[32..64].copy_from_slice(&mirrored);
        signature[64] ^= 1;
        assert_eq!(recover(&signature, &[3; 32]), Ok(key.node_id()));
    }

    /// M2: a recovery id above 3, and a signature out of range, name nobody.
    #[test]
    fn what_cannot_be_a_signature_names_nobody() {
        let good = key(fixtures::STATIC_A).sign(&[3; 32]);
        for v in 4..=u8::MAX {
            let mut signature = good;
            signature[64] = v;
            assert_eq!(recover(&signature, &[3; 32]), Err(InvalidKey));
        }
        for at in [0, 32] {
            for byte in [0, 0xff] {
                let mut signature = good;
                signature[at..at + 32].fill(byte);
                assert_eq!(recover(&signature, &[3; 32]), Err(InvalidKey));
            }
        }
    }

    #[test]
    fn what_is_printed_of_a_key_is_its_public_half() {
        let key = key(fixtures::STATIC_A);
        assert_eq!(format!("{key:?}"), format!("NodeKey {{ id: {:?}, .. }}", key.node_id()));
        let _: NonZeroScalar = key.secret().to_nonzero_scalar();
    }

    fn fixtures_array(bytes: &[u8]) -> [u8; 32] {
        bytes.try_into().expect("32 bytes")
    }
}
