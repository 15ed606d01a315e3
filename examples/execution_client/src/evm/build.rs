//! Making the next block.

use alloy_consensus::constants::EMPTY_WITHDRAWALS;
use alloy_consensus::transaction::Recovered;
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header, ReceiptEnvelope, Transaction as _};
use alloy_eips::eip2718::Encodable2718;
use alloy_evm::Evm;
use alloy_evm::block::{BlockExecutionResult, BlockExecutor};
use alloy_primitives::{Address, B256, keccak256};
use alloy_rlp::{EMPTY_LIST_CODE, Encodable, Header as Head};
use alloy_trie::root::ordered_trie_root_encoded;
use bytes::Bytes;
use revm::primitives::hardfork::SpecId;
use trunkline::chain::RawBlock;

use super::error::{BlockError, ExecuteError};
use super::execute::{Executor, Receipts, diff_of, system_call};
use super::header::{EXTRA_DATA_BYTES_MAX, base_fee_after, excess_blob_gas_after};
use super::prepare::{BLOCK_BYTES_MAX, Transaction};
use super::view::{BlockState, block_state};
use crate::state::{BlockDiff, StateView};

/// No transaction uses less.
const TRANSACTION_GAS_MIN: u64 = 21_000;

/// Room in a block for its header and the heads of its lists.
const HEADER_BYTES: usize = 2_048;

/// A block that lacks nothing but its state root.
#[derive(Debug, Clone)]
pub struct Built {
    pub header: Header,
    pub body: Bytes,
    /// How many were taken.
    pub transactions: usize,
    pub diff: BlockDiff,
    /// As in [`Output`](super::Output).
    pub receipts: Bytes,
    /// Hashes of candidates that were not taken: not valid on this state, or too large for what was
    /// left of the block.
    pub skipped: Vec<B256>,
}

impl Built {
    /// The block, with the root that applying `diff` gave.
    pub fn seal(self, state_root: B256) -> RawBlock {
        let header = Header { state_root, ..self.header };
        let rlp = Bytes::from(alloy_rlp::encode(&header));
        RawBlock { number: header.number, hash: keccak256(&rlp), header: rlp, body: self.body }
    }
}

impl Executor {
    /// Makes the block after `parent`: takes candidates in their order while they fit and are valid,
    /// skips the others, and ends with the candidates or when the block is full. There are no
    /// withdrawals. A timestamp that is not after the parent's is replaced by the parent's plus one.
    pub fn build(
        &self,
        parent: &Header,
        timestamp: u64,
        coinbase: Address,
        candidates: &mut dyn Iterator<Item = Recovered<Transaction>>,
        state: &dyn StateView,
    ) -> Result<Built, ExecuteError> {
        let mut header = self.next_header(parent, timestamp, coinbase);
        let mut state = block_state(state, parent.number, header.parent_hash);
        let filled = self.fill(&header, candidates, &mut state);
        if let Some(error) = state.database.failed.take() {
            return Err(error.into());
        }
        let Filled { transactions, result, skipped } = filled?;
        let receipts = Receipts::new(&result.receipts);
        header.transactions_root = ordered_trie_root_encoded(&transactions);
        header.receipts_root = receipts.root;
        header.logs_bloom = receipts.bloom;
        header.gas_used = result.gas_used;
        header.blob_gas_used = header.blob_gas_used.map(|_| result.blob_gas_used);
        header.requests_hash = self.requests_hash(header.timestamp, &result.requests);
        let body = body(&transactions, header.withdrawals_root.is_some());
        let (transactions, diff) = (transactions.len(), diff_of(&mut state));
        Ok(Built { header, body, transactions, diff, receipts: receipts.list, skipped })
    }

    fn next_header(&self, parent: &Header, timestamp: u64, beneficiary: Address) -> Header {
        let timestamp = timestamp.max(parent.timestamp.saturating_add(1));
        let rules = self.forks.spec_id(timestamp);
        let fits = parent.extra_data.len() <= EXTRA_DATA_BYTES_MAX;
        let cancun = rules.is_enabled_in(SpecId::CANCUN);
        Header {
            parent_hash: parent.hash_slow(),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary,
            difficulty: self.forks.difficulty(),
            number: parent.number.saturating_add(1),
            gas_limit: parent.gas_limit,
            timestamp,
            extra_data: if fits { parent.extra_data.clone() } else { Default::default() },
            base_fee_per_gas: Some(base_fee_after(parent)),
            withdrawals_root: rules.is_enabled_in(SpecId::SHANGHAI).then_some(EMPTY_WITHDRAWALS),
            blob_gas_used: cancun.then_some(0),
            excess_blob_gas: excess_blob_gas_after(&self.forks, parent, timestamp),
            parent_beacon_block_root: cancun.then_some(B256::ZERO),
            ..Header::default()
        }
    }

    fn fill(
        &self,
        header: &Header,
        candidates: &mut dyn Iterator<Item = Recovered<Transaction>>,
        state: &mut BlockState<'_>,
    ) -> Result<Filled, BlockError> {
        let withdrawals: &[_] = &[];
        let blob_gas_max =
            self.forks.blob_params(header.timestamp).map_or(0, |blobs| blobs.max_blob_gas_per_block());
        let mut run = self.start(header, Some(withdrawals), state);
        run.apply_pre_execution_changes().map_err(system_call)?;
        let (mut transactions, mut skipped) = (Vec::new(), Vec::new());
        let mut bytes_left = BLOCK_BYTES_MAX - HEADER_BYTES;
        for candidate in candidates {
            let encoded = candidate.encoded_2718();
            let blob_gas = candidate.blob_gas_used().unwrap_or(0);
            let fits = candidate.length() <= bytes_left
                && run.blob_gas_used.saturating_add(blob_gas) <= blob_gas_max;
            if !fits || run.execute_transaction(&candidate).is_err() {
                skipped.push(*candidate.tx_hash());
            } else {
                bytes_left -= candidate.length();
                transactions.push(encoded);
            }
            let is_full = header.gas_limit.saturating_sub(run.cumulative_tx_gas_used) < TRANSACTION_GAS_MIN;
            // An unreadable state makes every candidate look bad: `build` says so instead.
            if is_full || run.evm().db().database.failed.is_some() {
                break;
            }
        }
        let (_, result) = run.finish().map_err(system_call)?;
        Ok(Filled { transactions, result, skipped })
    }
}

/// What became of the candidates.
struct Filled {
    /// Those taken, as the transactions root has them.
    transactions: Vec<Vec<u8>>,
    result: BlockExecutionResult<ReceiptEnvelope>,
    skipped: Vec<B256>,
}

/// The list of transactions, no ommers, and from Shanghai on no withdrawals.
fn body(transactions: &[Vec<u8>], withdrawals: bool) -> Bytes {
    let mut list = Vec::new();
    for transaction in transactions {
        match transaction.first() {
            // A list stands as it is (a legacy transaction), a typed one in a string.
            Some(0xc0..) => list.extend_from_slice(transaction),
            _ => transaction.as_slice().encode(&mut list),
        }
    }
    let mut lists = Vec::new();
    Head { list: true, payload_length: list.len() }.encode(&mut lists);
    lists.extend_from_slice(&list);
    lists.push(EMPTY_LIST_CODE);
    if withdrawals {
        lists.push(EMPTY_LIST_CODE);
    }
    let mut body = Vec::with_capacity(lists.len() + 9);
    Head { list: true, payload_length: lists.len() }.encode(&mut body);
    body.extend_from_slice(&lists);
    body.into()
}
