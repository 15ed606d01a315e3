//! Where node A's blocks come from: a file, or a chain that is made while it is served.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use trunkline::chain::{BlockRef, ChainSpec, DevChain, RawBlock, import};
use trunkline::sync::MemoryStore;

use crate::Options;

/// What node A starts with.
pub(crate) struct Origin {
    /// Its blocks so far.
    pub(crate) store: Arc<MemoryStore>,
    /// The block to trust, if they do not begin at the genesis.
    pub(crate) anchor: Option<BlockRef>,
    /// Who makes the blocks that are still to come.
    pub(crate) maker: Option<Maker>,
}

/// Makes blocks of the development chain, the same ones in every run.
pub(crate) struct Maker {
    chain: DevChain,
    transactions: usize,
    /// Blocks that are still to be made.
    pub(crate) left: u64,
}

impl Maker {
    /// The next block and its receipts, made on another thread: signing takes its time.
    pub(crate) async fn next_block(mut self) -> Result<(Self, RawBlock, Bytes), String> {
        off_thread(move || {
            let (block, receipts) = self.chain.next_block(self.transactions, 0);
            self.left = self.left.saturating_sub(1);
            Ok((self, block, receipts))
        })
        .await
    }
}

/// Reads the file, or makes the first half of the chain.
pub(crate) async fn prepare(options: &Options) -> Result<Origin, String> {
    if let Some(file) = options.import.clone() {
        let chain = options.chain.clone();
        return off_thread(move || from_file(&file, chain.as_deref())).await;
    }
    let (blocks, transactions) = (options.blocks, usize::try_from(options.txs).unwrap_or(usize::MAX));
    off_thread(move || made(blocks, transactions)).await
}

fn made(blocks: u64, transactions: usize) -> Result<Origin, String> {
    let store = MemoryStore::new(Arc::new(ChainSpec::dev()));
    let mut chain = DevChain::new(1);
    let (first, receipts) = (0..blocks / 2).map(|_| chain.next_block(transactions, 0)).unzip();
    store.extend(first, receipts).map_err(|error| error.to_string())?;
    let maker = Maker { chain, transactions, left: blocks - blocks / 2 };
    Ok(Origin { store: Arc::new(store), anchor: None, maker: Some(maker) })
}

fn from_file(file: &Path, chain: Option<&str>) -> Result<Origin, String> {
    let spec = Arc::new(spec(file, chain)?);
    let imported = import::open(file, &spec).map_err(|error| error.to_string())?;
    let anchor = imported.anchor;
    let store = MemoryStore::imported(spec, imported).map_err(|error| error.to_string())?;
    Ok(Origin { store: Arc::new(store), anchor, maker: None })
}

fn spec(file: &Path, chain: Option<&str>) -> Result<ChainSpec, String> {
    let beside = file.with_file_name("genesis.json");
    let genesis = match chain {
        Some("dev") => return Ok(ChainSpec::dev()),
        Some("sepolia") => return Ok(ChainSpec::sepolia()),
        Some(other) => Path::new(other),
        None if file.extension().is_some_and(|extension| extension == "era1") => {
            return Ok(ChainSpec::sepolia());
        }
        None if beside.exists() => &beside,
        None => return Ok(ChainSpec::dev()),
    };
    let refused = |why: String| format!("{}: {why}", genesis.display());
    let json = std::fs::read(genesis).map_err(|error| refused(error.to_string()))?;
    ChainSpec::from_genesis_json(&json).map_err(|error| refused(error.to_string()))
}

async fn off_thread<T, F>(work: F) -> Result<T, String>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, String> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
