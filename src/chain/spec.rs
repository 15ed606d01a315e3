//! Chain specifications: genesis, forks and ids, and what follows from them for a handshake.

use alloy_consensus::Header;
use alloy_eip2124::{ForkFilter, ForkFilterKey, ForkId, Head};
use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B64, B256, Bytes, U256, b256};

use super::block::{BlockRef, RawBlock};
use super::dev_keys::dev_addresses;
use super::genesis::{BASE_FEE_INITIAL, GenesisFile, state_root};

pub use super::genesis::SpecError;

/// The hash of Sepolia's genesis.
pub const SEPOLIA_GENESIS: B256 = b256!("25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9");

/// The chain and network id of the development chain.
pub const DEV_CHAIN_ID: u64 = 1337;

/// What each of the ten keys of the development chain owns at its genesis, in ether.
pub const DEV_ETHER: u64 = 1_000_000;

/// The gas limit of every block of the development chain.
pub const DEV_GAS_LIMIT: u64 = 30_000_000;

/// The time of the development chain's genesis: 2024-01-01, midnight UTC.
pub const DEV_GENESIS_TIME: u64 = 1_704_067_200;

/// Genesis, forks and ids of a chain. Meant to be shared in an `Arc`.
#[derive(Debug, Clone)]
pub struct ChainSpec {
    name: String,
    chain_id: u64,
    network_id: u64,
    terminal_difficulty: Option<U256>,
    header: Header,
    genesis: RawBlock,
    /// The filter at the genesis; a copy of it is set to a head for each question.
    filter: ForkFilter,
}

impl ChainSpec {
    /// The development chain: genesis fixed in code, London rules from block 0, no merge, ten keys
    /// with [`DEV_ETHER`] each.
    pub fn dev() -> Self {
        let balance = U256::from(DEV_ETHER) * U256::from(10u64).pow(U256::from(18));
        let alloc = dev_addresses()
            .map(|address: Address| (address, GenesisAccount { balance, ..GenesisAccount::default() }));
        let header = Header {
            state_root: state_root(alloc),
            difficulty: U256::from(1),
            gas_limit: DEV_GAS_LIMIT,
            timestamp: DEV_GENESIS_TIME,
            extra_data: Bytes::from_static(b"trunkline dev"),
            base_fee_per_gas: Some(BASE_FEE_INITIAL),
            ..Header::default()
        };
        Self::new("dev".to_owned(), DEV_CHAIN_ID, header, Vec::new(), None)
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
        let forks = vec![
            ForkFilterKey::Block(1_735_371),
            ForkFilterKey::Time(1_677_557_088),
            ForkFilterKey::Time(1_706_655_072),
            ForkFilterKey::Time(1_741_159_776),
            ForkFilterKey::Time(1_760_427_360),
            ForkFilterKey::Time(1_761_017_184),
            ForkFilterKey::Time(1_761_607_008),
        ];
        let terminal = Some(U256::from(17_000_000_000_000_000u64));
        Self::new("sepolia".to_owned(), 11_155_111, header, forks, terminal)
    }

    /// Reads geth's genesis.json. The network id is the chain id.
    pub fn from_genesis_json(json: &[u8]) -> Result<Self, SpecError> {
        let file = GenesisFile::parse(json)?;
        let name = format!("chain-{}", file.chain_id);
        Ok(Self::new(name, file.chain_id, file.header, file.forks, file.terminal_difficulty))
    }

    /// `dev`, `sepolia`, or `chain-` and the id for one read from a file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The chain id that transactions are signed for.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The network id that Status carries.
    pub fn network_id(&self) -> u64 {
        self.network_id
    }

    /// Number and hash of the genesis.
    pub fn genesis(&self) -> BlockRef {
        self.genesis.block_ref()
    }

    /// The header of the genesis.
    pub fn genesis_header(&self) -> &Header {
        &self.header
    }

    /// The genesis as it is served. Its body is empty.
    pub fn genesis_block(&self) -> RawBlock {
        self.genesis.clone()
    }

    /// Whether a block with this difficulty, at this total difficulty, is past the merge: later
    /// blocks are proof of stake and are not announced by NewBlock.
    pub fn is_merged(&self, difficulty: U256, total_difficulty: U256) -> bool {
        difficulty.is_zero() || self.terminal_difficulty.is_some_and(|end| total_difficulty >= end)
    }

    /// The fork id to claim at a head (EIP-2124, EIP-6122).
    pub fn fork_id(&self, head_number: u64, head_time: u64) -> ForkId {
        self.filter_at(head_number, head_time).current()
    }

    /// Whether a peer with this fork id may be on our chain, seen from a head.
    pub fn check_fork_id(&self, head_number: u64, head_time: u64, theirs: ForkId) -> bool {
        let filter = self.filter_at(head_number, head_time);
        // The rules guess whether a next fork is a block or a time; at our own we need not guess.
        filter.current() == theirs || filter.validate(theirs).is_ok()
    }

    fn filter_at(&self, number: u64, timestamp: u64) -> ForkFilter {
        let mut filter = self.filter.clone();
        filter.set_head(Head { number, timestamp, ..Head::default() });
        filter
    }

    fn new(
        name: String,
        chain_id: u64,
        header: Header,
        forks: Vec<ForkFilterKey>,
        terminal_difficulty: Option<U256>,
    ) -> Self {
        let genesis = RawBlock::empty(&header);
        let head = Head { timestamp: header.timestamp, ..Head::default() };
        let filter = ForkFilter::new(head, genesis.hash, header.timestamp, forks);
        Self { name, chain_id, network_id: chain_id, terminal_difficulty, header, genesis, filter }
    }
}

#[cfg(test)]
mod tests {
    use alloy_eip2124::ForkHash;

    use super::super::testdata;
    use super::*;

    fn id(hash: u32, next: u64) -> ForkId {
        ForkId { hash: ForkHash(hash.to_be_bytes()), next }
    }

    #[test]
    fn sepolia_has_its_public_hash_and_fork_ids() {
        let spec = ChainSpec::sepolia();
        assert_eq!(spec.genesis(), BlockRef { number: 0, hash: SEPOLIA_GENESIS });
        assert_eq!((spec.chain_id(), spec.network_id()), (11_155_111, 11_155_111));
        let steps = [
            (0, 1_633_267_481, id(0xfe3366e7, 1_735_371)),
            (172_032, 1_641_000_000, id(0xfe3366e7, 1_735_371)),
            (1_735_371, 1_660_000_000, id(0xb96cbd13, 1_677_557_088)),
            (2_990_908, 1_677_557_088, id(0xf7f9bc08, 1_706_655_072)),
            (5_187_023, 1_706_655_072, id(0x88cf81d9, 1_741_159_776)),
            (7_836_331, 1_741_159_776, id(0xed88b5fd, 1_760_427_360)),
        ];
        for (number, time, expected) in steps {
            assert_eq!(spec.fork_id(number, time), expected, "at {number}");
        }
        let last = spec.fork_id(9_500_000, 1_761_607_008);
        assert_eq!(last.next, 0);
        assert!(spec.check_fork_id(0, 1_633_267_481, last), "a peer ahead of us");
        assert!(spec.check_fork_id(9_500_000, 1_761_607_008, id(0xfe3366e7, 1_735_371)), "a peer behind us");
        assert!(!spec.check_fork_id(9_500_000, 1_761_607_008, id(0xfe3366e7, 0)), "a peer without our forks");
        assert!(!spec.check_fork_id(0, 1_633_267_481, id(0x12345678, 0)), "another chain");
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
}
