//! How far the chain has come: what is stored, what is executed, what is served.

use alloy_primitives::{B256, U256};
use trunkline::chain::{BlockRef, ChainSpec, HeaderFacts};
use trunkline::protocols::eth::ChainStatus;

/// The block after which the state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executed {
    pub block: BlockRef,
    /// Its timestamp.
    pub time: u64,
    /// Up to this block and with it.
    pub total_difficulty: U256,
    /// What its header says of the state.
    pub state_root: B256,
}

/// Both views of the chain, in memory: a status costs no look at the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    /// The highest block whose body is held.
    pub stored: ChainStatus,
    /// The highest executed block that is on the stored chain.
    pub served: ChainStatus,
}

/// What is claimed when this block is the highest.
pub(super) fn status(spec: &ChainSpec, facts: &HeaderFacts, total_difficulty: U256) -> ChainStatus {
    ChainStatus {
        earliest: 0,
        latest: BlockRef::from(facts),
        latest_time: facts.timestamp,
        total_difficulty,
        merged: spec.is_merged(facts.difficulty, total_difficulty),
    }
}
