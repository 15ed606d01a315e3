//! Sockets within one process: an authenticated mux without noise and yamux, for simulations, and
//! listeners by number (`/memory/N`).
//!
//! Nothing here reads a wall clock or randomness, so whole nodes over it are reproducible.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::mux::{Command, Control, Mux, MuxEnd, OpenReply};
use super::pipe::{self, Breaker, Pipe};
use super::substream::{LiveGuard, MemorySubstream, Substream};
use super::{Connection, Traffic, TransportLimits};
use crate::ids::{Direction, PeerId, Wire};
use crate::trace::ConnTrace;
use crate::transport::addr::Endpoint;

/// Bytes in flight per substream and direction, as yamux' first window.
const WINDOW: usize = 256 << 10;

/// A socket that a listener accepts: the dialler's identity and its half of the link.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) from: PeerId,
    pub(crate) link: Link,
}

/// One end of a link between two nodes in this process.
#[derive(Debug)]
pub(crate) struct Link {
    to_other: mpsc::Sender<Pipe>,
    from_other: mpsc::Receiver<Pipe>,
    latency: Duration,
}

type Registry = Mutex<HashMap<u64, Entry>>;

#[derive(Debug, Clone)]
struct Entry {
    identity: PeerId,
    latency: Duration,
    accept: mpsc::Sender<Incoming>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::default)
}

/// A listener of this process. Dropping it frees its number.
#[derive(Debug)]
pub(crate) struct MemoryListener {
    port: u64,
    incoming: mpsc::Receiver<Incoming>,
}

impl MemoryListener {
    /// Listens on `port`; 0 picks a free one. What is sent over its links arrives after `latency`.
    pub(crate) fn bind(port: u64, identity: PeerId, latency: Duration) -> io::Result<Self> {
        let mut ports = registry().lock().unwrap_or_else(PoisonError::into_inner);
        let port = match port {
            0 => (1..).find(|free| !ports.contains_key(free)).unwrap_or(u64::MAX),
            taken if ports.contains_key(&taken) => return Err(io::ErrorKind::AddrInUse.into()),
            free => free,
        };
        let (accept, incoming) = mpsc::channel(64);
        ports.insert(port, Entry { identity, latency, accept });
        Ok(Self { port, incoming })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Memory(self.port)
    }

    pub(crate) async fn accept(&mut self) -> io::Result<Incoming> {
        self.incoming.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        registry().lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

/// Dials a listener of this process.
pub(crate) fn dial(
    port: u64,
    us: PeerId,
    limits: &TransportLimits,
    trace: ConnTrace,
) -> io::Result<Connection> {
    let entry = registry().lock().unwrap_or_else(PoisonError::into_inner).get(&port).cloned();
    let Some(entry) = entry else { return Err(io::ErrorKind::ConnectionRefused.into()) };
    let (to_listener, from_dialler) = mpsc::channel(32);
    let (to_dialler, from_listener) = mpsc::channel(32);
    let link = Link { to_other: to_dialler, from_other: from_dialler, latency: entry.latency };
    let sent = entry.accept.try_send(Incoming { from: us, link });
    sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
    let link = Link { to_other: to_listener, from_other: from_listener, latency: entry.latency };
    let endpoint = Endpoint::Memory(port);
    Ok(connect(entry.identity, Direction::Outbound, endpoint, link, limits, trace))
}

/// The connection at one end of a link.
pub(crate) fn connect(
    peer: PeerId,
    direction: Direction,
    remote: Endpoint,
    link: Link,
    limits: &TransportLimits,
    trace: ConnTrace,
) -> Connection {
    let traffic = Arc::new(Traffic::default());
    let (commands, asked) = mpsc::channel(limits.outbound_substreams_max.max(1) + 1);
    let (inbound_sender, inbound) = mpsc::channel(limits.inbound_substreams_max.max(1));
    let driver = Driver {
        link,
        commands: asked,
        inbound: inbound_sender,
        live_in: Arc::default(),
        live_out: Arc::default(),
        breakers: Vec::new(),
        traffic: Arc::clone(&traffic),
        trace: trace.clone(),
        limits: *limits,
    };
    Connection {
        peer,
        public_key: None,
        direction,
        trace: trace.clone(),
        remote_addr: remote.to_multiaddr(),
        wire: Wire::Memory,
        security: "memory",
        muxer: "memory",
        mux: Mux { control: Control { commands, trace }, inbound, driver: Box::pin(driver.run()) },
        channels: None,
        introduced: None,
        echoes: false,
        traffic,
    }
}

struct Driver {
    link: Link,
    commands: mpsc::Receiver<Command>,
    inbound: mpsc::Sender<Substream>,
    live_in: Arc<AtomicUsize>,
    live_out: Arc<AtomicUsize>,
    /// Substreams that must break with the connection; bounded by the live ones.
    breakers: Vec<Breaker>,
    traffic: Arc<Traffic>,
    trace: ConnTrace,
    limits: TransportLimits,
}

impl Driver {
    async fn run(mut self) -> MuxEnd {
        loop {
            tokio::select! {
                biased;
                Some(command) = self.commands.recv() => match command {
                    Command::Close(_) => return MuxEnd::Closed,
                    Command::Ping(_) => {}
                    Command::Open(reply) => self.open(reply),
                },
                pipe = self.link.from_other.recv() => match pipe {
                    Some(pipe) => self.accept(pipe),
                    None => return MuxEnd::RemoteClosed,
                },
            }
        }
    }

    fn substream(&mut self, pipe: Pipe, live: LiveGuard) -> Substream {
        self.breakers.retain(|breaker| !breaker.is_gone());
        self.breakers.push(pipe.breaker());
        let traffic = Arc::clone(&self.traffic);
        Substream::Memory(MemorySubstream::new(pipe, traffic, live, self.trace.clone()))
    }

    fn open(&mut self, reply: OpenReply) {
        let Some(live) = LiveGuard::take(&self.live_out, self.limits.outbound_substreams_max) else {
            let _ = reply.send(Err(io::ErrorKind::WouldBlock.into()));
            return;
        };
        let (near, far) = pipe::pair(WINDOW, self.link.latency);
        if self.link.to_other.try_send(far).is_err() {
            let _ = reply.send(Err(io::ErrorKind::WouldBlock.into()));
            return;
        }
        let substream = self.substream(near, live);
        let _ = reply.send(Ok(substream));
    }

    fn accept(&mut self, pipe: Pipe) {
        // Too many: dropping the pipe resets it, as with yamux.
        if let Some(live) = LiveGuard::take(&self.live_in, self.limits.inbound_substreams_max) {
            let substream = self.substream(pipe, live);
            let _ = self.inbound.try_send(substream);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for breaker in &self.breakers {
            breaker.lose();
        }
    }
}
