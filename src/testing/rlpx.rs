//! A raw RLPx peer: honest through the handshake, and then whatever the test says.
//!
//! Before the handshake and during it, [`RawSocket`](super::raw_peer::RawSocket) sends exact bytes,
//! for which [`Initiator`] and [`respond`] make honest ones and [`sealed`] and [`sealed_plain`]
//! ones that open and hold anything. Once there are secrets, a [`RawFrames`] makes frames that lie
//! at any layer, and a [`RawRlpx`] sends and receives them. Nothing is read that the test does not
//! read, nothing is answered, and nothing is compressed unless it is said.

use std::io;
use std::net::SocketAddr;

use alloy_primitives::Keccak256;
use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{CryptoRng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::transport::rlpx::frame::FRAME_BYTES_MAX;
use crate::transport::rlpx::handshake::{seal_plain, seal_prefixed};
use crate::transport::rlpx::p2p::{self, Id};
use crate::transport::rlpx::{Egress, Hello, Ingress, Initiator, NodeId, NodeKey, Secrets, Step, respond};
use crate::wire::{reason, snappy};

/// A handshake message in the form of EIP-8 that `to` can open, whatever its body holds. The body
/// must be shorter than 64 KiB; one above 1,935 bytes is above the cap.
pub fn sealed<R: CryptoRng + ?Sized>(to: NodeId, body: &[u8], rng: &mut R) -> Vec<u8> {
    seal_prefixed(&to.point(), body, rng)
}

/// A handshake message in the form before EIP-8 that `to` can open, whatever its body holds. An
/// auth has a body of 194 bytes, an ack one of 97.
pub fn sealed_plain<R: CryptoRng + ?Sized>(to: NodeId, body: &[u8], rng: &mut R) -> Vec<u8> {
    seal_plain(&to.point(), body, rng)
}

/// Both ends of one direction, with secrets that took no handshake.
pub fn direction(frame_bytes_max: usize) -> (RawFrames, Ingress) {
    let state = Keccak256::new;
    let secrets = || Secrets { aes: [1; 32], mac: [2; 32], egress: state(), ingress: state() };
    (secrets().split(frame_bytes_max).0.into(), secrets().split(frame_bytes_max).1)
}

/// Makes frames that are right up to the layer at which the test wants them wrong.
#[derive(Debug)]
pub struct RawFrames {
    egress: Egress,
}

impl RawFrames {
    /// A frame with this data, id included.
    pub fn frame(&mut self, data: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        self.egress.frame(&[data], &mut out);
        out
    }

    /// A frame with this header, as it stands, and with this data behind it, if any. Both MACs are
    /// right; the padding is that of the data.
    pub fn frame_with_header(&mut self, header: [u8; 16], data: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        if data.is_empty() {
            self.egress.header(header, &mut out);
            return out;
        }
        self.egress.begin_with(header, data.len(), &mut out);
        self.egress.body(data, &mut out);
        self.egress.end(&mut out);
        out
    }

    /// A message: an id and its payload, as they stand.
    pub fn message(&mut self, id: u16, payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        self.egress.frame(&[Id::new(id).as_ref(), payload], &mut out);
        out
    }
}

impl From<Egress> for RawFrames {
    fn from(egress: Egress) -> Self {
        Self { egress }
    }
}

/// A socket on which the handshake is done, and nothing else.
#[derive(Debug)]
pub struct RawRlpx {
    socket: TcpStream,
    /// Makes what is sent, for tests that change it first and send it by
    /// [`send_bytes`](Self::send_bytes).
    pub frames: RawFrames,
    ingress: Ingress,
    received: BytesMut,
    key: NodeKey,
    remote: NodeId,
}

impl RawRlpx {
    /// Dials a node and does the handshake with this key.
    pub async fn dial(addr: SocketAddr, key: &NodeKey, remote: NodeId) -> io::Result<Self> {
        let mut socket = TcpStream::connect(addr).await?;
        let (mut initiator, auth) = Initiator::new(key, remote, &mut rng());
        socket.write_all(&auth).await?;
        let mut received = BytesMut::new();
        let secrets = shake(&mut socket, &mut received, |received| initiator.on_ack(received)).await?;
        Ok(Self::new(socket, secrets, received, key, remote))
    }

    /// Accepts a connection and answers its handshake with this key.
    pub async fn accept(listener: &TcpListener, key: &NodeKey) -> io::Result<Self> {
        let (mut socket, _) = listener.accept().await?;
        let mut received = BytesMut::new();
        let responded =
            shake(&mut socket, &mut received, |received| respond(key, received, &mut rng())).await?;
        socket.write_all(&responded.ack).await?;
        Ok(Self::new(socket, responded.secrets, received, key, responded.remote))
    }

    fn new(socket: TcpStream, secrets: Secrets, received: BytesMut, key: &NodeKey, remote: NodeId) -> Self {
        let (egress, ingress) = secrets.split(FRAME_BYTES_MAX);
        let _ = socket.set_nodelay(true);
        Self { socket, frames: egress.into(), ingress, received, key: key.clone(), remote }
    }

    /// Who is at the other end.
    pub fn remote(&self) -> NodeId {
        self.remote
    }

    /// The socket, to be shut down, reset or left alone.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// An honest Hello that offers these capabilities, to be changed as the test likes.
    pub fn hello(&self, capabilities: &[(&str, u32)]) -> Hello {
        let capabilities = capabilities.iter().map(|(name, version)| ((*name).to_owned(), *version));
        Hello {
            version: p2p::VERSION,
            client: "raw".to_owned(),
            capabilities: capabilities.collect(),
            listen_port: 0,
            node_id: self.key.node_id(),
        }
    }

    /// Sends our Hello and reads theirs. Fails if theirs is a Disconnect, naming its reason.
    pub async fn greet(&mut self, hello: &Hello) -> io::Result<Hello> {
        self.send(p2p::HELLO, &hello.encode()).await?;
        match self.receive().await? {
            Some((p2p::HELLO, payload)) => Hello::decode(&payload).map_err(io::Error::other),
            Some((p2p::DISCONNECT, body)) => {
                Err(io::Error::other(format!("disconnect {:#04x}", reason::decode(&body))))
            }
            Some((id, _)) => Err(io::Error::other(format!("message {id:#04x}"))),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends a message as it stands.
    pub async fn send(&mut self, id: u16, payload: &[u8]) -> io::Result<()> {
        let wire = self.frames.message(id, payload);
        self.send_bytes(&wire).await
    }

    /// Sends a message with its payload as a snappy block, as everything is once both Hellos are
    /// through.
    pub async fn send_compressed(&mut self, id: u16, payload: &[u8]) -> io::Result<()> {
        self.send(id, &snappy::compress(payload)).await
    }

    /// Sends exactly these bytes, outside of all frames.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next message as it came, compressed if it was. `None`: the other end has closed, with
    /// an EOF or with a reset.
    pub async fn receive(&mut self) -> io::Result<Option<(u16, Bytes)>> {
        loop {
            if let Some(frame) = self.ingress.decode(&mut self.received).map_err(io::Error::other)? {
                return p2p::read_id(frame).map(Some).map_err(io::Error::other);
            }
            self.ingress.reserve(&mut self.received);
            match self.socket.read_buf(&mut self.received).await {
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                read => read?,
            };
        }
    }

    /// Reads until the other end closes: the reason of the Disconnect it sent before, if any.
    /// Other messages on the way are passed over.
    pub async fn closed(&mut self) -> io::Result<Option<u8>> {
        let mut said = None;
        while let Some((id, body)) = self.receive().await? {
            if id == p2p::DISCONNECT {
                said = Some(reason::decode(&body));
            }
        }
        Ok(said)
    }
}

/// Reads until a step of the handshake is done; what belongs to frames stays in `received`.
async fn shake<T, E: std::error::Error + Send + Sync + 'static>(
    socket: &mut TcpStream,
    received: &mut BytesMut,
    mut step: impl FnMut(&[u8]) -> Result<Step<T>, E>,
) -> io::Result<T> {
    loop {
        match step(received).map_err(io::Error::other)? {
            Step::Done { value, used } => {
                let _ = received.split_to(used);
                return Ok(value);
            }
            Step::Need(len) => {
                let start = received.len();
                received.resize(len, 0);
                socket.read_exact(&mut received[start..]).await?;
            }
        }
    }
}

/// Tests have no secrets to keep, but each connection needs its own.
fn rng() -> StdRng {
    StdRng::seed_from_u64(rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Keypair;

    fn key() -> NodeKey {
        NodeKey::of(&Keypair::generate_secp256k1()).expect("a secp256k1 key")
    }

    #[tokio::test]
    async fn two_raw_peers_understand_each_other() {
        let (dialer, listener) = (key(), key());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = socket.local_addr().expect("an address");
        let dial = RawRlpx::dial(addr, &dialer, listener.node_id());
        let (ours, theirs) = tokio::join!(dial, RawRlpx::accept(&socket, &listener));
        let (mut ours, mut theirs) = (ours.expect("dialled"), theirs.expect("accepted"));
        assert_eq!(theirs.remote(), dialer.node_id());
        let (hello, answer) = (ours.hello(&[("eth", 69)]), theirs.hello(&[]));
        let (heard, asked) = tokio::join!(ours.greet(&hello), theirs.greet(&answer));
        assert_eq!((heard.expect("a hello"), asked.expect("a hello")), (answer, hello));
        ours.send_compressed(0x10, b"status").await.expect("sent");
        ours.send(p2p::DISCONNECT, &reason::encode(0x04, true)).await.expect("sent");
        drop(ours);
        assert_eq!(theirs.receive().await.expect("a message"), Some((0x10, snappy::compress(b"status"))));
        assert_eq!(theirs.closed().await.expect("an end"), Some(0x04));
    }

    #[tokio::test]
    async fn a_raw_peer_that_dials_another_key_is_not_answered() {
        let (dialer, listener) = (key(), key());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let addr = socket.local_addr().expect("an address");
        let dial = RawRlpx::dial(addr, &dialer, key().node_id());
        let (ours, theirs) = tokio::join!(dial, RawRlpx::accept(&socket, &listener));
        assert!(theirs.is_err() && ours.is_err());
    }
}
