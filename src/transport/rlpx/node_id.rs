//! The name of a node on the devp2p wire: its public key.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::keccak256;
use k256::PublicKey;
use k256::elliptic_curve::sec1::ToSec1Point;

use crate::ids::PeerId;

/// The code of the identity multihash, which holds its input.
const IDENTITY: u64 = 0;

/// The first byte of an uncompressed point (SEC 1, section 2.3.3).
pub(super) const UNCOMPRESSED: u8 = 4;

/// Bytes that are no public key: of a wrong length, zero, or not on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key on secp256k1")]
pub struct InvalidKey;

/// A secp256k1 public key as devp2p writes it: `x || y`, 64 bytes. A value of this type is on the
/// curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 64]);

impl NodeId {
    /// Reads `x || y` and checks that it is a point on the curve.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        let bytes: [u8; 64] = bytes.try_into().map_err(|_| InvalidKey)?;
        let id = Self(bytes);
        PublicKey::from_sec1_bytes(&id.uncompressed()).map_err(|_| InvalidKey)?;
        Ok(id)
    }

    /// The key inside a libp2p peer id. `None` if it is not a secp256k1 key: the ids of other keys
    /// are hashes, or keys that devp2p has no use for.
    pub fn of_peer(peer: &PeerId) -> Option<Self> {
        let multihash = peer.as_ref();
        if multihash.code() != IDENTITY {
            return None;
        }
        let key = libp2p_identity::PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
        let key = key.try_into_secp256k1().ok()?;
        Self::from_bytes(key.to_bytes_uncompressed().get(1..)?).ok()
    }

    /// `x || y`.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The libp2p peer id of the same key: one identity on both wires.
    pub fn peer_id(&self) -> PeerId {
        let key = libp2p_identity::secp256k1::PublicKey::try_from_bytes(&self.compressed());
        // A point on the curve is a public key to libp2p-identity, which uses the same curve code.
        libp2p_identity::PublicKey::from(key.expect("a point on the curve")).to_peer_id()
    }

    /// The compressed form of SEC 1, as an ENR carries it.
    pub fn compressed(&self) -> [u8; 33] {
        let mut bytes = [0; 33];
        let (tag, x) = bytes.split_at_mut(1);
        tag.copy_from_slice(&[2 | self.0[63] & 1]);
        x.copy_from_slice(&self.0[..32]);
        bytes
    }

    /// The Keccak-256 hash of the key: the node id of discovery, and what distances are taken of.
    pub fn hash(&self) -> [u8; 32] {
        keccak256(self.0).0
    }

    /// The form of SEC 1 with its leading 4.
    pub(super) fn uncompressed(&self) -> [u8; 65] {
        let mut bytes = [UNCOMPRESSED; 65];
        bytes[1..].copy_from_slice(&self.0);
        bytes
    }

    /// The key to do arithmetic with.
    pub(crate) fn point(&self) -> PublicKey {
        PublicKey::from_sec1_bytes(&self.uncompressed()).expect("checked when this was made")
    }
}

impl From<&PublicKey> for NodeId {
    fn from(key: &PublicKey) -> Self {
        let point = key.to_sec1_point(false);
        let mut bytes = [0; 64];
        // An uncompressed point that is not the identity, as no `PublicKey` is, has 65 bytes.
        bytes.copy_from_slice(&point.as_bytes()[1..]);
        Self(bytes)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..")
    }
}

impl FromStr for NodeId {
    type Err = InvalidKey;

    /// Reads 128 hex digits, as in an `enode://` address.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut bytes = [0; 64];
        alloy_primitives::hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidKey)?;
        // The decoder would take a 0x prefix as well.
        if text.len() != 128 {
            return Err(InvalidKey);
        }
        Self::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, key};
    use super::*;
    use crate::ids::Keypair;

    /// The key of secret 1: the generator of the curve.
    const GENERATOR: &str = concat!(
        "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    );

    #[test]
    fn one_key_is_one_peer_on_both_wires() {
        let keypair = Keypair::generate_secp256k1();
        let peer = keypair.public().to_peer_id();
        let id = NodeId::of_peer(&peer).expect("a secp256k1 key");
        assert_eq!(id.peer_id(), peer);
        assert_eq!(NodeId::of_peer(&Keypair::generate_ed25519().public().to_peer_id()), None);
        assert_eq!(NodeId::of_peer(&PeerId::random()), None);
        // The parity of both kinds of key survives the compressed form.
        for secret in [fixtures::STATIC_A, fixtures::STATIC_B, fixtures::EPHEMERAL_A, fixtures::EPHEMERAL_B] {
            let id = key(secret).node_id();
            assert_eq!(NodeId::of_peer(&id.peer_id()), Some(id));
        }
    }

    #[test]
    fn an_id_is_written_as_128_hex_digits() {
        let id: NodeId = GENERATOR.parse().expect("the generator");
        assert_eq!(id.to_string(), GENERATOR);
        assert_eq!(GENERATOR.to_uppercase().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "79be667e..");
        for text in ["", &GENERATOR[1..], &format!("0x{}", &GENERATOR[2..]), &GENERATOR.replace('7', "g")] {
            assert_eq!(text.parse::<NodeId>(), Err(InvalidKey), "{text}");
        }
        assert_eq!(format!("0x{GENERATOR}").parse::<NodeId>(), Err(InvalidKey));
    }

    /// The ENR of enr.md, "Test Vectors": node id and compressed key of static key B.
    #[test]
    fn hash_and_compressed_form_are_those_of_the_published_record() {
        let id = key(fixtures::STATIC_B).node_id();
        let hash = "a448f24c6d18e575453db13171562b71999873db5b286df957af199ec94617f7";
        let compressed = "03ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138";
        assert_eq!(id.hash(), fixtures::array(hash));
        assert_eq!(id.compressed(), fixtures::array(compressed));
    }

    /// B7: neither zero nor anything off the curve is an id.
    #[test]
    fn bytes_off_the_curve_are_no_id() {
        let good: NodeId = GENERATOR.parse().expect("the generator");
        assert_eq!(NodeId::from_bytes(good.as_bytes()), Ok(good));
        assert_eq!(NodeId::from_bytes(&[0; 64]), Err(InvalidKey));
        assert_eq!(NodeId::from_bytes(&[0xff; 64]), Err(InvalidKey));
        assert_eq!(NodeId::from_bytes(&good.as_bytes()[1..]), Err(InvalidKey));
        assert_eq!(NodeId::from_bytes(&good.uncompressed()), Err(InvalidKey));
        assert_eq!(NodeId::from_bytes(&[]), Err(InvalidKey));
        for bit in 0..512 {
            let mut flipped = *good.as_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(NodeId::from_bytes(&flipped), Err(InvalidKey), "bit {bit}");
        }
    }
}
