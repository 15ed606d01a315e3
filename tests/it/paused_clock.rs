//! One seed, one trace: whole nodes under a paused clock over memory, run twice.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::LocalSet;
use tokio::time::Instant;
use trunkline::disconnect::{Breach, DisconnectReason, Disconnected};
use trunkline::protocols::{Class, Exchange, From, Outlet, Payload, ServeError};
use trunkline::{Direction, Keypair, Network, PeerId, ProtocolId};

use crate::chat::{Chat, Say};
use crate::support::{addr, config};

/// One line per event, with virtual time: the same for every node of a run.
#[derive(Clone)]
struct Trace {
    start: Instant,
    lines: Arc<Mutex<String>>,
}

impl Trace {
    fn line(&self, line: &str) {
        let at = self.start.elapsed();
        writeln!(self.lines.lock().unwrap(), "{:>9.3} ms {line}", at.as_secs_f64() * 1e3).unwrap();
    }
}

/// A chat that writes down what goes in and out.
struct Traced {
    name: char,
    inner: Arc<Chat>,
    trace: Trace,
    /// How long each answer takes to make.
    pause: Mutex<StdRng>,
}

fn short(peer: PeerId) -> String {
    let text = peer.to_string();
    text[text.len() - 6..].to_owned()
}

impl Exchange for Traced {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        self.inner.ids()
    }

    fn handshake(&self, version: u32) -> Option<Payload> {
        self.trace.line(&format!("{} says hello", self.name));
        self.inner.handshake(version)
    }

    fn accept(&self, version: u32, theirs: Bytes) -> Result<(), DisconnectReason> {
        self.inner.accept(version, theirs)
    }

    fn classify(&self, version: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
        let class = self.inner.classify(version, code, prefix);
        self.trace.line(&format!("{} receives {class:?}", self.name));
        class
    }

    fn serve(
        self: Arc<Self>,
        from: From,
        question: Payload,
    ) -> BoxFuture<'static, Result<Payload, ServeError>> {
        let pause = Duration::from_millis(self.pause.lock().unwrap().random_range(0..40));
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            let answer = Arc::clone(&self.inner).serve(from, question).await;
            let size = answer.as_ref().map(|answer| answer.body.len());
            self.trace.line(&format!("{} answers {} with {size:?}", self.name, short(from.peer)));
            answer
        })
    }

    fn on_message(self: Arc<Self>, from: From, news: Payload) -> BoxFuture<'static, Result<(), ServeError>> {
        self.trace.line(&format!("{} hears {} bytes of {}", self.name, news.body.len(), short(from.peer)));
        Arc::clone(&self.inner).on_message(from, news)
    }

    fn on_up(&self, from: From, direction: Direction, theirs: Option<Bytes>, outlet: Arc<dyn Outlet>) {
        self.trace.line(&format!("{} is up with {} ({direction})", self.name, short(from.peer)));
        self.inner.on_up(from, direction, theirs, outlet);
    }

    fn on_down(&self, from: From, ended: Disconnected) {
        self.trace.line(&format!("{} is down with {}: {ended}", self.name, short(from.peer)));
        self.inner.on_down(from, ended);
    }
}

const NODES: usize = 4;

/// Four nodes in a ring ask and tell each other for a while; one of them leaves.
async fn run(seed: u64, first_port: u64) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let trace = Trace { start: Instant::now(), lines: Arc::default() };
    let (mut nodes, mut chats) = (Vec::new(), Vec::new());
    for index in 0..NODES {
        let mut config = config(&format!("/memory/{}", first_port + index as u64));
        config.seed = Some(rng.random());
        config.memory_latency = Duration::from_millis(rng.random_range(1..60));
        let mut secret = [index as u8 + 1; 32];
        secret[0] = 9;
        let key = Keypair::ed25519_from_bytes(secret).unwrap();
        let chat = Chat::new();
        let traced = Traced {
            name: (b'A' + index as u8) as char,
            inner: Arc::clone(&chat),
            trace: trace.clone(),
            pause: Mutex::new(StdRng::seed_from_u64(rng.random())),
        };
        let node = Network::builder(config, key).exchange(Arc::new(traced)).start_local().await.unwrap();
        nodes.push(node);
        chats.push(chat);
    }
    for (index, node) in nodes.iter().enumerate() {
        let next = first_port + ((index + 1) % NODES) as u64;
        node.dial(addr(&format!("/memory/{next}"))).await.unwrap();
    }
    for round in 0..6 {
        let mut asking = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            for peer in node.peers() {
                let size = rng.random_range(0..40_000);
                let timeout = Duration::from_millis(rng.random_range(20..400));
                if rng.random_range(0..3) == 0 {
                    chats[index].tell(peer.id(), &vec![b'n'; size / 100]);
                }
                let trace = trace.clone();
                asking.push(async move {
                    let result = peer.request_within(Say::new(vec![b'q'; size]), timeout).await;
                    let what = result.map(|answer| answer.len()).map_err(|error| error.to_string());
                    trace.line(&format!("{} was asked: {what:?}", short(peer.id())));
                });
            }
        }
        if round == 3 {
            nodes[2].shutdown().await;
        }
        join_all(asking).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..20_000))).await;
    }
    join_all(nodes.iter().map(Network::shutdown)).await;
    trace.line("over");
    trace.lines.lock().unwrap().clone()
}

/// A runtime of its own, so that nothing of one run is left for the next.
fn run_alone(seed: u64, first_port: u64) -> String {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let trace = LocalSet::new().block_on(&runtime, run(seed, first_port));
    drop(runtime);
    trace
}

/// Design, invariant 10.
#[test]
fn one_seed_gives_one_trace() {
    for seed in 1..=3 {
        let first_port = 7100 + 10 * seed;
        let (once, twice) = (run_alone(seed, first_port), run_alone(seed, first_port));
        let differs = once.lines().zip(twice.lines()).position(|(a, b)| a != b);
        let at = |trace: &str| differs.and_then(|at| trace.lines().nth(at)).map(str::to_owned);
        assert!(once == twice, "seed {seed}, line {differs:?}:\n{:?}\n{:?}", at(&once), at(&twice));
        // Much has happened, some of it too late, and time has passed.
        assert!(once.lines().count() > 150, "{once}");
        assert!(once.contains("no answer within") && once.contains("client quitting"), "{once}");
        assert!(once.ends_with("over\n"), "{once}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(run_alone(8, 7180), run_alone(9, 7180));
}
