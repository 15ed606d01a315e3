//! How long a block takes. Not a test of anything; prints what it measures:
//! `cargo test --release --lib state:: -- --ignored --nocapture`.

use std::time::Duration;

use super::{
    super::{memory::MemorySource, reference::Random, types::AccountDiff},
    *,
};

/// What the processor did for this thread so far, whatever else it had to do; zero where it cannot be told.
fn now() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

const ACCOUNTS: usize = 100_000;
const CONTRACTS: usize = 1_000;
const SLOTS: usize = 1_000;
const BLOCKS: usize = 20_000;
const BLOCKS_PER_COMMIT: usize = 500;

fn address(n: usize) -> Address {
    Address::left_padding_from(&n.to_be_bytes())
}

/// Accounts at random, the first two of them contracts with some slots each.
fn block(random: &mut Random, active: Active) -> BlockDiff {
    let mut diff = BlockDiff::default();
    for n in 0..12 {
        let balance = U256::from(random.next());
        let mut account = AccountDiff {
            after: Some(Account { nonce: 1, balance, ..Account::default() }),
            ..AccountDiff::default()
        };
        let address = if n < 2 {
            account.slots = (0..5).map(|_| (U256::from(random.below(SLOTS)), random.value())).collect();
            address(random.below(active.contracts))
        } else {
            address(random.below(active.accounts))
        };
        diff.accounts.insert(address, account);
    }
    diff
}

#[derive(Clone, Copy)]
struct Active {
    accounts: usize,
    contracts: usize,
}

#[test]
#[ignore = "measures, in release and alone"]
fn blocks_of_12_accounts_and_10_slots_all_over_100_000_accounts() {
    run(Active { accounts: ACCOUNTS, contracts: CONTRACTS });
}

#[test]
#[ignore = "measures, in release and alone"]
fn blocks_of_12_accounts_and_10_slots_among_5_000_of_100_000_accounts() {
    run(Active { accounts: 5_000, contracts: 30 });
}

fn run(active: Active) {
    let source = MemorySource::default();
    let mut state = WorkingState::new(source.clone());
    let mut random = Random::seeded(1);

    let start = now();
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
    println!("genesis: {:?}, {} MiB", (now() - start), state.bytes() >> 20);
    source.commit(state.take());
    state.rebase(source.clone());

    let [mut applying, mut discarding, mut taking, mut committing, mut rebasing] = [Duration::ZERO; 5];
    let timed = |into: &mut Duration, start: Duration| *into += now() - start;
    let (mut slowest, mut nodes, mut bytes) = (Duration::ZERO, 0, 0);
    for n in 1..=BLOCKS {
        let diff = block(&mut random, active);
        let start = now();
        state.apply(&diff).unwrap();
        slowest = slowest.max(now() - start);
        timed(&mut applying, start);
        if n % 100 == 0 {
            let start = now();
            state.discard().unwrap();
            timed(&mut discarding, start);
        }
        if n % BLOCKS_PER_COMMIT == 0 {
            bytes = bytes.max(state.bytes());
            let start = now();
            let batch = state.take();
            timed(&mut taking, start);
            nodes += batch.nodes.len();
            let start = now();
            source.commit(batch);
            timed(&mut committing, start);
            let start = now();
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
