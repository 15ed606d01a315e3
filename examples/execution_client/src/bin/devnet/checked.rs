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

#[cfg(test)]
mod tests {
    use super::*;

    fn held(blocks: &[u8]) -> Held {
        let blocks: Vec<B256> = blocks.iter().copied().map(B256::repeat_byte).collect();
        let head = BlockRef { number: blocks.len() as u64, hash: blocks.last().copied().unwrap_or_default() };
        Held { head, root: B256::ZERO, blocks, transactions: 0, ours: 0 }
    }

    #[test]
    fn whatever_is_not_the_same_in_all_three_is_named() {
        let same = || held(&[1, 2, 3]);
        assert_eq!(difference(&[same(), same(), same()]), None);
        let why = |relay, follower| difference(&[same(), relay, follower]).unwrap();
        assert!(why(held(&[1, 2]), same()).contains("the relay's block 2 "));
        assert!(why(same(), held(&[1, 2, 4])).contains("the follower's block 3 "));
        assert!(why(same(), held(&[1, 4, 3])).starts_with("block 2 of producer and follower"));
        let root = Held { root: B256::repeat_byte(9), ..same() };
        assert!(why(same(), root).starts_with("the state roots of producer and follower"));
    }
}
