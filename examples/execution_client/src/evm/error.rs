//! What can be wrong with a block.

use alloy_primitives::B256;

use crate::state::StateError;

/// What is wrong with a block. Displays as one line: what differed, expected and got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    #[error("the block cannot be decoded: {0}")]
    Malformed(String),
    #[error("transaction {index} has no valid signature")]
    Sender { index: usize },
    #[error("number: expected {expected}, got {got}")]
    Number { expected: u64, got: u64 },
    #[error("timestamp: expected more than {parent}, got {got}")]
    Timestamp { parent: u64, got: u64 },
    #[error("gas limit: {got} is out of reach of {parent}")]
    GasLimit { parent: u64, got: u64 },
    #[error("base fee: expected {expected:?}, got {got:?}")]
    BaseFee { expected: Option<u64>, got: Option<u64> },
    #[error("extra data: {got} bytes are more than 32")]
    ExtraData { got: usize },
    #[error("difficulty, nonce or ommers: a block after the merge has none")]
    NotMerged,
    #[error("{field}: it is {} at this fork", if *.wanted { "missing" } else { "not allowed" })]
    Presence { field: &'static str, wanted: bool },
    #[error("excess blob gas: expected {expected}, got {got}")]
    ExcessBlobGas { expected: u64, got: u64 },
    #[error("blob gas used: expected {expected}, got {got}")]
    BlobGasUsed { expected: u64, got: u64 },
    #[error("blob gas used: {got} is more than {max}")]
    TooManyBlobs { max: u64, got: u64 },
    #[error("withdrawals root: expected {expected}, got {got}")]
    Withdrawals { expected: B256, got: B256 },
    #[error("transactions root: expected {expected}, got {got}")]
    Transactions { expected: B256, got: B256 },
    #[error("transaction {index} has type {kind}, which this fork does not know")]
    Type { index: usize, kind: u8 },
    #[error("transaction {index} is not valid: {why}")]
    Transaction { index: usize, why: String },
    #[error("a system call failed: {0}")]
    System(String),
    #[error("gas used: expected {expected}, got {got}")]
    GasUsed { expected: u64, got: u64 },
    #[error("receipts root: expected {expected}, got {got}")]
    Receipts { expected: B256, got: B256 },
    #[error("logs bloom: that of the logs is another")]
    Bloom,
    #[error("requests hash: expected {expected}, got {got}")]
    Requests { expected: B256, got: B256 },
    #[error("state root: expected {expected}, got {got}")]
    StateRoot { expected: B256, got: B256 },
}

impl BlockError {
    /// What differed, in a word.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "block",
            Self::Sender { .. } => "sender",
            Self::Number { .. } => "number",
            Self::Timestamp { .. } => "timestamp",
            Self::GasLimit { .. } => "gas-limit",
            Self::BaseFee { .. } => "base-fee",
            Self::ExtraData { .. } => "extra-data",
            Self::NotMerged => "difficulty",
            Self::Presence { field, .. } => field,
            Self::ExcessBlobGas { .. } => "excess-blob-gas",
            Self::BlobGasUsed { .. } | Self::TooManyBlobs { .. } => "blob-gas-used",
            Self::Withdrawals { .. } => "withdrawals-root",
            Self::Transactions { .. } => "transactions-root",
            Self::Type { .. } | Self::Transaction { .. } => "transaction",
            Self::System(_) => "system-call",
            Self::GasUsed { .. } => "gas-used",
            Self::Receipts { .. } => "receipts-root",
            Self::Bloom => "logs-bloom",
            Self::Requests { .. } => "requests-hash",
            Self::StateRoot { .. } => "state-root",
        }
    }
}

/// Why a block was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The block's fault.
    #[error(transparent)]
    Bad(#[from] BlockError),
    /// Ours.
    #[error(transparent)]
    State(#[from] StateError),
}
