//! What the stores of the nodes hold when they have ended: every block, not what somebody says of it.

use std::collections::HashSet;
use std::path::Path;

use alloy_primitives::B256;
use execution_client::evm::Executor;
use execution_client::failure::Failure;
use execution_client::genesis::Chain;
use execution_client::state::StateBatch;
use execution_client::store::Store;
use trunkline::chain::BlockRef;

/// One node's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) head: BlockRef,
    pub(crate) root: B256,
    /// The hashes of its blocks, from block 1 on.
    pub(crate) blocks: Vec<B256>,
    /// Transactions in all its blocks.
    pub(crate) transactions: usize,
    /// Of those, the ones we submitted.
    pub(crate) ours: usize,
}

/// Reads the store in `folder`.
pub(crate) fn held(folder: &Path, submitted: &HashSet<B256>) -> Result<Held, Failure> {
    let chain = Chain::dev();
    let executor = Executor::new(&chain).map_err(Failure::failed)?;
    // It is there: no genesis has to be made.
    let store = Store::open(folder, &chain, || Ok(StateBatch::default())).map_err(Failure::failed)?;
    let executed = store.executed();
    let mut held = Held {
        head: executed.block,
        root: executed.state_root,
        blocks: Vec::new(),
        transactions: 0,
        ours: 0,
    };
    for number in 1..=executed.block.number {
        let block = store.block(number).map_err(Failure::failed)?;
        let block =
            block.ok_or_else(|| Failure::failed(format!("{}: no block {number}", folder.display())))?;
        held.blocks.push(block.hash);
        let prepared = executor.prepare(block).map_err(Failure::failed)?;
        held.transactions += prepared.transactions.len();
        held.ours += prepared.transactions.iter().filter(|of| submitted.contains(of.tx_hash())).count();
    }
    Ok(held)
}

/// What is not the same in all three, if anything is not.
pub(crate) fn difference(all: &[Held; 3]) -> Option<String> {
    let [producer, relay, follower] = all;
    for (name, other) in [("relay", relay), ("follower", follower)] {
        if producer.head != other.head {
            let (at, is) = (producer.head.number, other.head.number);
            return Some(format!(
                "the producer's head is block {at} {}, the {name}'s block {is} {}",
                producer.head.hash, other.head.hash
            ));
        }
        if producer.root != other.root {
            return Some(format!(
                "the state roots of producer and {name} are {} and {}",
                producer.root, other.root
            ));
        }
        if let Some(at) = producer.blocks.iter().zip(&other.blocks).position(|(a, b)| a != b) {
            return Some(format!("block {} of producer and {name} is not the same", at + 1));
        }
    }
    None
}
