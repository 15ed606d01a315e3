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

    /// The rank of a pending one that comes `i`-th, after one with this rank.
    pub(super) fn after(before: Option<Self>, i: usize, tip: i128, share: usize) -> Self {
        let price = before.map_or(tip, |before| before.price.min(tip));
        Self { class: class(i, usize::MAX, share), price }
    }
}

/// What a sender has here. Those from the account's nonce on without a gap are pending, others are
/// queued; all together can be paid.
#[derive(Debug, Default)]
pub(super) struct SenderChain {
    /// The account's, at the head.
    pub(super) nonce: u64,
    pub(super) balance: U256,
    pub(super) entries: BTreeMap<u64, Arc<Entry>>,
    /// How many are pending, and what all can cost: counted once for all that ask.
    pub(super) pending: usize,
    pub(super) cost: U256,
    /// The rank of the last one, as it stands in the index of all; `None` if it stays.
    pub(super) rank: Option<Rank>,
}

impl SenderChain {
    pub(super) fn view(&self) -> ChainView<'_> {
        let Self { nonce, pending, cost, ref entries, .. } = *self;
        ChainView { nonce, pending, cost, entries }
    }

    /// As it will be when the account's nonce is this.
    pub(super) fn view_at(&self, nonce: u64) -> ChainView<'_> {
        if nonce == self.nonce { self.view() } else { ChainView::of(nonce, &self.entries) }
    }

    /// To be called after every change of the nonce or the transactions.
    pub(super) fn count(&mut self) {
        let ChainView { pending, cost, .. } = ChainView::of(self.nonce, &self.entries);
        (self.pending, self.cost) = (pending, cost);
    }

    /// What the account, after a change of the head, does not bear: nonces that are used, all from the
    /// first that it cannot pay, and blobs that would wait for an earlier one.
    pub(super) fn unfit(&self) -> Vec<u64> {
        let next = ChainView::of(self.nonce, &self.entries).next_nonce();
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
    /// How many are pending.
    pub(super) pending: usize,
    /// What all can cost whose nonces are not used.
    cost: U256,
}

impl<'a> ChainView<'a> {
    pub(super) fn of(nonce: u64, entries: &'a BTreeMap<u64, Arc<Entry>>) -> Self {
        let unused = || entries.range(nonce..);
        let pending = unused().zip(nonce..).take_while(|((nonce, _), due)| *nonce == due).count();
        let cost = unused().fold(U256::ZERO, |sum, (_, entry)| sum.saturating_add(entry.cost));
        Self { nonce, entries, pending, cost }
    }

    /// Those that could be in the next block, in order.
    pub(super) fn pending(self) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.entries.range(self.nonce..).take(self.pending).map(|(_, entry)| entry)
    }

    /// The nonce after the pending ones.
    pub(super) fn next_nonce(self) -> u64 {
        self.nonce.saturating_add(self.pending as u64)
    }

    /// What all but the one with this nonce can cost.
    pub(super) fn cost_without(self, nonce: u64) -> U256 {
        let its = self.entries.get(&nonce).filter(|_| nonce >= self.nonce);
        self.cost.saturating_sub(its.map_or(U256::ZERO, |entry| entry.cost))
    }

    /// The ranks in the order of nonces. They never rise: taking from the end takes the least wanted.
    pub(super) fn ranks(self, base_fee: u64, share: usize) -> impl Iterator<Item = Rank> {
        self.entries.values().enumerate().scan(i128::MAX, move |price, (i, entry)| {
            *price = (*price).min(entry.tip_at(base_fee));
            Some(Rank { class: class(i, self.pending, share), price: *price })
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
