//! The transaction pool: what is in no block yet, checked, bounded, and ordered.
//!
//! Owns: the transactions kept, by sender and nonce, and the memory of those refused. Never: the
//! network (trunkline asks and hands on, by [`TransactionPool`]), a disk, a task of its own.
//!
//! ```text
//! bytes ─ open ─ check_alone ─ signer ─ sender_account ─ place ─ check_proofs ─ place again, insert
//!        size     forks, gas,           nonce, balance,  room     blobs
//!        decode   fees, blobs           code
//! ```
//!
//! The lock is held for lookups and for `place` and `insert`, never for a signature, a proof or a
//! read of the state. When full: see [`PoolLimits`].

mod blobs;
mod chain;
mod check;
mod content;
mod decode;
mod entry;
mod intrinsic;
mod limits;
mod order;
mod recent;
mod refusal;
mod room;
mod rules;
mod tx_file;

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_consensus::TxEnvelope;
use alloy_consensus::transaction::Recovered;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use trunkline::protocols::eth::PooledHash;
use trunkline::transactions::{PooledTransaction, TransactionPool, Verdict};

pub use limits::PoolLimits;
pub use refusal::Refusal;
pub use rules::Head;
pub use tx_file::{TxFileError, read_tx_file};

use crate::genesis::Chain;
use crate::state::StateView;
use blobs::Sidecar;
use content::Content;
use entry::Entry;
use recent::Recent;
use refusal::Remember;
use rules::Rules;

/// A transaction as blocks have it.
pub type Transaction = TxEnvelope;

/// What a peer is told at once at most (eth/68, 4,096 hashes a message).
const HASHES_MAX: usize = 4_096;

/// How often a check is begun anew because the head moved meanwhile.
const HEAD_MOVES_MAX: usize = 4;

/// The transactions that wait for a block. Shared in an `Arc`; every method may be called from any
/// thread. Refuses all until the first [`on_head`](Self::on_head).
#[derive(Debug)]
pub struct Pool {
    genesis: Arc<Genesis>,
    limits: PoolLimits,
    inner: Mutex<Inner>,
}

/// What a pool holds, counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Could be in the next block, as far as nonces go.
    pub pending: usize,
    /// Wait for an earlier one of their sender.
    pub queued: usize,
    /// Bytes of all, what belongs to blobs left out.
    pub bytes: usize,
    pub blob_transactions: usize,
    pub blob_bytes: usize,
}

#[derive(Debug)]
struct Inner {
    content: Content,
    recent: Recent,
    view: Option<View>,
    /// Blob transactions that were mined: blocks have them without what belongs to the blobs, and a
    /// reorg brings them back. The oldest first; bounded in bytes.
    mined_blobs: VecDeque<Arc<Entry>>,
}

/// What transactions are checked against.
#[derive(Clone)]
struct View {
    head: Head,
    rules: Rules,
    state: Arc<dyn StateView + Send + Sync>,
    /// Counts heads, so that a check can tell whether it was overtaken.
    generation: u64,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("head", &self.head).field("generation", &self.generation).finish()
    }
}

/// A transaction of which only the sender's account, its place and its proofs are left to check.
struct Candidate<'a> {
    sidecar: Option<Sidecar<'a>>,
    entry: Entry,
}

impl Pool {
    pub fn new(chain: &Chain, limits: PoolLimits) -> Self {
        let inner = Inner {
            content: Content::new(limits.clone()),
            recent: Recent::new(limits.recent_max),
            view: None,
            mined_blobs: VecDeque::new(),
        };
        Self { genesis: Arc::clone(&chain.genesis), limits, inner: Mutex::new(inner) }
    }

    /// The head moved; heads are told one after the other. `state` reads the state after it and does not
    /// change any more. `mined` are the transactions of blocks that are new on the chain, `back` those of
    /// blocks that are off it: they come in again if they are still good.
    ///
    /// A transaction may be in both: the new branch mined it as well.
    ///
    /// Reads the account of every sender in the pool, so it is not for the network's thread.
    pub fn on_head(
        &self,
        head: Head,
        state: Arc<dyn StateView + Send + Sync>,
        mined: &[B256],
        back: Vec<PooledTransaction>,
    ) {
        let rules = Rules::after(&self.genesis.config, &head);
        let (senders, view, rules_changed) = {
            let mut inner = self.lock();
            let old = inner.view.take();
            let generation = old.as_ref().map_or(0, |old| old.generation.wrapping_add(1));
            let view = View { head, rules, state, generation };
            inner.view = Some(view.clone());
            inner.recent.on_head();
            inner.content.on_base_fee(head.base_fee);
            mined.iter().for_each(|hash| inner.on_mined(hash, self.limits.mined_blob_bytes_max));
            (inner.content.senders(), view, old.is_some_and(|old| old.rules != rules))
        };
        // Before the accounts are brought up to date: a reorg lowers nonces, and what comes back fills
        // the gap that blobs must not wait behind.
        let mined: HashSet<&B256> = mined.iter().collect();
        self.bring_back(back.into_iter().filter(|transaction| !mined.contains(&transaction.hash)).collect());
        if rules_changed {
            self.recheck(&view);
        }
        for sender in senders {
            // Who cannot be read stays as it was: a store that fails is told of elsewhere.
            let Ok(account) = view.state.account(&sender) else { continue };
            let mut inner = self.lock();
            if !inner.is_at(&view) {
                return;
            }
            inner.content.on_account(&sender, &account.unwrap_or_default());
        }
    }

    /// Adds a transaction of our own user. It makes no room for others, and says why it is refused.
    pub fn add_local(&self, transaction: PooledTransaction) -> Result<B256, Refusal> {
        let view = self.view().ok_or(Refusal::NoHead)?;
        let candidate = self.examine(&transaction, &view, true)?;
        self.admit(candidate)
    }

    /// What a producer puts into a block with this base fee and gas limit: by what each gas brings it,
    /// the nonces of a sender in order, blobs as many as a block may have.
    pub fn best(&self, base_fee: u64, gas_limit: u64) -> Vec<Recovered<Transaction>> {
        let chosen = {
            let inner = self.lock();
            let Some(view) = &inner.view else { return Vec::new() };
            let (blob_base_fee, blobs_max) = (view.head.blob_base_fee, view.rules.blobs.max_blob_count);
            let block = order::Block { base_fee, blob_base_fee, gas_limit, blobs_max };
            order::best(inner.content.chains(), block)
        };
        let transactions = chosen.iter().map_while(|entry| entry.transaction());
        transactions.collect()
    }

    pub fn len(&self) -> usize {
        self.lock().content.totals().transactions
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn status(&self) -> PoolStatus {
        let inner = self.lock();
        let totals = inner.content.totals();
        let pending = inner.content.chains().map(|chain| chain.view().pending().count()).sum();
        PoolStatus {
            pending,
            queued: totals.transactions.saturating_sub(pending),
            bytes: totals.bytes,
            blob_transactions: totals.blob_transactions,
            blob_bytes: totals.blob_bytes,
        }
    }

    /// The nonce that the sender's next transaction should have: after those that are pending here.
    pub fn next_nonce(&self, sender: &Address) -> Option<u64> {
        self.lock().content.chain(sender).map(|chain| chain.view().next_nonce())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> Option<View> {
        self.lock().view.clone()
    }

    /// Everything about a transaction that needs neither the sender's account nor the lock for long.
    fn examine<'a>(
        &self,
        given: &'a PooledTransaction,
        view: &View,
        is_local: bool,
    ) -> Result<Candidate<'a>, Refusal> {
        {
            let inner = self.lock();
            if inner.content.get(&given.hash).is_some() {
                return Err(Refusal::Known);
            }
            if !is_local && inner.recent.contains(&given.hash) {
                return Err(Refusal::Lately);
            }
        }
        let decoded = check::open(&given.encoded, &view.rules, &self.limits)?;
        if decoded.hash != given.hash {
            return Err(Refusal::WrongHash);
        }
        check::check_alone(&decoded, &view.head, &view.rules, &self.limits)?;
        let sender = check::signer(&decoded.transaction)?;
        let entry = Entry::new(&decoded, given.encoded.clone(), sender, is_local);
        Ok(Candidate { sidecar: decoded.sidecar, entry })
    }

    /// Keeps a transaction if its sender's account and the room there is allow it.
    fn admit(&self, candidate: Candidate<'_>) -> Result<B256, Refusal> {
        let Candidate { mut sidecar, entry } = candidate;
        let hash = entry.hash;
        for _ in 0..HEAD_MOVES_MAX {
            let view = self.view().ok_or(Refusal::NoHead)?;
            let account = check::sender_account(&*view.state, &entry.sender)?;
            if let Some(sidecar) = sidecar.take() {
                // Not before there is a place for it: proofs take longest.
                self.lock().content.place(&entry, &account)?;
                sidecar.check_proofs()?;
            }
            let mut inner = self.lock();
            if inner.is_at(&view) {
                let cuts = inner.content.place(&entry, &account)?;
                inner.content.insert(entry, &account, cuts);
                inner.recent.forget(&hash);
                return Ok(hash);
            }
        }
        Err(Refusal::HeadMoved)
    }

    /// One result for each. Those of a sender are admitted in the order of their nonces, whatever order
    /// they came in.
    fn add_all(&self, transactions: &[PooledTransaction]) -> Vec<Result<B256, Refusal>> {
        let Some(view) = self.view() else {
            return transactions.iter().map(|_| Err(Refusal::NoHead)).collect();
        };
        let examined = transactions.iter().map(|given| self.examine(given, &view, false));
        let mut examined: Vec<_> = examined.enumerate().collect();
        examined.sort_by_key(|(_, result)| result.as_ref().map_or(0, |candidate| candidate.entry.nonce));
        let mut results: Vec<_> = examined
            .into_iter()
            .map(|(i, result)| (i, result.and_then(|candidate| self.admit(candidate))))
            .collect();
        results.sort_by_key(|(i, _)| *i);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn bring_back(&self, mut back: Vec<PooledTransaction>) {
        {
            let mut inner = self.lock();
            for transaction in &mut back {
                inner.recent.forget(&transaction.hash);
                let mined = inner.mined_blobs.iter().position(|entry| entry.hash == transaction.hash);
                if let Some(entry) = mined.and_then(|i| inner.mined_blobs.remove(i)) {
                    transaction.encoded = entry.encoded.clone();
                }
            }
        }
        self.add_all(&back);
    }

    /// Takes out what the rules of a new fork do not allow.
    fn recheck(&self, view: &View) {
        let entries = self.lock().content.entries();
        let is_bad = |entry: &&Arc<Entry>| {
            let decoded = check::open(&entry.encoded, &view.rules, &self.limits);
            decoded.and_then(|d| check::check_alone(&d, &view.head, &view.rules, &self.limits)).is_err()
        };
        let bad: Vec<B256> = entries.iter().filter(is_bad).map(|entry| entry.hash).collect();
        let mut inner = self.lock();
        bad.iter().for_each(|hash| drop(inner.content.remove(hash)));
    }
}

impl Inner {
    fn is_at(&self, view: &View) -> bool {
        self.view.as_ref().is_some_and(|now| now.generation == view.generation)
    }

    fn on_mined(&mut self, hash: &B256, blob_bytes_max: usize) {
        self.recent.remember(*hash, Remember::ForEver);
        let Some(entry) = self.content.remove(hash).filter(|entry| entry.has_blobs()) else { return };
        self.mined_blobs.push_back(entry);
        let mut bytes: usize = self.mined_blobs.iter().map(|entry| entry.encoded.len()).sum();
        while bytes > blob_bytes_max
            && let Some(oldest) = self.mined_blobs.pop_front()
        {
            bytes -= oldest.encoded.len();
        }
    }
}

impl TransactionPool for Pool {
    fn knows(&self, hash: &B256) -> bool {
        let inner = self.lock();
        inner.content.get(hash).is_some() || inner.recent.contains(hash)
    }

    fn pooled(&self, hash: &B256) -> Option<Bytes> {
        self.lock().content.get(hash).map(|entry| entry.encoded.clone())
    }

    /// Only those that could be in the next block.
    fn hashes(&self) -> Vec<PooledHash> {
        let inner = self.lock();
        let pending = inner.content.chains().flat_map(|chain| chain.view().pending());
        let pooled = |entry: &Arc<Entry>| {
            let Entry { kind, encoded, hash, .. } = &**entry;
            PooledHash { kind: *kind, size: encoded.len() as u64, hash: *hash }
        };
        pending.take(HASHES_MAX).map(pooled).collect()
    }

    fn add(&self, transactions: Vec<PooledTransaction>) -> Vec<Verdict> {
        let results = self.add_all(&transactions);
        let mut inner = self.lock();
        let verdicts = results.into_iter().zip(&transactions).map(|(result, given)| match result {
            Ok(_) => Verdict::Added,
            Err(refusal) => {
                inner.recent.remember(given.hash, refusal.remember());
                refusal.verdict()
            }
        });
        verdicts.collect()
    }
}
