//! Chains and states made by hand: the store does not look into them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::Nibbles;
use bytes::Bytes;
use trunkline::chain::{BlockRef, ChainSpec, RawBlock};

use super::{ExecutedBlock, OpenError, Store};
use crate::genesis::Chain;
use crate::state::{Account, AccountDiff, BlockDiff, NodeKey, StateBatch, StorageBatch};

mod blocks;
mod codec;
mod crash;
mod damage;
mod disk;
mod opening;
mod reorg;
mod script;
mod state;
mod threads;
mod working;

fn chain() -> Chain {
    Chain { spec: Arc::new(ChainSpec::dev()), genesis: Arc::new(Genesis::default()), is_dev: true }
}

fn open(folder: &Path) -> Result<Arc<Store>, OpenError> {
    Store::open(folder, &chain(), || Ok(batch(0, 0)))
}

/// Blocks on top of `parent`. Every second one has a transaction and so a receipt; `branch` tells chains
/// apart.
fn blocks(mut parent: BlockRef, count: u64, branch: u64) -> Vec<RawBlock> {
    let mut blocks = Vec::new();
    for _ in 0..count {
        let number = parent.number + 1;
        let mut header = Header {
            number,
            parent_hash: parent.hash,
            difficulty: U256::from(1 + branch),
            timestamp: 1000 + 10 * number + branch,
            state_root: keccak256(number.to_be_bytes()),
            ..Header::default()
        };
        let mut body: &[u8] = &[0xc2, 0xc0, 0xc0];
        if number.is_multiple_of(2) {
            body = &[0xc3, 0xc1, 0x01, 0xc0];
            header.receipts_root = keccak256(receipts(number));
        }
        let block = RawBlock::from_parts(&alloy_rlp::encode(header), body).unwrap().0;
        parent = block.block_ref();
        blocks.push(block);
    }
    blocks
}

fn receipts(number: u64) -> Bytes {
    Bytes::from(alloy_rlp::encode(vec![number.to_be_bytes().to_vec()]))
}

fn executed(block: &RawBlock) -> ExecutedBlock {
    ExecutedBlock { block: block.block_ref(), receipts: receipts(block.number), undo: diff(block.number) }
}

fn address(n: u64) -> Address {
    Address::left_padding_from(&n.to_be_bytes())
}

fn account(n: u64) -> Account {
    Account { nonce: n, balance: U256::from(n) << 70, ..Account::default() }
}

fn key(n: u64) -> NodeKey {
    let owner = if n.is_multiple_of(2) { B256::ZERO } else { keccak256(address(n)) };
    NodeKey { owner, path: Nibbles::unpack(n.to_be_bytes()) }
}

/// What block `n` leaves: an account, a slot, a code and a node of its own, and number 0 changed.
fn batch(n: u64, salt: u64) -> StateBatch {
    let value = U256::from(n + salt + 1);
    let storage = StorageBatch { wiped: false, slots: HashMap::from([(U256::from(n), value)]) };
    let code = Bytes::from(vec![n as u8; 40]);
    StateBatch {
        accounts: HashMap::from([
            (address(n), Some(account(n + salt))),
            (address(0), Some(account(n + salt))),
        ]),
        storage: HashMap::from([(address(n), storage.clone()), (address(0), storage)]),
        codes: HashMap::from([(keccak256(&code), code)]),
        nodes: HashMap::from([(key(n), Some(Bytes::from(format!("node {n} {salt}"))))]),
        dropped: Vec::new(),
    }
}

fn diff(n: u64) -> BlockDiff {
    let before = AccountDiff {
        after: n.checked_sub(1).map(account),
        wiped: n.is_multiple_of(3),
        slots: BTreeMap::from([(U256::from(n), U256::ZERO)]),
    };
    BlockDiff { accounts: BTreeMap::from([(address(0), before)]), codes: BTreeMap::new() }
}
