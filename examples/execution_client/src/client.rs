//! The program from its first line to its last: store, network and pipeline, and what they tell.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256};
use alloy_rlp::Decodable;
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use trunkline::chain::{BlockRef, RawBlock};
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::SyncError;
use trunkline::transactions::TransactionCounts;
use trunkline::{Events, NetworkEvent};

use crate::args::{Args, ReceiptsOption};
use crate::evm::Executor;
use crate::failure::Failure;
use crate::genesis::Chain;
use crate::node::{self, Node};
use crate::pipeline::{Committed, Pipeline, PipelineError, Progress, Told, Wait};
use crate::pool::{Pool, PoolLimits, read_tx_file};
use crate::pooling::Pooling;
use crate::producer::{ProduceError, Producer};
use crate::report::{End, Event, Output, StageSum};
use crate::state::{MemorySource, StateBatch, StateError, WorkingState};
use crate::store::Store;

/// How far bodies may be ahead of execution. What is further is not fetched.
const AHEAD_MAX: u64 = 4_096;
/// What the pipeline tells and nobody has heard yet. When full, it waits.
const TOLD_MAX: usize = 16;
const TICK: Duration = Duration::from_millis(100);

/// Why a run ends.
enum Why {
    Signal,
    Ttl,
    Timeout(Duration),
    Reached,
    Broken(Failure),
}

/// Runs until something ends it.
pub async fn run(args: Args, stop: CancellationToken) -> Result<(), Failure> {
    let chain = if args.genesis == Path::new("dev") { Ok(Chain::dev()) } else { Chain::read(&args.genesis) };
    let chain = chain.map_err(Failure::unusable)?;
    if args.produce.is_some() && !chain.is_dev {
        return Err(Failure::unusable("--produce makes blocks of the development chain only: --genesis dev"));
    }
    let own = args.tx_file.as_deref().map(read_tx_file).transpose().map_err(Failure::unusable)?;
    let executor = Arc::new(Executor::new(&chain).map_err(Failure::unusable)?);
    node::check_listen(&args)?;
    node::check_trace(&args)?;
    let metrics = args.metrics.map(serve_metrics).transpose()?;
    let key_file = args.key.clone().unwrap_or_else(|| args.datadir.join("key"));
    let (identity, is_new) = node::identity(&key_file)?;
    let (datadir, of) = (args.datadir.clone(), chain.clone());
    let opened = tokio::task::spawn_blocking(move || Store::open(&datadir, &of, || genesis_batch(&of)));
    let store = opened.await.map_err(Failure::failed)?.map_err(Failure::unusable)?;
    store.set_ahead_max(AHEAD_MAX);
    if is_new {
        node::save_identity(&key_file, &identity)?;
    }
    let pool = Arc::new(Pool::new(&chain, PoolLimits::default()));
    let node = Node::start(&args, &identity, &store, &pool, chain.is_dev).await?;
    let mut output = Output::new(args.json);
    let executed = store.executed();
    let opened =
        Event::Opened { head: executed.block, root: executed.state_root, datadir: args.datadir.clone() };
    let first = [Some(opened), metrics.map(|addr| Event::Metrics { addr })];
    for event in first.into_iter().flatten() {
        output.print(event).map_err(Failure::failed)?;
    }
    let (told, hear) = mpsc::channel(TOLD_MAX);
    let wait = match args.receipts {
        ReceiptsOption::Required => Wait::ForReceipts(node.sync().subscribe()),
        _ => Wait::ForBodies,
    };
    let pipeline =
        Pipeline { store: store.clone(), executor: executor.clone(), sync: node.sync().clone(), wait, told };
    let halt = CancellationToken::new();
    let executing = tokio::spawn(pipeline.run(halt.clone()));
    let salt = Address::from_word(alloy_primitives::keccak256(identity.public().encode_protobuf()));
    let producer =
        args.produce.map(|every| Producer::new(every, args.transfers, &chain, executor.clone(), salt));
    let client = Client {
        pooling: Pooling::new(store.clone(), pool.clone(), executor, own),
        events: node.events(),
        producer,
        node,
        store,
        pool,
        output,
        hear,
        halt,
        executing: Some(executing),
        begun: None,
        moved: None,
        sums: Sums::default(),
        args,
    };
    client.run(stop).await
}

/// Serves metrics from now on. Returns where, with the real port.
fn serve_metrics(addr: SocketAddr) -> Result<SocketAddr, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::unusable(format!("--metrics {addr}: {error}"));
    // The exporter does not tell which port it was given, so one is picked here.
    let bound = TcpListener::bind(addr).and_then(|listener| listener.local_addr());
    let addr = bound.map_err(|error| unusable(&error))?;
    let exporter = metrics_exporter_prometheus::PrometheusBuilder::new().with_http_listener(addr);
    exporter.install().map_err(|error| unusable(&error))?;
    Ok(addr)
}

fn genesis_batch(chain: &Chain) -> Result<StateBatch, StateError> {
    let mut state = WorkingState::new(MemorySource::default());
    state.apply(&chain.genesis_diff())?;
    Ok(state.take())
}

/// When each stage was at its highest block, and where it began.
#[derive(Default)]
struct Sums {
    start: Progress,
    now: Progress,
    at: [Option<Instant>; 4],
}

struct Client {
    args: Args,
    node: Node,
    store: Arc<Store>,
    pool: Arc<Pool>,
    pooling: Pooling,
    producer: Option<Producer>,
    output: Output,
    events: Events,
    hear: mpsc::Receiver<Told>,
    halt: CancellationToken,
    executing: Option<JoinHandle<Result<(), PipelineError>>>,
    /// When the first peer was dialled, and when the head last moved.
    begun: Option<Instant>,
    moved: Option<Instant>,
    sums: Sums,
}

impl Client {
    async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        self.sums.start = self.progress();
        self.sums.now = self.sums.start;
        self.begun = Some(Instant::now());
        self.node.dial(self.args.bootnodes.iter().map(|known| &known.addr)).await;
        if let Some((enode, enr)) = self.node.found_as() {
            self.tell(Event::Discovery { enode, enr });
        }
        let why = self.follow(&stop).await;
        let finished = self.finish().await;
        let verdict = self.verdict(why).and(finished);
        if let Err(failure) = &verdict {
            self.tell(Event::Error(failure.to_string()));
        }
        let end = self.end();
        self.tell(Event::End(end));
        verdict
    }

    async fn follow(&mut self, stop: &CancellationToken) -> Why {
        let begun = Instant::now();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = self.node.sync().subscribe();
        self.at_start().await;
        loop {
            let reached =
                self.args.until_block.is_some_and(|until| self.store.executed().block.number >= until);
            if reached {
                return Why::Reached;
            }
            let (ttl, timeout) = (self.args.ttl, self.args.timeout);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Why::Signal,
                () = after(begun, ttl) => return Why::Ttl,
                () = after(begun, timeout) => return Why::Timeout(timeout.unwrap_or_default()),
                ended = join(&mut self.executing) => return Why::Broken(self.broken(ended)),
                ended = self.node.sync_ended() => match ended {
                    // The trusted head is stored; execution goes on.
                    Ok(()) => {}
                    // The pipeline knows more about it.
                    Err(SyncError::TrustedRejected { .. }) => {}
                    Err(error) => {
                        let why = format!("the sync has failed: {error}");
                        return Why::Broken(failure(&self.args, &self.store, why));
                    }
                },
                Some(told) = self.hear.recv() => self.on_told(told).await,
                event = self.events.next() => match event {
                    Some(event) => {
                        self.node.on_network(&event).await;
                        self.on_network(event);
                    }
                    None => return Why::Broken(Failure::failed("the network has ended")),
                },
                Ok(()) = progress.changed() => self.on_progress(),
                () = due(self.producer.as_mut()) => self.produce().await,
                _ = tick.tick() => {
                    self.on_progress();
                    if let Some(changed) = self.pooling.changed(self.pool.status()) {
                        self.tell(changed);
                    }
                    if self.output.tick().is_err() {
                        return Why::Broken(Failure::failed("results cannot be written"));
                    }
                }
            }
        }
    }

    fn tell(&mut self, event: Event) {
        // Whoever reads no results still has the exit code; a tick finds out.
        let _ = self.output.print(event);
    }

    async fn on_told(&mut self, told: Told) {
        match told {
            Told::Committed(committed) => self.on_committed(*committed).await,
            Told::Unwound { from, common } => {
                let to = self.store.stored();
                self.tell(Event::Reorg { from, to, common });
            }
            Told::Bad { bad, blamed } => {
                self.tell(Event::BadBlock { bad, blamed: blamed.is_some() });
            }
        }
    }

    async fn on_committed(&mut self, committed: Committed) {
        let (block, root) = (committed.head, committed.header.state_root);
        self.moved = Some(Instant::now());
        self.on_progress();
        self.tell(Event::Head { block, root });
        let whole = if committed.caught_up { self.store.block(block.number).ok().flatten() } else { None };
        self.node.on_head(whole.as_ref()).await;
        if committed.caught_up {
            self.pool_at(committed.header, committed.mined, committed.dropped).await;
        }
    }

    /// The pool stands at this head from now on.
    async fn pool_at(&mut self, header: Header, mined: Vec<B256>, dropped: Vec<RawBlock>) {
        let submitted = self.pooling.on_head(header, mined, dropped).await;
        submitted.events.into_iter().for_each(|event| self.tell(event));
        if !submitted.spread.is_empty() {
            self.node.transactions().spread(submitted.spread);
        }
    }

    /// A chain that was executed before is a head for the pool, and a genesis for a producer.
    async fn at_start(&mut self) {
        let at = self.store.executed().block.number;
        if at == 0 && self.producer.is_none() {
            return;
        }
        let header = self.store.header(at).and_then(|header| Header::decode(&mut &header[..]).ok());
        if let Some(header) = header {
            self.pool_at(header, Vec::new(), Vec::new()).await;
        }
    }

    async fn produce(&mut self) {
        let Some(producer) = &mut self.producer else { return };
        if self.args.produce_to.is_some_and(|to| self.store.executed().block.number >= to) {
            self.producer = None;
            return;
        }
        match producer.make(&self.store, &self.pool).await {
            Ok((block, transactions)) => {
                self.node.sync().moved();
                self.tell(Event::Produced { block, transactions });
            }
            // The next one is made on whatever moved it.
            Err(ProduceError::Moved) => {}
            Err(error) => self.tell(Event::Error(format!("no block was made: {error}"))),
        }
    }

    fn on_network(&mut self, event: NetworkEvent) {
        let event = match event {
            NetworkEvent::Listening { addr } => Event::Listening { addr, peer: self.node.id() },
            NetworkEvent::PeerUp { peer } => Event::PeerUp { peer },
            NetworkEvent::PeerDown { peer, ended, .. } | NetworkEvent::PeerRefused { peer, ended, .. } => {
                Event::PeerDown { peer, ended }
            }
            NetworkEvent::DialFailed { addr, error, again_in } => {
                let again = again_in.map_or(String::new(), |pause| format!("; again in {pause:.1?}"));
                Event::Error(format!("dial of {addr} failed: {}{again}", error.escape_default()))
            }
            NetworkEvent::Missed(missed) => Event::Error(format!("{missed} events were missed")),
            _ => return,
        };
        self.tell(event);
    }

    fn progress(&self) -> Progress {
        let sync = self.node.sync().progress();
        let executed = self.store.executed().block.number;
        Progress {
            headers: sync.headers,
            bodies: sync.bodies,
            receipts: sync.receipts.max(executed),
            executed,
            target: sync.target.max(executed),
        }
    }

    fn on_progress(&mut self) {
        let now = self.progress();
        if now == self.sums.now {
            return;
        }
        let before = std::mem::replace(&mut self.sums.now, now);
        let pairs = [
            (before.headers, now.headers),
            (before.bodies, now.bodies),
            (before.receipts, now.receipts),
            (before.executed, now.executed),
        ];
        for (at, (before, now)) in self.sums.at.iter_mut().zip(pairs) {
            if now > before {
                *at = Some(Instant::now());
            }
        }
        self.tell(Event::Progress(now));
    }

    /// Lets everything end: what was executed is committed, peers are told goodbye.
    async fn finish(&mut self) -> Result<(), Failure> {
        self.halt.cancel();
        let mut result = Ok(());
        if let Some(executing) = &mut self.executing {
            // It may have something to tell before it ends.
            loop {
                tokio::select! {
                    biased;
                    Some(told) = self.hear.recv() => match told {
                        Told::Committed(committed) => {
                            let (block, root) = (committed.head, committed.header.state_root);
                            self.moved = Some(Instant::now());
                            let _ = self.output.print(Event::Head { block, root });
                        }
                        Told::Unwound { .. } | Told::Bad { .. } => {}
                    },
                    ended = &mut *executing => {
                        result = ended.map_err(Failure::failed).and_then(|ended| ended.map_err(|error| failure(&self.args, &self.store, error)));
                        break;
                    }
                }
            }
        }
        self.on_progress();
        self.node.shutdown().await;
        while let Some(Some(event)) = self.events.next().now_or_never() {
            self.on_network(event);
        }
        result
    }

    /// What the pipeline ends with by itself is never good.
    fn broken(&self, ended: Result<Result<(), PipelineError>, tokio::task::JoinError>) -> Failure {
        match ended {
            Ok(Ok(())) => Failure::failed("execution has ended"),
            Ok(Err(error)) => failure(&self.args, &self.store, error),
            Err(error) => Failure::failed(format!("execution has died: {error}")),
        }
    }

    fn verdict(&self, why: Why) -> Result<(), Failure> {
        let when = match why {
            Why::Broken(failure) => return Err(failure),
            Why::Timeout(after) => format!("within {}", humantime::format_duration(after)),
            Why::Signal => "before it was told to end".to_owned(),
            Why::Ttl | Why::Reached => "before the time to live was over".to_owned(),
        };
        let BlockRef { number, .. } = self.store.executed().block;
        match self.args.until_block {
            Some(until) if number < until => Err(Failure::failed(format!(
                "block {until} was not reached {when}: the head is block {number}"
            ))),
            _ => Ok(()),
        }
    }

    fn end(&self) -> End {
        let (requests, orphans, bytes) = self.node.sums();
        let executed = self.store.executed();
        let since = |at: Option<Instant>| match (self.begun, at) {
            (Some(begun), Some(at)) => at.saturating_duration_since(begun),
            _ => Duration::ZERO,
        };
        let Sums { start, now, at } = &self.sums;
        let stages = [
            ("headers", start.headers, now.headers),
            ("bodies", start.bodies, now.bodies),
            ("receipts", start.receipts, now.receipts),
            ("execution", start.executed, now.executed),
        ];
        let stages = stages.iter().zip(at).map(|((name, start, now), at)| StageSum {
            name,
            blocks: now.saturating_sub(*start),
            took: since(*at),
        });
        End {
            head: executed.block,
            root: executed.state_root,
            requests,
            orphans,
            bytes,
            took: since(self.moved),
            stages: stages.collect(),
            fetched: self.node.sync().progress().fetched,
            transactions: transactions_of(&self.node.transactions().counts()),
        }
    }
}

/// A disk that takes nothing more is the folder's fault, whatever it was that failed over it.
fn failure(args: &Args, store: &Store, error: impl std::fmt::Display) -> Failure {
    match store.is_full() {
        true => Failure::unusable(format!("{}: full: no space left on the device", args.datadir.display())),
        false => Failure::failed(error),
    }
}

fn transactions_of(counts: &TransactionCounts) -> Vec<(&'static str, u64)> {
    vec![
        ("heard", counts.heard),
        ("asked", counts.asked),
        ("delivered", counts.delivered),
        ("added", counts.added),
        ("refused", counts.refused),
        ("invalid", counts.invalid),
        ("announced", counts.announced),
        ("sent", counts.sent),
        ("dropped", counts.dropped),
    ]
}

async fn after(begun: Instant, time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep_until(begun + time).await,
        None => std::future::pending().await,
    }
}

async fn join<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(running) => {
            let ended = running.await;
            *task = None;
            ended
        }
        None => std::future::pending().await,
    }
}

async fn due(producer: Option<&mut Producer>) {
    match producer {
        Some(producer) => producer.due().await,
        None => std::future::pending().await,
    }
}
