//! What is wrong with a block, by name.

use std::fmt::Display;

use alloy_primitives::{B256, Bloom, U256};

use crate::state::StateError;

/// Why a block was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The block is bad, whoever looks at it.
    #[error(transparent)]
    Bad(#[from] BlockError),
    /// Nothing can be said of the block: the state it needs cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What is wrong with a block. `expected` is what the rules, or the header, ask for; `got` is what
/// the block has, or what executing it gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Header or body are not an encoding of one.
    #[error("the {part} cannot be read: {reason}")]
    Malformed { part: &'static str, reason: String },
    #[error("the number is {got}, must be {expected}")]
    Number { expected: u64, got: u64 },
    #[error("the parent hash is {got}, must be {expected}")]
    ParentHash { expected: B256, got: B256 },
    #[error("the timestamp is {got}, must be after the parent's {parent}")]
    Timestamp { parent: u64, got: u64 },
    #[error("the gas limit is {got}, must be {min} to {max} after the parent's {parent}")]
    GasLimit { parent: u64, min: u64, max: u64, got: u64 },
    #[error("the base fee is {got}, must be {expected}")]
    BaseFee { expected: u64, got: u64 },
    #[error("the extra data has {got} bytes, at most {max} are allowed")]
    ExtraData { max: usize, got: usize },
    #[error("the difficulty is {got}, must be {expected}")]
    Difficulty { expected: U256, got: U256 },
    #[error("the nonce is {got}, must be 0")]
    Nonce { got: u64 },
    /// Only a chain without a merge says what this must be: there is no proof of work.
    #[error("the mix hash is {got}, must be zero")]
    MixHash { got: B256 },
    /// A field that the header has before its fork, or has not after it.
    #[error("the header {} {field}, which {} at its time", have(.got), belongs(.expected))]
    Field { field: &'static str, expected: bool, got: bool },
    #[error("the excess blob gas is {got}, must be {expected}")]
    ExcessBlobGas { expected: u64, got: u64 },
    /// More blob gas than a block may use, or not a whole number of blobs.
    #[error("the blob gas used is {got}, must be at most {max} and whole blobs")]
    BlobGasLimit { max: u64, got: u64 },
    #[error("the block has {got} bytes, at most {max} are allowed")]
    Size { max: usize, got: usize },
    #[error("the transactions root is {got}, the header says {expected}")]
    TransactionsRoot { expected: B256, got: B256 },
    #[error("the hash of the ommers is {got}, must be {expected}: there are none")]
    Ommers { expected: B256, got: B256 },
    #[error("the withdrawals root is {}, the header says {}", or_none(.got), or_none(.expected))]
    WithdrawalsRoot { expected: Option<B256>, got: Option<B256> },
    /// Nobody can be found who signed it.
    #[error("transaction {index} ({hash}) has no valid signature")]
    Sender { index: usize, hash: B256 },
    /// A transaction that may not be in this block, at this place.
    #[error("transaction {index} ({hash}) is not valid: {reason}")]
    Transaction { index: usize, hash: B256, reason: String },
    /// What a block does beside its transactions failed.
    #[error("a system call failed: {0}")]
    SystemCall(String),
    #[error("the gas used is {got}, the header says {expected}")]
    GasUsed { expected: u64, got: u64 },
    #[error("the receipts root is {got}, the header says {expected}")]
    ReceiptsRoot { expected: B256, got: B256 },
    #[error("the logs bloom {}", bloom(.expected, .got))]
    LogsBloom { expected: Box<Bloom>, got: Box<Bloom> },
    #[error("the blob gas used is {got}, the header says {expected}")]
    BlobGasUsed { expected: u64, got: u64 },
    #[error("the requests hash is {got}, the header says {expected}")]
    RequestsHash { expected: B256, got: B256 },
    /// Found by whoever has the trie: everything else was right.
    #[error("the state root is {got}, the header says {expected}")]
    StateRoot { expected: B256, got: B256 },
}

impl BlockError {
    /// Its name in events.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Malformed { part, .. } => part,
            Self::Number { .. } => "number",
            Self::ParentHash { .. } => "parent-hash",
            Self::Timestamp { .. } => "timestamp",
            Self::GasLimit { .. } => "gas-limit",
            Self::BaseFee { .. } => "base-fee",
            Self::ExtraData { .. } => "extra-data",
            Self::Difficulty { .. } => "difficulty",
            Self::Nonce { .. } => "nonce",
            Self::MixHash { .. } => "mix-hash",
            Self::Field { field, .. } => field,
            Self::ExcessBlobGas { .. } => "excess-blob-gas",
            Self::BlobGasLimit { .. } | Self::BlobGasUsed { .. } => "blob-gas-used",
            Self::Size { .. } => "size",
            Self::TransactionsRoot { .. } => "transactions-root",
            Self::Ommers { .. } => "ommers",
            Self::WithdrawalsRoot { .. } => "withdrawals-root",
            Self::Sender { .. } => "sender",
            Self::Transaction { .. } => "transaction",
            Self::SystemCall(_) => "system-call",
            Self::GasUsed { .. } => "gas-used",
            Self::ReceiptsRoot { .. } => "receipts-root",
            Self::LogsBloom { .. } => "logs-bloom",
            Self::RequestsHash { .. } => "requests-hash",
            Self::StateRoot { .. } => "state-root",
        }
    }
}

fn have(got: &bool) -> &'static str {
    if *got { "has" } else { "lacks" }
}

fn belongs(expected: &bool) -> &'static str {
    if *expected { "is required" } else { "does not exist" }
}

fn or_none(root: &Option<impl Display>) -> String {
    root.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string)
}

/// Two blooms of 256 bytes are not for one line: how many bits differ is.
fn bloom(expected: &Bloom, got: &Bloom) -> String {
    let bits = |of: &Bloom, without: &Bloom| -> u32 {
        of.iter().zip(without.iter()).map(|(of, without)| (of & !without).count_ones()).sum()
    };
    format!("has {} bits that the header's lacks, and lacks {}", bits(got, expected), bits(expected, got))
}
