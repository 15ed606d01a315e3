//! Making a block: for a producer of the development chain.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{BlockBody, Header, Transaction as _, TxEnvelope};
use alloy_consensus::proofs::calculate_transaction_root;
use alloy_eips::eip2718::Encodable2718;
use alloy_evm::block::BlockExecutionError;
use alloy_primitives::{Address, B256, U256};
use alloy_trie::root::ordered_trie_root_encoded;
use bytes::Bytes;
use trunkline::chain::RawBlock;
use trunkline::wire::DecodeError;

use super::error::ExecuteError;
use super::execute::{At, Executor, bloom_of};
use super::header;
use crate::state::{BlockDiff, StateView};

/// A block that lacks nothing but its state root.
#[derive(Debug)]
pub struct Built {
    header: Header,
    body: BlockBody<TxEnvelope>,
    pub diff: BlockDiff,
    pub receipts: Bytes,
    /// Candidates that could not be executed.
    pub skipped: Vec<B256>,
}

impl Built {
    pub fn transactions(&self) -> usize {
        self.body.transactions.len()
    }

    pub fn seal(self, state_root: B256) -> Result<RawBlock, DecodeError> {
        let header = Header { state_root, ..self.header };
        let (header, body) = (alloy_rlp::encode(header), alloy_rlp::encode(self.body));
        RawBlock::from_parts(&header, &body).map(|(block, _)| block)
    }
}

impl Executor {
    /// The next block of a development chain: candidates in their order while they fit. Those that
    /// cannot be executed are skipped.
    pub fn build(
        &self,
        parent: &Header,
        parent_hash: B256,
        timestamp: u64,
        coinbase: Address,
        candidates: &mut dyn Iterator<Item = Recovered<TxEnvelope>>,
        state: &dyn StateView,
    ) -> Result<Built, ExecuteError> {
        let mut header = Header {
            parent_hash,
            beneficiary: coinbase,
            difficulty: U256::from(1),
            number: parent.number.saturating_add(1),
            gas_limit: parent.gas_limit,
            timestamp,
            extra_data: parent.extra_data.clone(),
            base_fee_per_gas: header::base_fee(&self.forks, parent),
            ..Header::default()
        };
        let mut transactions: Vec<TxEnvelope> = Vec::new();
        let mut skipped = Vec::new();
        let mut gas_left = header.gas_limit;
        let ran = self.with_executor(&header, &[], None, state, |executor| {
            for candidate in candidates {
                if candidate.gas_limit() > gas_left {
                    skipped.push(*candidate.tx_hash());
                    continue;
                }
                match executor.execute_transaction(&candidate) {
                    Ok(()) => {
                        gas_left -= candidate.gas_limit();
                        transactions.push(candidate.into_inner());
                    }
                    Err(BlockExecutionError::Validation(_)) => skipped.push(*candidate.tx_hash()),
                    Err(error) => return Err(At::Transaction(transactions.len(), error)),
                }
            }
            Ok(())
        })?;
        let receipts = &ran.result.receipts;
        let encoded: Vec<Vec<u8>> = receipts.iter().map(Encodable2718::encoded_2718).collect();
        header.gas_used = ran.result.gas_used;
        header.receipts_root = ordered_trie_root_encoded(&encoded);
        header.logs_bloom = bloom_of(receipts);
        header.transactions_root = calculate_transaction_root(&transactions);
        let receipts = Bytes::from(alloy_rlp::encode(receipts));
        let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: None };
        Ok(Built { header, body, diff: ran.diff, receipts, skipped })
    }
}
