//! Why a transaction is not kept.

use alloy_primitives::{Address, U256};
use trunkline::transactions::Verdict;

use crate::state::StateError;

/// Why a transaction is not kept, in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("no head yet: nothing to check it against")]
    NoHead,
    #[error("it is in the pool")]
    Known,
    #[error("it was refused lately, or is mined")]
    Lately,
    #[error("the head moved while it was checked")]
    HeadMoved,
    #[error("the sender's account cannot be read: {0}")]
    State(#[from] StateError),

    #[error("not a transaction: {0}")]
    Malformed(String),
    #[error("its hash is not the one it came with")]
    WrongHash,
    #[error("transactions of type {0} are not known")]
    UnknownType(u8),
    #[error("transactions of type {kind} come with {fork}, which is not active")]
    InactiveType { kind: u8, fork: &'static str },
    #[error("{bytes} bytes; at most {max} are kept")]
    TooLarge { bytes: usize, max: usize },
    #[error("with its blobs {bytes} bytes; at most {max} are kept")]
    SidecarTooLarge { bytes: usize, max: usize },
    #[error("init code of {bytes} bytes; at most {max} are allowed")]
    InitCodeTooLong { bytes: usize, max: usize },
    #[error("for chain {theirs}, not {ours}")]
    WrongChain { theirs: u64, ours: u64 },
    #[error("its signature is wrong")]
    WrongSignature,

    #[error("a gas limit of {limit} is less than the {needed} it needs before it runs")]
    IntrinsicGas { limit: u64, needed: u64 },
    #[error("a gas limit of {limit} is less than the floor of {needed} for its data")]
    FloorGas { limit: u64, needed: u64 },
    #[error("a gas limit of {limit} is more than a block's {block}")]
    GasAboveBlock { limit: u64, block: u64 },
    #[error("a gas limit of {limit} is more than a transaction's {max}")]
    GasAboveCap { limit: u64, max: u64 },
    #[error("a tip of {tip} is more than the fee of {fee}")]
    TipAboveFee { tip: u128, fee: u128 },
    #[error("a tip of {tip} wei; at least {min} is asked")]
    TipTooLow { tip: u128, min: u128 },
    #[error("a blob fee of {fee} wei; at least {min} is needed")]
    BlobFeeTooLow { fee: u128, min: u128 },

    #[error("nonce {nonce} is used; the next is {next}")]
    NonceUsed { nonce: u64, next: u64 },
    #[error("nonce {nonce} is too far ahead of {next}")]
    NonceGap { nonce: u64, next: u64 },
    #[error("no account can have a nonce after it")]
    NonceLast,
    #[error("the sender has {balance} wei and needs {needed} for this and what is before it")]
    Balance { balance: U256, needed: U256 },
    #[error("the sender {0} is a contract")]
    SenderHasCode(Address),
    #[error("its list of authorizations is empty")]
    NoAuthorizations,

    #[error("a blob transaction without blobs")]
    NoBlobs,
    #[error("{blobs} blobs; at most {max} are allowed")]
    TooManyBlobs { blobs: usize, max: u64 },
    #[error("a blob hash of an unknown version")]
    BlobHashVersion,
    #[error("it came without its blobs")]
    SidecarMissing,
    #[error("its blobs, commitments or proofs are not those of its blob hashes")]
    SidecarMismatch,
    #[error("a proof for each blob; after osaka there is one for each cell")]
    SidecarForm,
    #[error("a proof of its blobs is wrong")]
    WrongProof,

    #[error("another has its nonce, and each fee must be {percent} percent above that one's")]
    Underpriced { percent: u128 },
    #[error("the sender has {max} transactions here")]
    SenderFull { max: usize },
    #[error("the sender has {max} blob transactions here")]
    SenderBlobsFull { max: usize },
    #[error("the sender has {max} transactions that wait for an earlier one")]
    SenderQueueFull { max: usize },
    #[error("the pool is full of better ones")]
    Full,
}

/// How long a refused transaction need not be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remember {
    /// Another peer may have it right, or it was never looked at.
    Not,
    /// What it lacks may come with the next head.
    ForThisHead,
    /// It never becomes right.
    ForEver,
}

impl Refusal {
    /// [`Verdict::Invalid`] is only for what no honest peer sends, whichever block it thinks is the
    /// head: a fork, a base fee or an account that the peer sees otherwise is no fault.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Known => Verdict::Known,
            Self::Malformed(_)
            | Self::WrongHash
            | Self::UnknownType(_)
            | Self::InitCodeTooLong { .. }
            | Self::WrongChain { .. }
            | Self::WrongSignature
            | Self::IntrinsicGas { .. }
            | Self::TipAboveFee { .. }
            | Self::NonceLast
            | Self::NoAuthorizations
            | Self::NoBlobs
            | Self::BlobHashVersion
            | Self::SidecarMissing
            | Self::SidecarMismatch
            | Self::WrongProof => Verdict::Invalid,
            _ => Verdict::Refused,
        }
    }

    /// The hash says nothing about what belongs to the blobs, so that a fault there is not the
    /// transaction's.
    pub(super) fn remember(&self) -> Remember {
        match self {
            Self::NoHead
            | Self::Known
            | Self::Lately
            | Self::HeadMoved
            | Self::State(_)
            | Self::Malformed(_)
            | Self::WrongHash
            | Self::UnknownType(_)
            | Self::SidecarTooLarge { .. }
            | Self::SidecarMissing
            | Self::SidecarMismatch
            | Self::SidecarForm
            | Self::WrongProof => Remember::Not,
            Self::TooLarge { .. }
            | Self::WrongChain { .. }
            | Self::WrongSignature
            | Self::TipAboveFee { .. }
            | Self::TipTooLow { .. }
            | Self::BlobFeeTooLow { .. }
            | Self::NonceLast
            | Self::NoAuthorizations
            | Self::NoBlobs
            | Self::BlobHashVersion => Remember::ForEver,
            _ => Remember::ForThisHead,
        }
    }
}
