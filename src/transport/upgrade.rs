//! Socket to connection: multistream-select, noise, identity, multistream-select, yamux.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use multiaddr::Multiaddr;
use tokio::time::Instant;

use super::negotiate::{self, Budgeted, NegotiateError};
use super::{Connection, Traffic, TransportLimits, mux, yamux};
use crate::error::UpgradeError;
use crate::ids::{Direction, Keypair, PeerId, ProtocolId, Wire};
use crate::trace::{ConnTrace, Event, Kind, Label};

const NOISE_NAME: &str = "/noise";
const NOISE: ProtocolId = ProtocolId::new(NOISE_NAME);
const YAMUX_NAME: &str = "/yamux/1.0.0";
const YAMUX: ProtocolId = ProtocolId::new(YAMUX_NAME);

/// Authenticates and multiplexes a socket, within the upgrade deadline.
///
/// `expected` is who must be at the other end, when the address that was dialled says so. Dropping
/// the future closes the socket.
pub async fn upgrade<T>(
    socket: T,
    keypair: &Keypair,
    direction: Direction,
    expected: Option<PeerId>,
    remote_addr: Multiaddr,
    limits: &TransportLimits,
) -> Result<Connection, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    traced(socket, keypair, direction, expected, remote_addr, limits, ConnTrace::off()).await
}

/// The same, each step recorded.
pub(crate) async fn traced<T>(
    socket: T,
    keypair: &Keypair,
    direction: Direction,
    expected: Option<PeerId>,
    remote_addr: Multiaddr,
    limits: &TransportLimits,
    trace: ConnTrace,
) -> Result<Connection, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (counted, traffic) = Counted::new(socket);
    let (socket, authenticated) = Budgeted::new(counted, limits.upgrade_bytes_max, usize::MAX);
    let steps = steps(socket, authenticated, keypair, direction, expected, limits, &trace);
    let (peer, mux) = tokio::time::timeout(limits.upgrade_timeout, steps)
        .await
        .map_err(|_| UpgradeError::TimedOut(limits.upgrade_timeout))??;
    Ok(Connection {
        peer,
        public_key: None,
        direction,
        trace,
        remote_addr,
        wire: Wire::Libp2p,
        security: NOISE_NAME,
        muxer: YAMUX_NAME,
        mux,
        channels: None,
        introduced: None,
        echoes: false,
        traffic,
    })
}

async fn steps<T>(
    socket: T,
    authenticated: Arc<AtomicBool>,
    keypair: &Keypair,
    direction: Direction,
    expected: Option<PeerId>,
    limits: &TransportLimits,
    trace: &ConnTrace,
) -> Result<(PeerId, mux::Mux), UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let step = Step::begin(trace, NOISE_NAME);
    let socket = agree(socket, NOISE, direction, limits).await?;
    step.done();
    let step = Step::begin(trace, "noise");
    let handshake_failed = |error| UpgradeError::Handshake(Box::new(error));
    let noise = libp2p_noise::Config::new(keypair).map_err(handshake_failed)?;
    let upgraded = match direction {
        Direction::Inbound => noise.upgrade_inbound(socket, NOISE_NAME).await,
        Direction::Outbound => noise.upgrade_outbound(socket, NOISE_NAME).await,
    };
    let (actual, socket) = upgraded.map_err(handshake_failed)?;
    step.done();
    trace.say(|| Event::new(Kind::ConnPeer), actual);
    // A peer in a hurry may send anything behind its last message of the handshake.
    authenticated.store(true, Ordering::Relaxed);
    if let Some(expected) = expected
        && expected != actual
    {
        return Err(UpgradeError::WrongIdentity { expected, actual });
    }
    let step = Step::begin(trace, YAMUX_NAME);
    let socket = agree(socket, YAMUX, direction, limits).await?;
    step.done();
    Ok((actual, yamux::traced(socket, direction, limits, trace.clone())))
}

/// One step of an upgrade: recorded when it is through, and as failed when it is dropped before.
pub(super) struct Step<'a> {
    trace: &'a ConnTrace,
    name: &'static str,
    begun: Instant,
    done: bool,
}

impl<'a> Step<'a> {
    pub(super) fn begin(trace: &'a ConnTrace, name: &'static str) -> Self {
        Self { trace, name, begun: Instant::now(), done: false }
    }

    pub(super) fn done(mut self) {
        self.done = true;
        self.record(Label::OK);
    }

    fn record(&self, how: Label) {
        let ns = self.begun.elapsed().as_nanos() as u64;
        self.trace.record(|| Event::new(Kind::ConnStep).name(Label::of(self.name)).how(how).y(ns));
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.record(Label::FAILED);
        }
    }
}

async fn agree<T>(
    io: T,
    id: ProtocolId,
    direction: Direction,
    limits: &TransportLimits,
) -> Result<negotiate::Negotiated<T>, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let agreed = match direction {
        Direction::Inbound => negotiate::listen(io, &[id], limits).await,
        Direction::Outbound => negotiate::dial(io, &[id], limits).await,
    };
    match agreed {
        Ok((_, io)) => Ok(io),
        Err(NegotiateError::Failed(error)) => Err(UpgradeError::Negotiation(error)),
        Err(NegotiateError::TimedOut(limit)) => Err(UpgradeError::TimedOut(limit)),
    }
}

/// Counts the bytes of a socket.
#[derive(Debug)]
pub(super) struct Counted<T> {
    io: T,
    traffic: Arc<Traffic>,
}

impl<T> Counted<T> {
    pub(super) fn new(io: T) -> (Self, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        (Self { io, traffic: Arc::clone(&traffic) }, traffic)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.traffic.add_in(read);
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.traffic.add_out(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join;
    use futures::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::transport::pipe;

    type Upgraded = Result<Connection, UpgradeError>;

    /// Both ends of a pipe with this latency, upgraded. The dialer expects `expected`.
    async fn both_ends(
        latency: Duration,
        expected: impl Fn(PeerId) -> Option<PeerId>,
    ) -> (Upgraded, Upgraded) {
        let (near, far) = pipe::pair(64 << 10, latency);
        let (dialer, listener) = (Keypair::generate_secp256k1(), Keypair::generate_ed25519());
        let (limits, addr) = (TransportLimits::default(), Multiaddr::empty);
        let expected = expected(listener.public().to_peer_id());
        join(
            upgrade(near, &dialer, Direction::Outbound, expected, addr(), &limits),
            upgrade(far, &listener, Direction::Inbound, None, addr(), &limits),
        )
        .await
    }

    #[tokio::test]
    async fn noise_and_yamux_run_over_a_pipe_within_the_process() {
        let (outbound, inbound) = both_ends(Duration::ZERO, Some).await;
        let (outbound, mut inbound) = (outbound.unwrap(), inbound.unwrap());
        let control = outbound.mux.control.clone();
        let drivers = [tokio::spawn(outbound.mux.driver), tokio::spawn(inbound.mux.driver)];
        let mut asked = control.open().await.unwrap();
        asked.write_all(b"over noise and yamux").await.unwrap();
        asked.close().await.unwrap();
        let mut heard = String::new();
        inbound.mux.inbound.recv().await.unwrap().read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "over noise and yamux");
        assert!(outbound.traffic.bytes_out() > 0 && inbound.traffic.bytes_in() > 0);
        drivers.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// B6: somebody else answers.
    #[tokio::test]
    async fn another_identity_than_the_expected_one_is_refused() {
        let other = Keypair::generate_ed25519().public().to_peer_id();
        let (outbound, _) = both_ends(Duration::ZERO, |_| Some(other)).await;
        assert!(matches!(outbound, Err(UpgradeError::WrongIdentity { expected, .. }) if expected == other));
    }

    /// A2: the deadline is over the whole upgrade, however steadily the peer makes progress.
    #[tokio::test(start_paused = true)]
    async fn an_upgrade_that_takes_too_long_as_a_whole_is_given_up() {
        let (outbound, inbound) = both_ends(Duration::from_millis(2100), Some).await;
        // Whose timer fires first tells the other by closing the pipe.
        let deadline = TransportLimits::default().upgrade_timeout;
        let timed_out =
            |end: &Upgraded| matches!(end, Err(UpgradeError::TimedOut(after)) if *after == deadline);
        assert!(timed_out(&outbound) || timed_out(&inbound), "{outbound:?} {inbound:?}");
        assert!(outbound.is_err() && inbound.is_err());
    }
}
