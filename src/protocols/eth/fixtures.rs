//! What the tests of eth share: blocks, transactions and receipts of every kind, a chain that can
//! have holes, and an outlet that remembers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy_consensus::{
    BlockBody, Eip658Value, EthereumTxEnvelope as TxEnvelope, Header, Receipt, ReceiptEnvelope,
    SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip4844WithSidecar, TxEip7702, TxLegacy, TxType,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip4844::{Blob, BlobTransactionSidecar, Bytes48};
use alloy_eips::eip4895::{Withdrawal, Withdrawals};
use alloy_eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy_primitives::{Address, B256, Log, Signature, U256, keccak256};
use bytes::{BufMut, Bytes, BytesMut};

use super::chain::{Chain, ChainStatus};
use super::message::Transaction;
use super::pooled::PooledTransaction;
use crate::chain::{BlockRef, ChainSpec, RawBlock};
use crate::disconnect::DisconnectReason;
use crate::ids::{Keypair, SessionId};
use crate::protocols::{self, Outlet, Payload};
use crate::wire::fixtures::Junk;
use crate::wire::rlp::{self, List};

/// A peer that is the same for the same number, with eth/69.
pub(crate) fn peer(number: u8) -> protocols::From {
    let key = Keypair::ed25519_from_bytes([number; 32]).expect("32 bytes are a key");
    let peer = key.public().to_peer_id();
    protocols::From { peer, session: SessionId(u64::from(number)), version: 69 }
}

pub(crate) fn header(number: u64) -> Header {
    Header {
        number,
        parent_hash: keccak256(number.to_be_bytes()),
        difficulty: U256::from(1),
        gas_limit: 30_000_000,
        gas_used: 21_000,
        timestamp: 1_000 + number,
        base_fee_per_gas: Some(7),
        ..Header::default()
    }
}

/// Transactions of every type but blobs, in turn.
pub(crate) fn transactions(count: usize) -> Vec<Transaction> {
    let to = Address::repeat_byte(3);
    let chain_id = 1337;
    let nonce = |at: usize| at as u64;
    (0..count)
        .map(|at| match at % 4 {
            0 => signed(TxLegacy {
                chain_id: Some(chain_id),
                nonce: nonce(at),
                gas_limit: 21_000,
                to: to.into(),
                ..TxLegacy::default()
            }),
            1 => signed(TxEip2930 {
                chain_id,
                nonce: nonce(at),
                gas_limit: 21_000,
                to: to.into(),
                ..TxEip2930::default()
            }),
            2 => signed(TxEip1559 {
                chain_id,
                nonce: nonce(at),
                gas_limit: 21_000,
                to: to.into(),
                ..TxEip1559::default()
            }),
            _ => signed(TxEip7702 {
                chain_id,
                nonce: nonce(at),
                gas_limit: 21_000,
                to,
                ..TxEip7702::default()
            }),
        })
        .collect()
}

/// The same as peers hand them on.
pub(crate) fn pooled_transactions(count: usize) -> Vec<PooledTransaction> {
    let pooled = |transaction: &Transaction| {
        PooledTransaction::from_encoded(transaction.encoded_2718().into()).expect("a right form")
    };
    transactions(count).iter().map(pooled).collect()
}

/// A transaction that carries blobs, with them: as many zeros as they take.
pub(crate) fn with_blobs(blobs: usize, cells: bool) -> PooledTransaction {
    let TxEnvelope::Eip4844(signed) = blob_transaction() else { unreachable!("it was made as one") };
    let (transaction, signature, _) = signed.into_parts();
    let points = |count| vec![Bytes48::ZERO; count];
    let sidecar: BlobTransactionSidecarVariant = if cells {
        BlobTransactionSidecarEip7594::new(vec![Blob::ZERO; blobs], points(blobs), points(128 * blobs)).into()
    } else {
        BlobTransactionSidecar::new(vec![Blob::ZERO; blobs], points(blobs), points(blobs)).into()
    };
    let whole = TxEip4844WithSidecar::from_tx_and_sidecar(transaction, sidecar).into_signed(signature);
    PooledTransaction::from_encoded(whole.encoded_2718().into()).expect("a right form")
}

/// A transaction that carries blobs, without them.
pub(crate) fn blob_transaction() -> Transaction {
    let to = Address::repeat_byte(4);
    signed(TxEip4844 {
        chain_id: 1337,
        to,
        blob_versioned_hashes: vec![B256::repeat_byte(1)],
        ..TxEip4844::default()
    })
}

fn signed<T>(transaction: T) -> Transaction
where
    T: SignableTransaction<Signature>,
    Transaction: From<alloy_consensus::Signed<T>>,
{
    transaction.into_signed(Signature::test_signature()).into()
}

/// A body of this many transactions; the empty one has no withdrawals list.
pub(crate) fn body(count: usize) -> BlockBody<Transaction> {
    let withdrawal = Withdrawal { index: 1, validator_index: 2, address: Address::repeat_byte(5), amount: 3 };
    BlockBody {
        transactions: transactions(count),
        ommers: vec![header(7); count.min(1)],
        withdrawals: (count > 0).then(|| Withdrawals::new(vec![withdrawal; count])),
    }
}

pub(crate) fn raw_block(number: u64, count: usize) -> RawBlock {
    let header = Bytes::from(alloy_rlp::encode(header(number)));
    let body = Bytes::from(alloy_rlp::encode(body(count)));
    RawBlock { number, hash: keccak256(&header), header, body }
}

/// Receipts of every type: with logs of every number of topics, failed, and with a post-state.
pub(crate) fn receipts() -> Vec<ReceiptEnvelope> {
    let log = |topics: u8| {
        let topics = (0..topics).map(B256::repeat_byte).collect();
        Log::new(Address::repeat_byte(6), topics, vec![8; 70].into()).expect("at most four topics")
    };
    let kinds = [TxType::Legacy, TxType::Eip2930, TxType::Eip1559, TxType::Eip4844, TxType::Eip7702];
    let mut receipts: Vec<_> = kinds
        .into_iter()
        .zip(0..)
        .map(|(kind, at)| {
            let receipt = Receipt {
                status: Eip658Value::Eip658(at != 2),
                cumulative_gas_used: 21_000 * (u64::from(at) + 1),
                logs: (0..at).map(log).collect(),
            };
            ReceiptEnvelope::from_typed(kind, receipt.with_bloom())
        })
        .collect();
    let status = Eip658Value::PostState(B256::repeat_byte(9));
    let old = Receipt { status, cumulative_gas_used: 127, logs: vec![log(4)] };
    receipts.push(ReceiptEnvelope::from_typed(TxType::Legacy, old.with_bloom()));
    receipts
}

/// The RLP list of receipts as a chain holds it.
pub(crate) fn consensus_receipts(receipts: &[ReceiptEnvelope]) -> Bytes {
    let mut out = Vec::new();
    alloy_rlp::encode_list(receipts, &mut out);
    Bytes::from(out)
}

/// A chain in memory whose blocks can be forgotten or swollen.
pub(crate) struct FakeChain {
    spec: Arc<ChainSpec>,
    blocks: BTreeMap<u64, RawBlock>,
    /// The receipts of blocks that do not have the usual ones.
    receipts: BTreeMap<u64, Bytes>,
    numbers: BTreeMap<B256, u64>,
    status: Mutex<ChainStatus>,
}

impl FakeChain {
    /// Blocks 0 to `latest`, each with two transactions.
    pub(crate) fn of(latest: u64) -> Self {
        let two = raw_block(0, 2).body;
        let block = |number| RawBlock { body: two.clone(), ..raw_block(number, 0) };
        let blocks: BTreeMap<_, _> = (0..=latest).map(|number| (number, block(number))).collect();
        let numbers = blocks.values().map(|block| (block.hash, block.number)).collect();
        let status = ChainStatus {
            earliest: 0,
            latest: blocks[&latest].block_ref(),
            latest_time: 1_000 + latest,
            total_difficulty: U256::from(latest + 1),
            merged: false,
        };
        let (spec, receipts) = (Arc::new(ChainSpec::dev()), BTreeMap::new());
        Self { spec, blocks, receipts, numbers, status: Mutex::new(status) }
    }

    pub(crate) fn hash(&self, number: u64) -> B256 {
        self.blocks[&number].hash
    }

    pub(crate) fn block(&self, number: u64) -> &RawBlock {
        &self.blocks[&number]
    }

    /// The number of the block with this header.
    pub(crate) fn number_of(&self, header: &[u8]) -> u64 {
        self.numbers[&keccak256(header)]
    }

    pub(crate) fn forget(&mut self, number: u64) {
        self.blocks.remove(&number);
    }

    /// Gives a block a body of this many bytes that do not compress.
    pub(crate) fn swell(&mut self, number: u64, bytes: usize) {
        let junk = Junk::seeded(number).exactly(bytes);
        let mut body = BytesMut::new();
        rlp::put_list_head(rlp::bytes_len(&junk), &mut body);
        rlp::put_bytes(&junk, &mut body);
        assert!(List::whole(&body).is_ok());
        if let Some(block) = self.blocks.get_mut(&number) {
            block.body = body.freeze();
        }
    }

    /// Gives a block this many receipts, each with a log of so many bytes, which compress well.
    pub(crate) fn swell_receipts(&mut self, number: u64, count: u64, log_bytes: usize) {
        let log = |at: u64| {
            let data = at.to_be_bytes().repeat(log_bytes.div_ceil(8));
            Log::new(Address::repeat_byte(6), Vec::new(), data.into()).expect("no topics")
        };
        let receipt = |at| Receipt {
            status: Eip658Value::Eip658(true),
            cumulative_gas_used: 21_000 * (at + 1),
            logs: vec![log(at)],
        };
        let swollen: Vec<_> = (0..count)
            .map(|at| ReceiptEnvelope::from_typed(TxType::Eip1559, receipt(at).with_bloom()))
            .collect();
        self.receipts.insert(number, consensus_receipts(&swollen));
    }

    /// Moves what the chain claims.
    pub(crate) fn set(&self, change: impl FnOnce(&mut ChainStatus)) {
        change(&mut self.status.lock().expect("no test panics under it"));
    }
}

impl Chain for FakeChain {
    fn spec(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    fn status(&self) -> ChainStatus {
        *self.status.lock().expect("no test panics under it")
    }

    fn header(&self, number: u64) -> Option<Bytes> {
        self.blocks.get(&number).map(|block| block.header.clone())
    }

    fn number(&self, hash: &B256) -> Option<u64> {
        self.numbers.get(hash).copied()
    }

    fn body(&self, hash: &B256) -> Option<Bytes> {
        self.blocks.get(&self.number(hash)?).map(|block| block.body.clone())
    }

    fn receipts(&self, hash: &B256) -> Option<Bytes> {
        let swollen = self.receipts.get(&self.number(hash)?);
        Some(swollen.cloned().unwrap_or_else(|| consensus_receipts(&receipts())))
    }
}

/// Remembers what was sent and why it was to end.
#[derive(Debug, Default)]
pub(crate) struct FakeOutlet {
    pub(crate) sent: Mutex<Vec<Payload>>,
    pub(crate) ended: Mutex<Vec<DisconnectReason>>,
}

impl Outlet for FakeOutlet {
    fn send(&self, message: Payload) -> bool {
        self.sent.lock().expect("no test panics under it").push(message);
        true
    }

    fn disconnect(&self, reason: DisconnectReason) {
        self.ended.lock().expect("no test panics under it").push(reason);
    }
}

/// A reference to a block that nobody has.
pub(crate) fn elsewhere(number: u64) -> BlockRef {
    BlockRef { number, hash: B256::repeat_byte(0xee) }
}

/// An RLP list of items that are encoded already.
pub(crate) fn list_of(items: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::new();
    rlp::put_list_head(items.iter().map(|item| item.len()).sum(), &mut out);
    items.iter().for_each(|item| out.put_slice(item));
    out.freeze()
}
