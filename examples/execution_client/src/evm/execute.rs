//! Running a block, and comparing what comes out with what its header says.

use std::borrow::Cow;

use alloy_consensus::{Eip658Value, Header, Receipt, ReceiptEnvelope, TxReceipt, TxType};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip4895::Withdrawal;
use alloy_eips::eip7685::Requests;
use alloy_evm::block::{BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockValidationError};
use alloy_evm::eth::receipt_builder::{ReceiptBuilder, ReceiptBuilderCtx};
use alloy_evm::eth::{EthBlockExecutionCtx, EthBlockExecutor, EthEvm, EthEvmBuilder};
use alloy_evm::precompiles::PrecompilesMap;
use alloy_evm::{Evm, EvmEnv};
use alloy_primitives::{B256, Bloom, U256};
use alloy_trie::root::ordered_trie_root_encoded;
use bytes::Bytes;
use revm::context::{BlockEnv, CfgEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database::states::bundle_state::BundleRetention;
use revm::inspector::NoOpInspector;
use revm::primitives::eip7825::TX_GAS_LIMIT_CAP;
use revm::primitives::hardfork::SpecId;
use trunkline::chain::RawBlock;

use super::diff::block_diff;
use super::error::{BlockError, ExecuteError};
use super::forks::Forks;
use super::header::{base_fee_after, check_after, excess_blob_gas_after};
use super::prepare::{Prepared, Transaction, prepare};
use super::view::{BlockState, block_state};
use crate::genesis::{Chain, GenesisError};
use crate::state::{BlockDiff, StateView};

/// Executes the blocks of one chain. It holds the rules and nothing else: share it, or clone it.
#[derive(Debug, Clone)]
pub struct Executor {
    pub(super) forks: Forks,
}

/// What a block leaves behind. Its state root is still to be compared.
#[derive(Debug, Clone)]
pub struct Output {
    pub diff: BlockDiff,
    /// RLP list of the receipts in consensus form, as trunkline serves them.
    pub receipts: Bytes,
    pub gas_used: u64,
    pub transactions: usize,
}

impl Executor {
    /// Refuses a chain whose blocks cannot be executed, naming why: one that begins with proof of
    /// work (receipts before Byzantium, with their state roots, are among what is not made here), or
    /// plans a fork after Osaka.
    pub fn new(chain: &Chain) -> Result<Self, GenesisError> {
        Ok(Self { forks: Forks::new(chain)? })
    }

    /// Decodes a block, checks that its parts belong together and finds out who signed what. It takes
    /// most of a block's time and needs no state: run it ahead, on other threads.
    pub fn prepare(&self, raw: RawBlock) -> Result<Prepared, BlockError> {
        prepare(&self.forks, &raw)
    }

    /// The base fee and the price of blob gas of the block after this one, if it comes a second later.
    /// The latter is 0 before Cancun.
    pub fn next_fees(&self, parent: &Header) -> (u64, u128) {
        let time = parent.timestamp.saturating_add(1);
        let excess = excess_blob_gas_after(&self.forks, parent, time);
        let blob_fee =
            self.forks.blob_params(time).zip(excess).map(|(params, excess)| params.calc_blob_fee(excess));
        (base_fee_after(parent), blob_fee.unwrap_or(0))
    }

    /// Runs a block on the state that its parent left, and checks everything but the state root.
    pub fn execute(
        &self,
        block: &Prepared,
        parent: &Header,
        state: &dyn StateView,
    ) -> Result<Output, ExecuteError> {
        let header = &block.header;
        check_after(&self.forks, parent, header)?;
        let mut state = block_state(state, parent.number, header.parent_hash);
        let result = self.run(block, &mut state);
        if let Some(error) = state.database.failed.take() {
            return Err(error.into());
        }
        let result = result?;
        let receipts = Receipts::new(&result.receipts);
        check_result(header, &result, &receipts)?;
        Ok(Output {
            diff: diff_of(&mut state),
            receipts: receipts.list,
            gas_used: result.gas_used,
            transactions: block.transactions.len(),
        })
    }

    fn run(
        &self,
        block: &Prepared,
        state: &mut BlockState<'_>,
    ) -> Result<BlockExecutionResult<ReceiptEnvelope>, BlockError> {
        let mut run = self.start(&block.header, block.withdrawals.as_deref(), state);
        run.reserve(block.transactions.len());
        run.apply_pre_execution_changes().map_err(system_call)?;
        for (index, transaction) in block.transactions.iter().enumerate() {
            run.execute_transaction(transaction).map_err(|error| BlockError::Transaction {
                index,
                hash: *transaction.tx_hash(),
                reason: reason(error),
            })?;
        }
        let (_, result) = run.finish().map_err(system_call)?;
        Ok(result)
    }

    /// alloy's executor of one block, before its first step.
    pub(super) fn start<'a, 'b>(
        &'a self,
        header: &Header,
        withdrawals: Option<&'a [Withdrawal]>,
        state: &'a mut BlockState<'b>,
    ) -> Run<'a, 'b> {
        let context = EthBlockExecutionCtx {
            parent_hash: header.parent_hash,
            parent_beacon_block_root: header.parent_beacon_block_root,
            ommers: &[],
            withdrawals: withdrawals.map(Cow::Borrowed),
            extra_data: header.extra_data.clone(),
            tx_count_hint: None,
            slot_number: None,
        };
        let evm = EthEvmBuilder::new(state, self.env(header)).build();
        EthBlockExecutor::new(evm, context, &self.forks, ReceiptsOfBlock)
    }

    fn env(&self, header: &Header) -> EvmEnv {
        let time = header.timestamp;
        let rules = self.forks.spec_id(time);
        let blobs = self.forks.blob_params(time);
        let mut cfg_env = CfgEnv::new_with_spec(rules).with_chain_id(self.forks.chain_id);
        if let Some(blobs) = blobs {
            cfg_env.set_max_blobs_per_tx(blobs.max_blobs_per_tx);
        }
        if rules.is_enabled_in(SpecId::OSAKA) {
            cfg_env.tx_gas_limit_cap = Some(TX_GAS_LIMIT_CAP);
        }
        let block_env = BlockEnv {
            number: U256::from(header.number),
            beneficiary: header.beneficiary,
            timestamp: U256::from(time),
            difficulty: header.difficulty,
            prevrandao: rules.is_enabled_in(SpecId::MERGE).then_some(header.mix_hash),
            gas_limit: header.gas_limit,
            basefee: header.base_fee_per_gas.unwrap_or(0),
            blob_excess_gas_and_price: header.excess_blob_gas.zip(blobs).map(|(excess_blob_gas, blobs)| {
                let blob_gasprice = blobs.calc_blob_fee(excess_blob_gas);
                BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice }
            }),
            slot_num: 0,
        };
        EvmEnv::new(cfg_env, block_env)
    }

    /// The hash that a header has for requests, from Prague on (EIP-7685).
    pub(super) fn requests_hash(&self, time: u64, requests: &Requests) -> Option<B256> {
        self.forks.spec_id(time).is_enabled_in(SpecId::PRAGUE).then(|| requests.requests_hash())
    }
}

pub(super) type Run<'a, 'b> = EthBlockExecutor<
    'a,
    EthEvm<&'a mut BlockState<'b>, NoOpInspector, PrecompilesMap>,
    &'a Forks,
    ReceiptsOfBlock,
>;

/// What the block changed. The overlay is empty afterwards.
pub(super) fn diff_of(state: &mut BlockState<'_>) -> BlockDiff {
    state.merge_transitions(BundleRetention::PlainState);
    block_diff(state.take_bundle())
}

/// A block's receipts, encoded once.
pub(super) struct Receipts {
    pub(super) root: B256,
    pub(super) bloom: Bloom,
    pub(super) list: Bytes,
}

impl Receipts {
    pub(super) fn new(receipts: &[ReceiptEnvelope]) -> Self {
        let encoded: Vec<Vec<u8>> = receipts.iter().map(Encodable2718::encoded_2718).collect();
        let mut list = Vec::new();
        alloy_rlp::encode_list(receipts, &mut list);
        let bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
        Self { root: ordered_trie_root_encoded(&encoded), bloom, list: list.into() }
    }
}

fn check_result(
    header: &Header,
    result: &BlockExecutionResult<ReceiptEnvelope>,
    receipts: &Receipts,
) -> Result<(), BlockError> {
    let (expected, got) = (header.gas_used, result.gas_used);
    if got != expected {
        return Err(BlockError::GasUsed { expected, got });
    }
    let (expected, got) = (header.receipts_root, receipts.root);
    if got != expected {
        return Err(BlockError::ReceiptsRoot { expected, got });
    }
    let (expected, got) = (header.logs_bloom, receipts.bloom);
    if got != expected {
        return Err(BlockError::LogsBloom { expected: expected.into(), got: got.into() });
    }
    let (expected, got) = (header.blob_gas_used.unwrap_or(0), result.blob_gas_used);
    if got != expected {
        return Err(BlockError::BlobGasUsed { expected, got });
    }
    if let Some(expected) = header.requests_hash {
        let got = result.requests.requests_hash();
        if got != expected {
            return Err(BlockError::RequestsHash { expected, got });
        }
    }
    Ok(())
}

/// Makes receipts for transactions that have no blobs with them.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceiptsOfBlock;

impl ReceiptBuilder for ReceiptsOfBlock {
    type Transaction = Transaction;
    type Receipt = ReceiptEnvelope;

    fn build_receipt<E: Evm>(&self, made: ReceiptBuilderCtx<'_, TxType, E>) -> ReceiptEnvelope {
        let receipt = Receipt {
            status: Eip658Value::Eip658(made.result.is_success()),
            cumulative_gas_used: made.cumulative_gas_used,
            logs: made.result.into_logs(),
        };
        ReceiptEnvelope::from_typed(made.tx_type, receipt.with_bloom())
    }
}

pub(super) fn system_call(error: BlockExecutionError) -> BlockError {
    BlockError::SystemCall(reason(error))
}

/// Why a transaction was refused, without the hash that stands before it anyway.
pub(super) fn reason(error: BlockExecutionError) -> String {
    match error {
        BlockExecutionError::Validation(BlockValidationError::InvalidTx { error, .. }) => error.to_string(),
        error => error.to_string(),
    }
}
