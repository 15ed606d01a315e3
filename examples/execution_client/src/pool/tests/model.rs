//! What a pool holds, against a plain model of it, with random inputs.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use bytes::Bytes;

use super::super::content::Content;
use super::super::entry::Entry;
use super::super::order::{Block, best};
use super::super::{PoolLimits, Refusal};
use crate::state::Account;

const SENDERS: u64 = 5;

fn limits() -> PoolLimits {
    PoolLimits {
        transactions_max: 12,
        bytes_max: 1_500,
        blob_transactions_max: 3,
        blob_bytes_max: 2_000,
        sender_max: 4,
        sender_blobs_max: 2,
        sender_share: 2,
        sender_queued_max: 2,
        nonce_gap_max: 3,
        ..PoolLimits::default()
    }
}

/// Everything is worked out anew each time, in the plainest way.
#[derive(Debug, Clone, Default)]
struct Model {
    kept: BTreeMap<(Address, u64), One>,
    accounts: BTreeMap<Address, (u64, u64)>,
    base_fee: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct One {
    hash: B256,
    fee: u64,
    tip: u64,
    blob_fee: u64,
    cost: u64,
    bytes: usize,
    blob_bytes: usize,
    is_local: bool,
}

/// Worse is less: whether it waits, whether it is beyond the share, what it brings.
type Worth = (u8, i128);

impl Model {
    fn account(&self, sender: Address) -> (u64, u64) {
        self.accounts.get(&sender).copied().unwrap_or_default()
    }

    fn next_nonce(&self, sender: Address) -> u64 {
        (self.account(sender).0..).find(|nonce| !self.kept.contains_key(&(sender, *nonce))).unwrap()
    }

    fn of(&self, sender: Address) -> Vec<(u64, One)> {
        self.kept.iter().filter(|((s, _), _)| *s == sender).map(|((_, nonce), one)| (*nonce, *one)).collect()
    }

    fn worth(&self, sender: Address, nonce: u64) -> Worth {
        let before: Vec<_> = self.of(sender).into_iter().filter(|(n, _)| *n <= nonce).collect();
        let brings = |one: &One| i128::from(one.tip).min(i128::from(one.fee) - i128::from(self.base_fee));
        let price = before.iter().map(|(_, one)| brings(one)).min().unwrap();
        let class = match nonce {
            _ if nonce >= self.next_nonce(sender) => 0,
            _ if before.len() > limits().sender_share => 1,
            _ => 2,
        };
        (class, price)
    }

    fn over(&self) -> (bool, bool) {
        let all = self.kept.values();
        let bytes: usize = all.clone().map(|one| one.bytes).sum();
        let blobs: Vec<_> = all.clone().filter(|one| one.blob_bytes > 0).collect();
        let blob_bytes: usize = blobs.iter().map(|one| one.blob_bytes).sum();
        let limits = limits();
        (
            all.len() > limits.transactions_max || bytes > limits.bytes_max,
            blobs.len() > limits.blob_transactions_max || blob_bytes > limits.blob_bytes_max,
        )
    }

    /// The name of the refusal, or what the pool would be.
    fn add(&self, sender: Address, nonce: u64, one: One) -> Result<Self, &'static str> {
        let (limits, (account_nonce, balance), next) =
            (limits(), self.account(sender), self.next_nonce(sender));
        let others: Vec<_> = self.of(sender).into_iter().filter(|(n, _)| *n != nonce).collect();
        if self.kept.values().any(|kept| kept.hash == one.hash) {
            return Err("Known");
        }
        if nonce < account_nonce {
            return Err("NonceUsed");
        }
        match self.kept.get(&(sender, nonce)) {
            Some(old) => {
                let percent = if one.blob_bytes + old.blob_bytes > 0 { 200 } else { 110 };
                let raised = |new: u64, old: u64| new * 100 >= old * percent;
                let both = one.blob_bytes > 0 && old.blob_bytes > 0;
                if !raised(one.fee, old.fee)
                    || !raised(one.tip, old.tip)
                    || (both && !raised(one.blob_fee, old.blob_fee))
                {
                    return Err("Underpriced");
                }
            }
            None => {
                let waiting = others.iter().filter(|(n, _)| *n >= next).count();
                if others.len() >= limits.sender_max {
                    return Err("SenderFull");
                }
                let blobs = others.iter().filter(|(_, other)| other.blob_bytes > 0).count();
                if one.blob_bytes > 0 && blobs >= limits.sender_blobs_max {
                    return Err("SenderBlobsFull");
                }
                if nonce > next + limits.nonce_gap_max || (nonce > next && one.blob_bytes > 0) {
                    return Err("NonceGap");
                }
                if nonce > next && waiting >= limits.sender_queued_max {
                    return Err("SenderQueueFull");
                }
            }
        }
        if others.iter().map(|(_, one)| one.cost).sum::<u64>() + one.cost > balance {
            return Err("Balance");
        }
        let mut after = self.clone();
        after.kept.insert((sender, nonce), one);
        let worth = if one.is_local { (3, 0) } else { after.worth(sender, nonce) };
        let senders: Vec<Address> = self.accounts.keys().copied().filter(|other| *other != sender).collect();
        while after.over().1 {
            let last = |s: &Address| {
                after.of(*s).iter().rev().find(|(_, one)| one.blob_bytes > 0).map(|(nonce, _)| (*s, *nonce))
            };
            after.cut_least(senders.iter().filter_map(last).collect(), worth)?;
        }
        while after.over().0 {
            let last = |s: &Address| after.of(*s).last().map(|(nonce, _)| (*s, *nonce));
            after.cut_least(senders.iter().filter_map(last).collect(), worth)?;
        }
        Ok(after)
    }

    /// Takes out the least worth of these and what is after it.
    fn cut_least(&mut self, from: Vec<(Address, u64)>, worth: Worth) -> Result<(), &'static str> {
        let may_go =
            |(s, first): &(Address, u64)| self.of(*s).iter().all(|(n, one)| n < first || !one.is_local);
        let ranked = from.into_iter().filter(may_go).map(|(s, nonce)| (self.worth(s, nonce), s, nonce)).min();
        let (_, sender, first) = ranked.filter(|(least, ..)| *least < worth).ok_or("Full")?;
        self.kept.retain(|(s, nonce), _| *s != sender || *nonce < first);
        Ok(())
    }

    fn on_account(&mut self, sender: Address, nonce: u64, balance: u64) {
        self.accounts.insert(sender, (nonce, balance));
        let (next, mut left, mut is_broke) = (self.next_nonce(sender), balance, false);
        for (nonce, one) in self.of(sender) {
            if nonce < self.account(sender).0 || (nonce > next && one.blob_bytes > 0) {
                self.kept.remove(&(sender, nonce));
                continue;
            }
            is_broke |= one.cost > left;
            left = left.saturating_sub(one.cost);
            if is_broke {
                self.kept.remove(&(sender, nonce));
            }
        }
    }
}

fn entry(sender: Address, nonce: u64, one: &One) -> Entry {
    Entry {
        hash: one.hash,
        kind: if one.blob_bytes > 0 { 3 } else { 2 },
        sender,
        nonce,
        gas_limit: 21_000,
        fee_max: one.fee.into(),
        tip_max: one.tip.into(),
        blob_fee_max: one.blob_fee.into(),
        blobs: u64::from(one.blob_bytes > 0),
        cost: U256::from(one.cost),
        encoded: Bytes::from(vec![0; one.bytes + one.blob_bytes]),
        plain_bytes: one.bytes,
        is_local: one.is_local,
    }
}

fn random_one(random: &mut Random) -> One {
    let tip = 1 + random.below(20);
    let has_blobs = random.below(5) == 0;
    One {
        hash: keccak256(random.next().to_be_bytes()),
        tip,
        fee: tip + random.below(60),
        blob_fee: if has_blobs { 1 + random.below(8) } else { 0 },
        cost: 1 + random.below(60),
        bytes: 100 + random.below(200) as usize,
        blob_bytes: if has_blobs { 400 + random.below(600) as usize } else { 0 },
        is_local: random.below(25) == 0,
    }
}

/// Takes the best of all next ones again and again.
fn compare_best(model: &Model, content: &Content, random: &mut Random, context: &str) {
    let block = Block {
        base_fee: random.below(30),
        blob_base_fee: random.below(8).into(),
        gas_limit: random.below(12) * 21_000,
        blobs_max: random.below(3),
    };
    let tip = |one: &One| i128::from(one.tip).min(i128::from(one.fee) - i128::from(block.base_fee));
    let (mut gas, mut blobs, mut expected) = (block.gas_limit, block.blobs_max, Vec::new());
    let mut nonces: BTreeMap<Address, u64> =
        model.accounts.iter().map(|(s, account)| (*s, account.0)).collect();
    loop {
        let next = nonces.iter().filter_map(|(s, nonce)| Some((s, nonce, model.kept.get(&(*s, *nonce))?)));
        let pays = |one: &One| {
            tip(one) >= 0 && (one.blob_bytes == 0 || u128::from(one.blob_fee) >= block.blob_base_fee)
        };
        let next = next.filter(|(.., one)| pays(one));
        let Some((sender, nonce, one)) = next.min_by_key(|(s, _, one)| (-tip(one), **s)) else { break };
        let (sender, nonce, needs_blob) = (*sender, *nonce, u64::from(one.blob_bytes > 0));
        if gas < 21_000 || blobs < needs_blob {
            nonces.remove(&sender);
            continue;
        }
        gas -= 21_000;
        blobs -= needs_blob;
        expected.push((sender, nonce));
        nonces.insert(sender, nonce + 1);
    }
    let chosen = best(content.chains(), block);
    let chosen: Vec<_> = chosen.iter().map(|entry| (entry.sender, entry.nonce)).collect();
    assert_eq!(chosen, expected, "{context}: {block:?}");
}

/// How often each thing happened, so that a test can tell whether it tested anything.
fn run(seed: u64, steps: usize, counts: &mut BTreeMap<String, usize>) {
    let mut random = Random(seed);
    let (mut model, mut content) = (Model::default(), Content::new(limits()));
    let senders: Vec<Address> = (0..SENDERS).map(|i| Address::with_last_byte(i as u8)).collect();
    for sender in &senders {
        model.accounts.insert(*sender, (0, 300));
    }
    for step in 0..steps {
        let sender = senders[random.below(SENDERS) as usize];
        let (account_nonce, balance) = model.account(sender);
        let happened = match random.below(20) {
            0 => {
                let nonce = (account_nonce + random.below(4)).saturating_sub(1);
                let account = (nonce, 100 + random.below(400));
                model.on_account(sender, account.0, account.1);
                content.on_account(&sender, &bare_account(account));
                "account".to_owned()
            }
            1 => {
                model.base_fee = random.below(60);
                content.on_base_fee(model.base_fee);
                "base fee".to_owned()
            }
            _ => {
                let nonce = (account_nonce + random.below(9)).saturating_sub(1);
                let one = match model.kept.values().nth(random.below(300) as usize) {
                    Some(known) => *known,
                    None => random_one(&mut random),
                };
                let entry = entry(sender, nonce, &one);
                let account = bare_account((account_nonce, balance));
                let placed = content.place(&entry, &account);
                match (model.add(sender, nonce, one), placed) {
                    (Ok(after), Ok(cuts)) => {
                        let happened = if cuts.is_empty() { "added" } else { "made room" };
                        content.insert(entry, &account, cuts);
                        model = after;
                        happened.to_owned()
                    }
                    (Err(expected), Err(refusal)) => {
                        assert_eq!(name(&refusal), expected, "seed {seed}, step {step}: {refusal}");
                        expected.to_owned()
                    }
                    (model, pool) => panic!("seed {seed}, step {step}: {:?}, {pool:?}", model.err()),
                }
            }
        };
        *counts.entry(happened).or_default() += 1;
        let context = format!("seed {seed}, step {step}");
        compare(&model, &content, &context);
        compare_best(&model, &content, &mut random, &context);
    }
}

fn name(refusal: &Refusal) -> String {
    let text = format!("{refusal:?}");
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn bare_account((nonce, balance): (u64, u64)) -> Account {
    Account { nonce, balance: U256::from(balance), ..Account::default() }
}

fn compare(model: &Model, content: &Content, context: &str) {
    let kept: Vec<_> =
        content.entries().iter().map(|entry| (entry.sender, entry.nonce, entry.hash)).collect();
    let expected: Vec<_> = model.kept.iter().map(|((s, nonce), one)| (*s, *nonce, one.hash)).collect();
    assert_eq!(kept, expected, "{context}");
    let totals = content.totals();
    let blobs: Vec<_> = model.kept.values().filter(|one| one.blob_bytes > 0).collect();
    assert_eq!(totals.transactions, kept.len(), "{context}");
    assert_eq!(totals.bytes, model.kept.values().map(|one| one.bytes).sum::<usize>(), "{context}");
    assert_eq!(totals.blob_transactions, blobs.len(), "{context}");
    assert_eq!(totals.blob_bytes, blobs.iter().map(|one| one.blob_bytes).sum::<usize>(), "{context}");
    assert_eq!(model.over(), (false, false), "{context}");
    for one in model.kept.values() {
        assert!(content.get(&one.hash).is_some(), "{context}");
    }
    for chain in content.chains() {
        let pending: Vec<u64> = chain.view().pending().map(|entry| entry.nonce).collect();
        let expected: Vec<u64> = (chain.nonce..).take(pending.len()).collect();
        assert_eq!(pending, expected, "{context}");
        let ranks: Vec<_> = chain.view().ranks(model.base_fee, limits().sender_share).collect();
        assert!(ranks.is_sorted_by(|one, next| one >= next), "{context}: ranks never rise");
    }
}

#[test]
fn random_inputs_leave_what_a_plain_model_says() {
    let mut counts = BTreeMap::new();
    for seed in 0..60 {
        run(seed, 400, &mut counts);
    }
    let all = [
        "added",
        "made room",
        "account",
        "base fee",
        "Known",
        "NonceUsed",
        "Underpriced",
        "SenderFull",
        "NonceGap",
        "SenderQueueFull",
        "Balance",
        "Full",
    ];
    for happened in all {
        let count = counts.get(happened).copied().unwrap_or_default();
        assert!(count >= 20, "{happened} {count} times: {counts:?}");
    }
}

#[test]
fn one_that_comes_before_the_pool_knows_of_the_new_nonce_is_counted_by_it() {
    let (mut random, sender) = (Random(1), Address::with_last_byte(1));
    let mut content = Content::new(PoolLimits::default());
    let mut insert = |content: &mut Content, nonce, account: &Account| {
        let entry = entry(sender, nonce, &One { cost: 1, ..random_one(&mut random) });
        let cuts = content.place(&entry, account).unwrap();
        content.insert(entry, account, cuts);
    };
    let (old, new) = (bare_account((0, 300)), bare_account((1, 300)));
    insert(&mut content, 0, &old);
    insert(&mut content, 1, &old);
    insert(&mut content, 2, &new);
    let pending = |content: &Content| content.chain(&sender).map(|chain| chain.view().pending).unwrap();
    assert_eq!(pending(&content), 2);
    content.on_account(&sender, &new);
    assert_eq!((pending(&content), content.totals().transactions), (2, 2));
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
