//! The public networks that are built in: their genesis blocks and fork tables.
//!
//! Fork points are those of go-ethereum's configurations of early 2026. A fork scheduled since then is
//! not in them: at it, this node becomes stale and its peers say so.

use alloy_consensus::Header;
use alloy_eip2124::ForkFilterKey::{self, Block, Time};
use alloy_primitives::{B64, B256, Bytes, U256, b256};

use super::genesis::BASE_FEE_INITIAL;
use super::spec::ChainSpec;

/// The hash of mainnet's genesis.
pub const MAINNET_GENESIS: B256 = b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3");

/// The hash of Sepolia's genesis.
pub const SEPOLIA_GENESIS: B256 = b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9");

/// Homestead, the DAO fork, Tangerine Whistle, Spurious Dragon, Byzantium, Petersburg, Istanbul, Muir
/// Glacier, Berlin, London, Arrow Glacier, Gray Glacier; Shanghai, Cancun, Prague, Osaka and its two
/// changes of blob parameters.
const MAINNET_FORKS: [ForkFilterKey; 18] = [
    Block(1_150_000),
    Block(1_920_000),
    Block(2_463_000),
    Block(2_675_000),
    Block(4_370_000),
    Block(7_280_000),
    Block(9_069_000),
    Block(9_200_000),
    Block(12_244_000),
    Block(12_965_000),
    Block(13_773_000),
    Block(15_050_000),
    Time(1_681_338_455),
    Time(1_710_338_135),
    Time(1_746_612_311),
    Time(1_764_798_551),
    Time(1_765_290_071),
    Time(1_767_747_671),
];

/// The network split after the merge; Shanghai, Cancun, Prague, Osaka and its two changes of blob
/// parameters.
const SEPOLIA_FORKS: [ForkFilterKey; 7] = [
    Block(1_735_371),
    Time(1_677_557_088),
    Time(1_706_655_072),
    Time(1_741_159_776),
    Time(1_760_427_360),
    Time(1_761_017_184),
    Time(1_761_607_008),
];

impl ChainSpec {
    /// Ethereum.
    pub fn mainnet() -> Self {
        let header = Header {
            state_root: b256!("d7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544"),
            difficulty: U256::from(0x4_0000_0000_u64),
            gas_limit: 5_000,
            extra_data: Bytes::from_static(&MAINNET_EXTRA),
            nonce: B64::with_last_byte(0x42),
            ..Header::default()
        };
        let terminal = U256::from(58_750_000_000_000_000_000_000_u128);
        Self::new("mainnet".to_owned(), 1, header, MAINNET_FORKS.to_vec(), Some(terminal))
    }

    /// Ethereum's public test network.
    pub fn sepolia() -> Self {
        let header = Header {
            state_root: b256!("5eb6e371a698b8d68f665192350ffcecbbbf322916f4b51bd79bb6887da3f494"),
            difficulty: U256::from(0x20000),
            gas_limit: 0x1c9c380,
            timestamp: 1_633_267_481,
            extra_data: Bytes::from_static(b"Sepolia, Athens, Attica, Greece!"),
            nonce: B64::ZERO,
            base_fee_per_gas: Some(BASE_FEE_INITIAL),
            ..Header::default()
        };
        let terminal = U256::from(17_000_000_000_000_000_u64);
        Self::new("sepolia".to_owned(), 11_155_111, header, SEPOLIA_FORKS.to_vec(), Some(terminal))
    }
}

/// The extra data of mainnet's genesis: a hash that was not known before it was made.
const MAINNET_EXTRA: [u8; 32] = b256!("11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa").0;

#[cfg(test)]
mod tests;
