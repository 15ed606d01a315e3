use std::collections::HashSet;

use super::{
    super::{
        memory::MemorySource,
        reference::{Model, Random},
        types::AccountDiff,
    },
    *,
};

/// Addresses and slots to choose from.
#[derive(Clone)]
struct Pool {
    addresses: Vec<Address>,
    slots: Vec<U256>,
}

impl Pool {
    fn new(addresses: Vec<Address>, slots: Vec<U256>) -> Self {
        Self { addresses, slots }
    }

    /// Addresses and slots whose hashes begin alike, as far as a short search finds them: branches far
    /// below the root, and leaves that are part of their parents.
    fn alike(addresses: usize, slots: usize) -> Self {
        let search = |number: usize, hash: &dyn Fn(u64) -> B256| {
            let mut found: Vec<_> = (0..300_000).map(|n| (hash(n), n)).collect();
            found.sort_unstable();
            let shared = |pair: &[(B256, u64)]| {
                Nibbles::unpack(pair[0].0).common_prefix_length(&Nibbles::unpack(pair[1].0))
            };
            let mut pairs: Vec<_> = found.windows(2).collect();
            pairs.sort_by_key(|pair| std::cmp::Reverse(shared(pair)));
            // So a leaf with a small value is 9 nibbles down, and shorter than 32 bytes.
            assert!(shared(pairs[0]) >= 8);
            pairs.into_iter().take(number).flatten().map(|(_, n)| *n).collect::<Vec<_>>()
        };
        let addresses = search(addresses / 2, &|n| keccak256(address(n)));
        let slots = search(slots / 2, &|n| keccak256(U256::from(n).to_be_bytes::<32>()));
        Self::new(addresses.into_iter().map(address).collect(), slots.into_iter().map(U256::from).collect())
    }

    fn numbered(addresses: u64, slots: u64) -> Self {
        Self::new((0..addresses).map(address).collect(), (0..slots).map(U256::from).collect())
    }

    /// A block as execution could make it: every account written is whole, a removed one may have been
    /// written to before, one made anew may have had slots.
    fn block(&self, random: &mut Random, model: &Model, accounts: usize, slots: usize) -> BlockDiff {
        let mut diff = BlockDiff::default();
        let removes = random.once_in(4);
        for _ in 0..random.below(accounts + 1) {
            let address = *random.pick(&self.addresses);
            let mut account = AccountDiff::default();
            if !random.once_in(if removes { 2 } else { 12 }) {
                let before = model.accounts.get(&address).copied().unwrap_or_default();
                let code_hash = if random.once_in(6) { B256::from(random.value()) } else { before.code_hash };
                let nonce = before.nonce + random.next() % 2;
                // The storage root is not looked at, so it may be anything.
                let storage_root = B256::from(random.value());
                account.after = Some(Account { nonce, balance: random.value(), code_hash, storage_root });
            }
            account.wiped = random.once_in(10);
            for _ in 0..random.below(slots + 1) {
                let removed = random.once_in(if removes { 2 } else { 5 });
                let value = if removed { U256::ZERO } else { random.value() };
                account.slots.insert(*random.pick(&self.slots), value);
            }
            if random.once_in(20) {
                let code = Bytes::from(random.next().to_be_bytes().to_vec());
                diff.codes.insert(keccak256(&code), code);
            }
            diff.accounts.insert(address, account);
        }
        diff
    }
}

fn address(n: u64) -> Address {
    Address::left_padding_from(&n.to_be_bytes())
}

/// The state reads as the model does, everywhere the pool can reach.
fn assert_reads_as(model: &Model, state: &impl StateView, pool: &Pool) {
    for address in &pool.addresses {
        assert_eq!(state.account(address).unwrap(), model.accounts.get(address).copied());
        let slots = model.storage.get(address);
        for slot in &pool.slots {
            let value = slots.and_then(|slots| slots.get(slot)).copied().unwrap_or_default();
            assert_eq!(state.slot(address, slot).unwrap(), value, "slot {slot} of {address}");
        }
    }
}

struct Run {
    random: Random,
    pool: Pool,
    source: MemorySource,
    state: WorkingState<MemorySource>,
    model: Model,
    /// The model before each block, and what leads back to it.
    history: Vec<(Model, BlockDiff)>,
}

impl Run {
    fn new(seed: u64, pool: Pool, cache_bytes_max: usize) -> Self {
        let source = MemorySource::default();
        let state = WorkingState::with_cache(source.clone(), cache_bytes_max);
        Self {
            random: Random::seeded(seed),
            pool,
            source,
            state,
            model: Model::default(),
            history: Vec::new(),
        }
    }

    fn step(&mut self, accounts: usize, slots: usize) {
        let diff = self.pool.block(&mut self.random, &self.model, accounts, slots);
        let mut after = self.model.clone();
        after.apply(&diff);
        let applied = self.state.apply(&diff).unwrap();
        assert_eq!(applied.root, after.root());
        assert_eq!(self.state.root().unwrap(), applied.root);
        for (hash, code) in &diff.codes {
            assert_eq!(self.state.code(hash).unwrap(), *code);
        }
        if self.random.once_in(6) {
            self.state.discard().unwrap();
            assert_eq!(self.state.root().unwrap(), self.model.root());
            self.state.discard().expect_err("no block is taken back twice");
        } else {
            self.history.push((std::mem::replace(&mut self.model, after), applied.undo));
        }
        match self.random.below(12) {
            0 | 1 => self.commit(),
            2 => self.undo(),
            3 => assert_reads_as(&self.model, &self.state, &self.pool),
            4 => self.reopen(),
            _ => {}
        }
    }

    fn commit(&mut self) {
        let batch = self.state.take();
        let dropped: HashSet<_> = batch.dropped.iter().collect();
        assert_eq!(dropped.len(), batch.dropped.len());
        for (owner, storage) in batch.storage.iter().map(|(address, batch)| (keccak256(address), batch)) {
            assert!(storage.wiped || !dropped.contains(&owner), "a trie is dropped but its slots are not");
        }
        self.source.commit(batch);
        assert_eq!(self.source.nodes(), self.model.nodes());
        assert_reads_as(&self.model, &self.source, &self.pool);
        self.state.rebase(self.source.clone());
        assert_eq!(self.state.bytes(), 0);
        assert_eq!(self.state.root().unwrap(), self.model.root());
    }

    /// Back over some blocks, whether they are committed or not.
    fn undo(&mut self) {
        for _ in 0..=self.random.below(10) {
            let Some((model, undo)) = self.history.pop() else { return };
            let redo = self.state.apply(&undo).unwrap().undo;
            assert_eq!(self.state.root().unwrap(), model.root());
            if self.random.once_in(3) {
                // The undo of an undo leads forward again.
                let undo = self.state.apply(&redo).unwrap().undo;
                assert_eq!(self.state.root().unwrap(), self.model.root());
                self.state.apply(&undo).unwrap();
                assert_eq!(self.state.root().unwrap(), model.root());
            }
            self.model = model;
        }
        assert_reads_as(&self.model, &self.state, &self.pool);
    }

    /// What was not committed is lost, and so is the cache; then the lost blocks come again.
    fn reopen(&mut self) {
        self.commit();
        self.state = WorkingState::new(self.source.clone());
        assert_eq!(self.state.root().unwrap(), self.model.root());
    }
}

#[test]
fn few_accounts_and_slots_with_like_hashes_keep_their_roots_through_commits_and_undos() {
    let pool = Pool::alike(8, 10);
    for seed in 0..12 {
        let mut run = Run::new(seed, pool.clone(), if seed % 2 == 0 { CACHE_BYTES_MAX } else { 4_000 });
        (0..120).for_each(|_| run.step(5, 6));
        run.commit();
    }
}

#[test]
fn many_accounts_keep_their_roots_through_commits_and_undos() {
    for seed in 0..4 {
        let mut run = Run::new(seed, Pool::numbered(400, 40), if seed % 2 == 0 { 30_000 } else { 0 });
        (0..60).for_each(|_| run.step(60, 20));
        run.commit();
    }
}

#[test]
fn undoing_everything_leaves_an_empty_source() {
    let mut run = Run::new(5, Pool::numbered(20, 6), CACHE_BYTES_MAX);
    (0..60).for_each(|_| run.step(8, 4));
    while let Some((model, undo)) = run.history.pop() {
        assert_eq!(run.state.apply(&undo).unwrap().root, model.root());
    }
    run.model = Model::default();
    run.commit();
    assert!(run.source.nodes().is_empty());
}

#[test]
fn an_account_made_anew_in_the_block_that_wiped_it_has_its_new_slots_only() {
    let source = MemorySource::default();
    let mut state = WorkingState::new(source.clone());
    let (one, two) = (U256::from(1), U256::from(2));
    let block = |wiped, slots: &[(U256, U256)]| {
        let after = Some(Account { nonce: 1, ..Account::default() });
        let account = AccountDiff { after, wiped, slots: slots.iter().copied().collect() };
        BlockDiff { accounts: [(address(1), account)].into(), ..BlockDiff::default() }
    };
    let first = state.apply(&block(false, &[(one, one), (two, two)])).unwrap().root;
    source.commit(state.take());
    state.rebase(source.clone());

    let applied = state.apply(&block(true, &[(two, one)])).unwrap();
    assert_eq!(state.slot(&address(1), &one).unwrap(), U256::ZERO);
    assert_eq!(state.slot(&address(1), &two).unwrap(), one);
    let batch = state.take();
    assert_eq!(batch.dropped, [keccak256(address(1))]);
    assert!(batch.storage[&address(1)].wiped);
    source.commit(batch);
    state.rebase(source.clone());
    assert_eq!(source.slots(&address(1)).unwrap(), [(two, one)]);

    assert_eq!(state.apply(&applied.undo).unwrap().root, first);
}

#[test]
fn a_new_account_that_counts_as_wiped_costs_the_store_no_drop() {
    let mut state = WorkingState::new(MemorySource::default());
    let account = AccountDiff { after: Some(Account::default()), wiped: true, ..AccountDiff::default() };
    state.apply(&BlockDiff { accounts: [(address(1), account)].into(), ..BlockDiff::default() }).unwrap();
    let batch = state.take();
    assert!(batch.dropped.is_empty() && batch.storage.is_empty());
}

#[test]
fn a_block_that_changes_nothing_writes_nothing() {
    let mut run = Run::new(3, Pool::numbered(20, 6), CACHE_BYTES_MAX);
    (0..20).for_each(|_| run.step(8, 4));
    run.commit();
    let mut same = BlockDiff::default();
    for (&address, &account) in &run.model.accounts {
        let slots = run.model.storage.get(&address).cloned().unwrap_or_default();
        let after = Some(Account { storage_root: B256::ZERO, ..account });
        same.accounts.insert(address, AccountDiff { after, wiped: false, slots });
    }
    let applied = run.state.apply(&same).unwrap();
    assert_eq!(applied, Applied { root: run.model.root(), undo: BlockDiff::default() });
    assert_eq!(run.state.bytes(), 0);
    assert!(run.state.take().nodes.is_empty());
}

#[test]
fn storage_that_is_empty_again_is_not_held_for_ever() {
    let source = MemorySource::default();
    let mut state = WorkingState::with_cache(source.clone(), 100_000);
    let block = |n, value| {
        let after = Some(Account { nonce: 1, ..Account::default() });
        let account = AccountDiff { after, slots: [(U256::ZERO, value)].into(), ..AccountDiff::default() };
        BlockDiff { accounts: [(address(n), account)].into(), ..BlockDiff::default() }
    };
    for n in 0..2_000 {
        state.apply(&block(n, U256::from(1))).unwrap();
        state.apply(&block(n, U256::ZERO)).unwrap();
        if n % 20 == 0 {
            source.commit(state.take());
            state.rebase(source.clone());
        }
    }
    assert!(state.storage.len() < 500, "{} tries are held", state.storage.len());
    assert!(state.held < 200_000, "{} bytes are held", state.held);
}

#[test]
fn state_moves_between_threads() {
    fn moves<T: Send + 'static>() {}
    moves::<WorkingState<MemorySource>>();
}

#[test]
fn blockhash_sees_the_youngest_blocks_and_forgets_a_branch_that_was_left() {
    let source = MemorySource::default();
    source.set_block_hash(1, B256::repeat_byte(1));
    let mut state = WorkingState::new(source);
    (2..=300).for_each(|number| state.push_block_hash(number, B256::from(U256::from(number))));
    assert_eq!(state.block_hash(1).unwrap(), Some(B256::repeat_byte(1)));
    assert_eq!(state.block_hash(44).unwrap(), None);
    assert_eq!(state.block_hash(45).unwrap(), Some(B256::from(U256::from(45))));

    state.push_block_hash(298, B256::repeat_byte(9));
    assert_eq!(state.block_hash(298).unwrap(), Some(B256::repeat_byte(9)));
    assert_eq!(state.block_hash(299).unwrap(), None);
}
