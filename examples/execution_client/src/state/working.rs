//! Committed state, and everything that changed since.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use bytes::Bytes;

use super::{
    trie::{Change, Growth, Mark, Trie, Weight},
    types::{Account, BlockDiff, StateBatch, StateError, StateSource, StateView},
};

/// Bytes of trie nodes that stay in memory from one batch to the next, about. When there are more,
/// those go first that were used by no batch for longest, and of these the deepest, until half of this
/// remains: so not every commit has to look for what may go.
pub const CACHE_BYTES_MAX: usize = 32 << 20;

/// How far back BLOCKHASH sees.
const BLOCK_HASHES_MAX: usize = 256;

/// The owner of the trie of the accounts.
const ACCOUNTS: B256 = B256::ZERO;

/// Committed state and everything that changed since the last commit. Blocks are applied one by one;
/// from time to time the caller takes the batch, commits it, and goes on on top of it:
///
/// ```text
/// apply, apply, … ─ bytes() large enough ─> take ─ StateBatch ─> the store commits ─> rebase, apply, …
/// ```
///
/// Memory is bounded by [`CACHE_BYTES_MAX`] and the batch, whose size is the caller's to watch.
#[derive(Debug)]
pub struct WorkingState<S: StateSource> {
    source: S,
    /// All but the trie nodes, which are collected when the batch is taken.
    batch: StateBatch,
    /// `None` until the first block.
    accounts: Option<Trie>,
    /// Storage that was written in this batch or lately. Storage without an entry is as committed.
    storage: HashMap<Address, Trie>,
    /// The youngest blocks, which the source may not know yet. At most [`BLOCK_HASHES_MAX`]; the oldest
    /// goes first.
    hashes: BTreeMap<u64, B256>,
    last: Option<Last>,
    bytes: usize,
    /// No fewer bytes of trie nodes are in memory; what was made anew and replaced counts twice.
    held: usize,
    cache_bytes_max: usize,
    /// Counts batches.
    now: u32,
}

/// What a block came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The state root after it.
    pub root: B256,
    /// What leads back to the state before it.
    pub undo: BlockDiff,
}

/// What it takes to take the last block back.
#[derive(Debug)]
struct Last {
    undo: BlockDiff,
    tries: Marks,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Marks {
    accounts: Option<Mark>,
    storage: Vec<(Address, Mark)>,
}

/// What a block really changes of one account.
struct Step {
    address: Address,
    before: Option<Account>,
    after: Option<Account>,
    /// All slots there were go, and there were some.
    is_wiped: bool,
    slots: Vec<(U256, U256)>,
}

impl<S: StateSource> WorkingState<S> {
    /// On top of what `source` has. Damage below the root is met as an error when it is read; whether the
    /// root is right only the caller knows, who has the header of the block the source is at.
    pub fn new(source: S) -> Self {
        Self::with_cache(source, CACHE_BYTES_MAX)
    }

    /// The same with another bound than [`CACHE_BYTES_MAX`].
    pub fn with_cache(source: S, cache_bytes_max: usize) -> Self {
        Self {
            source,
            batch: StateBatch::default(),
            accounts: None,
            storage: HashMap::new(),
            hashes: BTreeMap::new(),
            last: None,
            bytes: 0,
            held: 0,
            cache_bytes_max,
            now: 0,
        }
    }

    /// Applies what a block changed. After an error the state is as before.
    pub fn apply(&mut self, diff: &BlockDiff) -> Result<Applied, StateError> {
        let (mut steps, undo) = self.plan(diff)?;
        self.last = None;
        let mut marks = Marks::default();
        let (root, growth) = match self.update_tries(&mut steps, &mut marks) {
            Ok(updated) => updated,
            Err(error) => {
                self.restore_tries(marks);
                return Err(error);
            }
        };
        self.last = Some(Last { undo: undo.clone(), tries: marks, bytes: self.bytes });
        self.bytes = self.bytes.saturating_add(growth.written);
        self.held = self.held.saturating_add(growth.written).saturating_add(growth.read);
        for step in steps {
            self.write_account(step.address, step.after, step.is_wiped, &step.slots);
        }
        for (&hash, code) in &diff.codes {
            if self.batch.codes.insert(hash, code.clone()).is_none() {
                self.bytes = self.bytes.saturating_add(code.len());
            }
        }
        Ok(Applied { root, undo })
    }

    /// Takes back the last [`Self::apply`], whose root turned out wrong; possible once, until the batch
    /// is taken. Code it deployed stays: nothing refers to it.
    pub fn discard(&mut self) -> Result<(), StateError> {
        let none = || StateError::Store("no block was applied that could be taken back".to_owned());
        let Last { undo, tries, bytes } = self.last.take().ok_or_else(none)?;
        self.restore_tries(tries);
        for (address, account) in undo.accounts {
            let slots: Vec<_> = account.slots.into_iter().collect();
            self.write_account(address, account.after, account.after.is_none(), &slots);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// The state root as it is now.
    pub fn root(&self) -> Result<B256, StateError> {
        match &self.accounts {
            Some(trie) => Ok(trie.root()),
            None => Trie::stored_root(&self.source, ACCOUNTS),
        }
    }

    /// About how large the batch is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands over the batch. Until [`Self::rebase`] nothing else may be called.
    pub fn take(&mut self) -> StateBatch {
        self.last = None;
        self.bytes = 0;
        let mut batch = std::mem::take(&mut self.batch);
        for trie in self.storage.values_mut().chain(&mut self.accounts) {
            let is_dropped = trie.collect(|key, node| drop(batch.nodes.insert(key, node)));
            batch.dropped.extend(is_dropped.then_some(trie.owner()));
        }
        batch
    }

    /// Goes on on top of `source`, which has the batch that was taken last and nothing else beside what
    /// the source before it had.
    pub fn rebase(&mut self, source: S) {
        self.source = source;
        self.now = self.now.saturating_add(1);
        if self.held <= self.cache_bytes_max {
            return;
        }
        let mut weight = self.weight();
        if weight.total() > self.cache_bytes_max {
            let keep = weight.keep(self.cache_bytes_max / 2);
            self.storage.values_mut().chain(&mut self.accounts).for_each(|trie| trie.evict(keep));
            weight = self.weight();
        }
        self.storage.retain(|_, trie| trie.is_held());
        self.held = weight.total();
    }

    /// Makes a block known to BLOCKHASH that the source may not have yet. Blocks above it, of a branch
    /// that was left, are forgotten.
    pub fn push_block_hash(&mut self, number: u64, hash: B256) {
        drop(self.hashes.split_off(&number));
        self.hashes.insert(number, hash);
        while self.hashes.len() > BLOCK_HASHES_MAX {
            self.hashes.pop_first();
        }
    }

    fn weight(&self) -> Weight {
        let mut weight = Weight::new(self.now);
        self.storage.values().chain(&self.accounts).for_each(|trie| trie.weigh(&mut weight));
        weight
    }

    /// What a block really changes, and how to undo it. Reads only.
    fn plan(&self, diff: &BlockDiff) -> Result<(Vec<Step>, BlockDiff), StateError> {
        let mut steps = Vec::with_capacity(diff.accounts.len());
        let mut undo = BlockDiff::default();
        for (&address, account) in &diff.accounts {
            let before = self.account(&address)?;
            let had_slots = before.is_some_and(|before| before.storage_root != EMPTY_ROOT_HASH);
            let is_wiped = had_slots && (account.wiped || account.after.is_none());
            let old = if is_wiped { self.slots(&address)? } else { BTreeMap::new() };

            let mut slots = Vec::with_capacity(account.slots.len());
            let mut back = old;
            // An account that is gone has no slots, whatever was written to it in its last block.
            for (&slot, &value) in account.slots.iter().filter(|_| account.after.is_some()) {
                let value_now = if had_slots && !is_wiped { self.slot(&address, &slot)? } else { U256::ZERO };
                if value != value_now {
                    slots.push((slot, value));
                    back.entry(slot).or_insert(value_now);
                }
            }
            let is_same = before.map(unrooted) == account.after.map(unrooted);
            if is_same && !is_wiped && slots.is_empty() {
                continue;
            }
            if before.is_none() {
                back.clear();
            }
            let undone = super::AccountDiff { after: before, wiped: false, slots: back };
            undo.accounts.insert(address, undone);
            steps.push(Step { address, before, after: account.after, is_wiped, slots });
        }
        Ok((steps, undo))
    }

    /// Storage first, since the accounts have its roots. Completes the accounts in `steps` with them.
    fn update_tries(&mut self, steps: &mut [Step], marks: &mut Marks) -> Result<(B256, Growth), StateError> {
        let mut growth = Growth::default();
        let mut changes = Vec::with_capacity(steps.len());
        for step in steps {
            let owner = keccak256(step.address);
            let (root, grown) = self.update_storage(owner, step, &mut marks.storage)?;
            growth += grown;
            if let Some(account) = &mut step.after {
                account.storage_root = root;
            }
            let value =
                step.after.map(|after| alloy_rlp::encode(TrieAccount::from(after)).into_boxed_slice());
            changes.push(Change { key: Nibbles::unpack_array(&owner), value });
        }
        let trie = match &mut self.accounts {
            Some(trie) => trie,
            none => none.insert(Trie::new(ACCOUNTS, Trie::stored_root(&self.source, ACCOUNTS)?)),
        };
        marks.accounts = Some(trie.mark());
        growth += trie.update(&self.source, self.now, changes)?;
        Ok((trie.root(), growth))
    }

    fn update_storage(
        &mut self,
        owner: B256,
        step: &Step,
        marks: &mut Vec<(Address, Mark)>,
    ) -> Result<(B256, Growth), StateError> {
        let before = step.before.map_or(EMPTY_ROOT_HASH, |before| before.storage_root);
        if !step.is_wiped && step.slots.is_empty() {
            return Ok((before, Growth::default()));
        }
        let trie = match self.storage.entry(step.address) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Trie::new(owner, before)),
        };
        if trie.root() != before {
            let address = step.address;
            return Err(StateError::Damaged(format!(
                "the storage root of {address} is not that of its trie"
            )));
        }
        marks.push((step.address, trie.mark()));
        if step.is_wiped {
            trie.wipe();
        }
        let changes = step.slots.iter().map(|(slot, value)| Change {
            key: Nibbles::unpack_array(&keccak256(slot.to_be_bytes::<32>())),
            value: (!value.is_zero()).then(|| alloy_rlp::encode(value).into_boxed_slice()),
        });
        let growth = trie.update(&self.source, self.now, changes.collect())?;
        Ok((trie.root(), growth))
    }

    fn restore_tries(&mut self, marks: Marks) {
        for (address, mark) in marks.storage {
            if let Some(trie) = self.storage.get_mut(&address) {
                trie.restore(mark);
            }
        }
        if let (Some(trie), Some(mark)) = (&mut self.accounts, marks.accounts) {
            trie.restore(mark);
        }
    }

    /// Writes an account beside the tries, which are as they are to be already.
    fn write_account(
        &mut self,
        address: Address,
        after: Option<Account>,
        is_wiped: bool,
        slots: &[(U256, U256)],
    ) {
        // About what an entry of a map takes, with its share of what the map keeps free.
        const ACCOUNT_BYTES: usize = 240;
        const SLOT_BYTES: usize = 120;
        if self.batch.accounts.insert(address, after).is_none() {
            self.bytes = self.bytes.saturating_add(ACCOUNT_BYTES);
        }
        if !is_wiped && slots.is_empty() {
            return;
        }
        let storage = self.batch.storage.entry(address).or_default();
        if is_wiped {
            storage.slots.clear();
            storage.wiped |= self.storage.get(&address).is_some_and(Trie::is_dropped);
        }
        storage.slots.extend(slots.iter().copied());
        self.bytes = self.bytes.saturating_add(slots.len().saturating_mul(SLOT_BYTES));
    }

    /// All slots of an account that are not zero.
    fn slots(&self, address: &Address) -> Result<BTreeMap<U256, U256>, StateError> {
        let written = self.batch.storage.get(address);
        let mut slots = match written {
            Some(storage) if storage.wiped => BTreeMap::new(),
            _ => self.source.slots(address)?.into_iter().collect(),
        };
        slots.extend(written.into_iter().flat_map(|storage| &storage.slots));
        slots.retain(|_, value| !value.is_zero());
        Ok(slots)
    }
}

impl<S: StateSource> StateView for WorkingState<S> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        match self.batch.accounts.get(address) {
            Some(account) => Ok(*account),
            None => self.source.account(address),
        }
    }

    fn slot(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        let written = self.batch.storage.get(address);
        match written.and_then(|storage| storage.slots.get(slot)) {
            Some(value) => Ok(*value),
            None if written.is_some_and(|storage| storage.wiped) => Ok(U256::ZERO),
            None => self.source.slot(address, slot),
        }
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        match self.batch.codes.get(hash) {
            Some(code) => Ok(code.clone()),
            None => self.source.code(hash),
        }
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, StateError> {
        match self.hashes.get(&number) {
            Some(hash) => Ok(Some(*hash)),
            None => self.source.block_hash(number),
        }
    }
}

/// Nonce, balance and code alone.
fn unrooted(account: Account) -> Account {
    Account { storage_root: EMPTY_ROOT_HASH, ..account }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod speed;
#[cfg(test)]
mod tests;
