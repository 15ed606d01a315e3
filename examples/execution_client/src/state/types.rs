//! What state is made of, and who asks whom for it.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, U256};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, Nibbles, TrieAccount};
use bytes::Bytes;

/// An account as the state trie has it. One without nonce, balance and code does not exist
/// (EIP-161): it is `None` wherever an `Option` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub nonce: u64,
    pub balance: U256,
    /// The keccak-256 of its code.
    pub code_hash: B256,
    /// The root of its storage trie.
    pub storage_root: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK_EMPTY, storage_root: EMPTY_ROOT_HASH }
    }
}

impl From<Account> for TrieAccount {
    fn from(account: Account) -> Self {
        let Account { nonce, balance, code_hash, storage_root } = account;
        Self { nonce, balance, code_hash, storage_root }
    }
}

/// What a block does to one account, in the order in which it counts: the storage is emptied if it
/// is wiped, then the slots are written, then the account is as in `after`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AccountDiff {
    /// Nonce, balance and code afterwards; `None` when the account is gone. Its `storage_root` is not
    /// looked at: it follows from the slots.
    pub after: Option<Account>,
    /// All slots it had are gone: it destroyed itself, or was made anew.
    pub wiped: bool,
    /// The values afterwards of slots that changed; zero for none.
    pub slots: BTreeMap<U256, U256>,
}

/// What a block changes. Its undo has the same form: what to write to be back before the block.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BlockDiff {
    /// Ordered, so that the same block makes the same bytes.
    pub accounts: BTreeMap<Address, AccountDiff>,
    /// Code that was deployed, by its hash. Never removed again.
    pub codes: BTreeMap<B256, Bytes>,
}

/// Where a trie node stands: the trie of the accounts ([`B256::ZERO`]) or that of one account's
/// storage (the keccak-256 of its address), and the path to the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey {
    pub owner: B256,
    pub path: Nibbles,
}

/// What became of an account's storage since the last commit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StorageBatch {
    /// What is committed of it does not count any more.
    pub wiped: bool,
    /// Values of slots written since; zero for none.
    pub slots: HashMap<U256, U256>,
}

/// Everything that changed since the last commit, blocks merged: what the store writes at once.
#[derive(Debug, Default, Clone)]
pub struct StateBatch {
    pub accounts: HashMap<Address, Option<Account>>,
    pub storage: HashMap<Address, StorageBatch>,
    pub codes: HashMap<B256, Bytes>,
    /// RLP of the trie nodes that are new, `None` for those that are gone.
    pub nodes: HashMap<NodeKey, Option<Bytes>>,
    /// Owners whose storage trie is to be dropped whole before `nodes` is written.
    pub dropped: Vec<B256>,
}

/// State cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The medium failed.
    #[error("state cannot be read: {0}")]
    Store(String),
    /// A node, or code, that something else refers to is not there; or bytes are not what they should
    /// be.
    #[error("state is damaged: {0}")]
    Damaged(String),
}

/// What the EVM and the transaction pool read.
pub trait StateView {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError>;

    /// Zero for a slot that was never written.
    fn slot(&self, address: &Address, slot: &U256) -> Result<U256, StateError>;

    /// The code with this hash, which is not that of no code.
    fn code(&self, hash: &B256) -> Result<Bytes, StateError>;

    /// The hash of a canonical block, for BLOCKHASH.
    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError>;
}

/// What is committed: everything a [`StateView`] has, and what the root and the undo need.
pub trait StateSource: StateView + Send + Sync {
    /// The RLP of a trie node.
    fn node(&self, key: &NodeKey) -> Result<Option<Bytes>, StateError>;

    /// All slots of an account that are not zero, in order.
    fn slots(&self, address: &Address) -> Result<Vec<(U256, U256)>, StateError>;
}
