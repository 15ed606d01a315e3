//! A block made ready for execution: what takes time and needs no state.

use alloy_consensus::transaction::{Recovered, SignerRecoverable};
use alloy_consensus::{BlockBody, EthereumTxEnvelope, Header, TxEip4844};
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Decodable;
use revm::primitives::hardfork::SpecId;
use trunkline::chain::verify::BodyRoots;
use trunkline::chain::{BlockRef, RawBlock};

use super::error::BlockError;
use super::forks::Forks;
use super::header::check_alone;

/// A transaction as it is in a block: one with blobs has their hashes, and not the blobs.
pub type Transaction = EthereumTxEnvelope<TxEip4844>;

/// The largest block from Osaka on, in bytes (EIP-7934).
pub(super) const BLOCK_BYTES_MAX: usize = (10 << 20) - (2 << 20);

/// A block whose parts belong together, decoded, with the senders of its transactions.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub hash: B256,
    pub header: Header,
    pub transactions: Vec<Recovered<Transaction>>,
    /// From Shanghai on.
    pub withdrawals: Option<Vec<Withdrawal>>,
}

impl Prepared {
    pub fn block_ref(&self) -> BlockRef {
        BlockRef { number: self.header.number, hash: self.hash }
    }

    pub fn transaction_hashes(&self) -> impl Iterator<Item = B256> + '_ {
        self.transactions.iter().map(|transaction| *transaction.tx_hash())
    }
}

pub(super) fn prepare(forks: &Forks, raw: &RawBlock) -> Result<Prepared, BlockError> {
    let hash = keccak256(&raw.header);
    let header: Header = decode("header", &raw.header)?;
    if header.hash_slow() != hash {
        let reason = "it has another encoding".to_owned();
        return Err(BlockError::Malformed { part: "header", reason });
    }
    check_alone(forks, &header)?;
    check_size(forks, raw, header.timestamp)?;
    check_roots(&header, &raw.body)?;
    let body: BlockBody<Transaction> = decode("body", &raw.body)?;
    let transactions = body.transactions.into_iter().enumerate().map(|(index, transaction)| {
        let sender = transaction.recover_signer();
        match sender {
            Ok(sender) => Ok(Recovered::new_unchecked(transaction, sender)),
            Err(_) => Err(BlockError::Sender { index, hash: *transaction.tx_hash() }),
        }
    });
    let transactions = transactions.collect::<Result<_, _>>()?;
    Ok(Prepared { hash, header, transactions, withdrawals: body.withdrawals.map(|list| list.0) })
}

fn check_size(forks: &Forks, raw: &RawBlock, time: u64) -> Result<(), BlockError> {
    // The list's own head has at most 5 bytes, and the body's head is not in the block.
    let got = raw.header.len() + raw.body.len();
    if forks.spec_id(time).is_enabled_in(SpecId::OSAKA) && got > BLOCK_BYTES_MAX {
        return Err(BlockError::Size { max: BLOCK_BYTES_MAX, got });
    }
    Ok(())
}

fn check_roots(header: &Header, body: &[u8]) -> Result<(), BlockError> {
    let roots = BodyRoots::of(body)
        .map_err(|error| BlockError::Malformed { part: "body", reason: error.to_string() })?;
    let (expected, got) = (header.transactions_root, roots.transactions);
    if expected != got {
        return Err(BlockError::TransactionsRoot { expected, got });
    }
    let (expected, got) = (header.ommers_hash, roots.ommers);
    if expected != got {
        return Err(BlockError::Ommers { expected, got });
    }
    let (expected, got) = (header.withdrawals_root, roots.withdrawals);
    if expected != got {
        return Err(BlockError::WithdrawalsRoot { expected, got });
    }
    Ok(())
}

fn decode<T: Decodable>(part: &'static str, mut bytes: &[u8]) -> Result<T, BlockError> {
    let value =
        T::decode(&mut bytes).map_err(|error| BlockError::Malformed { part, reason: error.to_string() })?;
    if bytes.is_empty() {
        return Ok(value);
    }
    Err(BlockError::Malformed { part, reason: "there are bytes behind its end".to_owned() })
}
