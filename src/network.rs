//! The embedding API: `Network` and its builder.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tokio::sync::{broadcast, oneshot};

use crate::actor::Address;
use crate::config::Config;
use crate::error::{DialError, StartError};
use crate::ids::{Keypair, PeerId, ProtocolId, Wire};
use crate::manager::ConnectionManager;
use crate::manager::Setup;
use crate::manager::blame::Record;
use crate::manager::events::{Events, NetworkEvent};
use crate::manager::home::Home;
use crate::manager::listener::Listener;
use crate::manager::messages::{AddStatic, Dial, Recall, RemoveStatic, Shutdown};
use crate::manager::table::PeerTable;
use crate::metrics::Publisher;
use crate::protocols::identify::{self, Identify};
use crate::protocols::perf::{self, Perf};
use crate::protocols::ping::{self, Ping};
use crate::protocols::simple::{Protocol, Service};
use crate::protocols::{Exchange, SubstreamHandler};
use crate::router::Router;
use crate::session::PeerHandle;
use crate::stats::RequestStats;
use crate::trace::Trace;
use crate::transport::addr::PeerAddr;
#[cfg(feature = "rlpx")]
use crate::transport::rlpx::{NodeKey, local::Local};

/// A running node. Cheap to clone, usable from any thread and any tokio runtime.
///
/// It runs until [`Network::shutdown`], or until its last clone is dropped.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    us: PeerId,
    manager: Address<ConnectionManager>,
    table: PeerTable,
    events: broadcast::Sender<NetworkEvent>,
    /// Kept so that a subscriber who comes first hears of everything from the start.
    first: Mutex<Option<broadcast::Receiver<NetworkEvent>>>,
    listening: Vec<PeerAddr>,
    stats: Arc<RequestStats>,
    config: Arc<Config>,
    trace: Trace,
    finished: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Full or gone: in both cases there is nobody who would mind.
        drop(self.manager.try_send(Shutdown { reply: None }));
    }
}

impl Network {
    /// A node with this configuration and identity, to be completed with protocols.
    pub fn builder(config: Config, keypair: Keypair) -> NetworkBuilder {
        NetworkBuilder { config, keypair, router: Router::default() }
    }

    /// Our identity.
    pub fn id(&self) -> PeerId {
        self.inner.us
    }

    /// Where we listen, with the real ports and our identity.
    pub fn listening(&self) -> Vec<PeerAddr> {
        self.inner.listening.clone()
    }

    /// Connects to a peer and waits until it is known which protocols it speaks. A peer that is
    /// connected already gives its session.
    ///
    /// Dropping the future does not undo the connection.
    pub async fn dial(&self, addr: PeerAddr) -> Result<PeerHandle, DialError> {
        let (reply, dialled) = oneshot::channel();
        self.inner.manager.send(Dial { addr, reply }).await.map_err(|_| DialError::Shutdown)?;
        dialled.await.map_err(|_| DialError::Shutdown)?
    }

    /// Stays connected to a peer from now on: dialled at once, redialled with backoff, outside the
    /// slots. The same address is only added once.
    pub async fn add_static_peer(&self, addr: PeerAddr) {
        let _ = self.inner.manager.send(AddStatic(addr)).await;
    }

    /// Takes a static peer back: its session goes on, but it is not dialled again by itself, and what
    /// it did counts as with any other peer. Adding its address again makes it static again.
    pub async fn remove_static_peer(&self, peer: PeerId) {
        let _ = self.inner.manager.send(RemoveStatic(peer)).await;
    }

    /// The session with a peer, if there is one.
    pub fn peer(&self, peer: &PeerId) -> Option<PeerHandle> {
        self.inner.table.get(peer)
    }

    /// All sessions, ordered by peer id.
    pub fn peers(&self) -> Vec<PeerHandle> {
        self.inner.table.all()
    }

    /// Bytes received and sent on the connections of all sessions there were and are. What a session
    /// sends after its end, such as a goodbye, is not counted.
    pub fn traffic(&self) -> (u64, u64) {
        self.inner.table.traffic()
    }

    /// The live table of sessions.
    pub fn peer_table(&self) -> PeerTable {
        self.inner.table.clone()
    }

    /// What happens from now on; the first subscriber hears everything since the start. A
    /// subscriber that lags more than 1,024 events behind is told how many it missed.
    pub fn events(&self) -> Events {
        let first = self.inner.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Events { receiver: first.unwrap_or_else(|| self.inner.events.subscribe()) }
    }

    /// What is remembered of a peer's behaviour, if anything.
    pub async fn record(&self, peer: PeerId) -> Option<Record> {
        self.inner.manager.send(Recall(peer)).await.ok().flatten()
    }

    /// What requests came to, over all peers.
    pub fn stats(&self) -> &Arc<RequestStats> {
        &self.inner.stats
    }

    /// What the actors and requests do, recorded.
    pub fn trace(&self) -> &Trace {
        &self.inner.trace
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Ends all sessions (peers are told that we quit), closes listeners and stops the network's
    /// threads. Pending requests fail with `Shutdown`. Takes at most the shutdown time-out.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.inner.manager.send(Shutdown { reply: Some(reply) }).await.is_ok() {
            let _ = done.await;
        }
        let finished = self.inner.finished.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(finished) = finished {
            let _ = finished.await;
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("id", &self.inner.us).finish_non_exhaustive()
    }
}

/// Says which protocols a node speaks, then starts it.
#[derive(Debug)]
pub struct NetworkBuilder {
    config: Config,
    keypair: Keypair,
    router: Router,
}

impl NetworkBuilder {
    /// Speaks a long-lived exchange, such as eth.
    pub fn exchange(mut self, exchange: Arc<dyn Exchange>) -> Self {
        self.router.add_exchange(exchange);
        self
    }

    /// Speaks a one-question protocol.
    pub fn protocol<P: Protocol>(self, protocol: P) -> Self {
        self.exchange(Arc::new(Service::new(protocol)))
    }

    /// Serves raw substreams under a protocol name.
    pub fn substream_handler(mut self, protocol: ProtocolId, handler: impl SubstreamHandler) -> Self {
        self.router.add_handler(protocol, Arc::new(handler));
        self
    }

    /// Starts the network on a thread of its own, with an actix system. May be called from any
    /// runtime.
    pub async fn start(self) -> Result<Network, StartError> {
        let (ready, started) = oneshot::channel();
        let (ended, finished) = oneshot::channel();
        let threads = self.config.network_threads;
        let run = move || {
            let system = actix::System::new();
            let trace = system.block_on(async move {
                let (home, arbiters) = match threads {
                    0 | 1 => (Home::here(), Vec::new()),
                    threads => Home::arbiters(threads),
                };
                let trace = match boot(self, home, finished).await {
                    Ok((network, manager_ended)) => {
                        let trace = network.trace().clone();
                        drop(ready.send(Ok(network)));
                        let _ = manager_ended.await;
                        Some(trace)
                    }
                    Err(error) => {
                        drop(ready.send(Err(error)));
                        None
                    }
                };
                for arbiter in arbiters {
                    arbiter.stop();
                    let _ = arbiter.join();
                }
                trace
            });
            // The system is gone, and with it every actor: what they said last is written now.
            match trace {
                Some(trace) => trace.close(ended),
                None => drop(ended),
            }
        };
        std::thread::Builder::new().name("trunkline".into()).spawn(run).map_err(StartError::Thread)?;
        let gone = || StartError::Thread(std::io::Error::other("the network thread ended"));
        started.await.map_err(|_| gone())?
    }

    /// Starts the network on the current `LocalSet`: for tests under a paused clock and for
    /// single-threaded hosts. Everything runs on this thread; `network_threads` is ignored.
    pub async fn start_local(self) -> Result<Network, StartError> {
        let (ended, finished) = oneshot::channel();
        let (network, manager_ended) = boot(self, Home::here(), finished).await?;
        let trace = network.trace().clone();
        tokio::task::spawn_local(async move {
            let _ = manager_ended.await;
            trace.close(ended);
        });
        Ok(network)
    }
}

async fn boot(
    builder: NetworkBuilder,
    home: Home,
    finished: oneshot::Receiver<()>,
) -> Result<(Network, oneshot::Receiver<()>), StartError> {
    let NetworkBuilder { config, keypair, mut router } = builder;
    let us = keypair.public().to_peer_id();
    let mut listeners = Vec::new();
    let mut listening = Vec::new();
    for addr in &config.listen {
        let bound = Listener::bind(addr, us, config.memory_latency).await;
        let (listener, real) =
            bound.map_err(|source| StartError::Listen { addr: addr.to_string(), source })?;
        listeners.push(listener);
        listening.push(real);
    }
    router.add_handler(ping::ID, Arc::new(Ping));
    if config.perf {
        router.add_handler(perf::ID, Arc::new(Perf));
    }
    let mut names: Vec<String> = router.ids().iter().map(|id| id.as_str().to_owned()).collect();
    names.push(identify::ID.as_str().to_owned());
    let identify = Identify::new(keypair.public(), config.agent.clone(), names);
    identify.set_listen_addrs(
        listening
            .iter()
            .filter(|addr| addr.endpoint.wire() == Wire::Libp2p)
            .map(|addr| addr.endpoint.to_multiaddr())
            .collect(),
    );
    router.add_handler(identify::ID, Arc::new(identify));
    let config = Arc::new(config);
    let (events, first) = broadcast::channel(config.events_max);
    let table = PeerTable::default();
    let stats = Arc::new(RequestStats::default());
    let counted = Arc::clone(&stats);
    let in_flight = Box::new(move || counted.in_flight());
    let trace = Trace::start(&config.trace, &us.to_string(), in_flight).map_err(StartError::Trace)?;
    let sessions = table.clone();
    let trace = trace.with_sessions(Arc::new(move || {
        let told = sessions.all().into_iter().map(|peer| peer.tell_open());
        Box::pin(futures::future::join_all(told).map(drop))
    }));
    let (manager_finished, manager_ended) = oneshot::channel();
    #[cfg(feature = "rlpx")]
    let rlpx = NodeKey::of(&keypair).map(|key| {
        let port = listening.iter().find(|addr| addr.endpoint.wire() == Wire::Rlpx);
        let port = port.and_then(|addr| addr.endpoint.port()).unwrap_or(0);
        Local::new(key, &config.agent, port, router.offers())
    });
    for addr in &listening {
        drop(events.send(NetworkEvent::Listening { addr: addr.clone() }));
    }
    let manager = ConnectionManager::launch(Setup {
        keypair,
        config: Arc::clone(&config),
        router: Arc::new(router),
        stats: Arc::clone(&stats),
        table: table.clone(),
        events: events.clone(),
        home,
        tracer: trace.tracer().clone(),
        publisher: Publisher::new(Arc::clone(&stats), table.clone(), trace.clone()),
        listeners,
        #[cfg(feature = "rlpx")]
        rlpx,
        finished: manager_finished,
    });
    let inner = Inner {
        us,
        manager,
        table,
        events,
        first: Mutex::new(Some(first)),
        listening,
        stats,
        config,
        trace,
        finished: Mutex::new(Some(finished)),
    };
    Ok((Network { inner: Arc::new(inner) }, manager_ended))
}
