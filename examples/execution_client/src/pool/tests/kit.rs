//! Accounts that can sign, a state that can be written by hand, and a pool on them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_consensus::crypto::secp256k1::sign_message;
use alloy_consensus::transaction::{SignerRecoverable, TxEip4844Variant, TxEip4844WithSidecar};
use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxEip4844, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip4844::{Blob, BlobTransactionSidecar};
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Signature, TxKind, U256, keccak256};
use bytes::Bytes;
use serde_json::json;
use trunkline::chain::ChainSpec;
use trunkline::transactions::PooledTransaction;

use super::super::{Head, Pool, PoolLimits, Refusal};
use crate::genesis::Chain;
use crate::state::{Account, StateError, StateView};

pub(super) const CHAIN_ID: u64 = 1820000;
pub(super) const GWEI: u128 = 1_000_000_000;

/// Forks by block at 0; Shanghai at time 100, Cancun at 200, Prague at 300, Osaka at 400.
pub(super) fn chain() -> Chain {
    let config = json!({
        "chainId": CHAIN_ID,
        "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0, "byzantiumBlock": 0,
        "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0, "berlinBlock": 0,
        "londonBlock": 0, "shanghaiTime": 100, "cancunTime": 200, "pragueTime": 300, "osakaTime": 400,
        "blobSchedule": {
            "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3338477},
            "prague": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716},
            "osaka": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716},
        },
    });
    let genesis = Genesis { config: serde_json::from_value(config).unwrap(), ..Genesis::default() };
    Chain { spec: Arc::new(ChainSpec::dev()), genesis: Arc::new(genesis), is_dev: false }
}

/// Under Prague's rules.
pub(super) const HEAD: Head =
    Head { number: 7, time: 310, base_fee: 7, blob_base_fee: 1, gas_limit: 30_000_000 };

/// Under Osaka's rules.
pub(super) const OSAKA: Head = Head { time: 410, number: 8, ..HEAD };

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) accounts: BTreeMap<Address, Account>,
    pub(super) codes: BTreeMap<B256, Bytes>,
    pub(super) is_broken: bool,
}

impl State {
    /// The keys 0 to 39, with an ether each.
    pub(super) fn rich() -> Self {
        let ether = Account { balance: U256::from(GWEI * GWEI), ..Account::default() };
        Self { accounts: (0..40).map(|i| (key(i).address, ether)).collect(), ..Self::default() }
    }

    pub(super) fn with(mut self, key: &Key, change: impl FnOnce(&mut Account)) -> Self {
        change(self.accounts.entry(key.address).or_default());
        self
    }

    pub(super) fn with_code(mut self, key: &Key, code: &[u8]) -> Self {
        self.codes.insert(keccak256(code), Bytes::copy_from_slice(code));
        self.with(key, |account| account.code_hash = keccak256(code))
    }
}

impl StateView for State {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if self.is_broken {
            Err(StateError::Store("disk".into()))
        } else {
            Ok(self.accounts.get(address).copied())
        }
    }

    fn slot(&self, _: &Address, _: &U256) -> Result<U256, StateError> {
        Ok(U256::ZERO)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.codes.get(hash).cloned().ok_or_else(|| StateError::Damaged("no code".into()))
    }

    fn block_hash(&self, _: u64) -> Result<Option<B256>, StateError> {
        Ok(None)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    secret: B256,
    pub(super) address: Address,
}

pub(super) fn key(i: usize) -> Key {
    static KEYS: LazyLock<Vec<Key>> =
        LazyLock::new(|| (0..40).map(|i| Key::new(keccak256(format!("pool test key {i}")))).collect());
    KEYS[i].clone()
}

impl Key {
    pub(super) fn new(secret: B256) -> Self {
        let mut key = Self { secret, address: Address::ZERO };
        key.address = key.sign(transfer(0)).recover_signer().unwrap();
        key
    }

    pub(super) fn sign<T>(&self, transaction: T) -> TxEnvelope
    where
        T: SignableTransaction<Signature>,
        TxEnvelope: From<Signed<T>>,
    {
        let signature = sign_message(self.secret, transaction.signature_hash()).unwrap();
        transaction.into_signed(signature).into()
    }

    /// A transfer with this nonce, changed.
    pub(super) fn send(&self, nonce: u64, change: impl FnOnce(&mut TxEip1559)) -> PooledTransaction {
        let mut transaction = transfer(nonce);
        change(&mut transaction);
        pooled(&self.sign(transaction))
    }

    /// The same with a tip of so many gwei, which every base fee here leaves room for.
    pub(super) fn pay(&self, nonce: u64, gwei: u128) -> PooledTransaction {
        self.send(nonce, |tx| {
            tx.max_priority_fee_per_gas = gwei * GWEI;
            tx.max_fee_per_gas = gwei * GWEI + 1_000;
        })
    }

    /// A blob transaction with these blobs, changed before it is signed.
    pub(super) fn blobs(
        &self,
        nonce: u64,
        sidecar: &BlobTransactionSidecarVariant,
        change: impl FnOnce(&mut TxEip4844),
    ) -> PooledTransaction {
        let mut tx = TxEip4844 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 100,
            max_priority_fee_per_gas: 1,
            max_fee_per_blob_gas: 1,
            to: Address::repeat_byte(0xaa),
            blob_versioned_hashes: sidecar.versioned_hashes().collect(),
            ..TxEip4844::default()
        };
        change(&mut tx);
        let signature = sign_message(self.secret, tx.signature_hash()).unwrap();
        let hash = *tx.clone().into_signed(signature).hash();
        let tx = TxEip4844WithSidecar { tx, sidecar: sidecar.clone() };
        let variant = TxEip4844Variant::TxEip4844WithSidecar(tx);
        pooled(&TxEnvelope::Eip4844(Signed::new_unchecked(variant, signature, hash)))
    }
}

pub(super) fn transfer(nonce: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 30_000,
        max_fee_per_gas: 100,
        max_priority_fee_per_gas: 10,
        to: TxKind::Call(Address::repeat_byte(0xaa)),
        value: U256::from(1),
        ..TxEip1559::default()
    }
}

pub(super) fn pooled(transaction: &TxEnvelope) -> PooledTransaction {
    let encoded = Bytes::from(transaction.encoded_2718());
    PooledTransaction { hash: *transaction.tx_hash(), kind: transaction.tx_type() as u8, encoded }
}

/// Blobs that begin with these bytes, a proof for each.
pub(super) fn sidecar(blobs: &[u8]) -> BlobTransactionSidecarVariant {
    let settings = c_kzg::ethereum_kzg_settings(0);
    let sidecar = BlobTransactionSidecar::try_from_blobs_with_settings(blobs_of(blobs), settings);
    BlobTransactionSidecarVariant::Eip4844(sidecar.unwrap())
}

/// The same with proofs for each cell. Takes a while: made once, with two blobs.
pub(super) fn cell_sidecar() -> BlobTransactionSidecarVariant {
    static SIDECAR: LazyLock<BlobTransactionSidecarEip7594> = LazyLock::new(|| {
        let settings = c_kzg::ethereum_kzg_settings(0);
        BlobTransactionSidecarEip7594::try_from_blobs_with_settings(blobs_of(&[42, 43]), settings).unwrap()
    });
    BlobTransactionSidecarVariant::Eip7594(SIDECAR.clone())
}

fn blobs_of(first: &[u8]) -> Vec<Blob> {
    let mut blobs = vec![Blob::ZERO; first.len()];
    blobs.iter_mut().zip(first).for_each(|(blob, byte)| blob[1] = *byte);
    blobs
}

/// A pool at [`HEAD`] where everybody is rich.
pub(super) fn pool() -> Pool {
    pool_with(PoolLimits::default())
}

pub(super) fn pool_with(limits: PoolLimits) -> Pool {
    let pool = Pool::new(&chain(), limits);
    pool.on_head(HEAD, Arc::new(State::rich()), &[], Vec::new());
    pool
}

/// Adds one as from a peer, but says why not.
pub(super) fn add(pool: &Pool, transaction: &PooledTransaction) -> Result<B256, Refusal> {
    pool.add_all(std::slice::from_ref(transaction)).remove(0)
}

/// `refused!(result, Refusal::Variant { .. })`, and the refusal is one line.
macro_rules! refused {
    ($result:expr, $pattern:pat) => {{
        let result = $result;
        assert!(matches!(&result, Err($pattern)), "{result:?}");
        let line = result.unwrap_err().to_string();
        assert!(!line.contains('\n') && !line.ends_with('.'), "{line:?}");
    }};
}
pub(super) use refused;
