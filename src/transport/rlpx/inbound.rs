//! The reading half of a connection: frames off the socket, each to whom its id belongs.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::poll_fn;
use futures::io::{AsyncRead, ReadHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::capability::Shared;
use super::frame::Ingress;
use super::local::Bodies;
use super::p2p;
use super::post::Post;
use crate::disconnect::{Breach, DisconnectReason};
use crate::trace::{ConnTrace, Event, Kind};
use crate::transport::frame_tap::Window;
use crate::transport::mux::MuxEnd;
use crate::transport::scratch;
use crate::wire::reason;
use crate::wire::segment::Message;

/// Messages of one batch.
const BATCH_MESSAGES: usize = 64;
/// Bytes read between two yields to other tasks; and those of a batch, as its exchange has them,
/// after which it takes no further message.
const TURN_BYTES: usize = 64 << 10;
/// Pings of a peer in [`PING_SPAN`].
pub(super) const PINGS_MAX: usize = 100;
const PING_SPAN: Duration = Duration::from_secs(10);

/// One shared capability of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) shared: Shared,
    pub(super) inbox: mpsc::Sender<Vec<Message>>,
    pub(super) bodies: Bodies,
}

/// See the module.
pub(super) struct Inbound<T> {
    pub(super) io: ReadHalf<T>,
    pub(super) ingress: Ingress,
    pub(super) buffer: BytesMut,
    pub(super) links: Vec<Link>,
    pub(super) post: Post,
    pub(super) trace: ConnTrace,
}

impl<T: AsyncRead + Unpin> Inbound<T> {
    /// Reads until the connection is over. What arrived before its end is handed on first.
    pub(super) async fn run(mut self) -> MuxEnd {
        let mut batches: Vec<Vec<Message>> = self.links.iter().map(|_| Vec::new()).collect();
        let mut pings = Window::default();
        let mut read_since_yield = 0;
        loop {
            let decoded = self.decode(&mut batches, &mut pings);
            for (link, batch) in self.links.iter().zip(&mut batches) {
                if !batch.is_empty() {
                    // An exchange that is over takes nothing more; the connection ends with it.
                    let _ = link.inbox.send(std::mem::take(batch)).await;
                }
            }
            match decoded {
                Ok(true) => continue,
                Ok(false) => {}
                Err(end) => return end,
            }
            if read_since_yield >= TURN_BYTES {
                read_since_yield = 0;
                tokio::task::yield_now().await;
            }
            match self.read().await {
                Ok(0) => return MuxEnd::RemoteClosed,
                Ok(read) => read_since_yield += read,
                Err(error) => return MuxEnd::Io(error),
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { io, buffer, .. } = self;
        let read = poll_fn(|cx| scratch::poll_read(io, cx, buffer)).await?;
        self.trace.record(|| Event::new(Kind::SocketRead).x(read as u64));
        Ok(read)
    }

    /// Takes the frames that have arrived, into the batches. `true`: there may be more of them.
    fn decode(&mut self, batches: &mut [Vec<Message>], pings: &mut Window) -> Result<bool, MuxEnd> {
        let mut bytes = 0;
        for _ in 0..BATCH_MESSAGES {
            if bytes >= TURN_BYTES {
                break;
            }
            let frame = self.ingress.decode(&mut self.buffer);
            // A frame that fails its MAC could be anybody's.
            let frame = frame.map_err(|error| MuxEnd::Breach(error.breach().unwrap_or(Breach::Framing)))?;
            let Some(frame) = frame else {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return Ok(false);
            };
            let (id, payload) = p2p::read_id(frame).map_err(|_| MuxEnd::Breach(Breach::UnknownCode))?;
            if id < p2p::BASE {
                self.on_base(id, &payload, pings)?;
            } else {
                bytes += self.on_message(id, payload, batches).map_err(MuxEnd::Breach)?;
            }
        }
        Ok(true)
    }

    /// Puts a message into the batch of its exchange; its size there.
    fn on_message(&self, id: u16, payload: Bytes, batches: &mut [Vec<Message>]) -> Result<usize, Breach> {
        for (link, batch) in self.links.iter().zip(batches) {
            if let Some(code) = link.shared.code(id) {
                let body = link.bodies.off_wire(payload).map_err(|_| Breach::Compression)?;
                let bytes = body.len();
                batch.push(Message { code, body });
                return Ok(bytes);
            }
        }
        Err(Breach::UnknownCode)
    }

    /// What belongs to the connection itself. Ids without a meaning are passed over.
    fn on_base(&self, id: u16, payload: &[u8], pings: &mut Window) -> Result<(), MuxEnd> {
        match id {
            _ if payload.len() > p2p::MESSAGE_BYTES_MAX => Err(MuxEnd::Breach(Breach::TooLarge)),
            p2p::HELLO => Err(MuxEnd::Breach(Breach::Unexpected)),
            p2p::DISCONNECT => {
                Err(MuxEnd::Disconnected(DisconnectReason::from_code(reason::decode(payload))))
            }
            p2p::PING if pings.exceeds(Instant::now().into_std(), PING_SPAN, PINGS_MAX) => {
                Err(MuxEnd::Breach(Breach::Muxer))
            }
            p2p::PING => {
                self.post.owe_pong();
                Ok(())
            }
            p2p::PONG => {
                self.post.on_echo();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::{AsyncReadExt, AsyncWriteExt};
    use futures::task::noop_waker_ref;

    use super::*;
    use crate::testing::rlpx::direction;
    use crate::transport::pipe;
    use crate::wire::snappy;

    /// What an exchange does not take is not read either, however small it is on the wire.
    #[tokio::test]
    async fn an_exchange_that_takes_nothing_stops_the_reading() {
        const PLAIN: usize = 1 << 20;
        let (near, mut far) = pipe::pair(1 << 20, Duration::ZERO);
        let (mut frames, ingress) = direction(1 << 20);
        let (inbox, mut exchange) = mpsc::channel(1);
        let shared = Shared { index: 0, offset: p2p::BASE, messages: 1 };
        let link = Link { shared, inbox, bodies: Bodies::CompressedOnWire };
        let inbound = Inbound {
            io: near.split().0,
            ingress,
            buffer: BytesMut::new(),
            links: vec![link],
            post: Post::default(),
            trace: ConnTrace::off(),
        };
        let packed = snappy::compress(&vec![0; PLAIN]);
        for _ in 0..16 {
            far.write_all(&frames.message(p2p::BASE, &packed)).await.expect("room in the pipe");
        }
        let mut running = Box::pin(inbound.run());
        let mut cx = std::task::Context::from_waker(noop_waker_ref());
        for _ in 0..100 {
            assert!(running.as_mut().poll(&mut cx).is_pending());
        }
        // One batch waits, one is in hand: each of one message, because that is enough bytes.
        let first = exchange.try_recv().expect("a batch");
        assert_eq!(first.iter().map(|message| message.body.len()).sum::<usize>(), PLAIN);
        assert!(exchange.try_recv().is_err(), "nothing else was inflated");
    }
}
