//! The one task that polls a yamux connection, and what it hands out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::TransportLimits;
use super::frame_tap::{TapLimits, Violation, Window};
use super::inspector::{Inspector, SharedTap};
use super::mux::{Command, Control, Mux, MuxEnd, OpenReply};
use super::substream::{LiveGuard, Substream, YamuxSubstream};
use crate::ids::Direction;
use crate::trace::ConnTrace;

/// Multiplexes an authenticated socket with yamux.
pub fn yamux<T>(socket: T, direction: Direction, limits: &TransportLimits) -> Mux
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    traced(socket, direction, limits, ConnTrace::off())
}

/// The same, recorded.
pub(crate) fn traced<T>(socket: T, direction: Direction, limits: &TransportLimits, trace: ConnTrace) -> Mux
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
    let tap = SharedTap::new(TapLimits::default(), trace.clone());
    let connection = yamux::Connection::new(Inspector::new(socket, tap.clone(), trace.clone()), config, mode);
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
    Mux { control: Control { commands, trace }, inbound, driver: Box::pin(driver.run()) }
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
                Command::Close(_) => return Poll::Ready(Step::CloseRequested),
                // Pings have a substream here.
                Command::Ping(_) => {}
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
#[path = "yamux_tests.rs"]
mod tests;
