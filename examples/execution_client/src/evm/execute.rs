//! One block after the other, through revm.

use std::borrow::Cow;
use std::cell::RefCell;

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{Header, ReceiptEnvelope, TxEnvelope, TxReceipt};
use alloy_eips::eip2718::Encodable2718;
use alloy_evm::block::{BlockExecutionError, BlockExecutionResult, BlockExecutor, BlockValidationError};
use alloy_evm::eth::receipt_builder::AlloyReceiptBuilder;
use alloy_evm::eth::{EthBlockExecutionCtx, EthBlockExecutor, EthEvmFactory};
use alloy_evm::{EvmEnv, EvmFactory};
use alloy_primitives::Bloom;
use alloy_trie::root::ordered_trie_root_encoded;
use bytes::Bytes;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database::State;
use revm::primitives::hardfork::SpecId;
use trunkline::chain::RawBlock;

use super::block::Prepared;
use super::database::{Reader, diff_of};
use super::error::{BlockError, ExecuteError};
use super::forks::Forks;
use super::header;
use crate::genesis::{Chain, GenesisError};
use crate::state::{BlockDiff, StateError, StateView};

/// Executes the blocks of one chain. Holds no state.
#[derive(Debug)]
pub struct Executor {
    pub(super) forks: Forks,
    chain_id: u64,
}

/// What a good block comes to.
#[derive(Debug)]
pub struct Output {
    pub diff: BlockDiff,
    /// The RLP list of the receipts in consensus form, as eth/68 carries it.
    pub receipts: Bytes,
    pub gas_used: u64,
    pub transactions: usize,
}

impl Executor {
    /// Refuses chains with forks that cannot be executed here: Amsterdam and later, proof of work with
    /// rewards, and blocks before Byzantium.
    pub fn new(chain: &Chain) -> Result<Self, GenesisError> {
        Ok(Self { forks: Forks::new(chain)?, chain_id: chain.spec.chain_id() })
    }

    /// Decodes a block and recovers its senders. Needs no state, so that it can be done ahead.
    pub fn prepare(&self, raw: RawBlock) -> Result<Prepared, BlockError> {
        Prepared::read(&raw)
    }

    /// The base fee and the price of blob gas that the block after this one has, if it comes a second
    /// later.
    pub fn next_fees(&self, parent: &Header) -> (u64, u128) {
        let time = parent.timestamp.saturating_add(1);
        let base_fee = header::base_fee(&self.forks, parent).unwrap_or(0);
        let excess = header::excess_blob_gas(&self.forks, parent, time);
        let blob_fee = excess.zip(self.forks.blobs(time)).map(|(excess, params)| params.calc_blob_fee(excess));
        (base_fee, blob_fee.unwrap_or(0))
    }

    /// Executes a block on the state after its parent, and checks everything but the state root.
    pub fn execute(
        &self,
        block: &Prepared,
        parent: &Header,
        state: &dyn StateView,
    ) -> Result<Output, ExecuteError> {
        header::check(&self.forks, block, parent)?;
        let header = block.header();
        let ran = self.run(header, block, state)?;
        if ran.result.gas_used != header.gas_used {
            let (expected, got) = (header.gas_used, ran.result.gas_used);
            return Err(BlockError::GasUsed { expected, got }.into());
        }
        let encoded: Vec<Vec<u8>> = ran.result.receipts.iter().map(Encodable2718::encoded_2718).collect();
        let got = ordered_trie_root_encoded(&encoded);
        if got != header.receipts_root {
            return Err(BlockError::Receipts { expected: header.receipts_root, got }.into());
        }
        if bloom_of(&ran.result.receipts) != header.logs_bloom {
            return Err(BlockError::Bloom.into());
        }
        if let Some(expected) = header.requests_hash {
            let got = ran.result.requests.requests_hash();
            if got != expected {
                return Err(BlockError::Requests { expected, got }.into());
            }
        }
        let receipts = Bytes::from(alloy_rlp::encode(&ran.result.receipts));
        let (gas_used, transactions) = (ran.result.gas_used, block.transactions().len());
        Ok(Output { diff: ran.diff, receipts, gas_used, transactions })
    }

    fn run(&self, header: &Header, block: &Prepared, state: &dyn StateView) -> Result<Ran, ExecuteError> {
        let withdrawals = block.body.withdrawals.as_ref().map(|all| Cow::Borrowed(all.as_slice()));
        self.with_executor(header, &block.body.ommers, withdrawals, state, |executor| {
            for (index, transaction) in block.transactions().iter().enumerate() {
                executor.execute_transaction(transaction).map_err(|error| At::Transaction(index, error))?;
            }
            Ok(())
        })
    }

    /// Runs what a block does before, in and after its transactions.
    pub(super) fn with_executor(
        &self,
        header: &Header,
        ommers: &[Header],
        withdrawals: Option<Cow<'_, [alloy_eips::eip4895::Withdrawal]>>,
        state: &dyn StateView,
        transactions: impl FnOnce(&mut Running<'_>) -> Result<(), At>,
    ) -> Result<Ran, ExecuteError> {
        let failed = RefCell::new(None);
        let mut database =
            State::builder().with_database(Reader { state, failed: &failed }).with_bundle_update().build();
        let ctx = EthBlockExecutionCtx {
            parent_hash: header.parent_hash,
            parent_beacon_block_root: header.parent_beacon_block_root,
            ommers,
            withdrawals,
            extra_data: header.extra_data.clone(),
            tx_count_hint: None,
            slot_number: None,
        };
        let evm = EthEvmFactory::default().create_evm(&mut database, self.env(header));
        let mut executor = EthBlockExecutor::new(evm, ctx, &self.forks, AlloyReceiptBuilder::default());
        let ran = executor
            .apply_pre_execution_changes()
            .map_err(At::System)
            .and_then(|()| transactions(&mut executor))
            .and_then(|()| executor.finish().map_err(At::System));
        let result = match ran {
            Ok((_, result)) => result,
            Err(at) => return Err(failed.into_inner().map_or_else(|| at.blame(), ExecuteError::State)),
        };
        database.merge_transitions(revm::database::states::bundle_state::BundleRetention::PlainState);
        let diff = diff_of(database.take_bundle());
        drop(database);
        match failed.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok(Ran { diff, result }),
        }
    }

    fn env(&self, header: &Header) -> EvmEnv<SpecId> {
        let params = self.forks.blobs(header.timestamp);
        let mut env = EvmEnv::for_eth_block(header, &self.forks, self.chain_id, params);
        if self.forks.is_dev() {
            // What says "merged" to the rewards must not say it to the EVM.
            env.cfg_env.set_spec_and_mainnet_gas_params(SpecId::LONDON);
            env.block_env.difficulty = header.difficulty;
            env.block_env.prevrandao = None;
        }
        if let Some((excess, params)) = header.excess_blob_gas.zip(params) {
            let price = params.calc_blob_fee(excess);
            env.block_env.blob_excess_gas_and_price =
                Some(BlobExcessGasAndPrice { excess_blob_gas: excess, blob_gasprice: price });
        }
        env
    }
}

/// alloy-evm's executor as it is used here.
pub(super) type Running<'a> = dyn ExecuteOne + 'a;

/// The one thing that is done with a running block.
pub(super) trait ExecuteOne {
    /// Executes and commits a transaction.
    fn execute_transaction(&mut self, transaction: &Recovered<TxEnvelope>) -> Result<(), BlockExecutionError>;
}

impl<E> ExecuteOne for E
where
    E: BlockExecutor<Transaction = TxEnvelope>,
    for<'t> Recovered<&'t TxEnvelope>: alloy_evm::block::ExecutableTx<E>,
{
    fn execute_transaction(&mut self, transaction: &Recovered<TxEnvelope>) -> Result<(), BlockExecutionError> {
        BlockExecutor::execute_transaction(self, transaction.as_recovered_ref()).map(drop)
    }
}

/// What a block came to, unchecked.
pub(super) struct Ran {
    pub(super) diff: BlockDiff,
    pub(super) result: BlockExecutionResult<ReceiptEnvelope>,
}

/// Where execution failed.
pub(super) enum At {
    Transaction(usize, BlockExecutionError),
    System(BlockExecutionError),
}

impl At {
    /// An error that the EVM calls internal, and that is not the state's, is none that a block can cause.
    fn blame(self) -> ExecuteError {
        match self {
            Self::Transaction(index, BlockExecutionError::Validation(error)) => {
                let why = match error {
                    BlockValidationError::InvalidTx { error, .. } => error.to_string(),
                    error => error.to_string(),
                };
                BlockError::Transaction { index, why }.into()
            }
            Self::System(BlockExecutionError::Validation(error)) => {
                BlockError::System(error.to_string()).into()
            }
            Self::Transaction(_, error) | Self::System(error) => {
                ExecuteError::State(StateError::Store(format!("the EVM failed: {error}")))
            }
        }
    }
}

pub(super) fn bloom_of(receipts: &[ReceiptEnvelope]) -> Bloom {
    receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom())
}
