use alloy_consensus::Transaction;
use alloy_consensus::constants::EMPTY_TRANSACTIONS;
use k256::ecdsa::{RecoveryId, VerifyingKey};

use super::super::dev_keys::dev_addresses;
use super::super::header::HeaderFacts;
use super::super::verify::{check_body, check_header_link, check_receipts};
use super::*;

fn transactions(block: &RawBlock) -> Vec<TxEnvelope> {
    let mut lists = rlp::List::whole(&block.body).unwrap().rest();
    alloy_rlp::Decodable::decode(&mut lists).unwrap()
}

fn header(block: &RawBlock) -> Header {
    alloy_rlp::decode_exact(&block.header).unwrap()
}

/// The signer, recovered by another way than the one that signed.
fn recover(transaction: &TxEnvelope) -> Address {
    let signature = transaction.signature();
    let bytes: [u8; 64] = signature.as_bytes()[..64].try_into().unwrap();
    let compact = k256::ecdsa::Signature::from_slice(&bytes).unwrap();
    assert_eq!(compact.normalize_s(), compact, "s is in the lower half");
    let id = RecoveryId::new(signature.v(), false);
    let hash = transaction.signature_hash();
    address_of(&VerifyingKey::recover_from_prehash(hash.as_slice(), &compact, id).unwrap())
}

#[test]
fn blocks_link_and_their_parts_match() {
    let mut chain = DevChain::new(1);
    let mut parent = ChainSpec::dev().genesis();
    assert_eq!(chain.head(), parent);
    for i in 0..20 {
        let (block, receipts) = chain.next_block(i, 2_000_000_000 + i as u64);
        let facts = check_header_link(parent, &block.header).unwrap();
        check_body(&facts, &block.body).unwrap();
        check_receipts(&facts, &receipts).unwrap();
        assert_eq!(transactions(&block).len(), i);
        assert_eq!(facts.timestamp, 2_000_000_000 + i as u64);
        parent = block.block_ref();
        assert_eq!(chain.head(), parent);
    }
}

#[test]
fn transactions_are_signed_by_funded_keys_with_nonces_in_order() {
    let mut chain = DevChain::new(2);
    let funded = dev_addresses();
    let mut nonces = BTreeMap::<Address, u64>::new();
    let (mut kinds, mut with_list) = ([0; 3], 0);
    for _ in 0..5 {
        let (block, _) = chain.next_block(20, 0);
        for transaction in transactions(&block) {
            let sender = recover(&transaction);
            assert!(funded.contains(&sender));
            let nonce = nonces.entry(sender).or_default();
            assert_eq!(transaction.nonce(), *nonce);
            *nonce += 1;
            assert_eq!(transaction.chain_id(), Some(DEV_CHAIN_ID));
            kinds[transaction.tx_type() as usize] += 1;
            with_list += usize::from(transaction.access_list().is_some_and(|list| !list.is_empty()));
        }
    }
    assert!(kinds.iter().all(|kind| *kind > 15), "{kinds:?}");
    assert!(with_list > 10, "{with_list} with an access list");
}

/// Runs the blocks again from what they say, by the rules of London, and compares every result.
#[test]
fn execution_gives_the_state_gas_and_receipts_of_the_headers() {
    let mut chain = DevChain::new(3);
    let mut accounts = BTreeMap::<Address, (u64, U256)>::new();
    let ether = U256::from(DEV_ETHER) * U256::from(10u64).pow(U256::from(18));
    for address in dev_addresses() {
        accounts.insert(address, (0, ether));
    }
    let mut parent = ChainSpec::dev().genesis_header().clone();
    for count in [3, 0, 40, 1200, 900, 5] {
        let (block, receipts) = chain.next_block(count, 0);
        let header = header(&block);
        let base_fee = parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap();
        assert_eq!(header.base_fee_per_gas, Some(base_fee));
        let receipts: Vec<ReceiptEnvelope> = alloy_rlp::decode_exact(&receipts).unwrap();
        let mut gas_used = 0;
        for (transaction, receipt) in transactions(&block).iter().zip(&receipts) {
            let list = transaction.access_list().cloned().unwrap_or_default();
            let gas = 21_000 + 2_400 * list.len() as u64 + 1_900 * list.storage_keys_count() as u64;
            assert!(transaction.gas_limit() >= gas && gas_used + transaction.gas_limit() <= header.gas_limit);
            gas_used += gas;
            let price = transaction.effective_gas_price(Some(base_fee));
            assert!(transaction.max_fee_per_gas() >= u128::from(base_fee));
            let sender = accounts.get_mut(&recover(transaction)).unwrap();
            assert!(
                sender.1 >= U256::from(transaction.gas_limit()) * U256::from(transaction.max_fee_per_gas())
            );
            sender.0 += 1;
            sender.1 -= U256::from(gas) * U256::from(price) + transaction.value();
            accounts.entry(transaction.to().unwrap()).or_default().1 += transaction.value();
            let tip = U256::from(gas) * U256::from(price - u128::from(base_fee));
            accounts.entry(header.beneficiary).or_default().1 += tip;
            assert_eq!(receipt.cumulative_gas_used(), gas_used);
            assert_eq!(receipt.tx_type() as u8, transaction.tx_type() as u8);
            assert!(receipt.status());
        }
        assert_eq!(header.gas_used, gas_used);
        let state = accounts.iter().map(|(address, (nonce, balance))| {
            (keccak256(address), TrieAccount { nonce: *nonce, balance: *balance, ..TrieAccount::default() })
        });
        assert_eq!(header.state_root, alloy_trie::root::state_root_unsorted(state));
        assert_eq!((header.difficulty, header.logs_bloom), (U256::from(1), Default::default()));
        parent = header;
    }
    assert!(parent.base_fee_per_gas.unwrap() > 0);
}

#[test]
fn one_seed_gives_one_chain() {
    let run = |seed| {
        let mut chain = DevChain::new(seed);
        (0..3).map(|i| chain.next_block(5, 2_000_000_000 + i)).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_fork_shares_the_past_and_differs_from_there() {
    let mut chain = DevChain::new(1);
    let (block, _) = chain.next_block(2, 0);
    let mut other = chain.fork(99);
    assert_eq!(other.head(), block.block_ref());
    let (ours, _) = chain.next_block(2, 0);
    let (theirs, _) = other.next_block(2, 0);
    assert_ne!(ours.hash, theirs.hash);
    assert!(check_header_link(block.block_ref(), &theirs.header).is_ok());
    assert!(replaces(U256::from(1), U256::from(2)));
    assert!(!replaces(U256::from(2), U256::from(2)), "the first seen stays");
}

#[test]
fn a_full_block_stops_at_the_gas_limit_and_an_empty_one_is_fine() {
    let mut chain = DevChain::new(4);
    let (full, _) = chain.next_block(5_000, 0);
    let gas_used = header(&full).gas_used;
    assert!(gas_used <= DEV_GAS_LIMIT && gas_used > DEV_GAS_LIMIT - 60_000, "{gas_used}");
    let (empty, receipts) = chain.next_block(0, 0);
    let facts = HeaderFacts::read(&empty.header).unwrap();
    assert_eq!((facts.transactions_root, &receipts[..]), (EMPTY_TRANSACTIONS, &[0xc0][..]));
    assert!(
        header(&empty).base_fee_per_gas > header(&full).base_fee_per_gas,
        "full blocks raise the base fee"
    );
}

#[test]
fn a_timestamp_never_falls_back() {
    let mut chain = DevChain::new(5);
    let first = chain.next_block(0, 2_000_000_000).0;
    let second = chain.next_block(0, 0).0;
    assert_eq!(header(&second).timestamp, header(&first).timestamp + 1);
}

/// `cargo test --release --lib chain::dev -- --ignored --nocapture` for the figures.
#[test]
#[ignore = "a measurement"]
fn how_fast_blocks_are_made() {
    let mut chain = DevChain::new(6);
    let start = std::time::Instant::now();
    for _ in 0..10_000 {
        chain.next_block(0, 0);
    }
    println!("10,000 empty blocks: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        chain.next_block(20, 0);
    }
    println!("1,000 blocks of 20 transactions: {:?}", start.elapsed());
}
