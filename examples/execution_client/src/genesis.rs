//! The chain: what trunkline needs of it, and what execution needs of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_genesis::{ChainConfig, Genesis, GenesisAccount};
use alloy_primitives::{Bytes, U256, keccak256};
use trunkline::chain::dev_keys::dev_addresses;
use trunkline::chain::spec::{DEV_CHAIN_ID, DEV_ETHER};
use trunkline::chain::{ChainSpec, SpecError};

use crate::state::{Account, AccountDiff, BlockDiff};

/// More than any genesis file has, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A chain as read from geth's genesis.json, or the development chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Ids, genesis block and fork id: the network's part.
    pub spec: Arc<ChainSpec>,
    /// Allocation and forks: the execution's part.
    pub genesis: Arc<Genesis>,
    /// The development chain: London rules without a merge, and no block reward.
    pub is_dev: bool,
}

/// Why a genesis cannot be used. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Spec { path: PathBuf, source: SpecError },
    #[error("{}: not a genesis file", path.display())]
    Malformed { path: PathBuf },
    #[error("the chain has a fork that cannot be executed here: {0}")]
    Fork(&'static str),
}

impl Chain {
    /// Reads geth's genesis.json.
    pub fn read(path: &Path) -> Result<Self, GenesisError> {
        let read = |source| GenesisError::Read { path: path.to_owned(), source };
        let mut json = Vec::new();
        File::open(path).map_err(read)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut json).map_err(read)?;
        if json.len() as u64 > FILE_BYTES_MAX {
            return Err(GenesisError::TooLarge { path: path.to_owned() });
        }
        let spec = ChainSpec::from_genesis_json(&json);
        let spec = spec.map_err(|source| GenesisError::Spec { path: path.to_owned(), source })?;
        // What trunkline has read is a genesis, so that only numbers out of range are left.
        let genesis =
            serde_json::from_slice(&json).map_err(|_| GenesisError::Malformed { path: path.to_owned() })?;
        Ok(Self { spec: Arc::new(spec), genesis: Arc::new(genesis), is_dev: false })
    }

    /// The development chain of trunkline.
    pub fn dev() -> Self {
        let balance = U256::from(DEV_ETHER) * U256::from(1_000_000_000_000_000_000_u64);
        let account = || GenesisAccount { balance, ..GenesisAccount::default() };
        let config = ChainConfig {
            chain_id: DEV_CHAIN_ID,
            homestead_block: Some(0),
            eip150_block: Some(0),
            eip155_block: Some(0),
            eip158_block: Some(0),
            byzantium_block: Some(0),
            constantinople_block: Some(0),
            petersburg_block: Some(0),
            istanbul_block: Some(0),
            berlin_block: Some(0),
            london_block: Some(0),
            ..ChainConfig::default()
        };
        let alloc = dev_addresses().into_iter().map(|address| (address, account())).collect();
        let genesis = Genesis { config, alloc, ..Genesis::default() };
        Self { spec: Arc::new(ChainSpec::dev()), genesis: Arc::new(genesis), is_dev: true }
    }

    /// The allocation, as what block 0 changes in the empty state.
    pub fn genesis_diff(&self) -> BlockDiff {
        let mut diff = BlockDiff::default();
        for (address, given) in &self.genesis.alloc {
            let mut account =
                Account { nonce: given.nonce.unwrap_or(0), balance: given.balance, ..Account::default() };
            if let Some(code) = given.code.as_ref().filter(|code| !code.is_empty()) {
                account.code_hash = keccak256(code);
                diff.codes.insert(account.code_hash, Bytes::clone(code).0);
            }
            let slots = given.storage.iter().flatten();
            let slots = slots
                .map(|(slot, value)| (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0)))
                .filter(|(_, value)| !value.is_zero());
            let slots = slots.collect();
            diff.accounts.insert(*address, AccountDiff { after: Some(account), wiped: false, slots });
        }
        diff
    }
}
