//! What the chain asks of a transaction at a height.

use alloy_eips::eip7840::BlobParams;
use alloy_genesis::ChainConfig;

/// The head, as far as the pool needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub number: u64,
    /// Its time, in seconds.
    pub time: u64,
    /// The base fee of the **next** block; 0 before London.
    pub base_fee: u64,
    /// The fee for blob gas of the **next** block; not looked at before Cancun.
    pub blob_base_fee: u128,
    /// Its gas limit.
    pub gas_limit: u64,
}

/// The rules of the next block, as far as they concern transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) chain_id: u64,
    pub(super) homestead: bool,
    pub(super) istanbul: bool,
    pub(super) berlin: bool,
    pub(super) london: bool,
    pub(super) shanghai: bool,
    pub(super) cancun: bool,
    pub(super) prague: bool,
    pub(super) osaka: bool,
    pub(super) blobs: BlobParams,
}

impl Rules {
    /// The rules of the block after this head, if it came a second later: a fork is waited for rather
    /// than met early.
    pub(super) fn after(config: &ChainConfig, head: &Head) -> Self {
        let (number, time) = (head.number.saturating_add(1), head.time.saturating_add(1));
        let at_block = |fork: Option<u64>| fork.is_some_and(|first| first <= number);
        let london = at_block(config.london_block);
        let at_time = |fork: Option<u64>| london && fork.is_some_and(|first| first <= time);
        let (prague, osaka) = (at_time(config.prague_time), at_time(config.osaka_time));
        let schedule = config.blob_schedule_blob_params();
        let blobs = match schedule.active_scheduled_params_at_timestamp(time) {
            Some(scheduled) if osaka => *scheduled,
            _ if osaka => schedule.osaka,
            _ if prague => schedule.prague,
            _ => schedule.cancun,
        };
        Self {
            chain_id: config.chain_id,
            homestead: at_block(config.homestead_block),
            istanbul: at_block(config.istanbul_block),
            berlin: at_block(config.berlin_block),
            london,
            shanghai: at_time(config.shanghai_time),
            cancun: at_time(config.cancun_time),
            prague,
            osaka,
            blobs,
        }
    }

    /// The fork that a type came with, if it is not active yet.
    pub(super) fn missing_fork(&self, kind: u8) -> Option<&'static str> {
        let (active, fork) = match kind {
            1 => (self.berlin, "berlin"),
            2 => (self.london, "london"),
            3 => (self.cancun, "cancun"),
            4 => (self.prague, "prague"),
            _ => (true, ""),
        };
        (!active).then_some(fork)
    }
}
