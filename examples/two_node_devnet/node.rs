//! One node: a network that speaks eth for a chain in memory.

use std::sync::Arc;

use trunkline::chain::BlockRef;
use trunkline::offload::BlockingThreads;
use trunkline::protocols::eth::{Chain as _, Eth};
use trunkline::sync::{EthSource, MemoryStore, SyncConfig, SyncHandle, Syncer};
use trunkline::trace::TraceConfig;
use trunkline::{Config, Keypair, Network, PeerAddr};

/// A running node.
pub(crate) struct Node {
    /// Its peers.
    pub(crate) network: Network,
    /// The protocol it serves and hears announcements with.
    pub(crate) eth: Arc<Eth>,
    /// Its blocks.
    pub(crate) store: Arc<MemoryStore>,
}

/// A chain like `other`, without its blocks.
pub(crate) fn empty(other: &MemoryStore, anchor: Option<BlockRef>) -> Arc<MemoryStore> {
    let spec = Arc::clone(other.spec());
    Arc::new(match anchor {
        Some(anchor) => MemoryStore::anchored(spec, anchor.hash),
        None => MemoryStore::new(spec),
    })
}

impl Node {
    /// Serves a chain, and listens if it is told where. It is somebody else each time.
    pub(crate) async fn start(
        store: Arc<MemoryStore>,
        listen: Option<&str>,
        trace: TraceConfig,
    ) -> Result<Self, String> {
        let mut builder = Config::builder().trace(trace);
        if let Some(addr) = listen {
            builder = builder.listen(addr.parse().map_err(|error| format!("{addr}: {error}"))?);
        }
        let config = builder.build().map_err(|error| error.to_string())?;
        let eth = Eth::new(store.clone());
        let network =
            Network::builder(config, Keypair::generate_secp256k1()).exchange(eth.clone()).start().await;
        Ok(Self { network: network.map_err(|error| error.to_string())?, eth, store })
    }

    /// Where it listens.
    pub(crate) fn listening(&self) -> Result<PeerAddr, String> {
        self.network.listening().into_iter().next().ok_or_else(|| "the node does not listen".to_owned())
    }

    /// Connects to a peer and follows its chain until the handle says stop.
    pub(crate) async fn follow(&self, addr: PeerAddr, anchor: Option<BlockRef>) -> SyncHandle {
        self.network.add_static_peer(addr).await;
        let source = Arc::new(EthSource::new(self.network.peer_table(), self.eth.clone()));
        // On the development chain the heavier branch wins; a file has one branch only.
        let anchor = anchor.map(|anchor| anchor.hash);
        let config = SyncConfig { anchor, heaviest: true, ..SyncConfig::default() };
        let syncer = Syncer::new(source, self.store.clone(), Arc::new(BlockingThreads), config);
        let handle = syncer.handle();
        tokio::spawn(async move {
            if let Err(error) = syncer.run().await {
                eprintln!("sync failed: {error}");
            }
        });
        handle
    }
}
