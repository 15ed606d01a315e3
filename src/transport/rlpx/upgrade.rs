//! Socket to connection: auth and ack, then Hello both ways (rlpx.md, "Initial Handshake", "Hello").

use std::io;

use bytes::{Bytes, BytesMut};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use multiaddr::Multiaddr;
use tokio::sync::mpsc;

use super::capability::negotiate;
use super::driver;
use super::frame::{Egress, FRAME_BYTES_MAX, Ingress};
use super::handshake::{Initiator, Step, respond};
use super::hello::{Hello, HelloError};
use super::inbound::Link;
use super::local::{Bodies, Local};
use super::node_id::NodeId;
use super::p2p::{self, Id};
use super::secrets::Secrets;
use crate::disconnect::{Breach, DisconnectReason};
use crate::error::UpgradeError;
use crate::ids::{Direction, PeerId, Wire};
use crate::protocols::identify::Identity;
use crate::trace::{ConnTrace, Event, Kind};
use crate::transport::channel::{Channel, Queue};
use crate::transport::mux::{Control, Mux};
use crate::transport::upgrade::{Counted, Step as Traced};
use crate::transport::{Connection, TransportLimits};
use crate::wire::reason;

/// Batches of messages that may wait for their exchange; then the socket is not read. One: a batch
/// may hold the largest message there is.
const BATCHES_MAX: usize = 1;

/// Authenticates a socket and agrees on capabilities, within the upgrade deadline.
///
/// `dialled` is who must be at the other end; without it we were dialled. Dropping the future
/// closes the socket.
pub(crate) async fn upgrade<T>(
    socket: T,
    local: &Local,
    dialled: Option<NodeId>,
    remote_addr: Multiaddr,
    limits: &TransportLimits,
    trace: ConnTrace,
) -> Result<Connection, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut socket, traffic) = Counted::new(socket);
    let steps = async {
        let (remote, secrets) = handshake(&mut socket, local, dialled, &trace).await?;
        let mut codec = Codec::new(secrets);
        let step = Traced::begin(&trace, "hello");
        let hello = greet(&mut socket, &mut codec, local, remote).await?;
        step.done();
        Ok::<_, UpgradeError>((remote.peer_id(), hello, codec))
    };
    let (peer, hello, codec) = tokio::time::timeout(limits.upgrade_timeout, steps)
        .await
        .map_err(|_| UpgradeError::TimedOut(limits.upgrade_timeout))??;
    trace.say(|| Event::new(Kind::ConnPeer), peer);
    let (mux, channels) = connect(socket, codec, local, &hello, limits, trace.clone());
    Ok(Connection {
        peer,
        public_key: None,
        direction: if dialled.is_some() { Direction::Outbound } else { Direction::Inbound },
        trace,
        remote_addr,
        wire: Wire::Rlpx,
        security: "rlpx",
        muxer: "devp2p/5",
        mux,
        channels: Some(channels),
        introduced: Some(introduction(hello)),
        echoes: true,
        traffic,
    })
}

/// Both halves of the frame codec, and what was read beyond the last frame.
struct Codec {
    egress: Egress,
    ingress: Ingress,
    buffer: BytesMut,
}

impl Codec {
    fn new(secrets: Secrets) -> Self {
        // Whoever has not said Hello needs no more than that.
        let (egress, ingress) = secrets.split(p2p::MESSAGE_BYTES_MAX);
        Self { egress, ingress, buffer: BytesMut::new() }
    }
}

async fn handshake<T>(
    socket: &mut T,
    local: &Local,
    dialled: Option<NodeId>,
    trace: &ConnTrace,
) -> Result<(NodeId, Secrets), UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error| UpgradeError::Rlpx(Box::new(error));
    let step = Traced::begin(trace, "rlpx");
    let mut received = Vec::new();
    let done = match dialled {
        Some(remote) => {
            let (mut initiator, auth) = Initiator::new(&local.key, remote, &mut rand::rng());
            write(socket, &auth).await?;
            loop {
                match initiator.on_ack(&received).map_err(failed)? {
                    Step::Need(bytes) => read_up_to(socket, &mut received, bytes).await?,
                    Step::Done { value, .. } => break (remote, value),
                }
            }
        }
        None => loop {
            match respond(&local.key, &received, &mut rand::rng()).map_err(failed)? {
                Step::Need(bytes) => read_up_to(socket, &mut received, bytes).await?,
                Step::Done { value, .. } => {
                    write(socket, &value.ack).await?;
                    break (value.remote, value.secrets);
                }
            }
        },
    };
    step.done();
    Ok(done)
}

/// Reads until so many bytes are there, and not one more: what follows is not of the handshake.
async fn read_up_to<T>(socket: &mut T, received: &mut Vec<u8>, bytes: usize) -> Result<(), UpgradeError>
where
    T: AsyncRead + Unpin,
{
    let have = received.len();
    received.resize(bytes.max(have + 1), 0);
    let rest = received.get_mut(have..).unwrap_or_default();
    socket.read_exact(rest).await.map_err(UpgradeError::Io)
}

async fn write<T: AsyncWrite + Unpin>(socket: &mut T, bytes: &[u8]) -> Result<(), UpgradeError> {
    socket.write_all(bytes).await?;
    Ok(socket.flush().await?)
}

/// Says Hello and hears the peer's. Whoever says something else is told why it is left.
async fn greet<T>(
    socket: &mut T,
    codec: &mut Codec,
    local: &Local,
    remote: NodeId,
) -> Result<Hello, UpgradeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    send(socket, codec, p2p::HELLO, &local.hello().encode()).await?;
    let judged = match first_message(socket, codec).await? {
        Ok((p2p::DISCONNECT, payload)) => {
            return Err(UpgradeError::Refused(DisconnectReason::from_code(reason::decode(&payload))));
        }
        Ok((p2p::HELLO, payload)) => judge(&payload, local, remote),
        Ok(_) => Err(DisconnectReason::Breach(Breach::Unexpected)),
        Err(breach) => Err(DisconnectReason::Breach(breach)),
    };
    match judged {
        Ok(hello) => Ok(hello),
        Err(why) => {
            // Before both Hellos are through nothing is compressed.
            let _ = send(socket, codec, p2p::DISCONNECT, &reason::encode(why.code(), false)).await;
            let _ = socket.close().await;
            Err(UpgradeError::Unfit(why))
        }
    }
}

fn judge(payload: &[u8], local: &Local, remote: NodeId) -> Result<Hello, DisconnectReason> {
    let hello = Hello::decode(payload).map_err(|error| match error {
        HelloError::Malformed(_) => DisconnectReason::Breach(Breach::Malformed),
        HelloError::Identity(_) => DisconnectReason::NullIdentity,
    })?;
    if hello.node_id != remote {
        return Err(DisconnectReason::UnexpectedIdentity);
    }
    if negotiate(&local.capabilities(), &hello.capabilities).is_empty() {
        return Err(DisconnectReason::UselessPeer);
    }
    Ok(hello)
}

async fn send<T>(socket: &mut T, codec: &mut Codec, id: u16, payload: &[u8]) -> Result<(), UpgradeError>
where
    T: AsyncWrite + Unpin,
{
    let mut out = BytesMut::new();
    codec.egress.frame(&[Id::new(id).as_ref(), payload], &mut out);
    write(socket, &out).await
}

/// The first frame: its MAC shows that the peer has the key it claims. `Ok(Err(_))`: it is from that
/// peer, and breaks a rule.
async fn first_message<T>(
    socket: &mut T,
    codec: &mut Codec,
) -> Result<Result<(u16, Bytes), Breach>, UpgradeError>
where
    T: AsyncRead + Unpin,
{
    let mut scratch = [0; 1024];
    loop {
        match codec.ingress.decode(&mut codec.buffer) {
            Ok(Some(frame)) => return Ok(p2p::read_id(frame).map_err(|_| Breach::UnknownCode)),
            Ok(None) => {}
            Err(error) => {
                return match error.breach() {
                    Some(breach) => Ok(Err(breach)),
                    None => Err(UpgradeError::Rlpx(Box::new(error))),
                };
            }
        }
        let read = socket.read(&mut scratch).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        codec.buffer.extend_from_slice(scratch.get(..read).unwrap_or_default());
    }
}

/// The driver of an agreed connection, and a channel for each shared capability.
fn connect<T>(
    socket: T,
    codec: Codec,
    local: &Local,
    hello: &Hello,
    limits: &TransportLimits,
    trace: ConnTrace,
) -> (Mux, Vec<Channel>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let compresses = hello.version >= p2p::SNAPPY_VERSION;
    let Codec { egress, mut ingress, buffer } = codec;
    ingress.allow(FRAME_BYTES_MAX);
    let queue = Queue::default();
    let (mut links, mut channels) = (Vec::new(), Vec::new());
    for shared in negotiate(&local.capabilities(), &hello.capabilities) {
        let Some(offer) = local.offer(shared.index) else { continue };
        let (inbox, inbound) = mpsc::channel(BATCHES_MAX);
        links.push(Link { shared, inbox, bodies: Bodies::of(offer.encoding, compresses) });
        channels.push(Channel { id: offer.id.clone(), inbound, outbound: queue.add() });
    }
    let (commands, asked) = mpsc::channel(limits.outbound_substreams_max.max(1) + 1);
    // Nobody opens substreams here.
    let (_, inbound) = mpsc::channel(1);
    let driver = driver::Driver {
        socket,
        egress,
        ingress,
        buffer,
        links,
        queue,
        commands: asked,
        compresses,
        limits: *limits,
        trace: trace.clone(),
    };
    (Mux { control: Control { commands, trace }, inbound, driver: Box::pin(driver.run()) }, channels)
}

/// What a Hello says of its sender, in the words of identify.
fn introduction(hello: Hello) -> Identity {
    let protocols = hello.capabilities.iter().map(|(name, version)| format!("{name}/{version}"));
    Identity { agent: hello.client, protocols: protocols.collect(), ..Identity::default() }
}

/// Who the address names, for a dial.
pub(crate) fn node_of(peer: Option<&PeerId>) -> Option<NodeId> {
    NodeId::of_peer(peer?)
}
