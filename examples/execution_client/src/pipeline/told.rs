//! What the pipeline is told, and what it tells.

use alloy_consensus::Header;
use alloy_primitives::B256;
use tokio::sync::watch;
use trunkline::SessionId;
use trunkline::chain::{BlockRef, RawBlock};
use trunkline::sync::Progress;

use crate::state::StateError;
use crate::store::StoreFailure;

/// A block that must not be executed any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadBlock {
    pub block: BlockRef,
    /// What differed, in a word: `state-root`, `gas-used`, ...
    pub what: &'static str,
    /// The same in a line, with what was expected and what was found.
    pub why: String,
}

/// What execution waits for beside a block's body.
pub enum Wait {
    ForBodies,
    /// The block's receipts: how far they are, the sync tells.
    ForReceipts(watch::Receiver<Progress>),
}

/// A commit.
#[derive(Debug)]
pub struct Committed {
    pub head: BlockRef,
    pub header: Header,
    /// Transactions of the blocks committed.
    pub mined: Vec<B256>,
    /// Blocks that went because of a reorganisation, since the last commit.
    pub dropped: Vec<RawBlock>,
    /// Nothing more is stored: whoever follows is here.
    pub caught_up: bool,
}

/// What the pipeline tells.
#[derive(Debug)]
pub enum Told {
    Committed(Box<Committed>),
    /// The executed head was of a branch that was left, and went back to `common`.
    Unwound {
        from: BlockRef,
        common: BlockRef,
    },
    /// A block failed, and the sync was told. `blamed` is the session that loses by it.
    Bad {
        bad: BadBlock,
        blamed: Option<SessionId>,
    },
}

/// Why execution ends before its time.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error("a reorganisation goes back below block {number}, and what undoes that block is not kept")]
    TooDeep { number: u64 },
    #[error("the header of block {number} is missing")]
    HeaderMissing { number: u64 },
    #[error("back at block {number} the state root is {got}, not {expected}")]
    Unwound { number: u64, expected: B256, got: B256 },
    #[error("block {number} fails ({why}), and the trusted head builds on it")]
    Trusted { number: u64, why: String },
    #[error("a stage died")]
    Died,
}
