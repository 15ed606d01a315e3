//! The driver under a paused clock, against a source that is made up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::B256;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::receipt_world::Gives;
use super::world::{Manner, TestChain};
use crate::chain::{BlockRef, ChainSpec, RawBlock, testdata};
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::error::RequestError;
use crate::ids::{Keypair, PeerId, SessionId};
use crate::offload::{BlockingThreads, Inline, Job, Offload};
use crate::protocols::eth::{Chain, ReceiptLists};
use crate::sync::action::Answer;
use crate::sync::source::HeadersQuery;
use crate::sync::{
    Candidate, ChainStore, MemoryStore, Source, SourceEvent, StoreError, SyncConfig, SyncError, SyncHandle,
    Syncer,
};

mod chains;
mod hosts;
mod receipts;
mod rejecting;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// One made-up peer.
#[derive(Clone)]
struct Fake {
    candidate: Candidate,
    chain: Arc<TestChain>,
    manner: Manner,
    gives: Gives,
    latency: Duration,
    in_flight: Arc<AtomicUsize>,
}

#[derive(Default)]
struct World {
    peers: BTreeMap<SessionId, Fake>,
    blamed: Vec<(SessionId, DisconnectReason)>,
    log: Vec<String>,
    in_flight_most: usize,
    listeners: Vec<mpsc::UnboundedSender<SourceEvent>>,
}

#[derive(Default)]
struct FakeSource(Mutex<World>);

/// Counts a request for as long as its future lives.
struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl FakeSource {
    fn up(&self, id: u64, chain: &Arc<TestChain>, manner: Manner, latency: Duration) -> SessionId {
        let session = SessionId(id);
        let candidate = Candidate { peer: peer_id(), session, earliest: 0, head: chain.head().into() };
        let (chain, gives, in_flight) = (chain.clone(), Gives::Flat, Arc::default());
        let fake = Fake { candidate, chain, manner, gives, latency, in_flight };
        self.0.lock().unwrap().peers.insert(session, fake);
        self.tell(SourceEvent::Up(candidate));
        session
    }

    /// The session ends: requests in flight fail at once.
    fn down(&self, session: SessionId) {
        self.0.lock().unwrap().peers.remove(&session);
        self.tell(SourceEvent::Down(session));
    }

    fn tell(&self, event: SourceEvent) {
        for listener in &self.0.lock().unwrap().listeners {
            let _ = listener.send(event.clone());
        }
    }

    fn blamed(&self) -> Vec<SessionId> {
        self.0.lock().unwrap().blamed.iter().map(|(session, _)| *session).collect()
    }

    fn in_flight(&self) -> usize {
        self.0.lock().unwrap().peers.values().map(|peer| peer.in_flight.load(Ordering::Relaxed)).sum()
    }

    fn log(&self, line: String) {
        self.0.lock().unwrap().log.push(line);
    }

    fn ask<F, T>(
        &self,
        session: SessionId,
        limit: Duration,
        answer: F,
    ) -> BoxFuture<'static, Result<T, RequestError>>
    where
        F: FnOnce(&Fake) -> T + Send + 'static,
        T: Send + 'static,
    {
        let mut world = self.0.lock().unwrap();
        let lost = || Err(RequestError::Disconnected(Disconnected::lost()));
        let Some(fake) = world.peers.get(&session).cloned() else {
            return futures::future::ready(lost()).boxed();
        };
        let now = fake.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        world.in_flight_most = world.in_flight_most.max(now);
        let guard = InFlight(fake.in_flight.clone());
        async move {
            let _guard = guard;
            if fake.manner == Manner::Silent {
                sleep(limit).await;
                return Err(RequestError::TimedOut(limit));
            }
            sleep(fake.latency).await;
            Ok(answer(&fake))
        }
        .boxed()
    }
}

impl Source for FakeSource {
    fn candidates(&self) -> Vec<Candidate> {
        self.0.lock().unwrap().peers.values().map(|peer| peer.candidate).collect()
    }

    fn events(&self) -> BoxStream<'static, SourceEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap().listeners.push(sender);
        futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
            .boxed()
    }

    fn headers(
        &self,
        session: SessionId,
        query: HeadersQuery,
        limit: Duration,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, RequestError>> {
        self.log(format!("{session} headers {:?} {} {limit:?}", query.start, query.amount));
        self.ask(session, limit, move |fake| {
            fake.manner.headers(&fake.chain, query, (0, fake.chain.head().number))
        })
    }

    fn bodies(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        limit: Duration,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, RequestError>> {
        self.log(format!("{session} bodies {} {:?} {limit:?}", hashes.len(), hashes.first()));
        self.ask(session, limit, move |fake| {
            fake.manner.bodies(&fake.chain, &hashes, (0, fake.chain.head().number))
        })
    }

    fn receipts(
        &self,
        session: SessionId,
        hashes: Vec<B256>,
        first_index: u64,
        limit: Duration,
    ) -> BoxFuture<'static, Result<ReceiptLists, RequestError>> {
        self.log(format!("{session} receipts {} {:?} {first_index}", hashes.len(), hashes.first()));
        let answer = self.ask(session, limit, move |fake| {
            let range = (0, fake.chain.head().number);
            fake.gives.answer(&fake.chain, (&hashes, first_index), range)
        });
        let lists =
            |answer: Answer| ReceiptLists { blocks: answer.items, last_incomplete: answer.last_incomplete };
        answer.map(move |answer| answer.map(lists)).boxed()
    }

    fn blame(&self, session: SessionId, reason: DisconnectReason) {
        self.log(format!("{session} blamed"));
        self.0.lock().unwrap().blamed.push((session, reason));
        self.down(session);
    }
}

fn peer_id() -> PeerId {
    Keypair::generate_ed25519().public().to_peer_id()
}

/// A chain on the development chain's genesis.
fn chain(len: u64) -> Arc<TestChain> {
    let mut chain = TestChain::from(vec![ChainSpec::dev().genesis_block()]);
    chain.grow(3, len);
    Arc::new(chain)
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(Arc::new(ChainSpec::dev())))
}

fn spawn(
    source: &Arc<FakeSource>,
    store: Arc<dyn ChainStore>,
    config: SyncConfig,
) -> (SyncHandle, JoinHandle<Result<(), SyncError>>) {
    let syncer = Syncer::new(source.clone(), store, Arc::new(Inline), config);
    let handle = syncer.handle();
    (handle, tokio::spawn(syncer.run()))
}

/// Waits until the store's head is this block.
async fn stored(handle: &SyncHandle, head: BlockRef) {
    let mut progress = handle.subscribe();
    let waited = timeout(120 * S, progress.wait_for(|progress| progress.head == Some(head))).await;
    waited.unwrap_or_else(|_| panic!("not stored: {:?}", handle.progress())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_chain_arrives_complete_and_in_order() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(1_500));
    source.up(1, &chain, Manner::Honest, 20 * MS);
    let (handle, _run) = spawn(&source, store.clone(), SyncConfig::default());
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[1..]);
    sleep(100 * MS).await;
    let progress = handle.progress();
    assert_eq!((progress.headers, progress.bodies, progress.target), (1_500, 1_500, 1_500));
    assert!(progress.at_target && progress.requests.ok > 0);
    assert_eq!(progress.eta, Some(Duration::ZERO));
    assert!(progress.rate_blocks_per_s > 1_000.0, "{progress:?}");
    let most = source.0.lock().unwrap().in_flight_most;
    assert!((3..=16).contains(&most), "several in flight to one peer: {most}");
}

/// G3, G5: bad data never reaches the store, and its sender is blamed, nobody else.
#[tokio::test(start_paused = true)]
async fn bad_data_never_reaches_the_store() {
    for manner in [Manner::Unlinked, Manner::WrongBody, Manner::Swapped, Manner::TooMany] {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(800));
        let bad = source.up(1, &chain, manner, MS);
        source.up(2, &chain, Manner::Honest, 40 * MS);
        let (handle, _run) = spawn(&source, store.clone(), SyncConfig::default());
        stored(&handle, chain.head()).await;
        assert_eq!(store.blocks(), chain.blocks[1..]);
        assert_eq!(source.0.lock().unwrap().blamed, [(bad, DisconnectReason::BadData)], "{manner:?}");
    }
}

/// As in `two_sources`: one of two servers is killed half-way.
#[tokio::test(start_paused = true)]
async fn a_source_killed_half_way_is_replaced_by_the_other() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(4_000));
    source.up(1, &chain, Manner::Honest, 30 * MS);
    let killed = source.up(2, &chain, Manner::Honest, 25 * MS);
    let (handle, _run) = spawn(&source, store.clone(), SyncConfig::default());
    let mut progress = handle.subscribe();
    progress.wait_for(|progress| progress.bodies > 500).await.unwrap();
    source.down(killed);
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[1..]);
    assert!(source.blamed().is_empty());
}

/// As in `server_killed_and_back`: the only server goes and comes back under another session.
#[tokio::test(start_paused = true)]
async fn the_only_source_goes_and_comes_back() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(2_000));
    let first = source.up(1, &chain, Manner::Honest, 20 * MS);
    let (handle, run) = spawn(&source, store.clone(), SyncConfig::default());
    handle.subscribe().wait_for(|progress| progress.bodies > 300).await.unwrap();
    source.down(first);
    sleep(20 * S).await;
    let progress = handle.progress();
    assert_eq!((progress.peers, progress.in_flight), (0, 0));
    assert_eq!(progress.target, 2_000, "what is known to be missing stays the target");
    source.up(2, &chain, Manner::Honest, 20 * MS);
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[1..]);
    assert!(!run.is_finished(), "it goes on following");
}

/// G12.
#[tokio::test(start_paused = true)]
async fn a_partly_filled_store_is_continued() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(900));
    store.append(chain.blocks[1..=600].to_vec()).unwrap();
    source.up(1, &chain, Manner::Honest, 20 * MS);
    let (handle, _run) = spawn(&source, store.clone(), SyncConfig::default());
    assert_eq!(handle.progress().start, 600);
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[1..]);
    let bodies = source.0.lock().unwrap().log.iter().filter(|line| line.contains("bodies")).count();
    assert!(bodies < 12, "only what was missing is asked for");
}

#[tokio::test(start_paused = true)]
async fn an_anchored_store_is_filled_from_the_anchor_on() {
    let (source, chain) = (Arc::new(FakeSource::default()), chain(700));
    let anchor = chain.at(400).hash;
    let store = Arc::new(MemoryStore::anchored(Arc::new(ChainSpec::dev()), anchor));
    source.up(1, &chain, Manner::Honest, 20 * MS);
    let config = SyncConfig { anchor: Some(anchor), ..SyncConfig::default() };
    let (handle, _run) = spawn(&source, store.clone(), config);
    stored(&handle, chain.head()).await;
    assert_eq!(store.blocks(), chain.blocks[400..]);
}

#[tokio::test(start_paused = true)]
async fn with_a_trusted_head_the_run_ends() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(700));
    source.up(1, &chain, Manner::Honest, 20 * MS);
    let config = SyncConfig { trusted_head: Some(chain.at(500).hash), ..SyncConfig::default() };
    let (handle, run) = spawn(&source, store.clone(), config.clone());
    run.await.unwrap().unwrap();
    assert_eq!(handle.progress().bodies, 500);
    assert_eq!(store.head(), Some(chain.at(500).block_ref()));
    let (_, again) = spawn(&source, store, config);
    again.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_and_dropping_leave_no_request_behind() {
    for stop in [true, false] {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(300));
        source.up(1, &chain, Manner::Silent, S);
        let (handle, run) = spawn(&source, store, SyncConfig::default());
        sleep(50 * MS).await;
        assert!(source.in_flight() > 0);
        if stop {
            handle.stop();
            handle.stop();
            run.await.unwrap().unwrap();
        } else {
            run.abort();
            assert!(run.await.unwrap_err().is_cancelled());
        }
        assert_eq!(source.in_flight(), 0);
        let mut progress = handle.subscribe();
        progress.mark_unchanged();
        assert!(progress.changed().await.is_err(), "the channel is closed");
    }
}

#[tokio::test(start_paused = true)]
async fn time_outs_take_turns_with_other_peers_and_blame_nobody() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(1_000));
    source.up(1, &chain, Manner::Silent, S);
    source.up(2, &chain, Manner::Honest, 50 * MS);
    let (handle, _run) = spawn(&source, store, SyncConfig::default());
    let began = Instant::now();
    stored(&handle, chain.head()).await;
    assert!(began.elapsed() < 6 * S, "{:?}", began.elapsed());
    sleep(20 * S).await;
    assert!(handle.progress().requests.timed_out > 0);
    assert!(source.blamed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_made_up_for() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(500));
    let (handle, _run) = spawn(&source, store, SyncConfig::default());
    sleep(MS).await;
    let listeners = std::mem::take(&mut source.0.lock().unwrap().listeners);
    source.up(1, &chain, Manner::Honest, 20 * MS);
    sleep(S).await;
    assert_eq!(handle.progress().peers, 0);
    source.0.lock().unwrap().listeners = listeners;
    source.tell(SourceEvent::Lagged);
    stored(&handle, chain.head()).await;
    source.0.lock().unwrap().peers.clear();
    source.tell(SourceEvent::Lagged);
    sleep(S).await;
    assert_eq!(handle.progress().peers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_too_many_takes_the_place_of_one_that_leaves() {
    let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(300));
    let first = source.up(1, &chain, Manner::Silent, S);
    source.up(2, &chain, Manner::Honest, 10 * MS);
    let config = SyncConfig { peers_max: 1, ..SyncConfig::default() };
    let (handle, _run) = spawn(&source, store, config);
    sleep(5 * S).await;
    assert_eq!((handle.progress().peers, handle.progress().bodies), (1, 0));
    source.down(first);
    stored(&handle, chain.head()).await;
}

#[tokio::test(start_paused = true)]
async fn announced_blocks_are_followed_on_the_development_chain() {
    let (source, store, base) = (Arc::new(FakeSource::default()), store(), chain(30));
    let session = source.up(1, &base, Manner::Honest, 5 * MS);
    let config = SyncConfig { heaviest: true, ..SyncConfig::default() };
    let (handle, _run) = spawn(&source, store.clone(), config);
    stored(&handle, base.head()).await;
    let branch = Arc::new(base.branch(25, 9, 8));
    source.0.lock().unwrap().peers.get_mut(&session).unwrap().chain = branch.clone();
    let newest = branch.blocks.last().unwrap();
    source.tell(SourceEvent::NewBlock { session, header: newest.header.clone(), body: newest.body.clone() });
    stored(&handle, branch.head()).await;
    assert_eq!(store.blocks(), branch.blocks[1..]);
}

/// One seed, one trace.
#[tokio::test(start_paused = true)]
async fn the_same_run_asks_the_same_questions() {
    let mut logs = Vec::new();
    for _ in 0..2 {
        let (source, store, chain) = (Arc::new(FakeSource::default()), store(), chain(1_000));
        source.up(1, &chain, Manner::Honest, 20 * MS);
        source.up(2, &chain, Manner::Short(30), 7 * MS);
        source.up(3, &chain, Manner::WrongBody, 11 * MS);
        let (handle, _run) = spawn(&source, store, SyncConfig::default());
        stored(&handle, chain.head()).await;
        logs.push(std::mem::take(&mut source.0.lock().unwrap().log));
    }
    assert!(logs[0].len() > 10);
    assert_eq!(logs[0], logs[1]);
}
