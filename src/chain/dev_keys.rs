//! The funded keys of the development chain. They are public: anyone can spend from them.
//!
//! Key `i` of ten is `keccak256("trunkline dev key " || i)`, `i` as one ASCII digit, taken as the
//! 32-byte big-endian secret scalar of secp256k1. Its address is the last 20 bytes of the keccak-256
//! of the uncompressed public key without its leading 0x04, as everywhere in Ethereum.

use alloy_primitives::{Address, B256, Signature, U256, keccak256};
use k256::ecdsa::{SigningKey, VerifyingKey};

/// How many keys are funded in the genesis of the development chain.
pub const DEV_KEYS: usize = 10;

/// The secret keys that own the development chain's ether, in order.
pub fn dev_secrets() -> [B256; DEV_KEYS] {
    std::array::from_fn(|i| keccak256(format!("trunkline dev key {i}")))
}

/// The addresses of [`dev_secrets`], in the same order.
pub fn dev_addresses() -> [Address; DEV_KEYS] {
    dev_signers().map(|key| address_of(key.verifying_key()))
}

/// Signs for one of the keys: `hash` is what a transaction's signature is made of. `None` if there is
/// no such key.
pub fn dev_signature(key: usize, hash: &B256) -> Option<Signature> {
    dev_signers().get(key).map(|key| signature_of(key, hash))
}

/// Deterministic (RFC 6979), and s is in the lower half, as EIP-2 wants it.
pub(crate) fn signature_of(key: &SigningKey, hash: &B256) -> Signature {
    let (signature, recovery) = key.sign_prehash_recoverable(hash.as_slice());
    let (r, s) = signature.split_bytes();
    Signature::new(U256::from_be_slice(&r), U256::from_be_slice(&s), recovery.is_y_odd())
}

/// The same keys, ready to sign.
pub(crate) fn dev_signers() -> [SigningKey; DEV_KEYS] {
    dev_secrets().map(|secret| {
        SigningKey::from_slice(secret.as_slice())
            .expect("ten fixed hashes, none of them zero or above the order of the curve (tested)")
    })
}

/// The address that belongs to a public key.
pub(crate) fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    Address::from_raw_public_key(&point.as_bytes()[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_addresses_are_valid_and_distinct() {
        let mut addresses = dev_addresses().to_vec();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), DEV_KEYS);
    }

    #[test]
    fn a_signature_belongs_to_the_key_that_made_it() {
        let hash = keccak256("signed");
        for (key, address) in dev_addresses().iter().enumerate() {
            let signature = dev_signature(key, &hash).unwrap();
            let (r, s) = (signature.r().to_be_bytes::<32>(), signature.s().to_be_bytes::<32>());
            let (made, id) = (k256::ecdsa::Signature::from_scalars(r, s).unwrap(), signature.v());
            let id = k256::ecdsa::RecoveryId::new(id, false);
            let key = VerifyingKey::recover_from_prehash(hash.as_slice(), &made, id).unwrap();
            assert_eq!(address_of(&key), *address);
        }
        assert_eq!(dev_signature(DEV_KEYS, &hash), None);
    }

    #[test]
    fn an_address_follows_from_its_key_as_elsewhere() {
        // The first account of the well-known "test test ... junk" phrase.
        let secret =
            alloy_primitives::hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
        let key = SigningKey::from_slice(&secret).unwrap();
        let address = address_of(key.verifying_key());
        assert_eq!(address.to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }
}
