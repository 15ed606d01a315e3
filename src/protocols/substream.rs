//! Raw substreams: bytes both ways under a protocol name, for protocols that are no exchange.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::io::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite};
use multiaddr::Multiaddr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ids::{Direction, PeerId, ProtocolId};

/// What a raw substream runs over.
pub(crate) trait Io: FuturesRead + FuturesWrite + Unpin + Send {}

impl<T: FuturesRead + FuturesWrite + Unpin + Send> Io for T {}

/// A substream with a known owner and an agreed protocol, as tokio's `AsyncRead + AsyncWrite`.
///
/// `shutdown` half-closes: the peer reads end of file and may still send. Dropping it before both
/// directions have ended resets it. A reset by the peer, or the loss of the connection, is an
/// error of kind `ConnectionReset`, never an end of file. Not reading closes the peer's window
/// after at most 64 KiB of read-ahead here plus one muxer window (256 KiB at first).
pub struct RawSubstream {
    io: Box<dyn Io>,
    protocol: ProtocolId,
    peer: PeerId,
    remote_addr: Multiaddr,
    opened: Direction,
}

impl RawSubstream {
    pub(crate) fn new(
        io: impl Io + 'static,
        protocol: ProtocolId,
        peer: PeerId,
        remote_addr: Multiaddr,
        opened: Direction,
    ) -> Self {
        Self { io: Box::new(io), protocol, peer, remote_addr, opened }
    }

    /// The protocol that was agreed on.
    pub fn protocol(&self) -> &ProtocolId {
        &self.protocol
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The address of the connection's other end.
    pub fn remote_addr(&self) -> &Multiaddr {
        &self.remote_addr
    }

    /// Who opened it.
    pub fn opened(&self) -> Direction {
        self.opened
    }

    /// Resets the substream: both sides get an error. The same as dropping it early.
    pub fn reset(self) {
        drop(self);
    }
}

impl fmt::Debug for RawSubstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSubstream")
            .field("protocol", &self.protocol)
            .field("peer", &self.peer)
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for RawSubstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(FuturesRead::poll_read(Pin::new(&mut self.io), cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RawSubstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        FuturesWrite::poll_write(Pin::new(&mut self.io), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_flush(Pin::new(&mut self.io), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        FuturesWrite::poll_close(Pin::new(&mut self.io), cx)
    }
}

/// Serves the substreams that peers open under one protocol name.
///
/// Called on the network thread when the protocol was agreed on; must not block. The future is
/// dropped, and with it the substream, when the session ends. The number of futures per peer is
/// bounded by the inbound substreams a peer may have.
pub trait SubstreamHandler: Send + Sync + 'static {
    /// Serves one substream to its end.
    fn serve(self: Arc<Self>, substream: RawSubstream) -> BoxFuture<'static, ()>;

    /// Whether the substream is handed over with read-ahead, so that it may be used from any
    /// thread. Built-in protocols, which always read, go without.
    fn wants_read_ahead(&self) -> bool {
        true
    }
}

impl<F, R> SubstreamHandler for F
where
    F: Fn(RawSubstream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn serve(self: Arc<Self>, substream: RawSubstream) -> BoxFuture<'static, ()> {
        Box::pin(self(substream))
    }
}
