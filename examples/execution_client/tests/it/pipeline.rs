//! Back-pressure, from execution down to the peer: store, pipeline and a real sync, without the program.

use std::sync::Arc;

use alloy_primitives::B256;
use execution_client::evm::Executor;
use execution_client::genesis::Chain as Genesis;
use execution_client::pipeline::{Pipeline, Told, Wait};
use execution_client::state::{MemorySource, WorkingState};
use execution_client::store::Store;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use trunkline::chain::ChainSpec;
use trunkline::offload::BlockingThreads;
use trunkline::protocols::eth::Eth;
use trunkline::sync::{EthSource, MemoryStore, SyncConfig, SyncHandle, Syncer};
use trunkline::{Config, Keypair, Network};

use crate::support::branches::Branch;
use crate::support::forge::forged;
use crate::support::liar::{Lie, LyingChain};
use crate::support::peer::{Listen, Peer};
use crate::support::within;

const BLOCKS: u64 = 400;
/// How far bodies may be ahead of execution, and how many the sync stores at a time.
const AHEAD: u64 = 32;
const AT_ONCE: u64 = 16;
/// How many headers the sync may hold above what is stored.
const WINDOW: u64 = 64;

/// A store that a sync fills, and nobody executes yet.
struct Host {
    store: Arc<Store>,
    executor: Arc<Executor>,
    sync: SyncHandle,
    network: Network,
    syncing: AbortOnDropHandle<()>,
}

impl Host {
    async fn start(folder: &TempDir) -> Self {
        let chain = Genesis::dev();
        let genesis = || {
            let mut state = WorkingState::new(MemorySource::default());
            state.apply(&chain.genesis_diff())?;
            Ok(state.take())
        };
        let store = Store::open(folder.path(), &chain, genesis).expect("opens");
        store.set_ahead_max(AHEAD);
        let eth = Eth::new(store.served());
        let config = Config::builder().build().expect("a configuration");
        let starting = Network::builder(config, Keypair::generate_secp256k1()).exchange(eth.clone()).start();
        let network = starting.await.expect("starts");
        let config = SyncConfig {
            heaviest: true,
            header_window: WINDOW,
            deliver_blocks_max: AT_ONCE as usize,
            ..SyncConfig::default()
        };
        let source = EthSource::new(network.peer_table(), eth);
        let syncer = Syncer::new(Arc::new(source), store.clone(), Arc::new(BlockingThreads), config);
        let sync = syncer.handle();
        let syncing = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = syncer.run().await;
        }));
        let executor = Arc::new(Executor::new(&chain).expect("executable"));
        Self { store, executor, sync, network, syncing }
    }

    async fn dial(&self, peer: &Peer) {
        within("a connection", self.network.dial(peer.addr())).await.expect("connects");
    }

    /// Waits until everything that may be asked for is here.
    async fn stalls(&self) {
        let mut progress = self.sync.subscribe();
        let full = progress.wait_for(|now| {
            now.bodies >= AHEAD && now.in_flight == 0 && now.headers >= now.bodies + WINDOW - AT_ONCE
        });
        within("a stall", full).await.expect("the sync lives");
    }

    fn ahead(&self) -> u64 {
        // What is executed is read first: in between it only grows.
        let executed = self.store.executed().block.number;
        self.store.stored().number.saturating_sub(executed)
    }

    /// Executes to the head of a branch; bodies never get further ahead than they may. Gives what else
    /// there was to tell.
    async fn executes(&self, branch: &Branch) -> Vec<Told> {
        let (told, mut hear) = mpsc::channel(1);
        let pipeline = Pipeline {
            store: self.store.clone(),
            executor: self.executor.clone(),
            sync: self.sync.clone(),
            wait: Wait::ForBodies,
            told,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(pipeline.run(stop.clone()));
        let (number, hash, root) = branch.head();
        let mut stored = self.store.watch_stored();
        let mut others = Vec::new();
        let executing = async {
            while self.store.executed().block.hash != hash {
                tokio::select! {
                    changed = stored.changed() => changed.expect("the store lives"),
                    told = hear.recv() => match told.expect("the pipeline lives") {
                        Told::Committed(_) => {}
                        other => others.push(other),
                    },
                }
                assert!(self.ahead() < AHEAD + AT_ONCE, "{} blocks ahead", self.ahead());
            }
        };
        within("the head", executing).await;
        let executed = self.store.executed();
        assert_eq!((executed.block.number, executed.state_root), (number, root));
        stop.cancel();
        // Whatever it still has to tell, nobody wants to hear.
        drop(hear);
        within("the end", running).await.expect("no panic").expect("no failure");
        others
    }

    /// Everything ends, and the folder is closed.
    async fn over(self) {
        self.sync.stop();
        within("the end of the sync", self.syncing).await.expect("no panic");
        within("the end of the network", self.network.shutdown()).await;
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn served(branch: &Branch) -> Arc<LyingChain> {
    Arc::new(LyingChain::new(branch.store(), Lie::Watched(BLOCKS)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_nobody_executes_stops_asking_and_goes_on_when_somebody_does() {
    let branch = Branch::new(BLOCKS as usize);
    let chain = served(&branch);
    let peer = Peer::start(chain.clone(), Listen::Libp2p).await;
    let (data, other_data) = (folder(), folder());
    let host = Host::start(&data).await;
    host.dial(&peer).await;
    host.stalls().await;
    assert!((AHEAD..AHEAD + AT_ONCE).contains(&host.ahead()), "{} blocks ahead", host.ahead());
    let (items, requests) = (*chain.items().borrow(), host.sync.progress().requests);
    // Headers and bodies, each no further than the window, and one header more for each question.
    let most = 2 * (AHEAD + AT_ONCE + WINDOW) + requests.ok;
    assert!(items <= most, "{items} items where {most} are the most");

    // As long as it takes to sync all of it, it asks for nothing.
    let other = Peer::start(served(&branch), Listen::Libp2p).await;
    let unhindered = Host::start(&other_data).await;
    unhindered.store.set_ahead_max(2 * BLOCKS);
    unhindered.dial(&other).await;
    let mut stored = unhindered.store.watch_stored();
    let all = stored.wait_for(|stored| stored.number == BLOCKS);
    within("all of it", all).await.expect("the store lives");
    assert_eq!(
        (*chain.items().borrow(), host.sync.progress().requests),
        (items, requests),
        "it went on asking"
    );

    assert!(host.executes(&branch).await.is_empty());
    unhindered.over().await;
    host.over().await;
    peer.over().await;
    other.over().await;
}

/// The sync waits for room when the block is rejected: it does not go on waiting for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_fails_while_the_sync_is_held_back_is_fetched_again_from_somebody_else() {
    const BAD: u64 = 20;
    let branch = Branch::new(BLOCKS as usize);
    let bad = forged(&branch.blocks(), BAD, |header| header.state_root = B256::repeat_byte(0xbb), 0);
    let store = MemoryStore::new(Arc::new(ChainSpec::dev()));
    store.extend(bad, Vec::new()).expect("fits");
    let liar = Peer::start(Arc::new(store), Listen::Libp2p).await;
    let honest = Peer::start(served(&branch), Listen::Libp2p).await;
    let data = folder();
    let host = Host::start(&data).await;
    host.dial(&liar).await;
    host.stalls().await;
    let session = host.network.peer(&liar.network.id()).expect("connected").session();
    host.dial(&honest).await;
    let told = host.executes(&branch).await;
    let [Told::Bad { bad, blamed }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((bad.block.number, bad.what, *blamed), (BAD, "state-root", Some(session)));
    host.over().await;
    liar.over().await;
    honest.over().await;
}

/// As after a kill between the two: the sync has left a branch, and execution has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_was_left_while_nobody_executed_is_undone_after_a_restart() {
    let trunk = Branch::new(10);
    let (first, second) = (trunk.fork(2, 10), trunk.fork(3, 15));
    let peer = Peer::start(Arc::new(first.store()), Listen::Libp2p).await;
    let heavier = Peer::start(Arc::new(second.store()), Listen::Libp2p).await;
    let data = folder();
    let host = Host::start(&data).await;
    host.dial(&peer).await;
    assert!(host.executes(&first).await.is_empty());
    host.dial(&heavier).await;
    let mut stored = host.store.watch_stored();
    let (number, hash, _) = second.head();
    let left = stored.wait_for(|stored| stored.hash == hash);
    within("the other branch", left).await.expect("the store lives");
    assert_eq!(host.store.executed().block.hash, first.head().1);
    drop(stored);
    host.over().await;

    let host = Host::start(&data).await;
    assert_eq!(host.store.stored().number, number, "nothing is fetched again");
    let told = host.executes(&second).await;
    let [Told::Unwound { from, common }] = &told[..] else { panic!("{told:?}") };
    assert_eq!((from.hash, common.number), (first.head().1, 10));
    host.over().await;
    peer.over().await;
    heavier.over().await;
}
