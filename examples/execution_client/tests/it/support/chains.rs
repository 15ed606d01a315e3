//! The chain of 600 blocks with which geth tests its peers, executed once for its receipts.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use alloy_consensus::Header;
use alloy_rlp::Decodable;
use bytes::Bytes;
use execution_client::evm::Executor;
use execution_client::genesis::Chain;
use execution_client::state::{MemorySource, WorkingState};
use trunkline::chain::{RawBlock, import};
use trunkline::sync::MemoryStore;

/// A chain with everything that a peer can be asked for.
pub(crate) struct Blocks {
    pub(crate) genesis: PathBuf,
    pub(crate) chain: Chain,
    /// From block 1 on.
    pub(crate) blocks: Vec<RawBlock>,
    pub(crate) receipts: Vec<Bytes>,
}

impl Blocks {
    /// What a peer serves that has all of it.
    pub(crate) fn store(&self) -> MemoryStore {
        self.store_to(self.blocks.len())
    }

    /// The same, up to this block.
    pub(crate) fn store_to(&self, number: usize) -> MemoryStore {
        let store = MemoryStore::new(self.chain.spec.clone());
        store.extend(self.blocks[..number].to_vec(), self.receipts[..number].to_vec()).expect("fits");
        store
    }

    pub(crate) fn header(&self, number: u64) -> Header {
        match number.checked_sub(1) {
            Some(index) => header_of(&self.blocks[index as usize]),
            None => self.chain.spec.genesis_header().clone(),
        }
    }
}

pub(crate) fn header_of(block: &RawBlock) -> Header {
    Header::decode(&mut &block.header[..]).expect("a header")
}

/// The chain, unless it is not on this machine.
pub(crate) fn ethtest() -> Option<Arc<Blocks>> {
    static CHAIN: OnceLock<Option<Arc<Blocks>>> = OnceLock::new();
    CHAIN.get_or_init(|| read().map(Arc::new)).clone()
}

fn read() -> Option<Blocks> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/geth-ethtest");
    let (file, genesis) = (folder.join("chain.rlp"), folder.join("genesis.json"));
    if !file.exists() {
        eprintln!("SKIPPED: no {}", file.display());
        return None;
    }
    let chain = Chain::read(&genesis).expect("a genesis");
    let blocks = import::open(&file, &chain.spec).expect("a chain").blocks;
    let receipts = receipts_of(&chain, &blocks);
    Some(Blocks { genesis, chain, blocks, receipts })
}

fn receipts_of(chain: &Chain, blocks: &[RawBlock]) -> Vec<Bytes> {
    let executor = Executor::new(chain).expect("executable");
    let mut state = WorkingState::new(MemorySource::default());
    state.apply(&chain.genesis_diff()).expect("a state");
    let mut parent = chain.spec.genesis_header().clone();
    let run = |raw: &RawBlock| {
        let block = executor.prepare(raw.clone()).expect("a block");
        let output = executor.execute(&block, &parent, &state).expect("valid");
        state.apply(&output.diff).expect("a state");
        state.push_block_hash(raw.number, raw.hash);
        parent = block.header;
        output.receipts
    };
    blocks.iter().map(run).collect()
}
