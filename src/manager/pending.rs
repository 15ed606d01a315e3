//! Connections in the making: dial or accept, upgrade, ask the manager, start the session.
//!
//! Each runs as one task on the thread where its session will live. Bound: the pending slots.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use multiaddr::Multiaddr;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::compat::Compat;

use super::ConnectionManager;
use super::messages::{Arrived, AwaitSettled, DialEnded, Started, Verdict};
use super::table::PeerTable;
use crate::actor::Address;
use crate::config::Config;
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::error::{DialError, UpgradeError};
use crate::ids::{Direction, Keypair, ProtocolId, Wire};
use crate::router::Router;
use crate::session::{PeerHandle, PeerSession, Start, refuse};
use crate::stats::RequestStats;
use crate::trace::{ConnTrace, Event, Kind, Tracer};
use crate::transport::addr::{Endpoint, PeerAddr};
use crate::transport::memory::Incoming;
#[cfg(feature = "rlpx")]
use crate::transport::rlpx;
use crate::transport::{Connection, memory, tcp, upgrade};

/// Counts connections in the making, per direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct PendingCounts {
    inbound: Arc<AtomicUsize>,
    outbound: Arc<AtomicUsize>,
    refusing: Arc<AtomicUsize>,
}

/// Authenticated connections that are being told why they get no session, at once; one more is
/// closed without a word.
const REFUSING_MAX: usize = 50;

/// One connection in the making.
pub(crate) struct PendingGuard(Arc<AtomicUsize>);

impl PendingCounts {
    /// One more, unless there are `max` of its direction.
    pub(crate) fn begin(&self, direction: Direction, max: usize) -> Option<PendingGuard> {
        let count = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        PendingGuard::take(count, max)
    }

    fn begin_refusal(&self) -> Option<PendingGuard> {
        PendingGuard::take(&self.refusing, REFUSING_MAX)
    }

    /// Whether no further one may begin.
    pub(crate) fn is_full(&self, direction: Direction, max: usize) -> bool {
        self.begin(direction, max).is_none()
    }
}

impl PendingGuard {
    fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let more = |n| (n < max).then_some(n + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a task needs to turn a socket into a session.
#[derive(Clone)]
pub(crate) struct Kit {
    pub(crate) manager: Address<ConnectionManager>,
    pub(crate) keypair: Keypair,
    pub(crate) config: Arc<Config>,
    pub(crate) router: Arc<Router>,
    pub(crate) ids: Arc<[ProtocolId]>,
    pub(crate) stats: Arc<RequestStats>,
    pub(crate) counts: PendingCounts,
    pub(crate) table: PeerTable,
    pub(crate) tracer: Tracer,
    /// What we are on devp2p; nothing without a secp256k1 identity.
    #[cfg(feature = "rlpx")]
    pub(crate) rlpx: Option<rlpx::local::Local>,
}

pub(crate) type DialReply = oneshot::Sender<Result<PeerHandle, DialError>>;

impl Kit {
    /// Dials and, if everything goes well, starts a session.
    pub(crate) async fn dial(
        self,
        addr: PeerAddr,
        static_index: Option<usize>,
        reply: Option<DialReply>,
        guard: PendingGuard,
    ) {
        let trace = self.tracer.new_conn();
        trace.say(|| Event::new(Kind::ConnDialing), &addr);
        let result = self.connect(&addr, &trace).await;
        match result {
            Ok(connection) => self.admit(connection, static_index, reply, guard).await,
            Err(error) => {
                trace.say(|| Event::new(Kind::ConnFailed), &error);
                drop(guard);
                self.report(static_index, Some(error.to_string())).await;
                if let Some(reply) = reply {
                    drop(reply.send(Err(error)));
                }
            }
        }
    }

    async fn connect(&self, addr: &PeerAddr, trace: &ConnTrace) -> Result<Connection, DialError> {
        let limits = &self.config.transport;
        match addr.endpoint {
            Endpoint::Tcp(socket_addr) => {
                let socket = tcp::connect(socket_addr, limits).await.map_err(DialError::Unreachable)?;
                let remote = addr.endpoint.to_multiaddr();
                tell_connected(trace, &socket, &remote);
                let (direction, trace) = (Direction::Outbound, trace.clone());
                let upgraded =
                    upgrade::traced(socket, &self.keypair, direction, addr.peer, remote, limits, trace);
                Ok(upgraded.await?)
            }
            #[cfg(feature = "rlpx")]
            Endpoint::Rlpx(socket_addr) => {
                let local = self.rlpx.as_ref().ok_or_else(|| {
                    DialError::UnsupportedAddress(format!("{addr}: devp2p needs a secp256k1 identity"))
                })?;
                let node = rlpx::upgrade::node_of(addr.peer.as_ref()).ok_or_else(|| {
                    DialError::UnsupportedAddress(format!("{addr}: devp2p needs the node's key"))
                })?;
                let socket = tcp::connect(socket_addr, limits).await.map_err(DialError::Unreachable)?;
                let remote = addr.endpoint.to_multiaddr();
                tell_connected(trace, &socket, &remote);
                Ok(rlpx::upgrade::upgrade(socket, local, Some(node), remote, limits, trace.clone()).await?)
            }
            #[cfg(not(feature = "rlpx"))]
            Endpoint::Rlpx(_) => Err(DialError::UnsupportedAddress(addr.to_string())),
            Endpoint::Memory(port) => {
                let us = self.keypair.public().to_peer_id();
                let connection = memory::dial(port, us, limits, trace.clone());
                let connection = connection.map_err(DialError::Unreachable)?;
                trace.say(|| Event::new(Kind::ConnPeer), connection.peer);
                match addr.peer {
                    Some(expected) if expected != connection.peer => {
                        let actual = connection.peer;
                        Err(UpgradeError::WrongIdentity { expected, actual }.into())
                    }
                    _ => Ok(connection),
                }
            }
        }
    }

    /// Takes an accepted TCP socket through the upgrade of this wire.
    pub(crate) async fn accept_tcp(
        self,
        socket: std::net::TcpStream,
        from: SocketAddr,
        wire: Wire,
        guard: PendingGuard,
    ) {
        let limits = &self.config.transport;
        let trace = self.tracer.new_conn();
        let remote = Endpoint::Tcp(from).to_multiaddr();
        if let Ok(local) = socket.local_addr() {
            let local = Endpoint::Tcp(local).to_multiaddr();
            trace.say(|| Event::new(Kind::ConnAccepted), format_args!("{remote} {local}"));
        }
        let upgraded = async {
            let socket = tokio::net::TcpStream::from_std(socket)?;
            let socket = tcp::first_byte(socket, limits).await?;
            let (direction, trace) = (Direction::Inbound, trace.clone());
            #[cfg(feature = "rlpx")]
            if let (Wire::Rlpx, Some(local)) = (wire, &self.rlpx) {
                return rlpx::upgrade::upgrade(socket, local, None, remote, limits, trace).await;
            }
            debug_assert_eq!(wire, Wire::Libp2p, "listeners of other wires are not bound");
            upgrade::traced(socket, &self.keypair, direction, None, remote, limits, trace).await
        };
        match upgraded.await {
            Ok(connection) => self.admit(connection, None, None, guard).await,
            Err(error) => {
                trace.say(|| Event::new(Kind::ConnFailed), &error);
                tracing::debug!(%from, %error, "inbound connection refused");
            }
        }
    }

    /// Takes an accepted memory link.
    pub(crate) async fn accept_memory(self, incoming: Incoming, endpoint: Endpoint, guard: PendingGuard) {
        let Incoming { from, link } = incoming;
        let limits = &self.config.transport;
        let trace = self.tracer.new_conn();
        let local = endpoint.to_multiaddr();
        trace.say(|| Event::new(Kind::ConnAccepted), format_args!("/p2p/{from} {local}"));
        trace.say(|| Event::new(Kind::ConnPeer), from);
        let connection = memory::connect(from, Direction::Inbound, endpoint, link, limits, trace);
        self.admit(connection, None, None, guard).await;
    }

    async fn admit(
        self,
        connection: Connection,
        static_index: Option<usize>,
        reply: Option<DialReply>,
        guard: PendingGuard,
    ) {
        let arrived = Arrived { peer: connection.peer, direction: connection.direction, static_index };
        let verdict = self.manager.send(arrived).await;
        drop(guard);
        match verdict {
            Ok(Verdict::Admit(ticket)) => {
                let handle = PeerSession::launch(Start {
                    connection,
                    session: ticket.session,
                    config: self.config,
                    router: self.router,
                    ids: self.ids,
                    stats: self.stats,
                    notices: ticket.notices,
                    seed: ticket.seed,
                });
                // Before the actor has run: whoever hears of the peer from an exchange finds it.
                self.table.insert(handle.clone());
                // A manager that has gone has also stopped the session.
                let _ = self.manager.send(Started { handle, reply }).await;
            }
            Ok(Verdict::KeepExisting(session)) => {
                connection.trace.say(|| Event::new(Kind::ConnFailed), DisconnectReason::AlreadyConnected);
                self.report(static_index, None).await;
                if let Some(reply) = reply {
                    let _ = self.manager.send(AwaitSettled { session, reply }).await;
                }
                self.refuse(connection, DisconnectReason::AlreadyConnected).await;
            }
            Ok(Verdict::Refuse(reason)) => {
                connection.trace.say(|| Event::new(Kind::ConnFailed), reason);
                self.report(static_index, Some(reason.to_string())).await;
                if let Some(reply) = reply {
                    drop(reply.send(Err(refusal(reason))));
                }
                self.refuse(connection, reason).await;
            }
            Err(_) => {
                if let Some(reply) = reply {
                    drop(reply.send(Err(DialError::Shutdown)));
                }
            }
        }
    }

    async fn refuse(self, connection: Connection, reason: DisconnectReason) {
        let Some(_guard) = self.counts.begin_refusal() else { return };
        refuse::refuse(connection, reason, self.router, self.config.transport).await;
    }

    async fn report(&self, static_index: Option<usize>, error: Option<String>) {
        if static_index.is_some() {
            let _ = self.manager.send(DialEnded { static_index, error }).await;
        }
    }
}

fn tell_connected(trace: &ConnTrace, socket: &Compat<TcpStream>, remote: &Multiaddr) {
    if let Ok(local) = socket.get_ref().local_addr() {
        let local = Endpoint::Tcp(local).to_multiaddr();
        trace.say(|| Event::new(Kind::ConnConnected), format_args!("{remote} {local}"));
    }
}

fn refusal(reason: DisconnectReason) -> DialError {
    match reason {
        DisconnectReason::SelfConnection => DialError::SelfDial,
        DisconnectReason::TooManyPeers => DialError::NoSlot,
        reason => DialError::Refused(Disconnected::local(reason)),
    }
}
