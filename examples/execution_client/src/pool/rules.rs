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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(number: u64, time: u64) -> Rules {
        let config = json!({
            "chainId": 5, "homesteadBlock": 0, "berlinBlock": 10, "londonBlock": 20,
            "shanghaiTime": 100, "cancunTime": 200, "pragueTime": 300, "osakaTime": 400,
            "bpo1Time": 500,
            "blobSchedule": {
                "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3338477},
                "prague": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716},
                "osaka": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5007716},
                "bpo1": {"target": 10, "max": 15, "baseFeeUpdateFraction": 8346193},
            },
        });
        let head = Head { number, time, base_fee: 0, blob_base_fee: 0, gas_limit: 0 };
        Rules::after(&serde_json::from_value(config).unwrap(), &head)
    }

    #[test]
    fn types_come_with_their_forks() {
        let missing = |number, time| [0, 1, 2, 3, 4].map(|kind| after(number, time).missing_fork(kind));
        let (berlin, london, cancun, prague) =
            (Some("berlin"), Some("london"), Some("cancun"), Some("prague"));
        assert_eq!(missing(8, 0), [None, berlin, london, cancun, prague]);
        assert_eq!(missing(9, 0), [None, None, london, cancun, prague]);
        // Time counts for nothing before London.
        assert_eq!(missing(18, 999), [None, None, london, cancun, prague]);
        assert_eq!(missing(19, 198), [None, None, None, cancun, prague]);
        assert_eq!(missing(19, 199), [None, None, None, None, prague]);
        assert_eq!(missing(19, 299), [None; 5]);
    }

    #[test]
    fn blobs_follow_the_schedule() {
        let blobs = |time| (after(20, time).blobs.max_blobs_per_tx, after(20, time).blobs.max_blob_count);
        assert_eq!([199, 298, 299, 398].map(blobs), [(6, 6), (6, 6), (9, 9), (9, 9)]);
        // From Osaka on a transaction may have fewer than a block (EIP-7594).
        assert_eq!([399, 498, 499].map(blobs), [(6, 9), (6, 9), (6, 15)]);
    }
}
