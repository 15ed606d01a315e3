//! Fork ids of the public networks as published, and every verdict of EIP-2124 and EIP-6122.

use alloy_eip2124::{ForkHash, ForkId};

use super::super::block::BlockRef;
use super::*;

fn id(hash: u32, next: u64) -> ForkId {
    ForkId { hash: ForkHash(hash.to_be_bytes()), next }
}

/// Mainnet with the forks up to this one only.
fn mainnet_until(last: ForkFilterKey) -> ChainSpec {
    let forks = MAINNET_FORKS.into_iter().filter(|fork| *fork <= last).collect();
    ChainSpec::new("mainnet".to_owned(), 1, ChainSpec::mainnet().genesis_header().clone(), forks, None)
}

#[test]
fn mainnet_has_its_public_genesis() {
    let spec = ChainSpec::mainnet();
    assert_eq!(spec.genesis(), BlockRef { number: 0, hash: MAINNET_GENESIS });
    assert_eq!((spec.chain_id(), spec.network_id(), spec.name()), (1, 1, "mainnet"));
}

/// Every fork of mainnet: the id in its first block and in the last one before it.
#[test]
fn mainnet_has_its_published_fork_ids() {
    let spec = ChainSpec::mainnet();
    let published = [
        0xfc64ec04, 0x97c2c34c, 0x91d1f948, 0x7a64da13, 0x3edd5b10, 0xa00bc324, 0x668db0af, 0x879d6e30,
        0xe029e991, 0x0eb440f6, 0xb715077d, 0x20c327fc, 0xf0afd0e3, 0xdce96c2d, 0x9f3d2254, 0xc376cf8b,
        0x5167e2a6, 0xcba2a1c0, 0x07c9462e,
    ];
    let nexts: Vec<_> = MAINNET_FORKS.into_iter().map(u64::from).chain([0]).collect();
    assert_eq!(published.len(), nexts.len());
    let ids: Vec<_> = published.into_iter().zip(nexts).map(|(hash, next)| id(hash, next)).collect();
    assert_eq!(spec.fork_id(0, 0), ids[0]);
    for (at, fork) in MAINNET_FORKS.into_iter().enumerate() {
        let (before, first) = match fork {
            Block(number) => ((number - 1, 0), (number, 0)),
            Time(time) => ((20_000_000, time - 1), (20_000_000, time)),
        };
        assert_eq!(spec.fork_id(before.0, before.1), ids[at], "before {fork:?}");
        assert_eq!(spec.fork_id(first.0, first.1), ids[at + 1], "from {fork:?} on");
    }
    assert_eq!(spec.fork_id(50_000_000, 2_000_000_000), ids[MAINNET_FORKS.len()]);
}

#[test]
fn sepolia_has_its_public_genesis_and_fork_ids() {
    let spec = ChainSpec::sepolia();
    assert_eq!(spec.genesis(), BlockRef { number: 0, hash: SEPOLIA_GENESIS });
    assert_eq!((spec.chain_id(), spec.network_id()), (11_155_111, 11_155_111));
    let steps = [
        (0, 1_633_267_481, id(0xfe3366e7, 1_735_371)),
        (1_735_370, 1_641_000_000, id(0xfe3366e7, 1_735_371)),
        (1_735_371, 1_660_000_000, id(0xb96cbd13, 1_677_557_088)),
        (2_990_907, 1_677_557_087, id(0xb96cbd13, 1_677_557_088)),
        (2_990_908, 1_677_557_088, id(0xf7f9bc08, 1_706_655_072)),
        (5_187_023, 1_706_655_072, id(0x88cf81d9, 1_741_159_776)),
        (7_836_331, 1_741_159_776, id(0xed88b5fd, 1_760_427_360)),
        (9_408_577, 1_760_427_360, id(0xe2ae4999, 1_761_017_184)),
        (9_456_501, 1_761_017_184, id(0x56078a1e, 1_761_607_008)),
        (9_504_747, 1_761_607_008, id(0x268956b6, 0)),
        (20_000_000, 2_000_000_000, id(0x268956b6, 0)),
    ];
    for (number, time, expected) in steps {
        assert_eq!(spec.fork_id(number, time), expected, "at {number}");
    }
    let last = id(0x268956b6, 0);
    assert!(spec.check_fork_id(0, 1_633_267_481, last), "a peer ahead of us");
    assert!(spec.check_fork_id(9_504_747, 1_761_607_008, id(0xfe3366e7, 1_735_371)), "a peer behind us");
    assert!(!spec.check_fork_id(9_504_747, 1_761_607_008, id(0xfe3366e7, 0)), "a peer without our forks");
    assert!(!spec.check_fork_id(0, 1_633_267_481, id(0x12345678, 0)), "another chain");
}

/// EIP-6122: a time is hashed behind the blocks, as they are.
#[test]
fn a_time_fork_goes_into_the_hash_behind_the_block_forks() {
    let header = ChainSpec::mainnet().genesis_header().clone();
    let forks = vec![Time(1_668_000_000), Block(1_150_000)];
    let spec = ChainSpec::new("synthetic".to_owned(), 1, header, forks, None);
    assert_eq!(spec.fork_id(1_150_000, 1_668_000_000), id(0xcb37b2ee, 0));
}

/// G1: the verdicts that go-ethereum's tests and the two EIPs give, from a head.
#[test]
fn fork_ids_are_accepted_and_refused_as_the_eips_say() {
    let petersburg = mainnet_until(Block(7_280_000));
    let full = ChainSpec::mainnet();
    let accepted = [
        (&petersburg, 7_987_396, 0, 0x668db0af, 0),
        (&petersburg, 7_987_396, 0, 0x668db0af, u64::MAX),
        (&petersburg, 7_279_999, 0, 0xa00bc324, 0),
        (&petersburg, 7_279_999, 0, 0xa00bc324, 7_280_000),
        (&petersburg, 7_279_999, 0, 0xa00bc324, u64::MAX),
        (&petersburg, 7_987_396, 0, 0xa00bc324, 7_280_000),
        (&petersburg, 7_987_396, 0, 0x3edd5b10, 4_370_000),
        (&petersburg, 7_279_999, 0, 0x668db0af, 0),
        (&petersburg, 4_369_999, 0, 0xa00bc324, 0),
        (&full, 15_050_000, 0, 0xf0afd0e3, 1_681_338_455),
        (&full, 20_000_000, 1_681_338_455, 0xf0afd0e3, 1_681_338_455),
        (&full, 20_000_000, 1_681_338_455, 0x20c327fc, 15_050_000),
        (&full, 15_050_000, 0, 0xdce96c2d, 0),
        (&full, 13_773_000, 0, 0xf0afd0e3, 0),
    ];
    let refused = [
        (&petersburg, 7_987_396, 0, 0xa00bc324, 0),
        (&petersburg, 7_987_396, 0, 0x5cddc0e1, 0),
        (&petersburg, 7_279_999, 0, 0x5cddc0e1, 0),
        (&petersburg, 7_987_396, 0, 0xafec6b27, 0),
        (&petersburg, 88_888_888, 0, 0x668db0af, 88_888_888),
        (&petersburg, 7_279_999, 0, 0xa00bc324, 7_279_999),
        (&full, 20_000_000, 1_681_338_455, 0xf0afd0e3, 0),
        (&full, 888_888_888, 1_660_000_000, 0xf0afd0e3, 1_660_000_000),
        (&full, 19_999_999, 1_667_999_999, 0xf0afd0e3, 1_667_999_999),
        (&full, 21_000_000, 1_710_338_135, 0xdce96c2d, 0),
    ];
    for (spec, number, time, hash, next) in accepted {
        assert!(spec.check_fork_id(number, time, id(hash, next)), "{number} {time} {hash:08x} {next}");
    }
    for (spec, number, time, hash, next) in refused {
        assert!(!spec.check_fork_id(number, time, id(hash, next)), "{number} {time} {hash:08x} {next}");
    }
}

/// A node that starts at an anchor knows no total difficulty of before it: it takes mainnet for merged
/// from the first block without difficulty on.
#[test]
fn mainnet_is_merged_by_its_terminal_difficulty_or_by_a_block_without_any() {
    let spec = ChainSpec::mainnet();
    let terminal = U256::from(58_750_000_000_000_000_000_000_u128);
    let work = U256::from(11_055_787_484_078_698_u64);
    assert!(!spec.is_merged(work, terminal - U256::from(1)));
    assert!(spec.is_merged(work, terminal));
    // An anchor three blocks before the merge: its total difficulty, as counted here, is far too low.
    assert!(!spec.is_merged(work, work * U256::from(3)));
    assert!(spec.is_merged(U256::ZERO, work * U256::from(3)));
    assert!(!spec.is_merged(spec.genesis_header().difficulty, spec.genesis_header().difficulty));
}
