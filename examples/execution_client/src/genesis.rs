//! The chain: what trunkline needs of it, and what execution needs of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy_genesis::{Genesis, GenesisAccount};
use alloy_primitives::keccak256;
use alloy_trie::KECCAK_EMPTY;
use trunkline::chain::{ChainSpec, SpecError};

use crate::state::{Account, AccountDiff, BlockDiff};

/// The largest genesis file that is read, in bytes: mainnet's has 0.7 MiB.
pub const GENESIS_BYTES_MAX: u64 = 64 << 20;

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

/// Why a chain cannot be used. Each displays as one line.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    #[error("{}: {error}", .file.display())]
    Read { file: PathBuf, error: io::Error },
    #[error("{}: larger than {GENESIS_BYTES_MAX} bytes, which no genesis file is", .0.display())]
    TooLarge(PathBuf),
    #[error("{}: {error}", .file.display())]
    Spec { file: PathBuf, error: SpecError },
    /// The chain is one, but its blocks cannot be executed here.
    #[error("this chain cannot be executed: {0}")]
    Unsupported(String),
}

impl Chain {
    /// Reads geth's genesis.json.
    pub fn read(path: &Path) -> Result<Self, GenesisError> {
        let file = || path.to_owned();
        let json = read_bounded(path, GENESIS_BYTES_MAX)
            .map_err(|error| GenesisError::Read { file: file(), error })?
            .ok_or_else(|| GenesisError::TooLarge(file()))?;
        Self::parse(&json).map_err(|error| GenesisError::Spec { file: file(), error })
    }

    /// Reads the content of a genesis.json.
    pub fn parse(json: &[u8]) -> Result<Self, SpecError> {
        let spec = ChainSpec::from_genesis_json(json)?;
        let genesis: Genesis = serde_json::from_slice(json)?;
        Ok(Self { spec: Arc::new(spec), genesis: Arc::new(genesis), is_dev: false })
    }

    /// The development chain.
    pub fn dev() -> Self {
        Self { spec: Arc::new(ChainSpec::dev()), genesis: Arc::new(ChainSpec::dev_genesis()), is_dev: true }
    }

    /// The allocation. Applied to the empty state it gives the state root of the genesis.
    pub fn genesis_diff(&self) -> BlockDiff {
        let mut diff = BlockDiff::default();
        for (address, allocated) in &self.genesis.alloc {
            diff.accounts.insert(*address, account_diff(allocated));
            if let Some(code) = allocated.non_empty_code() {
                diff.codes.insert(keccak256(code), code.0.clone());
            }
        }
        diff
    }
}

fn account_diff(allocated: &GenesisAccount) -> AccountDiff {
    let code_hash = allocated.non_empty_code().map_or(KECCAK_EMPTY, keccak256);
    let (nonce, balance) = (allocated.nonce.unwrap_or(0), allocated.balance);
    // A slot may be written down as zero, which is the same as not at all.
    let slots = allocated.storage_slots().filter(|(_, value)| !value.is_zero());
    let slots = slots.map(|(slot, value)| (slot.into(), value)).collect();
    let after = Account { nonce, balance, code_hash, ..Account::default() };
    AccountDiff { after: Some(after), wiped: false, slots }
}

/// `None` if there is more than `max`.
fn read_bounded(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy_primitives::U256;
    use alloy_trie::TrieAccount;
    use alloy_trie::root::{state_root_unsorted, storage_root_unhashed};

    use super::*;

    fn root_of(diff: &BlockDiff) -> alloy_primitives::B256 {
        state_root_unsorted(diff.accounts.iter().map(|(address, diff)| {
            let slots = diff.slots.iter().map(|(slot, value)| ((*slot).into(), *value));
            let account = TrieAccount::from(diff.after.unwrap());
            (keccak256(address), TrieAccount { storage_root: storage_root_unhashed(slots), ..account })
        }))
    }

    #[test]
    fn the_allocation_gives_the_state_root_of_the_genesis() {
        let chain = Chain::dev();
        assert_eq!(root_of(&chain.genesis_diff()), chain.spec.genesis_header().state_root);
        for name in ["geth-ethtest", "long"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR"));
            let path = path.join("../../../shared/data").join(name).join("genesis.json");
            if !path.exists() {
                eprintln!("SKIPPED: no {}", path.display());
                continue;
            }
            let chain = Chain::read(&path).unwrap();
            assert_eq!(root_of(&chain.genesis_diff()), chain.spec.genesis_header().state_root, "{name}");
        }
    }

    #[test]
    fn storage_and_code_of_the_allocation_are_in_the_diff() {
        let json = br#"{"config":{"chainId":7,"londonBlock":0},"gasLimit":"0x1c9c380","difficulty":"0x0",
            "alloc":{"00000000000000000000000000000000000000aa":{"balance":"0x10","nonce":"0x2","code":"0x6001",
            "storage":{"0x01":"0x05","0x02":"0x00"}}}}"#;
        let chain = Chain::parse(json).unwrap();
        let diff = chain.genesis_diff();
        assert_eq!(root_of(&diff), chain.spec.genesis_header().state_root);
        let account = diff.accounts.values().next().unwrap();
        assert_eq!(account.slots, BTreeMap::from([(U256::from(1), U256::from(5))]));
        assert_eq!(diff.codes.values().next().unwrap()[..], [0x60, 0x01]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_in_one_line_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.json");
        let says = |path: &Path| Chain::read(path).unwrap_err().to_string();
        for text in [None, Some(""), Some("{}"), Some("{\"config\":{\n\"chainId\":\"x\ny\"}}")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = says(&path);
            assert!(error.contains("odd.json") && !error.contains('\n'), "{error}");
        }
        assert!(says(folder.path()).contains(folder.path().to_str().unwrap()));
        assert!(read_bounded(&path, 3).unwrap().is_none());
    }
}
