//! Drives a connection: one half reads frames, the other writes them, neither waits for the other.
//!
//! The base protocol ends here: pings are answered, goodbyes said and heard. Everything else goes
//! to the channel of its capability.

use std::pin::pin;

use bytes::BytesMut;
use futures::future::{self, Either};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{Egress, Ingress};
use super::inbound::{Inbound, Link};
use super::outbound::Outbound;
use super::post::Post;
use crate::disconnect::{Breach, DisconnectReason};
use crate::trace::{ConnTrace, Event, Kind};
use crate::transport::TransportLimits;
use crate::transport::channel::Queue;
use crate::transport::mux::{Command, MuxEnd};
use crate::transport::write_watch::WriteWatch;

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
        let sending = links.iter().map(|link| (link.shared.offset, link.bodies)).collect();
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
