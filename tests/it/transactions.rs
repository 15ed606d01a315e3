//! Whole nodes hand transactions on: over memory under a paused clock, with liars among them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};
use tokio::task::LocalSet;
use trunkline::chain::ChainSpec;
use trunkline::disconnect::DisconnectReason;
use trunkline::offload::{Inline, Job, Offload};
use trunkline::protocols::eth::{Eth, PooledHash, PooledSource, PooledTransaction};
use trunkline::sync::MemoryStore;
use trunkline::transactions::{
    EthPeers, TransactionCounts, TransactionPool, Transactions, TransactionsConfig, TransactionsHandle,
    Verdict,
};
use trunkline::wire::rlp;
use trunkline::{Keypair, Network, NetworkEvent, SessionId};

use crate::support::{Over, addr, config, within};

/// In virtual time; whatever takes longer hangs.
const SOON: Duration = Duration::from_secs(60);

/// A pool that takes everything but blobs that begin with 0xff, and nothing of those whose data begin
/// so. It remembers what it was given.
#[derive(Default)]
pub(crate) struct Pool {
    held: Mutex<BTreeMap<B256, Bytes>>,
    given: Mutex<Vec<B256>>,
}

impl Pool {
    pub(crate) fn holds(&self, transactions: &[PooledTransaction]) -> bool {
        let held = self.held.lock().unwrap();
        transactions.iter().all(|transaction| held.get(&transaction.hash) == Some(&transaction.encoded))
    }
}

impl TransactionPool for Pool {
    fn knows(&self, hash: &B256) -> bool {
        self.held.lock().unwrap().contains_key(hash)
    }

    fn pooled(&self, hash: &B256) -> Option<Bytes> {
        self.held.lock().unwrap().get(hash).cloned()
    }

    fn hashes(&self) -> Vec<PooledHash> {
        let announced =
            |encoded: &Bytes| PooledTransaction::from_encoded(encoded.clone()).unwrap().announcement();
        self.held.lock().unwrap().values().map(announced).collect()
    }

    fn add(&self, transactions: Vec<PooledTransaction>) -> Vec<Verdict> {
        let verdict = |PooledTransaction { hash, encoded, .. }: PooledTransaction| {
            self.given.lock().unwrap().push(hash);
            if encoded.windows(4).any(|bytes| bytes == [0xff; 4]) {
                return Verdict::Invalid;
            }
            match self.held.lock().unwrap().insert(hash, encoded) {
                None => Verdict::Added,
                Some(_) => Verdict::Known,
            }
        };
        transactions.into_iter().map(verdict).collect()
    }
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = BytesMut::new();
    rlp::put_list_head(items.iter().map(Vec::len).sum(), &mut out);
    items.iter().for_each(|item| out.extend_from_slice(item));
    out.to_vec()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    rlp::put_bytes(bytes, &mut out);
    out.to_vec()
}

/// A transaction with this nonce, in so many fields.
pub(crate) fn fields(nonce: u32, count: usize) -> Vec<u8> {
    let mut fields = vec![string(&[0x80; 3]), string(&nonce.to_be_bytes()), string(&[7; 100])];
    fields.resize(count, vec![0x80]);
    list(&fields)
}

pub(crate) fn transaction(nonce: u32) -> PooledTransaction {
    PooledTransaction::from_encoded([vec![2], fields(nonce, 12)].concat().into()).expect("the form is right")
}

pub(crate) fn transactions(range: std::ops::Range<u32>) -> Vec<PooledTransaction> {
    range.map(transaction).collect()
}

/// One with a blob of these bytes.
pub(crate) fn with_blob(nonce: u32, filling: u8) -> PooledTransaction {
    let parts = [
        fields(nonce, 14),
        vec![1],
        list(&[string(&[filling; 131_072])]),
        list(&[string(&[1; 48])]),
        list(&vec![string(&[2; 48]); 128]),
    ];
    PooledTransaction::from_encoded([vec![3], list(&parts)].concat().into()).expect("the form is right")
}

/// Never does anything.
struct Lost;

impl Offload for Lost {
    fn start(&self, _: Job) {}
}

/// Answers every question for a transaction with the same one.
struct Always(Bytes);

impl PooledSource for Always {
    fn encoded(&self, _: &B256) -> Option<Bytes> {
        Some(self.0.clone())
    }
}

struct Node {
    network: Network,
    pool: Arc<Pool>,
    handle: TransactionsHandle,
}

pub(crate) fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Arc::new(ChainSpec::dev())))
}

impl Node {
    /// A node at this memory port that hands transactions on.
    async fn start(port: u64) -> Self {
        let pool = Arc::new(Pool::default());
        let eth = Eth::builder(store()).offload(Arc::new(Inline)).pool(pool.clone()).build();
        let mut config = config(&format!("/memory/{port}"));
        config.memory_latency = Duration::from_millis(10);
        let builder = Network::builder(config, key(port)).exchange(eth.clone());
        let network = builder.start_local().await.expect("starts");
        let source = Arc::new(EthPeers::new(network.peer_table(), eth));
        let config = TransactionsConfig::default();
        let service = Transactions::new(source, pool.clone(), Arc::new(Inline), config);
        let handle = service.handle();
        tokio::task::spawn_local(service.run());
        Self { network, pool, handle }
    }

    async fn dial(&self, port: u64) {
        self.network.dial(addr(&format!("/memory/{port}"))).await.expect("connects");
    }

    /// The host's own transactions.
    fn submit(&self, transactions: &[PooledTransaction]) {
        assert!(self.pool.add(transactions.to_vec()).iter().all(|verdict| *verdict == Verdict::Added));
        assert!(self.handle.spread(transactions.iter().map(|transaction| transaction.hash).collect()));
    }

    async fn when(&self, what: &str, is: impl FnMut(&TransactionCounts) -> bool) -> TransactionCounts {
        *within(SOON, what, self.handle.subscribe().wait_for(is)).await.expect("it runs")
    }

    async fn peers(&self, count: usize) {
        self.when("peers", |counts| counts.peers == count).await;
    }
}

fn key(port: u64) -> Keypair {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&port.to_be_bytes());
    Keypair::ed25519_from_bytes(secret).expect("32 bytes are a key")
}

/// A peer whose pool and patience are the test's: it announces by hand.
struct Odd {
    network: Network,
    eth: Arc<Eth>,
}

impl Odd {
    async fn start(port: u64, pool: Arc<dyn PooledSource>, offload: Arc<dyn Offload>) -> Self {
        let eth = Eth::builder(store()).offload(offload).pool(pool).build();
        let mut config = config(&format!("/memory/{port}"));
        config.memory_latency = Duration::from_millis(10);
        let builder = Network::builder(config, key(port)).exchange(eth.clone());
        Self { network: builder.start_local().await.expect("starts"), eth }
    }

    /// Tells the one peer there is or will be.
    async fn announce(&self, hashes: &[PooledHash]) {
        let mut events = self.eth.subscribe();
        while self.eth.peers().is_empty() {
            within(SOON, "a peer", events.next()).await.expect("it runs");
        }
        let to: Vec<SessionId> = self.eth.peers().iter().map(|peer| peer.session).collect();
        assert_eq!(self.eth.announce_transactions(&to, hashes.to_vec()), 1, "one peer");
    }

    /// How its session ended.
    async fn ended(&self, mut events: trunkline::Events) -> DisconnectReason {
        let gone = async {
            loop {
                if let NetworkEvent::PeerDown { ended, .. } = events.next().await.expect("it runs") {
                    return ended.reason;
                }
            }
        };
        within(SOON, "the end of a session", gone).await
    }
}

async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// A - B - C - D: each has every transaction, and the pool of each was given it once.
#[tokio::test(start_paused = true)]
async fn transactions_reach_the_end_of_a_line_once_each() {
    local(async {
        let mut nodes = Vec::new();
        for port in 9_100..9_104 {
            nodes.push(Node::start(port).await);
        }
        for (node, port) in nodes.iter().zip(9_101..9_104) {
            node.dial(port).await;
        }
        for (node, peers) in nodes.iter().zip([1, 2, 2, 1]) {
            node.peers(peers).await;
        }
        let mut all = transactions(0..300);
        all.push(with_blob(300, 0));
        nodes[0].submit(&all);
        for node in &nodes[1..] {
            let counts = node.when("all of them", |counts| counts.added == 301).await;
            assert_eq!(counts.delivered, 301, "nothing came twice: {counts:?}");
            assert!(node.pool.holds(&all));
            let mut given = node.pool.given.lock().unwrap().clone();
            given.sort();
            given.dedup();
            assert_eq!(given.len(), 301);
        }
        for node in &nodes {
            assert_eq!((node.handle.counts().blamed, node.handle.counts().dropped), (0, 0));
            node.network.over().await;
        }
    })
    .await;
}

/// Ten nodes, each with each: none is given a transaction twice, however often it comes.
#[tokio::test(start_paused = true)]
async fn in_a_mesh_every_pool_is_given_a_transaction_once() {
    local(async {
        let mut nodes = Vec::new();
        for port in 9_110..9_120 {
            nodes.push(Node::start(port).await);
        }
        for (index, node) in nodes.iter().enumerate() {
            for port in 9_110..9_110 + index as u64 {
                node.dial(port).await;
            }
        }
        for node in &nodes {
            node.peers(9).await;
        }
        let all = transactions(0..40);
        for (node, part) in nodes.iter().zip(all.chunks(4)) {
            node.submit(part);
        }
        for node in &nodes {
            node.when("those of the others", |counts| counts.added == 36).await;
            assert!(node.pool.holds(&all));
            assert_eq!(node.pool.given.lock().unwrap().len(), 40);
        }
        for node in &nodes {
            node.network.over().await;
        }
    })
    .await;
}

/// Of nine peers three get one whole, six its hash; of one with a blob all get the hash.
#[tokio::test(start_paused = true)]
async fn the_square_root_of_the_peers_get_them_whole_and_blobs_go_by_hash() {
    local(async {
        let hub = Node::start(9_130).await;
        let mut leaves = Vec::new();
        for port in 9_131..9_140 {
            let leaf = Node::start(port).await;
            leaf.dial(9_130).await;
            leaves.push(leaf);
        }
        hub.peers(9).await;
        for leaf in &leaves {
            leaf.peers(1).await;
        }
        let (plain, blob) = (transaction(0), with_blob(1, 9));
        hub.submit(std::slice::from_ref(&plain));
        for leaf in &leaves {
            leaf.when("the first", |counts| counts.added == 1).await;
        }
        let counts = hub.handle.counts();
        assert_eq!((counts.sent, counts.announced), (3, 6));
        assert_eq!(leaves.iter().filter(|leaf| leaf.handle.counts().asked == 0).count(), 3);
        hub.submit(std::slice::from_ref(&blob));
        for leaf in &leaves {
            leaf.when("the blob", |counts| counts.added == 2).await;
            assert!(leaf.pool.holds(&[plain.clone(), blob.clone()]));
        }
        let counts = hub.handle.counts();
        assert_eq!((counts.sent, counts.announced), (3, 6 + 9));
        // Who comes later is told of both.
        let late = Node::start(9_141).await;
        late.dial(9_130).await;
        late.when("both", |counts| counts.added == 2).await;
        for node in leaves.iter().chain([&hub, &late]) {
            node.network.over().await;
        }
    })
    .await;
}

/// Each lie in turn: the liar is disconnected for bad data, and the honest peer delivers.
#[tokio::test(start_paused = true)]
async fn a_liar_is_disconnected_and_the_other_announcer_delivers() {
    local(async {
        let (honest, invalid) = (with_blob(1, 0), with_blob(1, 0xff));
        assert_eq!((honest.hash, honest.encoded.len()), (invalid.hash, invalid.encoded.len()));
        let said = honest.announcement();
        let without_blobs = Bytes::from([vec![3], fields(1, 14)].concat());
        let lies: [(PooledHash, Bytes); 6] = [
            (PooledHash { size: said.size + 10, ..said }, honest.encoded.clone()),
            (PooledHash { kind: 2, ..said }, honest.encoded.clone()),
            (said, transaction(5).encoded),
            (said, invalid.encoded.clone()),
            (PooledHash { size: without_blobs.len() as u64, ..said }, without_blobs),
            (said, Bytes::from(vec![9; 200])),
        ];
        for (index, (announced, delivered)) in lies.into_iter().enumerate() {
            let port = 9_200 + 10 * index as u64;
            let node = Node::start(port).await;
            let liar = Odd::start(port + 1, Arc::new(Always(delivered)), Arc::new(Inline)).await;
            let other =
                Odd::start(port + 2, Arc::new(Always(honest.encoded.clone())), Arc::new(Inline)).await;
            node.dial(port + 1).await;
            node.dial(port + 2).await;
            node.peers(2).await;
            let events = liar.network.events();
            liar.announce(&[announced]).await;
            node.when("asked", |counts| counts.asked == 1).await;
            other.announce(&[said]).await;
            let counts = node.when("the good one", |counts| counts.added == 1).await;
            assert!(node.pool.holds(std::slice::from_ref(&honest)));
            assert_eq!((counts.blamed, counts.asked, counts.peers), (1, 2, 1), "lie {index}");
            // Over libp2p a breach found by the session ends it as well, whoever is first.
            let reason = liar.ended(events).await;
            assert_eq!(reason.code(), DisconnectReason::BadData.code(), "lie {index}: {reason}");
            for network in [&node.network, &liar.network, &other.network] {
                network.over().await;
            }
        }
    })
    .await;
}

/// Silence costs five seconds and is nobody's fault; one that leaves costs nothing.
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_delivers_is_replaced_when_its_time_is_up_or_it_leaves() {
    local(async {
        for leaves in [false, true] {
            let port = 9_300 + 10 * u64::from(leaves);
            let honest = transaction(1);
            let node = Node::start(port).await;
            let answers = Arc::new(Always(honest.encoded.clone()));
            let silent = Odd::start(port + 1, answers.clone(), Arc::new(Never)).await;
            let other = Odd::start(port + 2, answers, Arc::new(Inline)).await;
            node.dial(port + 1).await;
            node.dial(port + 2).await;
            node.peers(2).await;
            let start = tokio::time::Instant::now();
            silent.announce(&[honest.announcement()]).await;
            node.when("asked", |counts| counts.asked == 1).await;
            other.announce(&[honest.announcement()]).await;
            if leaves {
                silent.network.shutdown().await;
            }
            let counts = node.when("the good one", |counts| counts.added == 1).await;
            assert_eq!(start.elapsed() >= Duration::from_secs(5), !leaves);
            assert_eq!((counts.blamed, counts.unanswered), (0, u64::from(!leaves)));
            node.network.over().await;
            other.network.over().await;
            silent.network.shutdown().await;
        }
    })
    .await;
}

/// A flood of announcements of what does not exist: bounded, and others are served meanwhile.
#[tokio::test(start_paused = true)]
async fn a_flood_of_announcements_is_bounded_and_keeps_nobody_from_delivering() {
    local(async {
        let node = Node::start(9_330).await;
        let flood = Odd::start(9_331, Arc::new(Always(Bytes::new())), Arc::new(Inline)).await;
        let honest = Node::start(9_332).await;
        node.dial(9_331).await;
        node.dial(9_332).await;
        node.peers(2).await;
        honest.peers(1).await;
        for message in 0..10_u64 {
            let hash = |at: u64| B256::left_padding_from(&(message * 10_000 + at).to_be_bytes());
            let hashes = (0..8_000).map(|at| PooledHash { kind: 2, size: 100, hash: hash(at) });
            flood.announce(&hashes.collect::<Vec<_>>()).await;
        }
        node.when("the flood", |counts| counts.heard == 80_000).await;
        let all = transactions(0..50);
        honest.submit(&all);
        let counts = node.when("the good ones", |counts| counts.added == 50).await;
        assert!(counts.dropped >= 10 * (8_000 - 4_096), "{counts:?}");
        assert!(node.pool.holds(&all));
        for network in [&node.network, &honest.network, &flood.network] {
            network.over().await;
        }
    })
    .await;
}

/// The service ends when it is told to, and takes no more orders then.
#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_stopped_and_when_a_job_is_lost() {
    local(async {
        let pool = Arc::new(Pool::default());
        let eth = Eth::new(store());
        let network = Network::builder(config(""), key(1)).exchange(eth.clone()).start_local().await.unwrap();
        let source = Arc::new(EthPeers::new(network.peer_table(), eth));
        let service = Transactions::new(source, pool, Arc::new(Inline), TransactionsConfig::default());
        let handle = service.handle();
        assert!(handle.spread(vec![B256::ZERO; 64 * 4_096]), "64 lots");
        assert!(!handle.spread(vec![B256::ZERO]), "one over");
        assert!(!handle.spread(vec![B256::ZERO; 65 * 4_096]), "never");
        let running = tokio::task::spawn_local(service.run());
        handle.stop();
        within(SOON, "the end", running).await.expect("no panic").expect("a good end");
        assert!(!handle.spread(vec![B256::ZERO]), "it has ended");
        network.over().await;

        // A pool whose work gets lost: an error, not silence.
        let node = Odd::start(9_341, Arc::new(Always(transaction(1).encoded)), Arc::new(Inline)).await;
        let eth = Eth::new(store());
        let network = Network::builder(config(""), key(2)).exchange(eth.clone()).start_local().await.unwrap();
        let source = Arc::new(EthPeers::new(network.peer_table(), eth));
        let config = TransactionsConfig::default();
        let service = Transactions::new(source, Arc::new(Pool::default()), Arc::new(Lost), config);
        let handle = service.handle();
        let running = tokio::task::spawn_local(service.run());
        network.dial(addr("/memory/9341")).await.expect("connects");
        within(SOON, "a peer", handle.subscribe().wait_for(|counts| counts.peers == 1)).await.unwrap();
        node.announce(&[transaction(1).announcement()]).await;
        let ended = within(SOON, "the end", running).await.expect("no panic");
        assert_eq!(ended, Err(trunkline::transactions::TransactionsError::OffloadLost));
        network.over().await;
        node.network.over().await;
    })
    .await;
}

/// Keeps its jobs for ever, so that a question is neither answered nor refused.
struct Never;

impl Offload for Never {
    fn start(&self, job: Job) {
        std::mem::forget(job);
    }
}
