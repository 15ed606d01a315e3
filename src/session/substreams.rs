//! Raw substreams of a session: opened for the host, served for the peer, and those of our own
//! (identify, keepalive).

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, BoxFuture, Either};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use multiaddr::Multiaddr;
use tokio::sync::oneshot;

use super::messages::OpenSubstream;
use super::reader::Asked;
use super::segment_writer::LaneIo;
use crate::error::SubstreamError;
use crate::ids::{Direction, PeerId, ProtocolId};
use crate::protocols::identify::{self, Identity};
use crate::protocols::substream::Io;
use crate::protocols::{RawSubstream, SubstreamHandler, ping};
use crate::transport::TransportLimits;
use crate::transport::mux::Control;
use crate::transport::negotiate;
use crate::transport::pipe::{self, Pipe};

/// Room of the pipe between a substream and its user; with the copy buffer it makes the 64 KiB
/// that a substream nobody reads is read ahead.
const PIPE_BYTES: usize = 48 << 10;
const COPY_BYTES: usize = 16 << 10;

/// How a task of the session ended.
pub(super) enum TaskEnd {
    Done,
    /// Identify is through.
    Identified(Option<Identity>),
    /// The peer did not answer keepalive pings.
    Silent,
}

/// A task of the session: bounded by the substreams of the connection, dropped with the session.
pub(super) type Task = BoxFuture<'static, TaskEnd>;

/// Whose substreams these are.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) peer: PeerId,
    pub(super) remote_addr: Multiaddr,
}

impl Origin {
    fn substream(&self, io: impl Io + 'static, protocol: ProtocolId, opened: Direction) -> RawSubstream {
        RawSubstream::new(io, protocol, self.peer, self.remote_addr.clone(), opened)
    }
}

/// Opens a raw substream for somebody.
pub(super) fn open(control: Control, limits: TransportLimits, origin: Origin, ask: OpenSubstream) -> Task {
    let OpenSubstream { protocol, read_ahead, reply } = ask;
    Box::pin(async move {
        match dial(&control, &limits, &protocol).await {
            Ok(io) if read_ahead => {
                let (near, far) = pipe::pair(PIPE_BYTES, Duration::ZERO);
                let mut substream = origin.substream(far, protocol, Direction::Outbound);
                let dropped = substream.on_drop();
                give(reply, Ok(substream));
                splice(io, near, dropped).await;
            }
            Ok(io) => give(reply, Ok(origin.substream(io, protocol, Direction::Outbound))),
            Err(error) => give(reply, Err(error)),
        }
        TaskEnd::Done
    })
}

fn give(
    reply: oneshot::Sender<Result<RawSubstream, SubstreamError>>,
    result: Result<RawSubstream, SubstreamError>,
) {
    // Whoever asked may have gone; the substream is reset by being dropped.
    drop(reply.send(result));
}

async fn dial(
    control: &Control,
    limits: &TransportLimits,
    protocol: &ProtocolId,
) -> Result<LaneIo, SubstreamError> {
    let asked = Asked::new(&control.trace, Direction::Outbound, Some(protocol));
    let agreed = agree(control, limits, protocol).await;
    match &agreed {
        Ok(_) => asked.agreed(protocol),
        Err(error) => asked.failed(error),
    }
    agreed
}

async fn agree(
    control: &Control,
    limits: &TransportLimits,
    protocol: &ProtocolId,
) -> Result<LaneIo, SubstreamError> {
    let substream = control.open().await.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => SubstreamError::Busy,
        // A wire without substreams.
        io::ErrorKind::Unsupported => SubstreamError::Unsupported(protocol.clone()),
        _ => SubstreamError::Io(error),
    })?;
    match negotiate::dial(substream, std::slice::from_ref(protocol), limits).await {
        Ok((_, io)) => Ok(io),
        Err(error) if error.is_unsupported() => Err(SubstreamError::Unsupported(protocol.clone())),
        Err(negotiate::NegotiateError::TimedOut(limit)) => Err(SubstreamError::TimedOut(limit)),
        Err(error) => Err(SubstreamError::Io(error.into_io())),
    }
}

/// Serves a raw substream that the peer opened.
pub(super) fn serve(
    handler: Arc<dyn SubstreamHandler>,
    protocol: ProtocolId,
    origin: Origin,
    io: LaneIo,
) -> Task {
    Box::pin(async move {
        if handler.wants_read_ahead() {
            let (near, far) = pipe::pair(PIPE_BYTES, Duration::ZERO);
            let mut substream = origin.substream(far, protocol, Direction::Inbound);
            let dropped = substream.on_drop();
            future::join(handler.serve(substream), splice(io, near, dropped)).await;
        } else {
            handler.serve(origin.substream(io, protocol, Direction::Inbound)).await;
        }
        TaskEnd::Done
    })
}

/// Copies both ways until both directions have ended. A reset on one side is passed on to the
/// other: both ends are dropped early. Once the user has dropped its end, nothing more is read for
/// it; what it wrote still goes out.
async fn splice(io: LaneIo, pipe: Pipe, dropped: oneshot::Receiver<()>) {
    let breaker = pipe.breaker();
    let (mut from_peer, mut to_peer) = io.split();
    let (mut from_user, mut to_user) = pipe.split();
    let inward = async {
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match from_peer.read(&mut buffer).await? {
                0 => return to_user.close().await,
                read => to_user.write_all(&buffer[..read]).await?,
            }
        }
    };
    let outward = async {
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match from_user.read(&mut buffer).await? {
                0 => return to_peer.close().await,
                read => {
                    to_peer.write_all(&buffer[..read]).await?;
                    to_peer.flush().await?;
                }
            }
        }
    };
    let unless_dropped = async {
        match future::select(pin!(inward), dropped).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Ok(()),
        }
    };
    if future::try_join(unless_dropped, outward).await.is_err() {
        breaker.reset();
    }
}

/// Asks the peer who it is.
pub(super) fn identify(control: Control, limits: TransportLimits, origin: Origin) -> Task {
    Box::pin(async move {
        let reading = async {
            let io = dial(&control, &limits, &identify::ID).await.ok()?;
            let mut substream = origin.substream(io, identify::ID, Direction::Outbound);
            identify::read(&mut substream).await.ok()
        };
        let identity = tokio::time::timeout(limits.negotiation_timeout, reading).await;
        TaskEnd::Identified(identity.ok().flatten())
    })
}

/// Pings the peer from time to time. One lost substream is forgiven; a peer that does not speak
/// ping is left alone.
pub(super) fn keepalive(
    control: Control,
    limits: TransportLimits,
    origin: Origin,
    interval: Duration,
    timeout: Duration,
    seed: u64,
) -> Task {
    Box::pin(async move {
        let mut failures = 0;
        let mut bytes = [0u8; ping::PING_BYTES];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        loop {
            tokio::time::sleep(interval).await;
            let io = match dial(&control, &limits, &ping::ID).await {
                Ok(io) => io,
                Err(SubstreamError::Unsupported(_)) => return TaskEnd::Done,
                // Our own substreams leave no room: that says nothing about the peer.
                Err(SubstreamError::Busy) => continue,
                Err(SubstreamError::TimedOut(_)) if failures > 0 => return TaskEnd::Silent,
                Err(_) => {
                    failures += 1;
                    if failures > 2 {
                        return TaskEnd::Silent;
                    }
                    continue;
                }
            };
            let mut substream = origin.substream(io, ping::ID, Direction::Outbound);
            loop {
                bytes[31] = bytes[31].wrapping_add(1);
                match ping::ping(&mut substream, bytes, timeout).await {
                    Ok(_) => failures = 0,
                    Err(ping::PingError::TimedOut(_)) => return TaskEnd::Silent,
                    Err(_) => {
                        failures += 1;
                        break;
                    }
                }
                tokio::time::sleep(interval).await;
            }
            if failures > 2 {
                return TaskEnd::Silent;
            }
        }
    })
}
