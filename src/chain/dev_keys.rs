//! The funded keys of the development chain. They are public: anyone can spend from them.
//!
//! Key `i` of ten is `keccak256("trunkline dev key " || i)`, `i` as one ASCII digit, taken as the
//! 32-byte big-endian secret scalar of secp256k1. Its address is the last 20 bytes of the keccak-256
//! of the uncompressed public key without its leading 0x04, as everywhere in Ethereum.

use alloy_primitives::{Address, B256, keccak256};
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
    fn an_address_follows_from_its_key_as_elsewhere() {
        // The first account of the well-known "test test ... junk" phrase.
        let secret =
            alloy_primitives::hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
        let key = SigningKey::from_slice(&secret).unwrap();
        let address = address_of(key.verifying_key());
        assert_eq!(address.to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }
}
