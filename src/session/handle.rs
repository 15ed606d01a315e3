//! `PeerHandle`: what everybody else holds of a session.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use multiaddr::Multiaddr;
use tokio::sync::oneshot;

use super::PeerSession;
use super::echo::echo;
use super::messages::OpenSubstream;
use super::open_request::OpenRequest;
use super::shared::Shared;
use crate::actor::Address;
use crate::disconnect::{DisconnectReason, Disconnected};
use crate::error::{RequestError, SubstreamError};
use crate::ids::{Direction, PeerId, ProtocolId, SessionId, Wire};
use crate::protocols::identify::Identity;
use crate::protocols::ping::{self, PingError};
use crate::protocols::simple::{Ask as AskProtocol, Protocol};
use crate::protocols::{RawSubstream, Request};

/// One session with one peer. Cheap to clone; usable from any thread and any tokio runtime.
///
/// Holding it keeps nothing alive: when the session ends, requests fail as disconnected.
#[derive(Clone)]
pub struct PeerHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) addr: Address<PeerSession>,
}

impl PeerHandle {
    /// Who is at the other end.
    pub fn id(&self) -> PeerId {
        self.shared.peer
    }

    /// Which session this is. A peer that reconnects gets another one.
    pub fn session(&self) -> SessionId {
        self.shared.session
    }

    /// Who dialled.
    pub fn direction(&self) -> Direction {
        self.shared.direction
    }

    /// How long ago it was authenticated.
    pub fn age(&self) -> Duration {
        self.shared.since.elapsed()
    }

    /// The peer's address.
    pub fn remote_addr(&self) -> &Multiaddr {
        &self.shared.remote_addr
    }

    /// Security and muxer, such as `/noise` and `/yamux/1.0.0`.
    pub fn transport(&self) -> (&'static str, &'static str) {
        (self.shared.security, self.shared.muxer)
    }

    /// Which wire carries the connection.
    pub fn wire(&self) -> Wire {
        self.shared.wire
    }

    /// What the peer says about itself, once identify is through.
    pub fn identity(&self) -> Option<&Identity> {
        self.shared.identity.get()
    }

    /// The protocols in use and offered: those of our exchanges that are up, then what identify
    /// lists. The latter are the peer's words.
    pub fn protocols(&self) -> Vec<String> {
        let up = self.shared.lanes.iter().filter_map(|lane| {
            let version = lane.version()?;
            let ids = lane.exchange.ids().iter();
            ids.filter(|(_, v)| *v == version).map(|(id, _)| id.as_str().to_owned()).next()
        });
        let mut all: Vec<String> = up.collect();
        for offered in self.identity().map_or(&[][..], |identity| &identity.protocols) {
            if !all.contains(offered) {
                all.push(offered.clone());
            }
        }
        all
    }

    /// The negotiated version of an exchange, while it is up.
    pub fn version_of(&self, exchange: &str) -> Option<u32> {
        self.shared.lane(exchange)?.1.version()
    }

    /// How the session ended, if it has.
    pub fn ended(&self) -> Option<Disconnected> {
        self.shared.ended.get().copied()
    }

    /// Bytes received and sent on the connection.
    pub fn traffic(&self) -> (u64, u64) {
        (self.shared.traffic.bytes_in(), self.shared.traffic.bytes_out())
    }

    /// Asks a question and waits for its answer, at most as long as answers of this peer may take
    /// (2 to 20 s, adapted to it).
    ///
    /// Full: fails with `Busy` at once when all request slots of this peer are taken. Dropping the
    /// future gives the slot back and tells nobody else: a late answer is recognised and excused.
    pub async fn request<R: Request>(&self, request: R) -> Result<R::Response, RequestError> {
        self.request_within(request, None).await
    }

    /// The same with a time-out of one's own.
    pub async fn request_within<R: Request>(
        &self,
        request: R,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<R::Response, RequestError> {
        self.shared.stats.on_created();
        let mut open = OpenRequest::begin::<R>(&self.shared, &self.addr);
        let result = open.run(request, timeout.into()).await;
        open.end(result.as_ref().err());
        result
    }

    /// Asks a question of a one-question [`Protocol`].
    pub async fn ask<P: Protocol>(&self, question: P::Request) -> Result<P::Response, RequestError> {
        self.request(AskProtocol::<P>(question)).await
    }

    /// Opens a substream of one's own: bytes both ways, with half-close and reset.
    ///
    /// Full: `Busy` when as many are open as may be. Dropping the future resets the substream.
    pub async fn open_substream(&self, protocol: ProtocolId) -> Result<RawSubstream, SubstreamError> {
        self.open(protocol, true).await
    }

    /// Measures round trips, one after another: by the echo of the transport if it has one (RLPx),
    /// else over one substream of `/ipfs/ping/1.0.0`. Ends with the first that fails.
    pub async fn ping(&self, count: usize, timeout: Duration) -> Vec<Result<Duration, PingError>> {
        let mut results = Vec::with_capacity(count.min(1024));
        if let Some(transport) = &self.shared.echo {
            while results.len() < count && results.last().is_none_or(Result::is_ok) {
                results.push(echo(transport, timeout).await);
            }
            return results;
        }
        match self.open(ping::ID, false).await {
            Ok(mut substream) => {
                for _ in 0..count {
                    let result = ping::ping(&mut substream, rand::random(), timeout).await;
                    let failed = result.is_err();
                    results.push(result);
                    if failed {
                        break;
                    }
                }
            }
            Err(error) => results.push(Err(PingError::Io(std::io::Error::other(error)))),
        }
        results
    }

    /// Ends the session. The peer is told the reason if that needs no waiting; pending requests
    /// fail at once. A reason that blames the peer (such as `BadData`) makes the manager avoid it.
    pub fn disconnect(&self, reason: DisconnectReason) {
        self.shared.orders.disconnect(reason);
    }

    /// Has the session tell the trace where its open requests stand; resolved when it has, or is
    /// gone.
    pub(crate) fn tell_open(&self) -> impl Future<Output = ()> + Send + use<> {
        let told = self.shared.orders.tell_open();
        async move { drop(told.await) }
    }

    /// Whether the peer answers a ping within this time. One that does not speak ping, or whose
    /// substreams are all in use, is not dead for that.
    pub(crate) async fn is_alive(&self, within: Duration) -> bool {
        if let Some(transport) = &self.shared.echo {
            return echo(transport, within).await.is_ok();
        }
        let probe = async {
            match self.open(ping::ID, false).await {
                Ok(mut substream) => ping::ping(&mut substream, rand::random(), within).await.is_ok(),
                Err(SubstreamError::Unsupported(_) | SubstreamError::Busy) => true,
                Err(_) => false,
            }
        };
        tokio::time::timeout(within, probe).await.unwrap_or(false)
    }

    pub(crate) async fn open(
        &self,
        protocol: ProtocolId,
        read_ahead: bool,
    ) -> Result<RawSubstream, SubstreamError> {
        let (reply, opened) = oneshot::channel();
        let gone = || SubstreamError::Disconnected(self.shared.how_it_ended());
        self.addr.send(OpenSubstream { protocol, read_ahead, reply }).await.map_err(|_| gone())?;
        opened.await.map_err(|_| gone())?
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.shared.settled.load(Ordering::Acquire)
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
