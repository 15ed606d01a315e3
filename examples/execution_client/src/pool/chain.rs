//! The transactions of one sender, by nonce.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::U256;

use super::entry::Entry;

/// How much a transaction is wanted. Who is less, makes room for who is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    class: Class,
    /// The least that it, or one before it that must be mined first, brings for each gas.
    price: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Waits for an earlier one that is not here.
    Queued,
    /// Comes after its sender's share.
    BeyondShare,
    Share,
    Local,
}

impl Rank {
    pub(super) const LOCAL: Self = Self { class: Class::Local, price: i128::MAX };
}

/// What a sender has here. Those from the account's nonce on without a gap are pending, others are
/// queued; all together can be paid.
#[derive(Debug, Default)]
pub(super) struct SenderChain {
    /// The account's, at the head.
    pub(super) nonce: u64,
    pub(super) balance: U256,
    pub(super) entries: BTreeMap<u64, Arc<Entry>>,
    /// The rank of the last one, as it stands in the index of all; `None` if it stays.
    pub(super) rank: Option<Rank>,
}

impl SenderChain {
    pub(super) fn view(&self) -> ChainView<'_> {
        ChainView { nonce: self.nonce, entries: &self.entries }
    }

    /// What the account, after a change of the head, does not bear: nonces that are used, all from the
    /// first that it cannot pay, and blobs that would wait for an earlier one.
    pub(super) fn unfit(&self) -> Vec<u64> {
        let next = self.view().next_nonce();
        let mut left = Some(self.balance);
        let mut unfit = Vec::new();
        for (nonce, entry) in &self.entries {
            if *nonce < self.nonce || (*nonce > next && entry.has_blobs()) {
                unfit.push(*nonce);
                continue;
            }
            // Once it is none it stays none, so that what goes for its cost leaves no gap.
            left = left.and_then(|left| left.checked_sub(entry.cost));
            if left.is_none() {
                unfit.push(*nonce);
            }
        }
        unfit
    }
}

/// A sender's transactions and the nonce that its account has, or will have.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainView<'a> {
    pub(super) nonce: u64,
    pub(super) entries: &'a BTreeMap<u64, Arc<Entry>>,
}

impl<'a> ChainView<'a> {
    /// Those that could be in the next block, in order.
    pub(super) fn pending(self) -> impl Iterator<Item = &'a Arc<Entry>> {
        let due = self.nonce..;
        let kept = self.entries.range(self.nonce..).zip(due);
        kept.take_while(|((nonce, _), due)| *nonce == due).map(|((_, entry), _)| entry)
    }

    /// The nonce after the pending ones.
    pub(super) fn next_nonce(self) -> u64 {
        self.nonce.saturating_add(self.pending().count() as u64)
    }

    /// What all but the one with this nonce can cost.
    pub(super) fn cost_without(self, nonce: u64) -> U256 {
        let others = self.entries.range(self.nonce..).filter(|(other, _)| **other != nonce);
        others.fold(U256::ZERO, |sum, (_, entry)| sum.saturating_add(entry.cost))
    }

    /// The ranks in the order of nonces. They never rise: taking from the end takes the least wanted.
    pub(super) fn ranks(self, base_fee: u64, share: usize) -> impl Iterator<Item = Rank> {
        let pending = self.pending().count();
        self.entries.values().enumerate().scan(i128::MAX, move |price, (i, entry)| {
            *price = (*price).min(entry.tip_at(base_fee));
            Some(Rank { class: class(i, pending, share), price: *price })
        })
    }

    /// The rank that a transaction has in its place, which it need not have taken yet.
    pub(super) fn rank_of(self, entry: &Entry, base_fee: u64, share: usize) -> Rank {
        let before = self.entries.range(self.nonce..entry.nonce.max(self.nonce));
        let (count, price) = before.fold((0, entry.tip_at(base_fee)), |(count, price), (_, entry)| {
            (count + 1, price.min(entry.tip_at(base_fee)))
        });
        let pending = if entry.nonce <= self.next_nonce() { usize::MAX } else { 0 };
        Rank { class: class(count, pending, share), price }
    }

    /// How many at the beginning stay whatever happens: ours, and what must be mined before them.
    pub(super) fn kept_for_local(self) -> usize {
        self.entries.values().rposition(|entry| entry.is_local).map_or(0, |i| i + 1)
    }
}

fn class(i: usize, pending: usize, share: usize) -> Class {
    match i {
        i if i >= pending => Class::Queued,
        i if i >= share => Class::BeyondShare,
        _ => Class::Share,
    }
}
