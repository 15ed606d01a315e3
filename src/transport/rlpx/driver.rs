//! Drives a connection: one half reads frames, the other writes them, neither waits for the other.
//!
//! The base protocol ends here: pings are answered, goodbyes said and heard. Everything else goes
//! to the channel of its capability.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::BytesMut;
use futures::future::{self, Either};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::capability::Shared;
use super::frame::{Egress, Ingress};
use super::inbound::Inbound;
use super::local::Bodies;
use super::outbound::Outbound;
use crate::disconnect::{Breach, DisconnectReason};
use crate::trace::{ConnTrace, Event, Kind};
use crate::transport::TransportLimits;
use crate::transport::channel::Queue;
use crate::transport::mux::{Command, MuxEnd};
use crate::transport::write_watch::WriteWatch;
use crate::wire::segment::Message;

/// Pings of ours that may wait for their echo at a time.
const PINGS_MAX: usize = 16;

/// One shared capability of a connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) shared: Shared,
    pub(super) offset: u16,
    pub(super) inbox: mpsc::Sender<Vec<Message>>,
    pub(super) bodies: Bodies,
}

/// An agreed connection, to be driven.
pub(super) struct Driver<T> {
    pub(super) socket: T,
    pub(super) egress: Egress,
    pub(super) ingress: Ingress,
    pub(super) buffer: BytesMut,
    pub(super) links: Vec<Link>,
    pub(super) queue: Queue,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) compresses: bool,
    pub(super) limits: TransportLimits,
    pub(super) trace: ConnTrace,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Runs until the connection is over.
    pub(super) async fn run(self) -> MuxEnd {
        let Self { socket, egress, ingress, buffer, links, queue, commands, compresses, limits, trace } =
            self;
        let (read, write) = socket.split();
        let post = Post::default();
        let sending = links.iter().map(|link| (link.offset, link.bodies)).collect();
        let inbound = Inbound { io: read, ingress, buffer, links, post: post.clone(), trace: trace.clone() };
        let outbound = Outbound {
            io: write,
            egress,
            channels: sending,
            queue: queue.clone(),
            post: post.clone(),
            commands,
            compresses,
            batch: BytesMut::new(),
            ends: Vec::new(),
            watch: WriteWatch::new(trace.clone()),
        };
        let mut reading = pin!(inbound.run());
        let mut writing = pin!(outbound.run());
        let end = match future::select(&mut reading, &mut writing).await {
            Either::Left((end, _)) => {
                if let MuxEnd::Breach(breach) = end {
                    trace.say(|| Event::new(Kind::Violation), breach);
                    // After a wrong MAC nothing that is said can be trusted, on either side.
                    if breach != Breach::Framing {
                        post.say_goodbye(DisconnectReason::Breach(breach));
                        // A peer that does not read must not keep us.
                        let _ = timeout(limits.close_timeout, &mut writing).await;
                    }
                }
                end
            }
            // Whichever way the writer has ended, the peer may have said why before us.
            Either::Right((written, _)) => match (timeout(limits.close_timeout, &mut reading).await, written)
            {
                (Ok(MuxEnd::Disconnected(reason)), Err(_)) => MuxEnd::Disconnected(reason),
                (_, Err(error)) => MuxEnd::Io(error),
                (_, Ok(())) => MuxEnd::Closed,
            },
        };
        queue.close();
        end
    }
}

/// What the reading half asks of the writing half, and what is asked of both from outside.
#[derive(Debug, Clone, Default)]
pub(super) struct Post(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Pings of the peer that were not answered. Bounded by the pings it may send.
    pub(super) pongs: usize,
    /// Pings of ours that wait for their echo, in their order.
    echoes: VecDeque<oneshot::Sender<()>>,
    /// The last word, once it is decided.
    pub(super) goodbye: Option<DisconnectReason>,
    waker: Option<Waker>,
}

impl Post {
    pub(super) fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writing half is woken when something is asked of it.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.lock().waker = Some(cx.waker().clone());
    }

    pub(super) fn owe_pong(&self) {
        self.change(|asked| asked.pongs += 1);
    }

    /// The peer is told this reason and then left. The first one stays.
    pub(super) fn say_goodbye(&self, reason: DisconnectReason) {
        self.change(|asked| {
            asked.goodbye.get_or_insert(reason);
        });
    }

    /// A ping is on its way. `false`: too many are.
    pub(super) fn await_echo(&self, reply: oneshot::Sender<()>) -> bool {
        let mut asked = self.lock();
        let room = asked.echoes.len() < PINGS_MAX;
        if room {
            asked.echoes.push_back(reply);
        }
        room
    }

    pub(super) fn on_echo(&self) {
        if let Some(reply) = self.lock().echoes.pop_front() {
            // Whoever asked may have given up.
            let _ = reply.send(());
        }
    }

    fn change(&self, change: impl FnOnce(&mut Asked)) {
        let mut asked = self.lock();
        change(&mut asked);
        if let Some(waker) = asked.waker.take() {
            waker.wake();
        }
    }
}
