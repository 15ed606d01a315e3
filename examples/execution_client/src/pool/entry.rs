//! A transaction that is kept, and what the pool needs to know of it without decoding it again.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{Transaction, TxEnvelope, Typed2718};
use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;

use super::check;
use super::decode::{self, BLOB, Decoded};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) hash: B256,
    pub(super) kind: u8,
    pub(super) sender: Address,
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    /// The most it pays for each gas; the price of one that has only that.
    pub(super) fee_max: u128,
    /// The most of it that goes to the producer.
    pub(super) tip_max: u128,
    pub(super) blob_fee_max: u128,
    /// How many blobs.
    pub(super) blobs: u64,
    /// The most it can take from its sender.
    pub(super) cost: U256,
    /// As peers hand it on; a copy of its own, which trunkline sees to, not a part of a message.
    pub(super) encoded: Bytes,
    /// The part of `encoded` that blocks have.
    pub(super) plain_bytes: usize,
    /// Of our own user: never makes room for others.
    pub(super) is_local: bool,
}

impl Entry {
    pub(super) fn new(decoded: &Decoded<'_>, encoded: Bytes, sender: Address, is_local: bool) -> Self {
        let transaction = &decoded.transaction;
        Self {
            hash: decoded.hash,
            kind: transaction.ty(),
            sender,
            nonce: transaction.nonce(),
            gas_limit: transaction.gas_limit(),
            fee_max: transaction.max_fee_per_gas(),
            tip_max: transaction.priority_fee_or_price(),
            blob_fee_max: transaction.max_fee_per_blob_gas().unwrap_or_default(),
            blobs: transaction.blob_count().unwrap_or_default(),
            cost: check::cost_max(transaction),
            encoded,
            plain_bytes: decoded.plain_bytes,
            is_local,
        }
    }

    /// Itself, as blocks have it. It decoded once, so it does again.
    pub(super) fn transaction(&self) -> Option<Recovered<TxEnvelope>> {
        let transaction = match self.kind {
            BLOB => decode::split_blob(&self.encoded).and_then(|(plain, _)| decode::decode_plain(&plain)),
            _ => decode::decode_plain(&self.encoded),
        };
        Some(Recovered::new_unchecked(transaction.ok()?, self.sender))
    }

    /// The bytes that belong to its blobs.
    pub(super) fn blob_bytes(&self) -> usize {
        self.encoded.len().saturating_sub(self.plain_bytes)
    }

    pub(super) fn has_blobs(&self) -> bool {
        self.blobs > 0
    }

    /// What each gas brings the producer at this base fee; negative if it does not even pay that.
    pub(super) fn tip_at(&self, base_fee: u64) -> i128 {
        let clamp = |fee: u128| i128::try_from(fee).unwrap_or(i128::MAX);
        clamp(self.tip_max).min(clamp(self.fee_max).saturating_sub(i128::from(base_fee)))
    }

    /// Whether each fee is so many percent above that of the one with its nonce.
    pub(super) fn outbids(&self, old: &Self, percent: u128) -> bool {
        let raised = |fee: u128| {
            let rest = (fee % 100).saturating_mul(percent).div_ceil(100);
            fee.saturating_add((fee / 100).saturating_mul(percent)).saturating_add(rest)
        };
        let blob_fee_is_raised =
            !(self.has_blobs() && old.has_blobs()) || self.blob_fee_max >= raised(old.blob_fee_max);
        self.fee_max >= raised(old.fee_max) && self.tip_max >= raised(old.tip_max) && blob_fee_is_raised
    }
}
