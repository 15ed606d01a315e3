//! The writing half of a connection: the only part that waits for the peer to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{FutureExt, poll_fn};
use futures::io::{AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;

use super::driver::Post;
use super::frame::{Egress, FRAME_BYTES_MAX};
use super::local::Bodies;
use super::p2p::{self, Id};
use crate::disconnect::DisconnectReason;
use crate::machine::message::Payload;
use crate::transport::channel::Queue;
use crate::transport::mux::Command;
use crate::transport::write_watch::WriteWatch;
use crate::wire::{reason, snappy};

/// One write carries as many frames as fit.
const BATCH_BYTES: usize = 64 << 10;

/// What is to be written next.
enum Output {
    Ping,
    Pong,
    Message(usize, Payload),
    Goodbye(DisconnectReason),
}

/// See the module.
pub(super) struct Outbound<T> {
    pub(super) io: WriteHalf<T>,
    pub(super) egress: Egress,
    /// The first id of each channel, and what its bodies need.
    pub(super) channels: Vec<(u16, Bodies)>,
    pub(super) queue: Queue,
    pub(super) post: Post,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) compresses: bool,
    pub(super) batch: BytesMut,
    /// Messages that end in the batch: their channels and sizes. Bounded by the batch.
    pub(super) ends: Vec<(usize, usize)>,
    pub(super) watch: WriteWatch,
}

impl<T: AsyncWrite + Unpin> Outbound<T> {
    /// Writes until a goodbye is said, or the socket breaks.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            let ready = poll_fn(|cx| self.poll_output(cx)).now_or_never();
            let output = match ready {
                Some(output) => output,
                None => {
                    self.flush().await?;
                    poll_fn(|cx| self.poll_output(cx)).await
                }
            };
            match output {
                Output::Ping => self.base(p2p::PING, p2p::EMPTY),
                Output::Pong => self.base(p2p::PONG, p2p::EMPTY),
                Output::Message(channel, message) => self.message(channel, message).await?,
                Output::Goodbye(why) => {
                    // Peers expect this one compressed like everything behind the Hello.
                    let body = reason::encode(why.code(), self.compresses);
                    self.egress.frame(&[Id::new(p2p::DISCONNECT).as_ref(), &body], &mut self.batch);
                    self.flush().await?;
                    return self.io.close().await;
                }
            }
            if self.batch.len() >= BATCH_BYTES {
                self.write().await?;
            }
        }
    }

    /// Answers go before questions, and everything that was sent before a goodbye goes before it.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Output> {
        self.post.register(cx);
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            match command {
                Command::Close(reason) => self.post.say_goodbye(reason),
                Command::Ping(reply) => {
                    if self.post.await_echo(reply) {
                        return Poll::Ready(Output::Ping);
                    }
                }
                Command::Open(reply) => {
                    let _ = reply.send(Err(io::ErrorKind::Unsupported.into()));
                }
            }
        }
        {
            let mut asked = self.post.lock();
            if asked.pongs > 0 {
                asked.pongs -= 1;
                return Poll::Ready(Output::Pong);
            }
        }
        if let Poll::Ready((channel, message)) = self.queue.poll_next(cx) {
            return Poll::Ready(Output::Message(channel, message));
        }
        match self.post.lock().goodbye {
            Some(reason) => Poll::Ready(Output::Goodbye(reason)),
            None => Poll::Pending,
        }
    }

    fn base(&mut self, id: u16, payload: &[u8]) {
        let payload =
            if self.compresses { snappy::compress(payload) } else { Bytes::copy_from_slice(payload) };
        self.egress.frame(&[Id::new(id).as_ref(), &payload], &mut self.batch);
    }

    /// A large message leaves in pieces, so that it needs no second copy of itself.
    async fn message(&mut self, channel: usize, message: Payload) -> io::Result<()> {
        let size = message.wire_bytes();
        let Some((offset, bodies)) = self.channels.get(channel).copied() else { return Ok(()) };
        let id = Id::new(offset + u16::from(message.code));
        let body = bodies.onto_wire(message.body).map_err(io::Error::other)?;
        if id.as_ref().len() + body.len() > FRAME_BYTES_MAX {
            // Only what a peer without compression gets inflated can be so large: it counts as not
            // sent, and whoever asked for it hears nothing, as of every reply that is too large.
            tracing::debug!(channel, bytes = body.len(), "message too large for a frame");
            self.queue.written(channel, size);
            return Ok(());
        }
        self.egress.begin(id.as_ref().len() + body.len(), &mut self.batch);
        self.egress.body(id.as_ref(), &mut self.batch);
        for chunk in body.chunks(BATCH_BYTES) {
            self.egress.body(chunk, &mut self.batch);
            if self.batch.len() >= BATCH_BYTES {
                self.write().await?;
            }
        }
        self.egress.end(&mut self.batch);
        self.ends.push((channel, size));
        Ok(())
    }

    async fn write(&mut self) -> io::Result<()> {
        while !self.batch.is_empty() {
            let Self { io, batch, watch, .. } = self;
            let write = |cx: &mut Context<'_>| {
                let polled = Pin::new(&mut *io).poll_write(cx, batch);
                watch.on_write(&polled);
                polled
            };
            match poll_fn(write).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.batch.advance(written),
            }
        }
        self.ends.drain(..).for_each(|(channel, bytes)| self.queue.written(channel, bytes));
        Ok(())
    }

    /// Writes what there is; an idle connection keeps no buffer.
    async fn flush(&mut self) -> io::Result<()> {
        self.write().await?;
        self.batch = BytesMut::new();
        self.io.flush().await?;
        self.watch.on_flushed();
        Ok(())
    }
}
