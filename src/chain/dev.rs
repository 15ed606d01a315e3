//! The development chain: a producer of blocks that an execution client could run.
//!
//! Chain id 1337, London rules from block 0, no merge, difficulty 1 a block, gas limit 30 million.
//! Blocks hold transfers between the ten keys of `dev_keys.rs` and sixteen plain addresses, as
//! legacy (EIP-155), access list (EIP-2930) and dynamic fee (EIP-1559) transactions. Nonces, gas,
//! base fee, receipts root and state root are those that execution gives; the base fee is burnt and
//! the tip goes to the coinbase. Two things differ from mainnet's London: there is **no block
//! reward**, and there is no proof of work (mix hash and nonce are zero). The same seed gives the
//! same chain to the last bit.

use std::collections::BTreeMap;

use alloy_consensus::{
    Eip658Value, Header, Receipt, ReceiptEnvelope, SignableTransaction, TxEip1559, TxEip2930, TxEnvelope,
    TxLegacy, TxReceipt,
};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Signature, TxKind, U256, keccak256};
use alloy_trie::TrieAccount;
use alloy_trie::root::{ordered_trie_root_encoded, state_root};
use bytes::Bytes;
use k256::ecdsa::SigningKey;

use super::block::{BlockRef, RawBlock};
use super::dev_keys::{DEV_KEYS, address_of, dev_signers, signature_of};
use super::spec::{ChainSpec, DEV_CHAIN_ID, DEV_ETHER, DEV_GAS_LIMIT};
use crate::wire::rlp;

/// How many addresses without a known key receive transfers.
const RECIPIENTS: u64 = 16;

/// Gas of a plain transfer, of an address and of a storage key in an access list (EIP-2930).
const GAS_TRANSFER: u64 = 21_000;
const GAS_ADDRESS: u64 = 2_400;
const GAS_STORAGE_KEY: u64 = 1_900;

const GWEI: u128 = 1_000_000_000;

/// Makes the blocks of a development chain, one after the other. A clone goes its own way from the
/// same block.
#[derive(Debug, Clone)]
pub struct DevChain {
    parent: Header,
    head: BlockRef,
    accounts: Accounts,
    signers: [(Address, SigningKey); DEV_KEYS],
    random: Random,
}

impl DevChain {
    /// A chain at its genesis ([`ChainSpec::dev`]). The seed decides who sends how much to whom.
    pub fn new(seed: u64) -> Self {
        let spec = ChainSpec::dev();
        let signers = dev_signers().map(|key| (address_of(key.verifying_key()), key));
        let mut accounts = Accounts::default();
        for (address, _) in &signers {
            accounts.credit(*address, U256::from(DEV_ETHER) * U256::from(GWEI) * U256::from(GWEI));
        }
        Self {
            parent: spec.genesis_header().clone(),
            head: spec.genesis(),
            accounts,
            signers,
            random: Random(seed),
        }
    }

    /// The same chain up to here, with other transactions from here on: for forks in tests.
    pub fn fork(&self, seed: u64) -> Self {
        Self { random: Random(seed), ..self.clone() }
    }

    /// The last block made, or the genesis.
    pub fn head(&self) -> BlockRef {
        self.head
    }

    /// Makes the next block with so many transactions, fewer if the gas limit is reached or nobody
    /// can pay the base fee any more. Returns it with the list of its receipts in consensus form.
    ///
    /// A timestamp that is not after the parent's is replaced by the parent's plus one.
    pub fn next_block(&mut self, transactions: usize, timestamp: u64) -> (RawBlock, Bytes) {
        let base_fee = self.parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default();
        let coinbase = coinbase();
        let mut gas_used = 0;
        let mut signed = Vec::new();
        let mut receipts = Vec::new();
        while signed.len() < transactions {
            let Some(transfer) = self.plan(base_fee, DEV_GAS_LIMIT - gas_used) else { break };
            gas_used += transfer.gas;
            self.accounts.run(&transfer, coinbase);
            let transaction = transfer.sign(&self.signers[transfer.sender].1);
            receipts.push(receipt(&transaction, gas_used));
            signed.push(transaction);
        }
        let header = Header {
            parent_hash: self.head.hash,
            beneficiary: coinbase,
            state_root: self.accounts.root(),
            transactions_root: ordered_root(&signed),
            receipts_root: ordered_root(&receipts),
            difficulty: U256::from(1),
            number: self.head.number + 1,
            gas_limit: DEV_GAS_LIMIT,
            gas_used,
            timestamp: timestamp.max(self.parent.timestamp.saturating_add(1)),
            extra_data: self.parent.extra_data.clone(),
            base_fee_per_gas: Some(base_fee),
            logs_bloom: receipts.iter().fold(Default::default(), |bloom, receipt| bloom | receipt.bloom()),
            ..Header::default()
        };
        let block = RawBlock::sealed(&header, &body(&signed));
        self.head = block.block_ref();
        self.parent = header;
        (block, Bytes::from(alloy_rlp::encode(&receipts)))
    }

    /// A transfer by someone who can pay for it, if it fits into what is left of the gas.
    fn plan(&mut self, base_fee: u64, gas_left: u64) -> Option<Transfer> {
        let first = self.random.below(DEV_KEYS as u64) as usize;
        let kind = self.random.below(3);
        let tip = u128::from(self.random.below(2_000_000_000)) + 1;
        let spare = self.random.below(2) * 9_000;
        let access_list = if kind == 0 { AccessList::default() } else { self.access_list() };
        let gas = GAS_TRANSFER
            + GAS_ADDRESS * access_list.len() as u64
            + GAS_STORAGE_KEY * access_list.storage_keys_count() as u64;
        let value = U256::from(self.random.below(1_000_000_000_000_000) + 1);
        let to = self.recipient(first);
        // The dynamic fee leaves room for the base fee to double.
        let price = u128::from(base_fee) + tip;
        let fee_max = if kind == 2 { price + u128::from(base_fee) } else { price };
        let gas_limit = gas + spare;
        if gas_limit > gas_left {
            return None;
        }
        let needed = U256::from(gas_limit) * U256::from(fee_max) + value;
        let sender = (0..DEV_KEYS)
            .map(|step| (first + step) % DEV_KEYS)
            .find(|sender| self.accounts.get(self.signers[*sender].0).balance >= needed)?;
        let from = self.signers[sender].0;
        let nonce = self.accounts.get(from).nonce;
        Some(Transfer {
            kind,
            sender,
            from,
            nonce,
            to,
            value,
            gas,
            gas_limit,
            access_list,
            price,
            tip,
            fee_max,
        })
    }

    /// Half of them empty, else up to two addresses with up to two storage keys each.
    fn access_list(&mut self) -> AccessList {
        let items = if self.random.below(2) == 0 { 0 } else { 1 + self.random.below(2) };
        let items = (0..items).map(|_| {
            let address = plain_address(self.random.below(RECIPIENTS));
            let storage_keys =
                (0..self.random.below(3)).map(|_| B256::from(U256::from(self.random.below(100))));
            AccessListItem { address, storage_keys: storage_keys.collect() }
        });
        AccessList(items.collect())
    }

    fn recipient(&mut self, sender: usize) -> Address {
        match self.random.below(2) {
            0 => self.signers[(sender + 1 + self.random.below(DEV_KEYS as u64 - 1) as usize) % DEV_KEYS].0,
            _ => plain_address(self.random.below(RECIPIENTS)),
        }
    }
}

/// Whether a branch with total difficulty `theirs` replaces ours: the heavier one wins, at a tie the
/// one seen first, which is ours.
pub fn replaces(ours: U256, theirs: U256) -> bool {
    theirs > ours
}

/// Who gets the tips.
pub fn coinbase() -> Address {
    Address::from_word(keccak256("trunkline dev coinbase"))
}

/// A transfer that has been decided on, before it is signed.
#[derive(Debug)]
struct Transfer {
    /// 0 legacy, 1 access list, 2 dynamic fee.
    kind: u64,
    sender: usize,
    from: Address,
    nonce: u64,
    to: Address,
    value: U256,
    /// What it uses: nothing but its intrinsic gas, because the recipients have no code.
    gas: u64,
    gas_limit: u64,
    access_list: AccessList,
    /// What it pays per gas.
    price: u128,
    tip: u128,
    fee_max: u128,
}

impl Transfer {
    fn sign(&self, key: &SigningKey) -> TxEnvelope {
        let (nonce, gas_limit, value, to) = (self.nonce, self.gas_limit, self.value, TxKind::Call(self.to));
        let input = alloy_primitives::Bytes::new();
        match self.kind {
            0 => {
                let chain_id = Some(DEV_CHAIN_ID);
                sign(TxLegacy { chain_id, nonce, gas_price: self.price, gas_limit, to, value, input }, key)
            }
            1 => {
                let (chain_id, access_list) = (DEV_CHAIN_ID, self.access_list.clone());
                let gas_price = self.price;
                sign(TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input }, key)
            }
            _ => sign(
                TxEip1559 {
                    chain_id: DEV_CHAIN_ID,
                    nonce,
                    gas_limit,
                    max_fee_per_gas: self.fee_max,
                    max_priority_fee_per_gas: self.tip,
                    to,
                    value,
                    access_list: self.access_list.clone(),
                    input,
                },
                key,
            ),
        }
    }
}

fn sign<T>(transaction: T, key: &SigningKey) -> TxEnvelope
where
    T: SignableTransaction<Signature>,
    TxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = signature_of(key, &transaction.signature_hash());
    transaction.into_signed(signature).into()
}

fn receipt(transaction: &TxEnvelope, cumulative_gas_used: u64) -> ReceiptEnvelope {
    let receipt = Receipt { status: Eip658Value::Eip658(true), cumulative_gas_used, logs: Vec::new() };
    let receipt = receipt.with_bloom();
    match transaction {
        TxEnvelope::Eip2930(_) => ReceiptEnvelope::Eip2930(receipt),
        TxEnvelope::Eip1559(_) => ReceiptEnvelope::Eip1559(receipt),
        _ => ReceiptEnvelope::Legacy(receipt),
    }
}

fn ordered_root(items: &[impl Encodable2718]) -> B256 {
    let encoded: Vec<Vec<u8>> = items.iter().map(Encodable2718::encoded_2718).collect();
    ordered_trie_root_encoded(&encoded)
}

/// The list of transactions and an empty list of ommers.
fn body(transactions: &[TxEnvelope]) -> Vec<u8> {
    let mut list = Vec::new();
    alloy_rlp::encode_list(transactions, &mut list);
    let mut body = Vec::with_capacity(rlp::item_len(list.len() + 1));
    rlp::put_list_head(list.len() + 1, &mut body);
    body.extend_from_slice(&list);
    body.push(rlp::EMPTY_LIST);
    body
}

fn plain_address(i: u64) -> Address {
    Address::from_word(keccak256(format!("trunkline dev recipient {i}")))
}

/// Balance and nonce of those who have one, by the hash of their address: the order of the trie.
#[derive(Debug, Clone, Default)]
struct Accounts(BTreeMap<B256, TrieAccount>);

impl Accounts {
    fn get(&self, address: Address) -> TrieAccount {
        self.0.get(&keccak256(address)).copied().unwrap_or_default()
    }

    /// Nothing credited makes no account (EIP-158).
    fn credit(&mut self, address: Address, amount: U256) {
        if !amount.is_zero() {
            self.0.entry(keccak256(address)).or_default().balance += amount;
        }
    }

    /// Moves the value, burns the base fee and pays the tip. The sender was asked whether they can.
    fn run(&mut self, transfer: &Transfer, coinbase: Address) {
        let gas = U256::from(transfer.gas);
        let sender = self.0.entry(keccak256(transfer.from)).or_default();
        sender.nonce += 1;
        sender.balance -= gas * U256::from(transfer.price) + transfer.value;
        self.credit(transfer.to, transfer.value);
        self.credit(coinbase, gas * U256::from(transfer.tip));
    }

    fn root(&self) -> B256 {
        state_root(self.0.iter().map(|(key, account)| (*key, *account)))
    }
}

/// SplitMix64: small, seeded, and the same in every version of every library.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; the bias of a small bound does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests;
