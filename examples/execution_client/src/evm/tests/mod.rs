//! Real chains executed, good blocks made bad, blocks made here.

mod bad_blocks;
mod built;
mod real_chains;
mod state_changes;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::TrieAccount;
use alloy_trie::root::{state_root_unsorted, storage_root_unhashed};
use bytes::Bytes;
use trunkline::chain::RawBlock;
use trunkline::chain::import;

use super::{BlockError, ExecuteError, Executor, Output};
use crate::genesis::Chain;
use crate::state::{Account, BlockDiff, StateError, StateView};

/// State in memory, with roots computed from scratch: slow, and without anything in common with the
/// trie of `state`.
#[derive(Debug, Default, Clone)]
struct Model {
    accounts: HashMap<Address, Account>,
    slots: HashMap<Address, BTreeMap<U256, U256>>,
    codes: HashMap<B256, Bytes>,
    hashes: HashMap<u64, B256>,
    /// Asking for this one fails.
    broken: Option<Address>,
}

impl Model {
    fn of(chain: &Chain) -> Self {
        let mut model = Self::default();
        model.apply(&chain.genesis_diff());
        model.hashes.insert(0, chain.spec.genesis().hash);
        assert_eq!(model.root(), chain.spec.genesis_header().state_root);
        model
    }

    fn apply(&mut self, diff: &BlockDiff) {
        self.codes.extend(diff.codes.iter().map(|(hash, code)| (*hash, code.clone())));
        for (address, diff) in &diff.accounts {
            let slots = self.slots.entry(*address).or_default();
            if diff.wiped {
                slots.clear();
            }
            for (slot, value) in &diff.slots {
                match value.is_zero() {
                    true => slots.remove(slot),
                    false => slots.insert(*slot, *value),
                };
            }
            match diff.after {
                Some(after) => {
                    self.accounts.insert(*address, after);
                }
                None => {
                    assert!(slots.is_empty(), "{address} is gone, its storage is not");
                    self.accounts.remove(address);
                }
            }
        }
    }

    fn root(&self) -> B256 {
        state_root_unsorted(self.accounts.iter().map(|(address, account)| {
            let slots = self.slots.get(address).into_iter().flatten();
            let storage_root = storage_root_unhashed(slots.map(|(slot, value)| (B256::from(*slot), *value)));
            (keccak256(address), TrieAccount::from(Account { storage_root, ..*account }))
        }))
    }
}

impl StateView for Model {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if self.broken == Some(*address) {
            return Err(StateError::Store("the disk is gone".to_owned()));
        }
        Ok(self.accounts.get(address).copied())
    }

    fn slot(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        Ok(self.slots.get(address).and_then(|slots| slots.get(slot)).copied().unwrap_or_default())
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.codes.get(hash).cloned().ok_or_else(|| StateError::Damaged(format!("no code {hash}")))
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        Ok(self.hashes.get(&number).copied())
    }
}

/// A chain that is being executed, block after block.
struct Follower {
    executor: Executor,
    state: Model,
    parent: Header,
}

impl Follower {
    fn new(chain: &Chain) -> Self {
        let executor = Executor::new(chain).unwrap();
        Self { executor, state: Model::of(chain), parent: chain.spec.genesis_header().clone() }
    }

    fn try_block(&self, block: &RawBlock) -> Result<Output, ExecuteError> {
        let prepared = self.executor.prepare(block.clone())?;
        self.executor.execute(&prepared, &self.parent, &self.state)
    }

    /// What is wrong with a block that must not pass.
    fn refuses(&self, block: &RawBlock) -> BlockError {
        match self.try_block(block) {
            Err(ExecuteError::Bad(error)) => {
                assert!(!error.to_string().contains('\n'), "{error}");
                error
            }
            other => panic!("{other:?}"),
        }
    }

    /// A good block; its state root is compared if `roots`.
    fn follow(&mut self, block: &RawBlock, roots: bool) -> Output {
        let output = self.try_block(block).unwrap_or_else(|error| panic!("block {}: {error}", block.number));
        self.state.apply(&output.diff);
        self.state.hashes.insert(block.number, block.hash);
        self.parent = header(block);
        if roots {
            assert_eq!(self.state.root(), self.parent.state_root, "block {}", block.number);
        }
        output
    }
}

fn header(block: &RawBlock) -> Header {
    Header::decode(&mut &block.header[..]).unwrap()
}

/// The chain of a folder of `../shared/data` and its blocks, or `None` and a loud word.
fn real_chain(folder: &str, file: &str) -> Option<(Chain, Vec<RawBlock>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder);
    if !root.exists() {
        eprintln!("SKIPPED: no {}", root.display());
        return None;
    }
    let chain = Chain::read(&root.join("genesis.json")).unwrap();
    let blocks = import::open(&root.join(file), &chain.spec).unwrap().blocks;
    Some((chain, blocks))
}

fn geth_ethtest() -> Option<(Chain, Vec<RawBlock>)> {
    real_chain("geth-ethtest", "chain.rlp")
}
