//! A long-lived exchange that the transport itself has negotiated and frames: a message channel.
//!
//! Over libp2p an exchange has a substream and cuts its messages into segments; a transport with
//! message framing of its own (RLPx, where an exchange is a capability) hands out channels instead.
//! What goes through them are the same messages: a code relative to the exchange, and a body as it
//! is on the wire.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use crate::ids::ProtocolId;
use crate::machine::message::Payload;
use crate::wire::segment::Message;

/// Bytes of messages that may wait for the transport before a channel takes no more; the one that
/// crosses the line is taken whole.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// One exchange over a transport that frames messages by itself. Both directions are bounded:
/// inbound by whoever makes it, outbound by 64 KiB and one message.
#[derive(Debug)]
pub struct Channel {
    /// Which exchange, in the version that was agreed on.
    pub id: ProtocolId,
    /// Messages of the peer, a batch per read of the socket. Ends with the connection.
    pub(crate) inbound: mpsc::Receiver<Vec<Message>>,
    /// Messages to the peer.
    pub(crate) outbound: ChannelSender,
}

/// The end of a channel that takes messages to the peer.
#[derive(Debug, Clone)]
pub(crate) struct ChannelSender {
    queue: Queue,
    channel: usize,
}

impl ChannelSender {
    /// Whether the channel takes a message now. `Pending`: the task is woken when it does. Fails
    /// when the connection is over.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.queue.lock();
        if waiting.over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        match waiting.channels.get_mut(self.channel) {
            Some(channel) if channel.bytes >= WAITING_BYTES_MAX => {
                channel.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends a message, which the channel was ready for.
    pub(crate) fn send(&self, message: Payload) {
        let mut waiting = self.queue.lock();
        if waiting.over {
            return;
        }
        if let Some(channel) = waiting.channels.get_mut(self.channel) {
            channel.bytes += message.wire_bytes();
        }
        waiting.messages.push_back((self.channel, message));
        if let Some(waker) = waiting.transport.take() {
            waker.wake();
        }
    }
}

/// The messages of all channels of a connection that wait for the transport, in the order in which
/// they were sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    channels: Vec<Sending>,
    messages: VecDeque<(usize, Payload)>,
    transport: Option<Waker>,
    over: bool,
}

#[derive(Debug, Default)]
struct Sending {
    bytes: usize,
    waker: Option<Waker>,
}

#[cfg_attr(not(feature = "rlpx"), expect(dead_code, reason = "only this wire has channels"))]
impl Queue {
    /// Adds a channel; they are numbered from 0.
    pub(crate) fn add(&self) -> ChannelSender {
        let mut waiting = self.lock();
        waiting.channels.push(Sending::default());
        ChannelSender { queue: self.clone(), channel: waiting.channels.len() - 1 }
    }

    /// The next message, for the transport to write, and the channel it is of.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<(usize, Payload)> {
        let mut waiting = self.lock();
        match waiting.messages.pop_front() {
            Some(next) => Poll::Ready(next),
            None => {
                waiting.transport = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A message of this size was written: its channel has room again.
    pub(crate) fn written(&self, channel: usize, bytes: usize) {
        let mut waiting = self.lock();
        let Some(channel) = waiting.channels.get_mut(channel) else { return };
        channel.bytes = channel.bytes.saturating_sub(bytes);
        if channel.bytes < WAITING_BYTES_MAX
            && let Some(waker) = channel.waker.take()
        {
            waker.wake();
        }
    }

    /// The connection is over: nothing is taken any more, and whoever waits is told.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.over = true;
        waiting.messages.clear();
        waiting.channels.iter_mut().filter_map(|channel| channel.waker.take()).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bytes::Bytes;
    use futures::future::poll_fn;
    use futures::task::noop_waker_ref;

    use super::*;

    fn message(code: u8, len: usize) -> Payload {
        Payload { code, body: Bytes::from(vec![0; len]) }
    }

    #[test]
    fn a_full_channel_waits_for_the_transport_and_the_others_do_not() {
        let queue = Queue::default();
        let (large, small) = (queue.add(), queue.add());
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(large.poll_ready(&mut cx).is_ready());
        large.send(message(1, WAITING_BYTES_MAX));
        assert!(large.poll_ready(&mut cx).is_pending());
        assert!(small.poll_ready(&mut cx).is_ready());
        small.send(message(2, 1));
        let Poll::Ready((channel, first)) = queue.poll_next(&mut cx) else { panic!("nothing waits") };
        assert_eq!((channel, first.code), (0, 1));
        assert!(large.poll_ready(&mut cx).is_pending(), "taken is not written");
        queue.written(channel, first.wire_bytes());
        assert!(large.poll_ready(&mut cx).is_ready());
        assert!(matches!(queue.poll_next(&mut cx), Poll::Ready((1, Payload { code: 2, .. }))));
        assert!(queue.poll_next(&mut cx).is_pending());
    }

    #[tokio::test]
    async fn who_waits_for_room_hears_of_the_end() {
        let queue = Queue::default();
        let outlet = queue.add();
        outlet.send(message(1, WAITING_BYTES_MAX));
        let mut ready = pin!(poll_fn(|cx| outlet.poll_ready(cx)));
        assert!(futures::poll!(&mut ready).is_pending());
        queue.close();
        assert!(ready.await.is_err());
    }
}
