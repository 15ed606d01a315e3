//! Hostile peers: honest up to the layer they lie at.
//!
//! | lies at | type |
//! |---|---|
//! | the socket: exact bytes, drip, silence, reset | [`RawSocket`] |
//! | the muxer: exact yamux frames behind an honest handshake | [`RawMux`] |
//! | the substream: exact bytes behind an honest muxer | [`RawConnection`], [`RawListener`] |
//!
//! All of it is driven by the test: nothing is read that the test does not read.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_core::upgrade::OutboundConnectionUpgrade;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_util::task::AbortOnDropHandle;

use crate::ids::{Direction, Keypair, PeerId, ProtocolId};
use crate::protocols::substream::Io;
use crate::trace::ConnTrace;
use crate::transport::addr::Endpoint;
use crate::transport::memory::{self, MemoryListener};
use crate::transport::mux::{Control, Mux, MuxEnd, Substream};
use crate::transport::{Connection, TransportLimits, negotiate, upgrade};
use crate::wire::segment::{self, DATA_MAX};

/// The header that both ends of a negotiation send first.
pub const MULTISTREAM: &[u8] = b"\x13/multistream/1.0.0\n";

/// The refusal of a proposal.
pub const NA: &[u8] = b"\x03na\n";

/// A proposal or an echo: length, name, newline. The name has at most 126 bytes.
pub fn proposal(protocol: &str) -> Vec<u8> {
    let len = u8::try_from(protocol.len() + 1).ok().filter(|len| *len < 0x80);
    let mut bytes = vec![len.expect("a short name")];
    bytes.extend_from_slice(protocol.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// A message cut into segments with nothing between them, as an honest peer would.
pub fn message(number: u64, code: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let first = body.len().min(DATA_MAX - 1);
    segment::encode_segment(number, first < body.len(), Some(code), &body[..first], &mut out);
    let mut rest = &body[first..];
    while !rest.is_empty() {
        let (data, behind) = rest.split_at(rest.len().min(DATA_MAX));
        segment::encode_segment(number, !behind.is_empty(), None, data, &mut out);
        rest = behind;
    }
    out.to_vec()
}

/// A TCP socket and nothing above it.
#[derive(Debug)]
pub struct RawSocket {
    socket: TcpStream,
}

impl RawSocket {
    /// Connects and sends nothing.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket })
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(&mut self.socket, bytes).await
    }

    /// Sends a byte at a time with a pause behind each, until the other end closes.
    pub async fn drip(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for byte in bytes {
            self.send(&[*byte]).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Ends what is sent; what comes can still be read.
    pub async fn half_close(&mut self) -> io::Result<()> {
        tokio::io::AsyncWriteExt::shutdown(&mut self.socket).await
    }

    /// Breaks the connection with an RST.
    pub fn reset(self) -> io::Result<()> {
        self.socket.set_zero_linger()
    }

    /// Reads until the other end closes or breaks the connection.
    pub async fn closed(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        // A reset is an end like any other.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut self.socket, &mut got).await;
        got
    }

    /// The socket, for a layer above it.
    pub fn into_io(self) -> Compat<TcpStream> {
        self.socket.compat()
    }
}

/// A yamux frame as it is on the wire. `length` need not be that of the body.
pub fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

/// A data frame with its body.
pub fn data(flags: u16, stream: u32, body: &[u8]) -> Vec<u8> {
    [&frame(DATA, flags, stream, body.len() as u32)[..], body].concat()
}

/// Frame type: bytes of a stream.
pub const DATA: u8 = 0;
/// Frame type: credit.
pub const WINDOW_UPDATE: u8 = 1;
/// Frame type: ping.
pub const PING: u8 = 2;
/// Frame type: the end of the connection.
pub const GO_AWAY: u8 = 3;
/// Frame flag: opens a stream, or asks for a pong.
pub const SYN: u16 = 1;
/// Frame flag: half-closes.
pub const FIN: u16 = 4;
/// Frame flag: resets.
pub const RST: u16 = 8;

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u16,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// Body length, credit, ping value or code.
    pub length: u32,
    /// The body of a data frame.
    pub body: Vec<u8>,
}

/// An authenticated connection whose yamux frames the test writes and reads itself.
pub struct RawMux {
    io: Box<dyn Io>,
}

impl RawMux {
    /// An honest dialer up to and including the choice of yamux.
    pub async fn dial<T>(socket: T, keypair: &Keypair) -> io::Result<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::dial_in_a_hurry(socket, keypair, &[]).await
    }

    /// The same, but these bytes go in one write with the proposal of yamux, before anything is
    /// known to be agreed on.
    pub async fn dial_in_a_hurry<T>(socket: T, keypair: &Keypair, behind: &[u8]) -> io::Result<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = TransportLimits::default();
        let agreed = negotiate::dial(socket, &[ProtocolId::new("/noise")], &limits).await;
        let (_, socket) = agreed.map_err(negotiate::NegotiateError::into_io)?;
        let noise = libp2p_noise::Config::new(keypair).map_err(io::Error::other)?;
        let (_, io) = noise.upgrade_outbound(socket, "/noise").await.map_err(io::Error::other)?;
        let mut this = Self { io: Box::new(io) };
        let agreement = [MULTISTREAM, &proposal("/yamux/1.0.0")].concat();
        this.send(&[&agreement[..], behind].concat()).await?;
        let mut answer = vec![0; agreement.len()];
        this.io.read_exact(&mut answer).await?;
        if answer == agreement { Ok(this) } else { Err(io::ErrorKind::Unsupported.into()) }
    }

    /// The same over TCP.
    pub async fn connect(addr: SocketAddr, keypair: &Keypair) -> io::Result<Self> {
        Self::dial(RawSocket::connect(addr).await?.into_io(), keypair).await
    }

    /// Sends exactly these bytes, in one noise message if they fit.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Opens a stream: its first frame carries the proposal and everything behind it.
    pub async fn open(&mut self, stream: u32, protocol: &str, behind: &[u8]) -> io::Result<()> {
        let first = [MULTISTREAM, &proposal(protocol), behind].concat();
        self.send(&data(SYN, stream, &first)).await
    }

    /// The next frame; `None` when the connection is over.
    pub async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 12];
        self.io.read_exact(&mut head).await.ok()?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (kind, length) = (head[1], word(8));
        let mut body = vec![0; if kind == DATA { length as usize } else { 0 }];
        self.io.read_exact(&mut body).await.ok()?;
        let flags = u16::from_be_bytes([head[2], head[3]]);
        Some(Frame { kind, flags, stream: word(4), length, body })
    }

    /// The bytes of one stream until they end with `last` or the connection is over. Streams that
    /// the other end opens meanwhile are reset.
    pub async fn read_until(&mut self, stream: u32, last: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        while !got.ends_with(last) {
            let Some(frame) = self.read().await else { break };
            if frame.stream == stream {
                got.extend(frame.body);
            } else if frame.flags & SYN != 0 && frame.stream != 0 {
                // Whether this is still possible shows in the next read.
                let _ = self.send(&self::frame(WINDOW_UPDATE, RST, frame.stream, 0)).await;
            }
        }
        got
    }

    /// Reads, and refuses every stream, until the connection is over. Returns what came last.
    pub async fn closed(&mut self) -> Option<Frame> {
        let mut last = None;
        while let Some(frame) = self.read().await {
            if frame.flags & SYN != 0 && frame.stream != 0 {
                let _ = self.send(&self::frame(WINDOW_UPDATE, RST, frame.stream, 0)).await;
            }
            last = Some(frame);
        }
        last
    }
}

impl std::fmt::Debug for RawMux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawMux")
    }
}

/// An honest connection whose substreams carry exactly what the test writes to them. Dropping it
/// drops the socket.
#[derive(Debug)]
pub struct RawConnection {
    /// Who is at the other end.
    pub peer: PeerId,
    control: Control,
    inbound: tokio::sync::mpsc::Receiver<Substream>,
    driver: AbortOnDropHandle<MuxEnd>,
}

impl RawConnection {
    fn new(connection: Connection) -> Self {
        let Mux { control, inbound, driver } = connection.mux;
        let driver = AbortOnDropHandle::new(tokio::spawn(driver));
        Self { peer: connection.peer, control, inbound, driver }
    }

    /// Dials a memory listener in the name of `us`.
    pub fn dial_memory(port: u64, us: PeerId) -> io::Result<Self> {
        memory::dial(port, us, &TransportLimits::default(), ConnTrace::off()).map(Self::new)
    }

    /// An honest dialer over any socket, such as a faulty one. Must be called within a runtime.
    pub async fn dial<T>(socket: T, keypair: &Keypair) -> io::Result<Self>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = TransportLimits::default();
        let remote = multiaddr::Multiaddr::empty();
        let upgraded = upgrade::upgrade(socket, keypair, Direction::Outbound, None, remote, &limits).await;
        upgraded.map(Self::new).map_err(io::Error::other)
    }

    /// Opens a substream and sends nothing on it.
    pub async fn open(&self) -> io::Result<Substream> {
        self.control.open().await
    }

    /// The next substream that the other end opens; nothing was read from it.
    pub async fn accept(&mut self) -> Option<Substream> {
        self.inbound.recv().await
    }

    /// How the connection ended.
    pub async fn ended(self) -> Option<MuxEnd> {
        self.driver.await.ok()
    }
}

/// A listener in this process whose connections are raw.
#[derive(Debug)]
pub struct RawListener {
    listener: MemoryListener,
}

impl RawListener {
    /// Listens on a free memory port.
    pub fn memory(us: PeerId) -> io::Result<Self> {
        Ok(Self { listener: MemoryListener::bind(0, us, Duration::ZERO)? })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        self.listener.endpoint()
    }

    /// The next connection.
    pub async fn accept(&mut self) -> io::Result<RawConnection> {
        let incoming = self.listener.accept().await?;
        let endpoint = self.listener.endpoint();
        let limits = TransportLimits::default();
        let connection = memory::connect(
            incoming.from,
            Direction::Inbound,
            endpoint,
            incoming.link,
            &limits,
            ConnTrace::off(),
        );
        Ok(RawConnection::new(connection))
    }
}
