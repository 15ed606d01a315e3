//! Which rules hold at which block.

use alloy_eips::eip7840::BlobParams;
use alloy_evm::eth::spec::EthExecutorSpec;
use alloy_genesis::ChainConfig;
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, U256};

use crate::genesis::{Chain, GenesisError};

/// The forks of a chain, as a genesis file has them.
#[derive(Debug, Clone)]
pub(super) struct Forks {
    config: ChainConfig,
    genesis_time: u64,
    is_dev: bool,
    /// Whether block 1 is past the merge already.
    is_merged: bool,
}

impl Forks {
    pub(super) fn new(chain: &Chain) -> Result<Self, GenesisError> {
        let config = chain.genesis.config.clone();
        if config.amsterdam_time.is_some() || config.bogota_time.is_some() {
            return Err(GenesisError::Fork("Amsterdam or later"));
        }
        if config.byzantium_block != Some(0) {
            return Err(GenesisError::Fork("before Byzantium, whose receipts carry state roots"));
        }
        let difficulty = chain.spec.genesis_header().difficulty;
        let is_merged = config.terminal_total_difficulty.is_some_and(|end| difficulty >= end);
        if config.terminal_total_difficulty.is_some_and(|end| end > U256::ZERO) && !is_merged && !chain.is_dev {
            return Err(GenesisError::Fork("proof of work before the merge"));
        }
        let genesis_time = chain.spec.genesis_header().timestamp;
        Ok(Self { config, genesis_time, is_dev: chain.is_dev, is_merged })
    }

    /// Whether blocks above the genesis are proof of stake.
    pub(super) fn is_merged(&self) -> bool {
        self.is_merged
    }

    pub(super) fn is_dev(&self) -> bool {
        self.is_dev
    }

    /// The bounds and prices of blobs at this time; none before Cancun.
    pub(super) fn blobs(&self, time: u64) -> Option<BlobParams> {
        let schedule = self.config.blob_schedule_blob_params();
        if self.is_osaka_active_at_timestamp(time) {
            let scheduled = schedule.active_scheduled_params_at_timestamp(time).copied();
            return Some(scheduled.unwrap_or(schedule.osaka));
        }
        if self.is_prague_active_at_timestamp(time) {
            return Some(schedule.prague);
        }
        self.is_cancun_active_at_timestamp(time).then_some(schedule.cancun)
    }
}

impl EthereumHardforks for Forks {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        use EthereumHardfork as Fork;
        let block = |at: Option<u64>| at.map_or(ForkCondition::Never, ForkCondition::Block);
        let time = |at: Option<u64>| at.map_or(ForkCondition::Never, |at| ForkCondition::Timestamp(at.max(self.genesis_time)));
        let config = &self.config;
        match fork {
            Fork::Frontier => ForkCondition::ZERO_BLOCK,
            Fork::Homestead => block(config.homestead_block),
            Fork::Dao => block(config.dao_fork_block.filter(|_| config.dao_fork_support)),
            Fork::Tangerine => block(config.eip150_block),
            Fork::SpuriousDragon => block(config.eip158_block),
            Fork::Byzantium => block(config.byzantium_block),
            Fork::Constantinople => block(config.constantinople_block),
            Fork::Petersburg => block(config.petersburg_block.or(config.constantinople_block)),
            Fork::Istanbul => block(config.istanbul_block),
            Fork::MuirGlacier => block(config.muir_glacier_block),
            Fork::Berlin => block(config.berlin_block),
            Fork::London => block(config.london_block),
            Fork::ArrowGlacier => block(config.arrow_glacier_block),
            Fork::GrayGlacier => block(config.gray_glacier_block),
            // There is no other reward than before the merge: the development chain has none.
            Fork::Paris if self.is_merged || self.is_dev => ForkCondition::ZERO_BLOCK,
            Fork::Paris => ForkCondition::Never,
            Fork::Shanghai => time(config.shanghai_time),
            Fork::Cancun => time(config.cancun_time),
            Fork::Prague => time(config.prague_time),
            Fork::Osaka => time(config.osaka_time),
            Fork::Bpo1 => time(config.bpo1_time),
            Fork::Bpo2 => time(config.bpo2_time),
            Fork::Bpo3 => time(config.bpo3_time),
            Fork::Bpo4 => time(config.bpo4_time),
            Fork::Bpo5 => time(config.bpo5_time),
            _ => ForkCondition::Never,
        }
    }
}

impl EthExecutorSpec for Forks {
    fn deposit_contract_address(&self) -> Option<Address> {
        self.config.deposit_contract_address
    }
}
