//! Chain specifications: genesis, forks and ids, and what follows from them for a handshake.

use alloy_consensus::Header;
use alloy_eip2124::{ForkFilter, ForkFilterKey, ForkId, Head};
use alloy_genesis::{ChainConfig, Genesis, GenesisAccount};
use alloy_primitives::{Address, Bytes, U256};

use super::block::{BlockRef, RawBlock};
use super::dev_keys::dev_addresses;
use super::genesis::{BASE_FEE_INITIAL, GenesisFile, state_root};

pub use super::genesis::SpecError;

/// The chain and network id of the development chain.
pub const DEV_CHAIN_ID: u64 = 1337;

/// What each of the ten keys of the development chain owns at its genesis, in ether.
pub const DEV_ETHER: u64 = 1_000_000;

/// The gas limit of every block of the development chain.
pub const DEV_GAS_LIMIT: u64 = 30_000_000;

/// The time of the development chain's genesis: 2024-01-01, midnight UTC.
pub const DEV_GENESIS_TIME: u64 = 1_704_067_200;

/// The time of mainnet's genesis. A next fork above it is a time, as no chain has as many blocks
/// (EIP-6122).
const EARLIEST_TIME: u64 = 1_438_269_973;

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
    /// The highest block fork, 0 for none; `None` for a chain without time forks.
    last_block_fork: Option<u64>,
}

impl ChainSpec {
    /// The development chain: genesis fixed in code, London rules from block 0, no merge, ten keys
    /// with [`DEV_ETHER`] each.
    pub fn dev() -> Self {
        let genesis = Self::dev_genesis();
        let header = Header {
            state_root: state_root(genesis.alloc),
            difficulty: genesis.difficulty,
            gas_limit: genesis.gas_limit,
            timestamp: genesis.timestamp,
            extra_data: genesis.extra_data,
            base_fee_per_gas: Some(BASE_FEE_INITIAL),
            ..Header::default()
        };
        Self::new("dev".to_owned(), DEV_CHAIN_ID, header, Vec::new(), None)
    }

    /// What the development chain's genesis.json would hold: for a host that executes its blocks, and
    /// needs the allocation. That there is no block reward is not said in it.
    pub fn dev_genesis() -> Genesis {
        let balance = U256::from(DEV_ETHER) * U256::from(10u64).pow(U256::from(18));
        let alloc = dev_addresses()
            .map(|address: Address| (address, GenesisAccount { balance, ..GenesisAccount::default() }));
        let start = Some(0);
        let config = ChainConfig {
            chain_id: DEV_CHAIN_ID,
            homestead_block: start,
            eip150_block: start,
            eip155_block: start,
            eip158_block: start,
            byzantium_block: start,
            constantinople_block: start,
            petersburg_block: start,
            istanbul_block: start,
            berlin_block: start,
            london_block: start,
            ..ChainConfig::default()
        };
        Genesis {
            config,
            difficulty: U256::from(1),
            gas_limit: DEV_GAS_LIMIT,
            timestamp: DEV_GENESIS_TIME,
            extra_data: Bytes::from_static(b"trunkline dev"),
            base_fee_per_gas: Some(BASE_FEE_INITIAL.into()),
            alloc: alloc.into_iter().collect(),
            ..Genesis::default()
        }
    }

    /// Reads geth's genesis.json. The network id is the chain id.
    pub fn from_genesis_json(json: &[u8]) -> Result<Self, SpecError> {
        let file = GenesisFile::parse(json)?;
        let name = format!("chain-{}", file.chain_id);
        Ok(Self::new(name, file.chain_id, file.header, file.forks, file.terminal_difficulty))
    }

    /// `dev`, `mainnet`, `sepolia`, or `chain-` and the id for one read from a file.
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
    ///
    /// A chain that is followed from an anchor counts its total difficulty from there, so that it is
    /// taken for too low: such a chain is past the merge from its first block without difficulty on,
    /// which is the one behind the block that reached the terminal difficulty.
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
        if filter.current().hash != theirs.hash {
            return filter.validate(theirs).is_ok();
        }
        // Both have passed the same forks. One that they know and we do not must not be behind us.
        // It is a time where all our block forks are behind us, or where it looks like one.
        let by_time = self.last_block_fork.is_some_and(|last| head_number >= last);
        let passed = if by_time { head_time } else { head_number };
        let is_time = theirs.next > EARLIEST_TIME;
        theirs.next == 0 || passed < theirs.next && !(is_time && head_time >= theirs.next)
    }

    fn filter_at(&self, number: u64, timestamp: u64) -> ForkFilter {
        let mut filter = self.filter.clone();
        filter.set_head(Head { number, timestamp, ..Head::default() });
        filter
    }

    pub(super) fn new(
        name: String,
        chain_id: u64,
        header: Header,
        forks: Vec<ForkFilterKey>,
        terminal_difficulty: Option<U256>,
    ) -> Self {
        let genesis = RawBlock::empty(&header);
        let head = Head { timestamp: header.timestamp, ..Head::default() };
        let (mut last_block, mut times) = (0, false);
        for fork in &forks {
            match fork {
                ForkFilterKey::Block(block) => last_block = last_block.max(*block),
                ForkFilterKey::Time(_) => times = true,
            }
        }
        let last_block_fork = times.then_some(last_block);
        let filter = ForkFilter::new(head, genesis.hash, header.timestamp, forks);
        Self {
            name,
            chain_id,
            network_id: chain_id,
            terminal_difficulty,
            header,
            genesis,
            filter,
            last_block_fork,
        }
    }
}

#[cfg(test)]
mod tests;
