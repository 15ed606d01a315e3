//! Which rules count at which time.

use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use alloy_eips::eip7594::MAX_BLOBS_PER_TX_FUSAKA;
use alloy_eips::eip7840::{BLOB_BASE_COST, BlobParams};
use alloy_evm::eth::spec::EthExecutorSpec;
use alloy_genesis::{ChainConfig, Genesis};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{Address, U256};
use revm::primitives::hardfork::SpecId;

use crate::genesis::{Chain, GenesisError};

/// The bounds of a block's gas limit.
pub(super) const GAS_LIMIT_MIN: u64 = 5_000;
pub(super) const GAS_LIMIT_MAX: u64 = i64::MAX as u64;

/// More blobs than any chain will have in a block: what keeps sums of blob gas far from overflow.
const BLOBS_MAX: u64 = 1 << 16;

/// The forks of a chain. All forks up to London are at its genesis, and so is the merge, except that
/// the development chain never has one.
#[derive(Debug, Clone)]
pub(super) struct Forks {
    pub(super) chain_id: u64,
    /// London without the merge: difficulty 1, no block reward.
    pub(super) is_dev: bool,
    shanghai: Option<u64>,
    cancun: Option<u64>,
    prague: Option<u64>,
    osaka: Option<u64>,
    /// From when on which numbers count for blobs, in order of time.
    blobs: Vec<(u64, BlobParams)>,
    /// As geth has it, the zero address where the file names none: not mainnet's.
    deposit_contract: Address,
}

impl Forks {
    /// Refuses what cannot be executed: a chain whose blocks differ in another way than by the time
    /// forks up to Osaka and its changes of blob numbers.
    pub(super) fn new(chain: &Chain) -> Result<Self, GenesisError> {
        let (genesis, config) = (&*chain.genesis, &chain.genesis.config);
        check_block_forks(config)?;
        check_no_later_fork(config)?;
        check_genesis(genesis)?;
        let difficulty = genesis.difficulty;
        if !chain.is_dev && !chain.spec.is_merged(difficulty, difficulty) {
            return Err(refused(
                "it begins with proof of work (terminalTotalDifficulty is not reached at its genesis), \
                 where blocks have a seal, rewards and ommers that are not checked here",
            ));
        }
        Ok(Self {
            chain_id: chain.spec.chain_id(),
            is_dev: chain.is_dev,
            shanghai: config.shanghai_time,
            cancun: config.cancun_time,
            prague: config.prague_time,
            osaka: config.osaka_time,
            blobs: blobs(config)?,
            deposit_contract: config.deposit_contract_address.unwrap_or_default(),
        })
    }

    pub(super) fn spec_id(&self, time: u64) -> SpecId {
        let is_on = |fork: Option<u64>| fork.is_some_and(|fork| time >= fork);
        if self.is_dev {
            SpecId::LONDON
        } else if is_on(self.osaka) {
            SpecId::OSAKA
        } else if is_on(self.prague) {
            SpecId::PRAGUE
        } else if is_on(self.cancun) {
            SpecId::CANCUN
        } else if is_on(self.shanghai) {
            SpecId::SHANGHAI
        } else {
            SpecId::MERGE
        }
    }

    /// The blob numbers at a time, from Cancun on (EIP-7840, EIP-7892).
    pub(super) fn blob_params(&self, time: u64) -> Option<&BlobParams> {
        self.blobs.iter().rev().find(|(from, _)| time >= *from).map(|(_, params)| params)
    }

    /// What every block has as its difficulty.
    pub(super) fn difficulty(&self) -> U256 {
        U256::from(u64::from(self.is_dev))
    }
}

/// What alloy's block executor asks. The merge is said to be always there, because that is what
/// turns block rewards off; by which rules the EVM runs is `spec_id`'s decision.
impl EthereumHardforks for Forks {
    fn ethereum_fork_activation(&self, fork: EthereumHardfork) -> ForkCondition {
        let at = |time: Option<u64>| time.map_or(ForkCondition::Never, ForkCondition::Timestamp);
        match fork {
            EthereumHardfork::Shanghai => at(self.shanghai),
            EthereumHardfork::Cancun => at(self.cancun),
            EthereumHardfork::Prague => at(self.prague),
            EthereumHardfork::Osaka => at(self.osaka),
            EthereumHardfork::Dao => ForkCondition::Never,
            fork if fork <= EthereumHardfork::Paris => ForkCondition::Block(0),
            _ => ForkCondition::Never,
        }
    }
}

impl EthExecutorSpec for Forks {
    fn deposit_contract_address(&self) -> Option<Address> {
        Some(self.deposit_contract)
    }
}

/// Receipts before Byzantium hold state roots, headers before London no base fee.
fn check_block_forks(config: &ChainConfig) -> Result<(), GenesisError> {
    for (name, block) in [
        ("homesteadBlock", config.homestead_block),
        ("eip150Block", config.eip150_block),
        ("eip155Block", config.eip155_block),
        ("eip158Block", config.eip158_block),
        ("byzantiumBlock", config.byzantium_block),
        ("constantinopleBlock", config.constantinople_block),
        ("petersburgBlock", config.petersburg_block),
        ("istanbulBlock", config.istanbul_block),
        ("berlinBlock", config.berlin_block),
        ("londonBlock", config.london_block),
    ] {
        if block != Some(0) {
            let got = block.map_or_else(|| "absent".to_owned(), |block| block.to_string());
            return Err(refused(format!(
                "{name} is {got}, must be 0 (no blocks with other rules than London's and later ones)"
            )));
        }
    }
    match config.dao_fork_block {
        Some(block @ 1..) => Err(refused(format!("daoForkBlock is {block}, must be absent or 0"))),
        _ => Ok(()),
    }
}

fn check_no_later_fork(config: &ChainConfig) -> Result<(), GenesisError> {
    let unknown = ["verkleTime", "ubtTime"]
        .into_iter()
        .find(|name| config.extra_fields.get(*name).is_some_and(|time| !time.is_null()));
    let later = [("amsterdamTime", config.amsterdam_time), ("bogotaTime", config.bogota_time)]
        .into_iter()
        .find_map(|(name, time)| time.map(|_| name));
    match unknown.or(later) {
        Some(name) => Err(refused(format!("{name} is set: that fork is not known here, Osaka is the last"))),
        None => Ok(()),
    }
}

fn check_genesis(genesis: &Genesis) -> Result<(), GenesisError> {
    if !(GAS_LIMIT_MIN..=GAS_LIMIT_MAX).contains(&genesis.gas_limit) {
        let (got, min) = (genesis.gas_limit, GAS_LIMIT_MIN);
        return Err(refused(format!(
            "the gas limit of its genesis is {got}, must be {min} to {GAS_LIMIT_MAX}"
        )));
    }
    let empty = genesis.alloc.iter().find(|(_, account)| {
        account.balance.is_zero() && account.nonce.unwrap_or(0) == 0 && account.non_empty_code().is_none()
    });
    match empty {
        Some((address, _)) => Err(refused(format!(
            "its genesis has an account without balance, nonce and code ({address}), which EIP-161 knows not"
        ))),
        None => Ok(()),
    }
}

/// The numbers for blobs by time. A fork without an entry in `blobSchedule` has those of mainnet's;
/// one that does nothing but change them must have one.
fn blobs(config: &ChainConfig) -> Result<Vec<(u64, BlobParams)>, GenesisError> {
    let mut schedule: Vec<(u64, BlobParams)> = Vec::new();
    let mut earlier = "cancunTime";
    for (name, time, default) in [
        ("cancun", config.cancun_time, Some(BlobParams::cancun())),
        ("prague", config.prague_time, Some(BlobParams::prague())),
        ("osaka", config.osaka_time, Some(BlobParams::osaka())),
        ("bpo1", config.bpo1_time, None),
        ("bpo2", config.bpo2_time, None),
        ("bpo3", config.bpo3_time, None),
        ("bpo4", config.bpo4_time, None),
        ("bpo5", config.bpo5_time, None),
    ] {
        let Some(time) = time else { continue };
        let named = config.blob_schedule.get(name).copied();
        let mut params = named
            .or(default)
            .ok_or_else(|| refused(format!("{name}Time is set, but blobSchedule has no {name}")))?;
        if default.is_none() && config.osaka_time.is_none() {
            return Err(refused(format!("{name}Time is set without osakaTime")));
        }
        if schedule.last().is_some_and(|(last, _)| *last > time) {
            return Err(refused(format!("{name}Time is before {earlier}")));
        }
        let numbers = (params.target_blob_count, params.max_blob_count, params.update_fraction);
        if params.target_blob_count > params.max_blob_count
            || params.max_blob_count == 0
            || params.max_blob_count > BLOBS_MAX
            || params.update_fraction == 0
        {
            return Err(refused(format!(
                "blobSchedule's {name} has target, max and baseFeeUpdateFraction of {numbers:?}"
            )));
        }
        // EIP-7918 and EIP-7594 came with Osaka, whatever its numbers are.
        if config.osaka_time.is_some_and(|osaka| time >= osaka) {
            params.blob_base_cost = BLOB_BASE_COST;
            params.max_blobs_per_tx = params.max_blob_count.min(MAX_BLOBS_PER_TX_FUSAKA);
        } else {
            params.max_blobs_per_tx = params.max_blob_count;
        }
        schedule.push((time, params));
        earlier = name;
    }
    Ok(schedule)
}

/// The excess blob gas of the block after `parent` (EIP-4844; EIP-7918 from Osaka on). The numbers
/// are those of the block's own time, as everywhere.
pub(super) fn excess_blob_gas(
    params: &BlobParams,
    parent_excess: u64,
    parent_used: u64,
    parent_base_fee: u64,
) -> u64 {
    let target = params.target_blob_count * DATA_GAS_PER_BLOB;
    let sum = parent_excess.saturating_add(parent_used);
    if sum < target {
        return 0;
    }
    let reserve = U256::from(params.blob_base_cost) * U256::from(parent_base_fee);
    let price = U256::from(DATA_GAS_PER_BLOB) * U256::from(params.calc_blob_fee(parent_excess));
    if reserve > price {
        let spare = params.max_blob_count - params.target_blob_count;
        let scaled = u128::from(parent_used) * u128::from(spare) / u128::from(params.max_blob_count);
        return parent_excess.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX));
    }
    sum - target
}

fn refused(why: impl Into<String>) -> GenesisError {
    GenesisError::Unsupported(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: &str = r#""shanghaiTime":10,"cancunTime":20,"pragueTime":30,"osakaTime":40,"bpo1Time":50,
        "blobSchedule":{"prague":{"target":4,"max":8,"baseFeeUpdateFraction":77},
        "bpo1":{"target":10,"max":15,"baseFeeUpdateFraction":88}}"#;

    fn forks() -> Forks {
        let json = format!(
            r#"{{"config":{{"chainId":7,"homesteadBlock":0,"eip150Block":0,"eip155Block":0,"eip158Block":0,
            "byzantiumBlock":0,"constantinopleBlock":0,"petersburgBlock":0,"istanbulBlock":0,"berlinBlock":0,
            "londonBlock":0,"terminalTotalDifficulty":0,{TIMES}}},
            "gasLimit":"0x1c9c380","difficulty":"0x0","alloc":{{}}}}"#
        );
        Forks::new(&Chain::parse(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn each_fork_begins_with_its_time() {
        let forks = forks();
        let expected = [SpecId::MERGE, SpecId::SHANGHAI, SpecId::CANCUN, SpecId::PRAGUE, SpecId::OSAKA];
        for (i, spec) in expected.into_iter().enumerate() {
            let time = 10 * i as u64;
            assert_eq!((forks.spec_id(time), forks.spec_id(time + 9)), (spec, spec));
            let prague = forks.is_prague_active_at_timestamp(time);
            assert_eq!(prague, spec.is_enabled_in(SpecId::PRAGUE));
        }
        let max =
            |time| forks.blob_params(time).map(|params| (params.max_blob_count, params.max_blobs_per_tx));
        assert_eq!(
            [19, 20, 30, 40, 50].map(max),
            [None, Some((6, 6)), Some((8, 8)), Some((9, 6)), Some((15, 6))]
        );
        assert_eq!(Forks::new(&Chain::dev()).unwrap().spec_id(u64::MAX), SpecId::LONDON);
        assert!(forks.is_paris_active_at_block(0), "rewards are off");
    }

    #[test]
    fn excess_blob_gas_is_as_alloy_has_it_and_does_not_overflow() {
        let forks = forks();
        for time in [20, 40, 50] {
            let params = forks.blob_params(time).unwrap();
            for excess in [0, 1, 131_072, 3_000_000, 50_000_000] {
                for blobs in 0..=params.max_blob_count {
                    for base_fee in [0, 7, 1_000_000_000, 90_000_000_000] {
                        let used = blobs * DATA_GAS_PER_BLOB;
                        let alloy = params.next_block_excess_blob_gas_osaka(excess, used, base_fee);
                        assert_eq!(excess_blob_gas(params, excess, used, base_fee), alloy);
                    }
                }
            }
            assert!(excess_blob_gas(params, u64::MAX, u64::MAX, u64::MAX) > 0);
        }
    }
}
