//! What a block's diff says of accounts that go, come back, or only seem to change.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{SignableTransaction, TxEip4844, TxLegacy};
use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use alloy_primitives::{Signature, TxKind, address, hex};

use super::*;
use crate::evm::{Built, Prepared, Transaction};
use crate::state::AccountDiff;

const RICH: Address = address!("00000000000000000000000000000000000000aa");
const FACTORY: Address = address!("00000000000000000000000000000000000000fa");
const SLOT_0: Address = address!("00000000000000000000000000000000000000cc");

/// Writes 7 into slot 2 and deploys `CALLER SELFDESTRUCT`.
const INIT: [u8; 15] = hex!("60076002556133ff5f526002601ef3");

/// The one that the factory makes. It is there from the start, with two slots.
fn child() -> Address {
    FACTORY.create2_from_code(B256::ZERO, INIT)
}

/// `FACTORY` creates `child()`, and `SLOT_0` stores its input in slot 0, where 9 is.
fn follower(config: &str, with_child: bool) -> Follower {
    let child = match with_child {
        true => format!(
            r#","{:x}":{{"balance":"0x3","nonce":"0x1","code":"0x33ff","storage":{{"0x01":"0x05","0x02":"0x06"}}}}"#,
            child()
        ),
        false => String::new(),
    };
    let init = hex::encode(INIT);
    let json = format!(
        r#"{{"config":{{"chainId":7,"homesteadBlock":0,"eip150Block":0,"eip155Block":0,"eip158Block":0,
        "byzantiumBlock":0,"constantinopleBlock":0,"petersburgBlock":0,"istanbulBlock":0,"berlinBlock":0,
        "londonBlock":0,"terminalTotalDifficulty":0{config}}},"gasLimit":"0x1c9c380","difficulty":"0x0",
        "alloc":{{"{RICH:x}":{{"balance":"0xde0b6b3a7640000"}},
        "{FACTORY:x}":{{"balance":"0x0","nonce":"0x1","code":"0x6e{init}5f525f600f60115ff500"}},
        "{SLOT_0:x}":{{"balance":"0x0","nonce":"0x1","code":"0x5f355f5500","storage":{{"0x00":"0x09"}}}}{child}}}}}"#
    );
    Follower::new(&Chain::parse(json.as_bytes()).unwrap())
}

/// A call by `RICH` with a word as its input. Nobody signed it: senders are given.
fn call(nonce: u64, to: Address, word: u64) -> Recovered<Transaction> {
    let call = TxLegacy {
        chain_id: Some(7),
        nonce,
        gas_price: 2_000_000_000,
        gas_limit: 200_000,
        to: TxKind::Call(to),
        input: B256::from(U256::from(word)).into(),
        ..Default::default()
    };
    Recovered::new_unchecked(Transaction::from(call.into_signed(Signature::test_signature())), RICH)
}

fn build(follower: &Follower, candidates: impl IntoIterator<Item = Recovered<Transaction>>) -> Built {
    let mut candidates = candidates.into_iter();
    follower.executor.build(&follower.parent, 12, RICH, &mut candidates, &follower.state).unwrap()
}

fn block_of(follower: &Follower, calls: &[(Address, u64)]) -> Built {
    let calls = calls.iter().enumerate().map(|(nonce, (to, word))| call(nonce as u64, *to, *word));
    let built = build(follower, calls);
    assert!(built.skipped.is_empty());
    built
}

const SHANGHAI: &str = r#","shanghaiTime":0"#;
const CANCUN: &str = r#","shanghaiTime":0,"cancunTime":0"#;

#[test]
fn a_destroyed_account_is_gone_with_its_storage() {
    let follower = follower(SHANGHAI, true);
    let diff = block_of(&follower, &[(child(), 0)]).diff;
    assert_eq!(diff.accounts[&child()], AccountDiff { after: None, wiped: true, ..Default::default() });
    follower.state.clone().apply(&diff);
}

#[test]
fn one_that_comes_back_in_the_same_block_has_only_what_it_wrote_since() {
    let follower = follower(SHANGHAI, true);
    let diff = block_of(&follower, &[(child(), 0), (FACTORY, 0)]).diff;
    let back = &diff.accounts[&child()];
    assert!(back.wiped);
    assert_eq!(back.slots, BTreeMap::from([(U256::from(2), U256::from(7))]));
    let code_hash = keccak256(hex!("33ff"));
    assert_eq!(back.after, Some(Account { nonce: 1, code_hash, ..Account::default() }));
    // And is gone again.
    let diff = block_of(&follower, &[(child(), 0), (FACTORY, 0), (child(), 0)]).diff;
    assert_eq!(diff.accounts[&child()], AccountDiff { after: None, wiped: true, ..Default::default() });
}

#[test]
fn one_that_was_made_and_destroyed_in_a_block_was_never_there() {
    let follower = follower(SHANGHAI, false);
    let diff = block_of(&follower, &[(FACTORY, 0), (child(), 0)]).diff;
    assert_eq!(diff.accounts.get(&child()), None);
    assert!(diff.codes.is_empty());
    let diff = block_of(&follower, &[(FACTORY, 0)]).diff;
    let made = &diff.accounts[&child()];
    assert_eq!((made.wiped, made.slots.len(), diff.codes.len()), (false, 1, 1));
}

#[test]
fn from_cancun_on_only_the_ether_goes() {
    let follower = follower(CANCUN, true);
    let diff = block_of(&follower, &[(child(), 0)]).diff;
    let stays = &diff.accounts[&child()];
    assert_eq!((stays.wiped, stays.slots.len()), (false, 0));
    assert_eq!(stays.after.map(|after| (after.nonce, after.balance)), Some((1, U256::ZERO)));
}

#[test]
fn what_is_as_before_is_left_out() {
    let follower = follower(SHANGHAI, true);
    let nobody = Address::repeat_byte(0x77);
    let diff = block_of(&follower, &[(SLOT_0, 1), (SLOT_0, 9), (nobody, 0)]).diff;
    assert_eq!(diff.accounts.keys().collect::<Vec<_>>(), [&RICH]);
    let diff = block_of(&follower, &[(SLOT_0, 1), (SLOT_0, 0)]).diff;
    assert_eq!(diff.accounts[&SLOT_0].slots, BTreeMap::from([(U256::ZERO, U256::ZERO)]));
}

#[test]
fn blobs_beyond_those_of_a_block_wait_for_the_next() {
    let follower = follower(CANCUN, false);
    let with_blobs = |nonce, blobs: usize| {
        let mut hash = B256::repeat_byte(nonce as u8);
        hash.0[0] = 1;
        let transaction = TxEip4844 {
            chain_id: 7,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: 2_000_000_000,
            max_fee_per_blob_gas: 10,
            to: RICH,
            blob_versioned_hashes: vec![hash; blobs],
            ..Default::default()
        };
        let signed = Transaction::from(transaction.into_signed(Signature::test_signature()));
        Recovered::new_unchecked(signed, RICH)
    };
    // Four of Cancun's six, three that do not fit, then two that do.
    let late = with_blobs(1, 3);
    let built = build(&follower, [with_blobs(0, 4), late.clone(), with_blobs(1, 2), call(2, RICH, 0)]);
    assert_eq!((built.transactions, built.skipped.clone()), (3, vec![*late.tx_hash()]));
    assert_eq!(built.header.blob_gas_used, Some(6 * DATA_GAS_PER_BLOB));
}

#[test]
fn contracts_see_the_randomness_of_the_header_and_the_hash_of_the_parent() {
    let follower = follower(SHANGHAI, false);
    let reader = Address::repeat_byte(0x42);
    let mut state = follower.state.clone();
    // Slot 0: PREVRANDAO. Slot 1: BLOCKHASH of the block before.
    let code = hex!("445f55600143034060015500");
    let account = Account { nonce: 1, code_hash: keccak256(code), ..Account::default() };
    state.accounts.insert(reader, account);
    state.codes.insert(account.code_hash, code.to_vec().into());
    state.hashes.clear();
    let mut header = build(&follower, []).header;
    header.mix_hash = B256::repeat_byte(0x5a);
    let transactions = vec![call(0, reader, 0)];
    let mut block = Prepared { hash: B256::ZERO, header, transactions, withdrawals: Some(Vec::new()) };
    let output = loop {
        let executed = follower.executor.execute(&block, &follower.parent, &state);
        let header = &mut block.header;
        match executed {
            Ok(output) => break output,
            Err(ExecuteError::Bad(BlockError::GasUsed { got, .. })) => header.gas_used = got,
            Err(ExecuteError::Bad(BlockError::ReceiptsRoot { got, .. })) => header.receipts_root = got,
            Err(error) => panic!("{error}"),
        }
    };
    let slots = &output.diff.accounts[&reader].slots;
    assert_eq!(slots[&U256::ZERO], U256::from_be_bytes([0x5a; 32]));
    assert_eq!(slots[&U256::from(1)], U256::from_be_bytes(follower.parent.hash_slow().0));
}
