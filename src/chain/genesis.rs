//! geth's genesis.json: the first block's header and the forks that follow.

use alloy_consensus::Header;
use alloy_consensus::constants::{EMPTY_RECEIPTS, EMPTY_TRANSACTIONS, EMPTY_WITHDRAWALS};
use alloy_eip2124::ForkFilterKey;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_genesis::{ChainConfig, Genesis, GenesisAccount};
use alloy_primitives::{Address, B256, U256, b256, keccak256};
use alloy_trie::TrieAccount;
use alloy_trie::root::state_root_unsorted;

/// The base fee of a London genesis that names none (EIP-1559).
pub(crate) const BASE_FEE_INITIAL: u64 = 1_000_000_000;

/// The block access list hash of a block without state changes: keccak-256 of the empty list
/// (EIP-7928).
const EMPTY_ACCESS_LIST_HASH: B256 =
    b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");

/// Fields without which geth does not take a genesis.json either.
const REQUIRED: [&str; 4] = ["config", "gasLimit", "difficulty", "alloc"];

/// Why a genesis.json cannot be used. Each displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It is not JSON, or a field has the wrong form.
    #[error("not a genesis file: {}", one_line(.0))]
    Json(#[from] serde_json::Error),
    /// A field is missing.
    #[error("not a genesis file: missing field `{0}`")]
    Missing(&'static str),
    /// A field has a value that does not fit.
    #[error("not a usable genesis file: {field} is {got}, must {must}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        got: u128,
        /// What it should do.
        must: &'static str,
    },
    /// A fork is scheduled although one before it is not, or comes later.
    #[error("not a usable genesis file: {later} is scheduled before {earlier}")]
    ForkOrder {
        /// The fork that must come first.
        earlier: &'static str,
        /// The fork that was put before it.
        later: &'static str,
    },
}

/// What a genesis.json says.
#[derive(Debug)]
pub(crate) struct GenesisFile {
    /// The chain id, which is the network id too.
    pub(crate) chain_id: u64,
    /// The header of block 0.
    pub(crate) header: Header,
    /// Block forks and time forks after the genesis; order and duplicates do not matter.
    pub(crate) forks: Vec<ForkFilterKey>,
    /// The total difficulty at which proof of work ends.
    pub(crate) terminal_difficulty: Option<U256>,
}

impl GenesisFile {
    /// Reads a genesis.json.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, SpecError> {
        let value: serde_json::Value = serde_json::from_slice(json)?;
        if let Some(field) = REQUIRED.into_iter().find(|field| value.get(field).is_none_or(|v| v.is_null())) {
            return Err(SpecError::Missing(field));
        }
        if value["config"].get("chainId").is_none() {
            return Err(SpecError::Missing("config.chainId"));
        }
        let genesis: Genesis = serde_json::from_slice(json)?;
        if let Some(number @ 1..) = genesis.number {
            return Err(SpecError::Value { field: "number", got: number.into(), must: "be 0" });
        }
        check_order(&genesis.config)?;
        Ok(Self {
            chain_id: genesis.config.chain_id,
            forks: forks(&genesis.config, genesis.timestamp)?,
            terminal_difficulty: genesis.config.terminal_total_difficulty,
            header: header(genesis)?,
        })
    }
}

/// The state root of accounts at genesis: balances, nonces, code and storage.
pub(crate) fn state_root(alloc: impl IntoIterator<Item = (Address, GenesisAccount)>) -> B256 {
    state_root_unsorted(
        alloc.into_iter().map(|(address, account)| (keccak256(address), TrieAccount::from(account))),
    )
}

fn header(genesis: Genesis) -> Result<Header, SpecError> {
    let config = &genesis.config;
    let london = config.london_block == Some(0);
    let active = |time: Option<u64>| london && time.is_some_and(|time| time <= genesis.timestamp);
    let shanghai = active(config.shanghai_time);
    let cancun = active(config.cancun_time);
    let amsterdam = active(config.amsterdam_time);
    let base_fee = genesis.base_fee_per_gas.unwrap_or(BASE_FEE_INITIAL.into());
    let base_fee = u64::try_from(base_fee).map_err(|_| SpecError::Value {
        field: "baseFeePerGas",
        got: base_fee,
        must: "fit 64 bits",
    })?;
    Ok(Header {
        parent_hash: genesis.parent_hash.unwrap_or_default(),
        beneficiary: genesis.coinbase,
        transactions_root: EMPTY_TRANSACTIONS,
        receipts_root: EMPTY_RECEIPTS,
        difficulty: genesis.difficulty,
        gas_limit: genesis.gas_limit,
        timestamp: genesis.timestamp,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        nonce: genesis.nonce.into(),
        base_fee_per_gas: london.then_some(base_fee),
        withdrawals_root: shanghai.then_some(EMPTY_WITHDRAWALS),
        blob_gas_used: cancun.then(|| genesis.blob_gas_used.unwrap_or(0)),
        excess_blob_gas: cancun.then(|| genesis.excess_blob_gas.unwrap_or(0)),
        parent_beacon_block_root: cancun.then_some(B256::ZERO),
        requests_hash: active(config.prague_time).then_some(EMPTY_REQUESTS_HASH),
        block_access_list_hash: amsterdam.then_some(EMPTY_ACCESS_LIST_HASH),
        slot_number: amsterdam.then(|| genesis.slot_number.unwrap_or(0)),
        state_root: state_root(genesis.alloc),
        ..Header::default()
    })
}

/// Every fork point of EIP-2124 and EIP-6122 after the genesis.
fn forks(config: &ChainConfig, genesis_time: u64) -> Result<Vec<ForkFilterKey>, SpecError> {
    let blocks = [
        config.homestead_block,
        config.dao_fork_block,
        config.eip150_block,
        config.eip155_block,
        config.eip158_block,
        config.byzantium_block,
        config.constantinople_block,
        config.petersburg_block,
        config.istanbul_block,
        config.muir_glacier_block,
        config.berlin_block,
        config.london_block,
        config.arrow_glacier_block,
        config.gray_glacier_block,
        config.merge_netsplit_block,
    ];
    let times = [
        config.shanghai_time,
        config.cancun_time,
        config.prague_time,
        config.osaka_time,
        config.bpo1_time,
        config.bpo2_time,
        config.bpo3_time,
        config.bpo4_time,
        config.bpo5_time,
        config.amsterdam_time,
        config.bogota_time,
        // Not among the fields that alloy knows.
        config.extra_fields.get_deserialized("ubtTime").transpose()?.flatten(),
    ];
    let blocks = blocks.into_iter().flatten().filter(|block| *block > 0).map(ForkFilterKey::Block);
    let times = times.into_iter().flatten().filter(|time| *time > genesis_time).map(ForkFilterKey::Time);
    Ok(blocks.chain(times).collect())
}

/// The forks that change the header must come in their order: a header names its fields by place.
fn check_order(config: &ChainConfig) -> Result<(), SpecError> {
    let mut earlier = ("londonBlock", config.london_block.map(|_| 0));
    for later in [
        ("shanghaiTime", config.shanghai_time),
        ("cancunTime", config.cancun_time),
        ("pragueTime", config.prague_time),
        ("osakaTime", config.osaka_time),
        ("amsterdamTime", config.amsterdam_time),
    ] {
        let fits = match (earlier.1, later.1) {
            (Some(earlier), Some(later)) => earlier <= later,
            (None, Some(_)) => false,
            (_, None) => true,
        };
        if !fits {
            return Err(SpecError::ForkOrder { earlier: earlier.0, later: later.0 });
        }
        earlier = later;
    }
    Ok(())
}

/// A parser's message, which may quote the file, without what would break a line, and not endless.
fn one_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(config: &str, rest: &str) -> String {
        format!(
            r#"{{"config":{{"chainId":7,{config}}},"gasLimit":"0x1c9c380","difficulty":"0x1",
            "alloc":{{"00000000000000000000000000000000000000aa":{{"balance":"0x10"}}}}{rest}}}"#
        )
    }

    #[test]
    fn header_fields_appear_with_their_forks() {
        let none = GenesisFile::parse(file(r#""homesteadBlock":0"#, "").as_bytes()).unwrap().header;
        assert_eq!((none.base_fee_per_gas, none.withdrawals_root), (None, None));
        let config = r#""londonBlock":0,"shanghaiTime":0,"cancunTime":0,"pragueTime":0,"osakaTime":9"#;
        let prague = GenesisFile::parse(file(config, "").as_bytes()).unwrap();
        assert_eq!(prague.header.base_fee_per_gas, Some(BASE_FEE_INITIAL));
        assert_eq!(prague.header.requests_hash, Some(EMPTY_REQUESTS_HASH));
        assert_eq!(prague.header.block_access_list_hash, None);
        assert_eq!(prague.forks, [ForkFilterKey::Time(9)]);
    }

    #[test]
    fn forks_at_or_before_the_genesis_are_not_counted() {
        let config = r#""berlinBlock":0,"londonBlock":5,"mergeNetsplitBlock":8,"shanghaiTime":100,
            "bogotaTime":300,"ubtTime":400"#;
        let parsed = GenesisFile::parse(file(config, r#","timestamp":"0x64""#).as_bytes()).unwrap();
        let blocks = [ForkFilterKey::Block(5), ForkFilterKey::Block(8)];
        assert_eq!(parsed.forks[..2], blocks);
        assert_eq!(parsed.forks[2..], [ForkFilterKey::Time(300), ForkFilterKey::Time(400)]);
    }

    #[test]
    fn a_file_that_is_no_genesis_is_refused_in_one_line() {
        let good = file(r#""londonBlock":0"#, "");
        let cases = [
            r#"{"config":{"chainId":"x"}"#.to_owned(),
            String::new(),
            "[]".to_owned(),
            "{}".to_owned(),
            good.replace("\"chainId\":7,", ""),
            good.replace("0x1c9c380", "many\\nlines"),
            file(r#""londonBlock":0"#, r#","number":"0x5""#),
            file(r#""londonBlock":0,"cancunTime":5"#, ""),
            file(r#""londonBlock":0,"shanghaiTime":9,"cancunTime":5"#, ""),
            file(r#""londonBlock":0"#, r#","baseFeePerGas":"0x10000000000000000""#),
            file(r#""shanghaiTime":0"#, ""),
            file(r#""ubtTime":"soon""#, ""),
        ];
        for case in cases {
            let error = GenesisFile::parse(case.as_bytes()).expect_err(&case).to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
        }
        for len in 0..good.len() {
            assert!(GenesisFile::parse(&good.as_bytes()[..len]).is_err(), "{len} bytes");
        }
        assert!(GenesisFile::parse(good.as_bytes()).is_ok());
    }
}
