//! A block, decoded and with the senders of its transactions.

use alloy_consensus::transaction::{Recovered, SignerRecoverable};
use alloy_consensus::{BlockBody, Header, TxEnvelope};
use alloy_primitives::B256;
use alloy_rlp::Decodable;
use trunkline::chain::{BlockRef, RawBlock};

use super::error::BlockError;

/// A block, ready to be executed.
#[derive(Debug, Clone)]
pub struct Prepared {
    of: BlockRef,
    header: Header,
    pub(super) body: BlockBody<Recovered<TxEnvelope>>,
}

impl Prepared {
    /// Decodes a block and recovers the senders: most of the work that needs no state.
    pub(super) fn read(raw: &RawBlock) -> Result<Self, BlockError> {
        let malformed = |error: alloy_rlp::Error| BlockError::Malformed(error.to_string());
        let header = Header::decode(&mut &raw.header[..]).map_err(malformed)?;
        let body = BlockBody::<TxEnvelope>::decode(&mut &raw.body[..]).map_err(malformed)?;
        let BlockBody { transactions, ommers, withdrawals } = body;
        let recovered = transactions.into_iter().enumerate().map(|(index, transaction)| {
            transaction.try_into_recovered().map_err(|_| BlockError::Sender { index })
        });
        let transactions = recovered.collect::<Result<_, _>>()?;
        Ok(Self { of: raw.block_ref(), header, body: BlockBody { transactions, ommers, withdrawals } })
    }

    pub fn block_ref(&self) -> BlockRef {
        self.of
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn transactions(&self) -> &[Recovered<TxEnvelope>] {
        &self.body.transactions
    }

    pub fn transaction_hashes(&self) -> impl Iterator<Item = B256> + '_ {
        self.body.transactions.iter().map(|transaction| *transaction.tx_hash())
    }
}
