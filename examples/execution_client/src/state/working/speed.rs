//! How long a block takes. Not a test of anything; prints what it measures:
//! `cargo test --release --lib state:: -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::{
    super::{memory::MemorySource, reference::Random, types::AccountDiff},
    *,
};

const ACCOUNTS: usize = 100_000;
const CONTRACTS: usize = 1_000;
const SLOTS: usize = 1_000;
const BLOCKS: usize = 20_000;
const BLOCKS_PER_COMMIT: usize = 500;

fn address(n: usize) -> Address {
    Address::left_padding_from(&n.to_be_bytes())
}

/// Accounts at random, the first two of them contracts with some slots each.
fn block(random: &mut Random, accounts: usize, slots: usize) -> BlockDiff {
    let mut diff = BlockDiff::default();
    for n in 0..accounts {
        let balance = U256::from(random.next());
        let mut account = AccountDiff {
            after: Some(Account { nonce: 1, balance, ..Account::default() }),
            ..AccountDiff::default()
        };
        let address = if n < 2 {
            account.slots =
                (0..slots / 2).map(|_| (U256::from(random.below(SLOTS)), random.value())).collect();
            address(random.below(CONTRACTS))
        } else {
            address(random.below(ACCOUNTS))
        };
        diff.accounts.insert(address, account);
    }
    diff
}

#[test]
#[ignore = "measures, in release and alone"]
fn blocks_of_12_accounts_and_10_slots_over_100_000_accounts() {
    let source = MemorySource::default();
    let mut state = WorkingState::new(source.clone());
    let mut random = Random::seeded(1);

    let start = Instant::now();
    let mut genesis = BlockDiff::default();
    for n in 0..ACCOUNTS {
        let mut account = AccountDiff { after: Some(Account::default()), ..AccountDiff::default() };
        if n < CONTRACTS {
            account.slots =
                (0..SLOTS / 5).map(|_| (U256::from(random.below(SLOTS)), random.value())).collect();
        }
        genesis.accounts.insert(address(n), account);
    }
    state.apply(&genesis).unwrap();
    println!("genesis: {:?}, {} MiB", start.elapsed(), state.bytes() >> 20);
    source.commit(state.take());
    state.rebase(source.clone());

    let [mut applying, mut discarding, mut taking, mut committing, mut rebasing] = [Duration::ZERO; 5];
    let timed = |into: &mut Duration, start: Instant| *into += start.elapsed();
    let (mut slowest, mut nodes, mut bytes) = (Duration::ZERO, 0, 0);
    for n in 1..=BLOCKS {
        let diff = block(&mut random, 12, 10);
        let start = Instant::now();
        state.apply(&diff).unwrap();
        slowest = slowest.max(start.elapsed());
        timed(&mut applying, start);
        if n % 100 == 0 {
            let start = Instant::now();
            state.discard().unwrap();
            timed(&mut discarding, start);
        }
        if n % BLOCKS_PER_COMMIT == 0 {
            bytes = bytes.max(state.bytes());
            let start = Instant::now();
            let batch = state.take();
            timed(&mut taking, start);
            nodes += batch.nodes.len();
            let start = Instant::now();
            source.commit(batch);
            timed(&mut committing, start);
            let start = Instant::now();
            state.rebase(source.clone());
            timed(&mut rebasing, start);
        }
    }
    let commits = u32::try_from(BLOCKS / BLOCKS_PER_COMMIT).unwrap();
    println!("apply: {:?} a block, slowest {slowest:?}", applying / u32::try_from(BLOCKS).unwrap());
    println!("discard: {:?}", discarding / u32::try_from(BLOCKS / 100).unwrap());
    println!("take: {:?}, {} nodes, up to {bytes} bytes", taking / commits, nodes / commits as usize);
    println!("commit to memory: {:?}, rebase: {:?}", committing / commits, rebasing / commits);
}
