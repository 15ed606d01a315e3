//! The development chain, chains from files, and how fork ids are judged.

use alloy_eip2124::ForkHash;
use alloy_primitives::b256;

use super::super::testdata;
use super::*;

fn id(hash: u32, next: u64) -> ForkId {
    ForkId { hash: ForkHash(hash.to_be_bytes()), next }
}

#[test]
fn the_genesis_of_the_development_chain_never_changes() {
    let spec = ChainSpec::dev();
    let expected = b256!("523d83472341f764dd0b66833ed064b9ed7ed61c9f7b8916ad1928bff55c723f");
    assert_eq!(spec.genesis().hash, expected);
    assert_eq!((spec.chain_id(), spec.network_id(), spec.name()), (1337, 1337, "dev"));
    assert_eq!(spec.fork_id(0, DEV_GENESIS_TIME), spec.fork_id(1_000_000, u64::MAX));
    assert!(!spec.is_merged(U256::from(1), U256::MAX));
}

#[test]
fn the_development_chain_is_the_one_that_its_genesis_file_describes() {
    let json = serde_json::to_vec(&ChainSpec::dev_genesis()).unwrap();
    let from_file = ChainSpec::from_genesis_json(&json).unwrap();
    let dev = ChainSpec::dev();
    assert_eq!(from_file.genesis_header(), dev.genesis_header());
    assert_eq!((from_file.chain_id(), from_file.fork_id(9, 9)), (dev.chain_id(), dev.fork_id(9, 9)));
}

#[test]
fn the_genesis_files_of_real_chains_have_their_known_hashes() {
    let Some(json) = testdata::read("geth-ethtest/genesis.json") else { return };
    let spec = ChainSpec::from_genesis_json(&json).unwrap();
    let hash = b256!("bd6a252af394d80904c5993b859574bd4669642cea00a116970ec7887db67533");
    assert_eq!((spec.genesis().hash, spec.network_id()), (hash, 3_503_995_874_084_926));
    assert_eq!(spec.fork_id(0, 0), id(0x8fd57d63, 60));
    assert_eq!(spec.fork_id(600, 6000), id(0x377aaa78, 0));
    assert!(spec.is_merged(U256::from(0x20000), U256::from(0x20000)));

    let Some(json) = testdata::read("long/genesis.json") else { return };
    let spec = ChainSpec::from_genesis_json(&json).unwrap();
    let hash = b256!("45d5b812128ffe0a522c4fea0fde481d322cd1f448a9c0adb935fe4ab6b1f5af");
    assert_eq!((spec.genesis().hash, spec.chain_id()), (hash, 1_820_000));
}

#[test]
fn our_own_fork_id_is_always_accepted() {
    let Some(json) = testdata::read("geth-ethtest/genesis.json") else { return };
    let spec = ChainSpec::from_genesis_json(&json).unwrap();
    // A next fork of 60 looks like a block number, which this head is past.
    assert!(spec.check_fork_id(100, 59, spec.fork_id(100, 59)));
}

/// What geth said to each of these when its head was block 600 of the same chain.
#[test]
fn fork_ids_are_judged_as_geth_judges_them() {
    let Some(json) = testdata::read("geth-ethtest/genesis.json") else { return };
    let spec = ChainSpec::from_genesis_json(&json).unwrap();
    let accepted = [id(0x377aaa78, 0), id(0x377aaa78, 99_999_999_999), id(0x8fd57d63, 60)];
    let refused = [id(0x8fd57d63, 0), id(0x377aaa78, 1_000), id(0x12345678, 0)];
    for theirs in accepted {
        assert!(spec.check_fork_id(600, 6_000, theirs), "{theirs:?}");
    }
    for theirs in refused {
        assert!(!spec.check_fork_id(600, 6_000, theirs), "{theirs:?}");
    }
    // At the genesis and at block 600.
    assert!(spec.check_fork_id(0, 0, spec.fork_id(600, 6_000)));
}
