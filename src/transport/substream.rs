//! One substream, over yamux or within the process, as `AsyncRead + AsyncWrite`.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};

use super::Traffic;
use super::frame_tap::StreamEnd;
use super::inspector::SharedTap;
use super::pipe::Pipe;
use crate::trace::{ConnTrace, Event, Kind};

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
    pub(super) fn new(stream: yamux::Stream, tap: &SharedTap, live: LiveGuard) -> Self {
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

/// A substream of the memory transport.
#[derive(Debug)]
pub struct MemorySubstream {
    pipe: Pipe,
    traffic: Arc<Traffic>,
    trace: ConnTrace,
    _live: LiveGuard,
}

impl MemorySubstream {
    pub(super) fn new(pipe: Pipe, traffic: Arc<Traffic>, live: LiveGuard, trace: ConnTrace) -> Self {
        Self { pipe, traffic, trace, _live: live }
    }
}

impl AsyncRead for MemorySubstream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.pipe).poll_read(cx, buf);
        if let Poll::Ready(Ok(read)) = polled {
            self.traffic.add_in(read);
            self.trace.record(|| Event::new(Kind::SocketRead).x(read as u64));
        }
        polled
    }
}

impl AsyncWrite for MemorySubstream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.pipe).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = polled {
            self.traffic.add_out(written);
            self.trace.record(|| Event::new(Kind::SocketWrote).x(written as u64));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_close(cx)
    }
}
