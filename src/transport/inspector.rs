//! Sits under yamux and shows every byte to a [`FrameTap`]; a violation ends the connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::frame_tap::{FrameTap, Sign, TapLimits, Violation};
use super::write_watch::WriteWatch;
use crate::ids::Direction;
use crate::trace::{ConnTrace, Event, Kind};

/// The tap of one connection, shared by the inspector and the substreams.
#[derive(Debug, Clone)]
pub(crate) struct SharedTap(Arc<Mutex<Tapped>>);

#[derive(Debug)]
pub(crate) struct Tapped {
    pub(crate) tap: FrameTap,
    /// The first violation, for the connection's owner to ask about.
    pub(crate) violation: Option<Violation>,
    trace: ConnTrace,
}

impl SharedTap {
    pub(crate) fn new(limits: TapLimits, trace: ConnTrace) -> Self {
        let mut tap = FrameTap::new(limits);
        if trace.is_on() {
            tap.note_signs();
        }
        Self(Arc::new(Mutex::new(Tapped { tap, violation: None, trace })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Tapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tapped {
    fn judge(&mut self, result: Result<(), Violation>) -> io::Result<()> {
        for note in self.tap.take_notes() {
            let (kind, x) = match note.sign {
                Sign::Opened => (Kind::SubstreamOpened, note.stream),
                Sign::Closed => (Kind::SubstreamClosed, note.stream),
                Sign::Reset => (Kind::SubstreamReset, note.stream),
                Sign::GoAway(code) => (Kind::GoAway, code),
            };
            let dir = if note.ours { Direction::Outbound } else { Direction::Inbound };
            self.trace.record_soon(|| Event::new(kind).dir(dir).x(u64::from(x)));
        }
        result.map_err(|violation| {
            if self.violation.is_none() {
                self.violation = Some(violation);
                self.trace.say(|| Event::new(Kind::Violation), violation);
            }
            io::Error::new(io::ErrorKind::InvalidData, violation)
        })
    }
}

/// A byte stream that is inspected on its way. Errors stay: no byte passes after a violation.
#[derive(Debug)]
pub(crate) struct Inspector<T> {
    io: T,
    tap: SharedTap,
    /// The readers had a turn since the last read.
    paused: bool,
    trace: ConnTrace,
    watch: WriteWatch,
}

impl<T> Inspector<T> {
    pub(crate) fn new(io: T, tap: SharedTap, trace: ConnTrace) -> Self {
        Self { io, tap, paused: false, watch: WriteWatch::new(trace.clone()), trace }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Inspector<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // One read of a socket can hold thousands of frames. Those who read the substreams may share
        // this thread: they get a turn before what they have not read counts against the peer.
        if !self.paused && self.tap.lock().tap.is_congested() {
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.paused = false;
        let now = Instant::now().into_std();
        self.trace.record_at(now, || Event::new(Kind::SocketRead).x(read as u64));
        let mut tapped = self.tap.lock();
        let seen = tapped.tap.on_inbound(now, &buf[..read]);
        tapped.judge(seen)?;
        Poll::Ready(Ok(read))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Inspector<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch.on_write(&polled);
        let written = ready!(polled)?;
        let mut tapped = self.tap.lock();
        let seen = tapped.tap.on_outbound(&buf[..written]);
        tapped.judge(seen)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        if polled.is_ready() {
            self.watch.on_flushed();
        }
        polled
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}
