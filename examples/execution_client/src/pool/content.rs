//! What a pool holds: the transactions of each sender, found by hash, within the bounds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use alloy_trie::KECCAK_EMPTY;

use super::chain::{ChainView, Rank, SenderChain};
use super::entry::Entry;
use super::limits::PoolLimits;
use super::refusal::Refusal;
use super::room::{Cuts, Room, Totals};
use crate::state::Account;

#[derive(Debug)]
pub(super) struct Content {
    limits: PoolLimits,
    /// The next block's.
    base_fee: u64,
    /// Ordered, so that the same inputs give the same pool.
    chains: BTreeMap<Address, SenderChain>,
    by_hash: HashMap<B256, Arc<Entry>>,
    tails: BTreeSet<(Rank, Address)>,
    /// How many blob transactions a sender has.
    blob_senders: BTreeMap<Address, usize>,
    totals: Totals,
}

impl Content {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            base_fee: 0,
            chains: BTreeMap::new(),
            by_hash: HashMap::new(),
            tails: BTreeSet::new(),
            blob_senders: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    /// Whether there is a place for a transaction, and who goes for it. Changes nothing.
    pub(super) fn place(&self, entry: &Entry, account: &Account) -> Result<Cuts, Refusal> {
        if self.by_hash.contains_key(&entry.hash) {
            return Err(Refusal::Known);
        }
        if entry.nonce < account.nonce {
            return Err(Refusal::NonceUsed { nonce: entry.nonce, next: account.nonce });
        }
        let none = BTreeMap::new();
        let chain = self.chains.get(&entry.sender).map(|chain| chain.view_at(account.nonce));
        let chain = chain.unwrap_or_else(|| ChainView::of(account.nonce, &none));
        let old = chain.entries.get(&entry.nonce);
        match old {
            Some(old) => {
                let blobs = entry.has_blobs() || old.has_blobs();
                let percent =
                    if blobs { self.limits.replace_blob_percent } else { self.limits.replace_percent };
                if !entry.outbids(old, percent) {
                    return Err(Refusal::Underpriced { percent });
                }
            }
            None => self.check_new(entry, chain, account)?,
        }
        let needed = chain.cost_without(entry.nonce).saturating_add(entry.cost);
        if needed > account.balance {
            return Err(Refusal::Balance { balance: account.balance, needed });
        }
        let mut totals = self.totals;
        totals.add(entry);
        if let Some(old) = old {
            totals.subtract(old);
        }
        if totals.fit(&self.limits) {
            return Ok(Cuts::new());
        }
        let rank = match entry.is_local {
            true => Rank::LOCAL,
            false => chain.rank_of(entry, self.base_fee, self.limits.sender_share),
        };
        let Self { chains, tails, blob_senders, limits, base_fee, .. } = self;
        Room { chains, tails, blob_senders, limits, base_fee: *base_fee }.find(entry.sender, rank, totals)
    }

    /// Bounds of the sender, for a nonce that none of its transactions has.
    fn check_new(&self, entry: &Entry, chain: ChainView<'_>, account: &Account) -> Result<(), Refusal> {
        let kept = chain.entries.len();
        // Contracts do not get here: code is a delegation.
        let delegates = account.code_hash != KECCAK_EMPTY;
        let max = if delegates { self.limits.delegating_sender_max } else { self.limits.sender_max };
        if kept >= max {
            return Err(Refusal::SenderFull { max });
        }
        let max = self.limits.sender_blobs_max;
        if entry.has_blobs() && self.blob_senders.get(&entry.sender).is_some_and(|count| *count >= max) {
            return Err(Refusal::SenderBlobsFull { max });
        }
        let (nonce, next) = (entry.nonce, chain.next_nonce());
        let gap = nonce.saturating_sub(next);
        if gap > self.limits.nonce_gap_max || (gap > 0 && entry.has_blobs()) {
            return Err(Refusal::NonceGap { nonce, next });
        }
        if gap > 0 && kept.saturating_sub(chain.pending) >= self.limits.sender_queued_max {
            return Err(Refusal::SenderQueueFull { max: self.limits.sender_queued_max });
        }
        Ok(())
    }

    /// Keeps a transaction that [`place`](Self::place) found a place for; nothing may have changed since.
    pub(super) fn insert(&mut self, entry: Entry, account: &Account, cuts: Cuts) {
        for (sender, first) in cuts {
            let Some(chain) = self.chains.get(&sender) else { continue };
            let gone: Vec<u64> = chain.entries.range(first..).map(|(nonce, _)| *nonce).collect();
            gone.into_iter().for_each(|nonce| self.detach(&sender, nonce));
            self.settle(&sender);
        }
        let sender = entry.sender;
        self.detach(&sender, entry.nonce);
        self.totals.add(&entry);
        if entry.has_blobs() {
            *self.blob_senders.entry(sender).or_default() += 1;
        }
        let entry = Arc::new(entry);
        self.by_hash.insert(entry.hash, Arc::clone(&entry));
        let first = || SenderChain { nonce: account.nonce, ..SenderChain::default() };
        let chain = self.chains.entry(sender).or_insert_with(first);
        let is_next = chain.nonce == account.nonce
            && chain.entries.len() == chain.pending
            && chain.view().next_nonce() == entry.nonce
            && !entry.is_local
            && (chain.rank.is_some() || chain.entries.is_empty());
        (chain.nonce, chain.balance) = (account.nonce, account.balance);
        chain.entries.insert(entry.nonce, Arc::clone(&entry));
        if !is_next {
            return self.settle(&sender);
        }
        // The common case: nothing that was there changes, and a long chain is not gone through.
        let (tip, share) = (entry.tip_at(self.base_fee), self.limits.sender_share);
        let before = chain.rank.replace(Rank::after(chain.rank, chain.pending, tip, share));
        chain.pending += 1;
        chain.cost = chain.cost.saturating_add(entry.cost);
        if let Some(before) = before {
            self.tails.remove(&(before, sender));
        }
        self.tails.extend(chain.rank.map(|rank| (rank, sender)));
    }

    /// The sender's account is like this now: what it does not bear goes.
    pub(super) fn on_account(&mut self, sender: &Address, account: &Account) {
        let Some(chain) = self.chains.get_mut(sender) else { return };
        (chain.nonce, chain.balance) = (account.nonce, account.balance);
        chain.unfit().into_iter().for_each(|nonce| self.detach(sender, nonce));
        self.settle(sender);
    }

    pub(super) fn on_base_fee(&mut self, base_fee: u64) {
        if base_fee != self.base_fee {
            self.base_fee = base_fee;
            self.senders().iter().for_each(|sender| self.settle(sender));
        }
    }

    /// Takes one out; those after it wait.
    pub(super) fn remove(&mut self, hash: &B256) -> Option<Arc<Entry>> {
        let entry = self.by_hash.get(hash).cloned()?;
        self.detach(&entry.sender, entry.nonce);
        self.settle(&entry.sender);
        Some(entry)
    }

    pub(super) fn get(&self, hash: &B256) -> Option<&Arc<Entry>> {
        self.by_hash.get(hash)
    }

    pub(super) fn senders(&self) -> Vec<Address> {
        self.chains.keys().copied().collect()
    }

    pub(super) fn chain(&self, sender: &Address) -> Option<&SenderChain> {
        self.chains.get(sender)
    }

    pub(super) fn chains(&self) -> impl Iterator<Item = &SenderChain> {
        self.chains.values()
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.chains.values().flat_map(|chain| chain.entries.values().cloned()).collect()
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    fn detach(&mut self, sender: &Address, nonce: u64) {
        let Some(chain) = self.chains.get_mut(sender) else { return };
        let Some(entry) = chain.entries.remove(&nonce) else { return };
        self.by_hash.remove(&entry.hash);
        self.totals.subtract(&entry);
        if entry.has_blobs()
            && let Some(count) = self.blob_senders.get_mut(sender)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.blob_senders.remove(sender);
            }
        }
    }

    /// Brings the index of all up to date with one sender.
    fn settle(&mut self, sender: &Address) {
        let Some(chain) = self.chains.get_mut(sender) else { return };
        if let Some(rank) = chain.rank.take() {
            self.tails.remove(&(rank, *sender));
        }
        if chain.entries.is_empty() {
            self.chains.remove(sender);
            return;
        }
        chain.count();
        let view = chain.view();
        if view.kept_for_local() < view.entries.len() {
            chain.rank = view.ranks(self.base_fee, self.limits.sender_share).last();
            self.tails.extend(chain.rank.map(|rank| (rank, *sender)));
        }
    }
}
