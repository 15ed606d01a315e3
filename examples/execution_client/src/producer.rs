//! Makes blocks of the development chain from what is in the pool, in an interval.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, TxKind, U256};
use alloy_rlp::Decodable;
use bytes::Bytes;
use tokio::time::{Interval, MissedTickBehavior, interval};
use trunkline::chain::dev_keys::{DEV_KEYS, dev_addresses, dev_signature};
use trunkline::chain::{BlockRef, RawBlock};
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::ChainStore as _;
use trunkline::transactions::PooledTransaction;

use crate::evm::{ExecuteError, Executor, Transaction};
use crate::genesis::Chain;
use crate::pool::Pool;
use crate::state::{StateError, StateView, WorkingState};
use crate::store::{Store, StoreFailure};

/// What each transfer moves, in wei.
const AMOUNT: u64 = 1_000_000_000;
const TRANSFER_GAS: u64 = 21_000;
const TIP: u128 = 1_000_000_000;

/// Makes the next block whenever its time has come.
pub struct Producer {
    tick: Interval,
    executor: Arc<Executor>,
    /// Transfers that we sign ourselves for each block.
    transfers: u32,
    chain_id: u64,
    coinbase: Address,
    made: u64,
}

/// Why a block was not made. The next one is tried all the same.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error(transparent)]
    Build(#[from] ExecuteError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreFailure),
    #[error("the head has moved")]
    Moved,
}

impl Producer {
    /// `salt` tells producers of one chain apart: two of them never make the same block.
    pub fn new(
        every: Duration,
        transfers: u32,
        chain: &Chain,
        executor: Arc<Executor>,
        salt: Address,
    ) -> Self {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { tick, executor, transfers, chain_id: chain.spec.chain_id(), coinbase: salt, made: 0 }
    }

    /// Waits for the next block's time. Cancel safe.
    pub async fn due(&mut self) {
        self.tick.tick().await;
    }

    /// Makes a block on the executed head and puts it into the store, where the pipeline finds it.
    pub async fn make(
        &mut self,
        store: &Arc<Store>,
        pool: &Arc<Pool>,
    ) -> Result<(BlockRef, usize), ProduceError> {
        self.made += 1;
        let job = Job {
            executor: self.executor.clone(),
            store: store.clone(),
            pool: pool.clone(),
            transfers: self.transfers,
            chain_id: self.chain_id,
            coinbase: self.coinbase,
            made: self.made,
        };
        tokio::task::spawn_blocking(move || job.run()).await.map_err(|_| ProduceError::Moved)?
    }
}

struct Job {
    executor: Arc<Executor>,
    store: Arc<Store>,
    pool: Arc<Pool>,
    transfers: u32,
    chain_id: u64,
    coinbase: Address,
    made: u64,
}

impl Job {
    fn run(self) -> Result<(BlockRef, usize), ProduceError> {
        let executed = self.store.executed().block;
        if self.store.stored() != executed {
            // Somebody else's block is being executed: ours comes on top of it.
            return Err(ProduceError::Moved);
        }
        let header = self.store.header(executed.number).ok_or(ProduceError::Moved)?;
        let header = Header::decode(&mut &header[..]).map_err(|_| ProduceError::Moved)?;
        let mut state = WorkingState::new(self.store.state());
        let (base_fee, _) = self.executor.next_fees(&header);
        self.sign_transfers(&state, base_fee)?;
        let candidates = self.pool.best(base_fee, header.gas_limit).into_iter();
        // Blocks carry transactions without what belongs to their blobs.
        let mut candidates = candidates.map(|candidate| candidate.map(Transaction::from));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let timestamp = now.max(header.timestamp + 1);
        let built = self.executor.build(&header, timestamp, self.coinbase, &mut candidates, &state)?;
        let root = state.apply(&built.diff)?.root;
        let transactions = built.transactions;
        let block: RawBlock = built.seal(root);
        let of = block.block_ref();
        self.store.append(vec![block]).map_err(|_| ProduceError::Moved)?;
        Ok((of, transactions))
    }

    /// Puts transfers between the funded accounts into the pool, so that there is something to do.
    fn sign_transfers(&self, state: &dyn StateView, base_fee: u64) -> Result<(), StateError> {
        let addresses = dev_addresses();
        for index in 0..u64::from(self.transfers) {
            let from = usize::try_from((self.made + index) % DEV_KEYS as u64).unwrap_or(0);
            let Some(sender) = addresses.get(from) else { continue };
            let account = state.account(sender)?.unwrap_or_default();
            let nonce = self.pool.next_nonce(sender).unwrap_or(account.nonce).max(account.nonce);
            let transaction = TxEip1559 {
                chain_id: self.chain_id,
                nonce,
                gas_limit: TRANSFER_GAS,
                max_fee_per_gas: u128::from(base_fee) * 2 + TIP,
                max_priority_fee_per_gas: TIP,
                to: TxKind::Call(addresses[(from + 1) % DEV_KEYS]),
                value: U256::from(AMOUNT + index),
                ..TxEip1559::default()
            };
            let Some(signature) = dev_signature(from, &transaction.signature_hash()) else { continue };
            let signed = TxEnvelope::from(transaction.into_signed(signature));
            let pooled = PooledTransaction {
                hash: *signed.tx_hash(),
                kind: 2,
                encoded: Bytes::from(signed.encoded_2718()),
            };
            // A full pool has enough to do.
            let _ = self.pool.add_local(pooled);
        }
        Ok(())
    }
}
