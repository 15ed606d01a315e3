//! Substreams: the one task that polls a connection's muxer, and what it hands out.
//!
//! The driver never waits on a consumer: inbound substreams beyond their limit are reset, and a
//! substream nobody reads only fills its own window.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::TransportLimits;
use super::frame_tap::{StreamEnd, TapLimits, Violation, Window};
use super::inspector::{Inspector, SharedTap};
use super::memory::MemorySubstream;
use crate::ids::Direction;

/// How a connection ended, told by its driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum MuxEnd {
    /// We closed it.
    Closed,
    /// The other end closed it.
    RemoteClosed,
    /// The peer broke the muxer's rules.
    Violation(Violation),
    /// The socket broke.
    Io(io::Error),
}

impl fmt::Display for MuxEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::RemoteClosed => f.write_str("closed by the peer"),
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

pub(super) type OpenReply = oneshot::Sender<io::Result<Substream>>;

/// What a driver is asked for.
#[derive(Debug)]
pub(super) enum Command {
    Open(OpenReply),
    Close,
}

/// Opens substreams and closes the connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    pub(super) commands: mpsc::Sender<Command>,
}

impl Control {
    /// Opens a substream. Fails with `WouldBlock` when as many are open as may be, and with
    /// `NotConnected` when the connection is over. Dropping the future drops the substream.
    pub async fn open(&self) -> io::Result<Substream> {
        let (reply, opened) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.commands.send(Command::Open(reply)).await.map_err(|_| gone())?;
        opened.await.map_err(|_| gone())?
    }

    /// Asks the driver to say goodbye and end. Does not wait; asking twice is the same as once.
    /// `false`: more is being asked of the driver than it takes now; ask again.
    pub fn close(&self) -> bool {
        !matches!(self.commands.try_send(Command::Close), Err(mpsc::error::TrySendError::Full(_)))
    }
}

/// A connection's substreams and the future that drives them.
pub struct Mux {
    /// Opens substreams.
    pub control: Control,
    /// Substreams the peer opened.
    pub inbound: mpsc::Receiver<Substream>,
    /// Must be polled for anything to happen; ends with the connection.
    pub driver: BoxFuture<'static, MuxEnd>,
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("control", &self.control).finish_non_exhaustive()
    }
}

/// One multiplexed stream. Dropping it before both directions were closed resets it.
#[derive(Debug)]
pub enum Substream {
    /// Over yamux.
    Yamux(YamuxSubstream),
    /// Over the in-process transport.
    Memory(MemorySubstream),
}

macro_rules! delegate {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Yamux($inner) => $call,
            Self::Memory($inner) => $call,
        }
    };
}

impl AsyncRead for Substream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        delegate!(self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Substream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, inner => Pin::new(inner).poll_close(cx))
    }
}

/// Counts the live substreams of one direction.
#[derive(Debug)]
pub(super) struct LiveGuard(Arc<AtomicUsize>);

impl LiveGuard {
    /// One more, unless there are `max` already.
    pub(super) fn take(live: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let taken = live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1));
        taken.ok().map(|_| Self(Arc::clone(live)))
    }
}

impl Drop for LiveGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A yamux stream that reports what it reads and tells a reset from a clean end.
#[derive(Debug)]
pub struct YamuxSubstream {
    stream: yamux::Stream,
    id: u32,
    tap: SharedTap,
    _live: LiveGuard,
}

impl YamuxSubstream {
    fn new(stream: yamux::Stream, tap: &SharedTap, live: LiveGuard) -> Self {
        let id = stream.id().val();
        tap.lock().tap.register(id);
        Self { stream, id, tap: tap.clone(), _live: live }
    }
}

impl AsyncRead for YamuxSubstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let mut tapped = self.tap.lock();
        if read > 0 {
            tapped.tap.on_read(self.id, read);
        } else if !buf.is_empty() && tapped.tap.end_of(self.id) == StreamEnd::Broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for YamuxSubstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Drop for YamuxSubstream {
    fn drop(&mut self) {
        self.tap.lock().tap.forget(self.id);
    }
}

/// Multiplexes an authenticated socket with yamux.
pub fn yamux<T>(socket: T, direction: Direction, limits: &TransportLimits) -> Mux
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut config = yamux::Config::default();
    // The order matters: the window must fit the number of streams at every step.
    config.set_max_num_streams(limits.yamux_streams());
    config.set_max_connection_receive_window(Some(
        limits.connection_window_bytes.max(limits.yamux_streams() * (256 << 10)),
    ));
    let mode = match direction {
        Direction::Inbound => yamux::Mode::Server,
        Direction::Outbound => yamux::Mode::Client,
    };
    let tap = SharedTap::new(TapLimits::default());
    let connection = yamux::Connection::new(Inspector::new(socket, tap.clone()), config, mode);
    let (commands, asked) = mpsc::channel(limits.outbound_substreams_max.max(1) + 1);
    let (inbound_sender, inbound) = mpsc::channel(limits.inbound_substreams_max.max(1));
    let driver = Driver {
        connection,
        tap,
        commands: asked,
        inbound: inbound_sender,
        live_in: Arc::default(),
        live_out: Arc::default(),
        refused: Window::default(),
        limits: *limits,
    };
    Mux { control: Control { commands }, inbound, driver: Box::pin(driver.run()) }
}

struct Driver<T> {
    connection: yamux::Connection<Inspector<T>>,
    tap: SharedTap,
    commands: mpsc::Receiver<Command>,
    inbound: mpsc::Sender<Substream>,
    live_in: Arc<AtomicUsize>,
    live_out: Arc<AtomicUsize>,
    refused: Window,
    limits: TransportLimits,
}

enum Step {
    CloseRequested,
    Ended(Option<yamux::ConnectionError>),
    Flooded,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    async fn run(mut self) -> MuxEnd {
        let step = std::future::poll_fn(|cx| self.poll_step(cx)).await;
        let violation = self.tap.lock().violation;
        if let Some(violation) = violation {
            return MuxEnd::Violation(violation);
        }
        match step {
            Step::CloseRequested => {
                let goodbye = std::future::poll_fn(|cx| self.connection.poll_close(cx));
                // A peer that does not read must not keep us.
                let _ = tokio::time::timeout(self.limits.close_timeout, goodbye).await;
                MuxEnd::Closed
            }
            Step::Flooded => MuxEnd::Violation(Violation::SubstreamFlood),
            Step::Ended(None | Some(yamux::ConnectionError::Closed)) => MuxEnd::RemoteClosed,
            // yamux calls a socket that breaks under its decoder a decoding error.
            Step::Ended(Some(
                yamux::ConnectionError::Io(error)
                | yamux::ConnectionError::Decode(yamux::FrameDecodeError::Io(error)),
            )) => match error.kind() {
                io::ErrorKind::UnexpectedEof => MuxEnd::RemoteClosed,
                _ => MuxEnd::Io(error),
            },
            // What yamux cannot decode is the peer's doing.
            Step::Ended(Some(yamux::ConnectionError::Decode(_))) => MuxEnd::Violation(Violation::Protocol(1)),
            Step::Ended(Some(other)) => MuxEnd::Io(io::Error::other(other)),
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            match command {
                Command::Close => return Poll::Ready(Step::CloseRequested),
                Command::Open(reply) => {
                    if let Some(error) = self.open_one(reply, cx) {
                        return Poll::Ready(Step::Ended(Some(error)));
                    }
                }
            }
        }
        loop {
            match ready!(self.connection.poll_next_inbound(cx)) {
                Some(Ok(stream)) => {
                    if !self.accept(stream) {
                        return Poll::Ready(Step::Flooded);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Step::Ended(Some(error))),
                None => return Poll::Ready(Step::Ended(None)),
            }
        }
    }

    fn open_one(&mut self, reply: OpenReply, cx: &mut Context<'_>) -> Option<yamux::ConnectionError> {
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        let Some(live) = LiveGuard::take(&self.live_out, self.limits.outbound_substreams_max) else {
            let _ = reply.send(Err(would_block()));
            return None;
        };
        match self.connection.poll_new_outbound(cx) {
            Poll::Ready(Ok(stream)) => {
                let substream = YamuxSubstream::new(stream, &self.tap, live);
                let _ = reply.send(Ok(Substream::Yamux(substream)));
                None
            }
            // 256 of ours wait for their acknowledgement: far above our own limit, so refuse.
            Poll::Pending => {
                let _ = reply.send(Err(would_block()));
                None
            }
            Poll::Ready(Err(error)) => {
                let _ = reply.send(Err(io::ErrorKind::NotConnected.into()));
                Some(error)
            }
        }
    }

    /// Hands an inbound stream on, or resets it. `false`: the peer floods us with substreams.
    fn accept(&mut self, stream: yamux::Stream) -> bool {
        let id = stream.id().val();
        let handed_on = LiveGuard::take(&self.live_in, self.limits.inbound_substreams_max).map(|live| {
            let substream = YamuxSubstream::new(stream, &self.tap, live);
            self.inbound.try_send(Substream::Yamux(substream)).is_ok()
        });
        if handed_on == Some(true) {
            return true;
        }
        self.tap.lock().tap.forget(id);
        let now = Instant::now().into_std();
        !self.refused.exceeds(now, Duration::from_secs(60), self.limits.refused_substreams_max)
    }
}

#[cfg(test)]
#[path = "mux_tests.rs"]
mod tests;
