//! Our own key on the devp2p wire: agreement, and signatures that tell who made them.

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use k256::{PublicKey, SecretKey};

use super::node_id::{InvalidKey, NodeId};
use crate::ids::Keypair;

/// A signature of 65 bytes is `r || s || v` with `v` below this.
const RECOVERY_IDS: u8 = 4;

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
    let id = Some(*v).filter(|v| *v < RECOVERY_IDS).and_then(RecoveryId::from_byte).ok_or(InvalidKey)?;
    let signature = Signature::from_slice(rs).map_err(|_| InvalidKey)?;
    let key = VerifyingKey::recover_from_prehash(prehash, &signature, id).map_err(|_| InvalidKey)?;
    Ok(NodeId::from(&PublicKey::from(&key)))
}

/// The x coordinate of the point that both ends can compute (rlpx.md, "ECIES").
pub(super) fn agree(secret: &SecretKey, with: &PublicKey) -> [u8; 32] {
    (*secret.diffie_hellman(with).raw_secret_bytes()).into()
}
