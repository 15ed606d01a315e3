//! The chain: what trunkline needs of it, and what execution needs of it.

use std::sync::Arc;

use alloy_genesis::Genesis;
use trunkline::chain::ChainSpec;

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
