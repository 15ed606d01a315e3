//! The chain a node starts with: its specification, and what was imported.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use alloy_primitives::B256;
use trunkline::chain::{ChainSpec, import};
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::MemoryStore;

use super::event::Event;
use super::unusable_file;
use crate::failure::Failure;

/// More than any genesis.json holds, in bytes.
const GENESIS_BYTES_MAX: u64 = 256 << 20;

/// The specification named by `--chain`. Read on another thread: genesis files can be large.
pub(super) async fn spec(name: String) -> Result<Arc<ChainSpec>, Failure> {
    let read = move || match name.as_str() {
        "dev" => Ok(ChainSpec::dev()),
        "sepolia" => Ok(ChainSpec::sepolia()),
        "mainnet" => Ok(ChainSpec::mainnet()),
        file => from_file(Path::new(file)),
    };
    off_thread(read).await.map(Arc::new)
}

fn from_file(path: &Path) -> Result<ChainSpec, Failure> {
    let read = || {
        let mut json = Vec::new();
        File::open(path)?.take(GENESIS_BYTES_MAX).read_to_end(&mut json)?;
        Ok(json)
    };
    let unreadable =
        |error: io::Error| unusable_file(path, format!("neither dev, mainnet, sepolia nor a file: {error}"));
    let json: Vec<u8> = read().map_err(unreadable)?;
    ChainSpec::from_genesis_json(&json).map_err(|error| unusable_file(path, error))
}

/// What is served from the start.
pub(super) struct Chain {
    /// The blocks.
    pub(super) store: Arc<MemoryStore>,
    /// The trusted block that is still to be fetched.
    pub(super) anchor: Option<B256>,
    /// What to say about the import.
    pub(super) imported: Option<Event>,
}

impl Chain {
    /// Reads and checks the file, if there is one, on another thread.
    pub(super) async fn open(
        spec: Arc<ChainSpec>,
        file: Option<PathBuf>,
        anchor: Option<B256>,
    ) -> Result<Self, Failure> {
        let anchor = anchor.filter(|anchor| *anchor != spec.genesis().hash);
        let Some(file) = file else {
            let store = match anchor {
                Some(anchor) => MemoryStore::anchored(spec, anchor),
                None => MemoryStore::new(spec),
            };
            return Ok(Self { store: Arc::new(store), anchor, imported: None });
        };
        off_thread(move || Self::import(spec, &file, anchor)).await
    }

    fn import(spec: Arc<ChainSpec>, file: &Path, anchor: Option<B256>) -> Result<Self, Failure> {
        let start = Instant::now();
        let imported = import::open(file, &spec).map_err(Failure::unusable)?;
        if let Some(anchor) =
            anchor.filter(|anchor| imported.anchor.is_none_or(|first| first.hash != *anchor))
        {
            return Err(unusable_file(file, format!("does not start at the anchor {anchor}")));
        }
        let blocks = imported.blocks.len();
        let store = MemoryStore::imported(spec, imported).map_err(|error| unusable_file(file, error))?;
        let head = store.status().latest;
        let imported = Event::Imported { blocks, head, took: start.elapsed() };
        Ok(Self { store: Arc::new(store), anchor: None, imported: Some(imported) })
    }
}

/// Runs what takes long away from the async threads.
pub(super) async fn off_thread<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(Failure::failed)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chain_that_is_neither_known_nor_a_file_is_unusable() {
        for name in ["dev", "mainnet", "sepolia"] {
            assert_eq!(spec(name.to_owned()).await.unwrap().name(), name);
        }
        for name in ["atlantis", "Mainnet", "/", ""] {
            let failure = spec(name.to_owned()).await.map(drop).unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{failure}");
        }
    }

    #[tokio::test]
    async fn the_genesis_as_anchor_is_no_anchor() {
        let spec = Arc::new(ChainSpec::dev());
        let chain = Chain::open(spec.clone(), None, Some(spec.genesis().hash)).await;
        assert!(chain.is_ok_and(|chain| chain.anchor.is_none()));
        let chain = Chain::open(spec, None, Some(B256::repeat_byte(1))).await;
        assert!(chain.is_ok_and(|chain| chain.anchor == Some(B256::repeat_byte(1))));
    }
}
