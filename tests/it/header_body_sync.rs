//! Whole nodes sync a real chain: one serves it, the other follows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trunkline::chain::{ChainSpec, DevChain, RawBlock, import};
use trunkline::offload::BlockingThreads;
use trunkline::protocols::eth::{Chain, Eth, EthEvent};
use trunkline::sync::{EthSource, MemoryStore, SyncConfig, SyncHandle, Syncer};
use trunkline::{Config, Keypair, Network, PeerAddr};

use crate::support::Over;
use crate::support::within;

/// A node with a chain.
pub(crate) struct Node {
    pub(crate) network: Network,
    pub(crate) eth: Arc<Eth>,
    pub(crate) store: Arc<MemoryStore>,
}

impl Node {
    pub(crate) async fn start(store: MemoryStore, listen: &str) -> Self {
        Self::start_with(store, listen, |_| true).await
    }

    /// The same, with some versions of eth only.
    pub(crate) async fn start_with(store: MemoryStore, listen: &str, wanted: impl Fn(u32) -> bool) -> Self {
        let store = Arc::new(store);
        let chain = Arc::clone(&store) as Arc<dyn Chain>;
        let eth = Eth::builder(chain).versions(wanted).build();
        let config = match listen {
            "" => Config::builder(),
            listen => Config::builder().listen(listen.parse().expect("an address")),
        };
        let config = config.build().expect("a configuration");
        let keypair = Keypair::generate_secp256k1();
        let network = Network::builder(config, keypair).exchange(eth.clone()).start().await.expect("starts");
        Self { network, eth, store }
    }

    pub(crate) fn addr(&self) -> PeerAddr {
        self.network.listening()[0].clone()
    }

    /// Starts following; ends with the returned task.
    pub(crate) fn follow(&self, config: SyncConfig) -> (SyncHandle, tokio::task::JoinHandle<()>) {
        let source = EthSource::new(self.network.peer_table(), Arc::clone(&self.eth));
        let syncer = Syncer::new(Arc::new(source), self.store.clone(), Arc::new(BlockingThreads), config);
        let handle = syncer.handle();
        let task = tokio::spawn(async move {
            let ended = syncer.run().await;
            assert!(ended.is_ok(), "{ended:?}");
        });
        (handle, task)
    }
}

fn data(path: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if !root.exists() {
        eprintln!("SKIPPED: {} is not there", root.display());
        return None;
    }
    Some(root)
}

async fn reached(handle: &SyncHandle, number: u64) {
    let mut progress = handle.subscribe();
    let head = |progress: &trunkline::sync::Progress| progress.head.map_or(0, |head| head.number);
    let waiting =
        async { while head(&progress.borrow_and_update()) < number && progress.changed().await.is_ok() {} };
    within(Duration::from_secs(60), "the head", waiting).await;
}

#[tokio::test]
async fn six_hundred_blocks_of_every_transaction_type_arrive_as_they_are() {
    let (Some(chain), Some(genesis)) = (data("geth-ethtest/chain.rlp"), data("geth-ethtest/genesis.json"))
    else {
        return;
    };
    let genesis = std::fs::read(genesis).expect("readable");
    let spec = Arc::new(ChainSpec::from_genesis_json(&genesis).expect("a genesis"));
    let imported = import::open(&chain, &spec).expect("a chain");
    let blocks: Vec<RawBlock> = imported.blocks.clone();
    let server =
        Node::start(MemoryStore::imported(spec.clone(), imported).expect("fits"), "/ip4/127.0.0.1/tcp/0")
            .await;
    let follower = Node::start(MemoryStore::new(spec), "").await;
    follower.network.dial(server.addr()).await.expect("connects");
    let (handle, _task) = follower.follow(SyncConfig::default());
    reached(&handle, 600).await;
    for block in blocks {
        assert_eq!(follower.store.block(block.number), Some(block));
    }
    follower.network.over().await;
    server.network.over().await;
    assert_eq!(follower.network.stats().in_flight(), 0);
}

#[tokio::test]
async fn a_follower_hears_new_blocks_of_a_producing_node() {
    let spec = Arc::new(ChainSpec::dev());
    let producer = Node::start(MemoryStore::new(spec.clone()), "/ip4/127.0.0.1/tcp/0").await;
    let mut chain = DevChain::new(1);
    let mut produce = |count: u64| {
        for n in 0..count {
            let (block, receipts) = chain.next_block(5, 1_700_000_000 + n);
            producer.store.extend(vec![block.clone()], vec![receipts]).expect("fits");
            let total = Chain::status(&*producer.store).total_difficulty;
            producer.eth.announce_block(&block, total);
        }
    };
    produce(10);
    let follower = Node::start(MemoryStore::new(spec), "").await;
    let mut heard = follower.eth.subscribe();
    follower.network.dial(producer.addr()).await.expect("connects");
    let (handle, _task) = follower.follow(SyncConfig { heaviest: true, ..SyncConfig::default() });
    reached(&handle, 10).await;
    produce(5);
    reached(&handle, 15).await;
    assert_eq!(Chain::status(&*follower.store).latest, Chain::status(&*producer.store).latest);
    let announced = async {
        while let Some(event) = heard.next().await {
            if matches!(event, EthEvent::NewBlock { .. }) {
                return;
            }
        }
    };
    within(Duration::from_secs(5), "an announcement", announced).await;
}
