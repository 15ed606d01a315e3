//! Who makes room for a transaction when the pool is full.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;

use super::chain::{Rank, SenderChain};
use super::entry::Entry;
use super::limits::PoolLimits;
use super::refusal::Refusal;

/// What the bounds are about.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) transactions: usize,
    pub(super) bytes: usize,
    pub(super) blob_transactions: usize,
    pub(super) blob_bytes: usize,
}

impl Totals {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.transactions += 1;
        self.bytes += entry.plain_bytes;
        self.blob_transactions += usize::from(entry.has_blobs());
        self.blob_bytes += entry.blob_bytes();
    }

    pub(super) fn subtract(&mut self, entry: &Entry) {
        self.transactions = self.transactions.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.plain_bytes);
        self.blob_transactions = self.blob_transactions.saturating_sub(usize::from(entry.has_blobs()));
        self.blob_bytes = self.blob_bytes.saturating_sub(entry.blob_bytes());
    }

    pub(super) fn fit(&self, limits: &PoolLimits) -> bool {
        !self.too_much(limits) && !self.too_many_blobs(limits)
    }

    fn too_much(&self, limits: &PoolLimits) -> bool {
        self.transactions > limits.transactions_max || self.bytes > limits.bytes_max
    }

    fn too_many_blobs(&self, limits: &PoolLimits) -> bool {
        self.blob_transactions > limits.blob_transactions_max || self.blob_bytes > limits.blob_bytes_max
    }
}

/// From each of these senders, everything from this nonce on goes.
pub(super) type Cuts = Vec<(Address, u64)>;

/// What is looked at to find room.
pub(super) struct Room<'a> {
    pub(super) chains: &'a BTreeMap<Address, SenderChain>,
    /// The last transaction of each sender that may go, the least wanted first.
    pub(super) tails: &'a BTreeSet<(Rank, Address)>,
    /// Senders with blobs.
    pub(super) blob_senders: &'a BTreeMap<Address, usize>,
    pub(super) limits: &'a PoolLimits,
    pub(super) base_fee: u64,
}

/// How far a sender's transactions are taken back.
struct Walk<'a> {
    entries: Vec<&'a Entry>,
    ranks: Vec<Rank>,
    /// So many stay.
    left: usize,
    /// So many stay whatever happens.
    kept: usize,
}

impl Walk<'_> {
    /// The rank that decides whether the last one left goes.
    fn tail(&self) -> Option<Rank> {
        let last = self.left.checked_sub(1).filter(|last| *last >= self.kept)?;
        self.ranks.get(last).copied()
    }

    /// The place of the last blobs left, and their rank.
    fn last_blobs(&self) -> Option<(Rank, usize)> {
        let i = (self.kept..self.left).rev().find(|i| self.entries.get(*i).is_some_and(|e| e.has_blobs()))?;
        Some((*self.ranks.get(i)?, i))
    }

    fn cut(&mut self, left: usize, totals: &mut Totals) {
        self.entries.iter().take(self.left).skip(left).for_each(|entry| totals.subtract(entry));
        self.left = left;
    }
}

impl<'a> Room<'a> {
    /// Finds room for `own`'s transaction of that rank, `totals` being what there would be with it.
    /// Only what is wanted less makes room, from the end of its sender's chain, so that no chain gets a
    /// gap; and the sender itself does not.
    pub(super) fn find(&self, own: Address, rank: Rank, mut totals: Totals) -> Result<Cuts, Refusal> {
        let mut walks = BTreeMap::new();
        while totals.too_many_blobs(self.limits) {
            let mut least = None;
            for sender in self.blob_senders.keys().filter(|sender| **sender != own) {
                let walk = walks.entry(*sender).or_insert_with(|| self.walk(sender));
                if let Some((rank, i)) = walk.last_blobs() {
                    least = least.into_iter().chain([(rank, *sender, i)]).min();
                }
            }
            let Some((_, sender, i)) = least.filter(|(least, ..)| *least < rank) else {
                return Err(Refusal::Full);
            };
            walks.entry(sender).and_modify(|walk| walk.cut(i, &mut totals));
        }

        let mut begun: BTreeSet<_> =
            walks.iter().filter_map(|(sender, walk)| Some((walk.tail()?, *sender))).collect();
        let fresh: Vec<Address> = walks.keys().copied().collect();
        let mut fresh =
            self.tails.iter().filter(|(_, s)| *s != own && !fresh.contains(s)).copied().peekable();
        while totals.too_much(self.limits) {
            let least = match (begun.first().copied(), fresh.peek().copied()) {
                (Some(begun), Some(fresh)) => begun.min(fresh),
                (begun, fresh) => begun.or(fresh).ok_or(Refusal::Full)?,
            };
            if least.0 >= rank {
                return Err(Refusal::Full);
            }
            if !begun.remove(&least) {
                fresh.next();
            }
            let walk = walks.entry(least.1).or_insert_with(|| self.walk(&least.1));
            walk.cut(walk.left.saturating_sub(1), &mut totals);
            begun.extend(walk.tail().map(|rank| (rank, least.1)));
        }
        let cuts =
            walks.iter().filter_map(|(sender, walk)| Some((*sender, walk.entries.get(walk.left)?.nonce)));
        Ok(cuts.collect())
    }

    fn walk(&self, sender: &Address) -> Walk<'a> {
        let Some(chain) = self.chains.get(sender) else {
            return Walk { entries: Vec::new(), ranks: Vec::new(), left: 0, kept: 0 };
        };
        let view = chain.view();
        let entries: Vec<&Entry> = view.entries.values().map(AsRef::as_ref).collect();
        let ranks = view.ranks(self.base_fee, self.limits.sender_share).collect();
        Walk { left: entries.len(), entries, ranks, kept: view.kept_for_local() }
    }
}
