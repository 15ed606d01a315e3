//! The part that embeds trunkline: what is spoken, who is dialled, what is fetched and served.
//!
//! Everything else in this program would be the same with another network under it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use trunkline::chain::RawBlock;
use trunkline::disconnect::Side;
use trunkline::discovering::Discovering;
use trunkline::discovery::DiscoveryConfig;
use trunkline::error::StartError;
use trunkline::keyfile::{self, KeyFileError};
use trunkline::offload::BlockingThreads;
use trunkline::protocols::eth::Eth;
use trunkline::sync::{EthSource, Receipts, SyncConfig, SyncError, SyncHandle, Syncer};
use trunkline::trace::TraceConfig;
use trunkline::transactions::{
    EthPeers, Transactions, TransactionsConfig, TransactionsError, TransactionsHandle,
};
use trunkline::transport::addr::Endpoint;
use trunkline::{
    Config, DisconnectReason, Events, Keypair, Network, NetworkEvent, PeerAddr, PeerId, SessionId,
};

use crate::args::{Args, ReceiptsOption};
use crate::failure::Failure;
use crate::pool::Pool;
use crate::store::Store;

/// Bytes of headers, bodies and receipts that the sync may hold: less than by default, because the
/// EVM and the database want memory as well.
const HEADER_BYTES_MAX: usize = 4 << 20;
const BODY_BYTES_MAX: usize = 8 << 20;
const RECEIPT_BYTES_MAX: usize = 32 << 20;

/// A running network with everything that this program does over it.
pub struct Node {
    network: Network,
    eth: Arc<Eth>,
    sync: SyncHandle,
    syncing: Option<JoinHandle<Result<(), SyncError>>>,
    transactions: TransactionsHandle,
    spreading: Option<JoinHandle<Result<(), TransactionsError>>>,
    discovering: Option<Discovering>,
}

impl Node {
    /// Binds the listen addresses and starts; nobody is dialled yet.
    pub async fn start(
        args: &Args,
        identity: &Keypair,
        store: &Arc<Store>,
        pool: &Arc<Pool>,
        is_dev: bool,
    ) -> Result<Self, Failure> {
        let config = args.listen.iter().cloned().fold(Config::builder(), |config, addr| config.listen(addr));
        let config = config.max_peers(args.max_peers as usize).trace(trace(args, identity)?);
        let config = config.build().map_err(Failure::unusable)?;
        let offload = Arc::new(BlockingThreads);
        let eth = Eth::builder(store.served()).pool(pool.clone()).build();
        let network = Network::builder(config, identity.clone()).exchange(eth.clone()).start().await;
        let network = network.map_err(|error| match error {
            StartError::Listen { .. } | StartError::Trace(_) => Failure::unusable(error),
            error => Failure::failed(error),
        })?;
        let source = Arc::new(EthSource::new(network.peer_table(), eth.clone()));
        let syncer = Syncer::new(source, store.clone(), offload.clone(), sync_config(args, is_dev));
        let sync = syncer.handle();
        let others = Arc::new(EthPeers::new(network.peer_table(), eth.clone()));
        let spreading = Transactions::new(others, pool.clone(), offload, TransactionsConfig::default());
        let transactions = spreading.handle();
        let mut node = Self {
            sync,
            transactions,
            spreading: Some(tokio::spawn(spreading.run())),
            syncing: Some(tokio::spawn(syncer.run())),
            network,
            eth,
            discovering: None,
        };
        if let Err(failure) = node.discover(args, identity, store).await {
            node.shutdown().await;
            return Err(failure);
        }
        Ok(node)
    }

    async fn discover(&mut self, args: &Args, identity: &Keypair, store: &Arc<Store>) -> Result<(), Failure> {
        let Some(listen) = args.discovery else { return Ok(()) };
        let mut config = DiscoveryConfig::new(listen);
        config.bootnodes = args.bootnodes.iter().filter_map(|known| known.node.clone()).collect();
        let started = Discovering::start(&self.network, identity, store.served(), config).await;
        self.discovering = Some(started.map_err(|error| Failure::unusable(format!("--discovery {error}")))?);
        Ok(())
    }

    /// Stays connected to these from now on.
    pub async fn dial(&self, addrs: impl IntoIterator<Item = &PeerAddr>) {
        for addr in addrs {
            self.network.add_static_peer(addr.clone()).await;
        }
    }

    /// Peers that come and go; the first caller hears everything since the start.
    pub fn events(&self) -> Events {
        self.network.events()
    }

    /// A peer that was named on the command line and sent bad data is not dialled again, unless nobody
    /// else is left: the network alone would go on dialling it, as the user's word is.
    pub async fn on_network(&self, event: &NetworkEvent) {
        if let NetworkEvent::PeerDown { peer, ended, .. } = event
            && ended.reason == DisconnectReason::BadData
            && ended.side == Side::Local
            && !self.network.peers().is_empty()
        {
            self.network.remove_static_peer(*peer).await;
        }
    }

    pub fn id(&self) -> PeerId {
        self.network.id()
    }

    /// How far the sync is, and how to reject a block.
    pub fn sync(&self) -> &SyncHandle {
        &self.sync
    }

    /// Waits until the sync ends: at the trusted head, or because it cannot go on.
    pub async fn sync_ended(&mut self) -> Result<(), SyncError> {
        match &mut self.syncing {
            Some(syncing) => {
                let ended = syncing.await;
                self.syncing = None;
                ended.unwrap_or(Err(SyncError::OffloadLost))
            }
            None => std::future::pending().await,
        }
    }

    /// Our enode and record, while discovery runs.
    pub fn found_as(&self) -> Option<(String, String)> {
        let discovery = self.discovering.as_ref()?.discovery();
        Some((discovery.local_node().to_string(), discovery.local_record().to_base64()))
    }

    /// Another head is executed: peers hear of it as far as their protocol has words for it.
    pub async fn on_head(&mut self, block: Option<&RawBlock>) {
        let chain = self.eth.chain().status();
        match block {
            Some(block) if !chain.merged => drop(self.eth.announce_block(block, chain.total_difficulty)),
            _ => {}
        }
        self.eth.announce_range_if_due();
        if let Some(discovering) = &mut self.discovering {
            discovering.on_head().await;
        }
    }

    /// What comes and goes of transactions, and how to spread our own.
    pub fn transactions(&self) -> &TransactionsHandle {
        &self.transactions
    }

    /// Whose session this is, while it lives.
    pub fn peer_of(&self, session: SessionId) -> Option<PeerId> {
        self.network.peer_table().find(session).map(|peer| peer.id())
    }

    /// How requests ended, how many never did, and bytes in and out.
    pub fn sums(&self) -> (Vec<(&'static str, u64)>, u64, (u64, u64)) {
        let stats = self.network.stats();
        (stats.outcomes(), stats.in_flight(), self.network.traffic())
    }

    /// Ends the sync, tells peers goodbye, and stops the network's threads.
    pub async fn shutdown(&mut self) {
        if let Some(discovering) = self.discovering.take() {
            discovering.shutdown().await;
        }
        self.sync.stop();
        self.transactions.stop();
        if let Some(syncing) = self.syncing.take() {
            let _ = syncing.await;
        }
        if let Some(spreading) = self.spreading.take() {
            let _ = spreading.await;
        }
        self.network.shutdown().await;
    }
}

/// Whether every listen address can be bound: looked at before anything is written.
pub fn check_listen(args: &Args) -> Result<(), Failure> {
    for addr in &args.listen {
        let (Endpoint::Tcp(socket) | Endpoint::Rlpx(socket)) = addr.endpoint else { continue };
        std::net::TcpListener::bind(socket)
            .map_err(|error| Failure::unusable(format!("cannot listen at {addr}: {error}")))?;
    }
    Ok(())
}

/// Whether the folder for the trace is there or can be made: looked at before anything is written.
pub fn check_trace(args: &Args) -> Result<(), Failure> {
    let Some(folder) = &args.trace else { return Ok(()) };
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() || !folder.exists() && above.is_dir() {
        return Ok(());
    }
    Err(Failure::unusable(format!("--trace {}: not a folder, and none can be made there", folder.display())))
}

/// Reads the identity, or makes one. The file is written only by [`save_identity`].
pub fn identity(path: &Path) -> Result<(Keypair, bool), Failure> {
    match keyfile::read(path) {
        Ok(identity) => Ok((identity, false)),
        Err(KeyFileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok((Keypair::generate_secp256k1(), true))
        }
        Err(error) => Err(Failure::unusable(format!("{}: {error}", path.display()))),
    }
}

/// Writes a new identity.
pub fn save_identity(path: &Path, identity: &Keypair) -> Result<(), Failure> {
    keyfile::create(path, identity).map_err(|error| Failure::unusable(format!("{}: {error}", path.display())))
}

fn trace(args: &Args, identity: &Keypair) -> Result<TraceConfig, Failure> {
    let Some(folder) = &args.trace else { return Ok(TraceConfig::default()) };
    std::fs::create_dir(folder)
        .or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })
        .map_err(|error| Failure::unusable(format!("{}: {error}", folder.display())))?;
    Ok(TraceConfig::default().in_folder(folder, &identity.public().to_peer_id().to_string()))
}

fn sync_config(args: &Args, is_dev: bool) -> SyncConfig {
    SyncConfig {
        trusted_head: args.head,
        heaviest: is_dev,
        receipts: match args.receipts {
            ReceiptsOption::None => Receipts::None,
            ReceiptsOption::Auto => Receipts::Available,
            ReceiptsOption::Required => Receipts::Required,
        },
        header_bytes_max: HEADER_BYTES_MAX,
        body_bytes_max: BODY_BYTES_MAX,
        receipt_bytes_max: RECEIPT_BYTES_MAX,
        // The store makes a transaction of each delivery.
        deliver_blocks_max: 512,
        deliver_bytes_max: 4 << 20,
        poll_interval: Duration::from_millis(500),
        ..SyncConfig::default()
    }
}
