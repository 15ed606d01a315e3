//! A hand-made dialler, layer by layer, so that a case can misbehave at any of them.
//!
//! The cipher and the negotiation are rust-libp2p's own; what goes over them is up to the case.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};
use multistream_select::{Negotiated, Version, dialer_select_proto};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::check::{Outcome, failed, need, within};
use crate::node::STEP;

/// A TCP socket with the traits of `futures`.
pub type Socket = Compat<TcpStream>;
/// What is behind the agreement on `/noise`.
pub type Secured = noise::Output<Negotiated<Socket>>;
/// What is behind the agreement on `/yamux/1.0.0`.
pub type Muxable = Negotiated<Secured>;

/// The multistream-select header as it goes over the wire.
pub const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";
/// The proposal of noise as it goes over the wire.
pub const NOISE: &[u8] = b"\x07/noise\n";

/// A multistream-select message: length, text, line feed.
pub fn message(text: &str) -> Vec<u8> {
    let length = text.len() + 1;
    assert!(length < 128, "one length byte only");
    let mut bytes = vec![length as u8];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

/// A yamux header.
pub fn yamux_header(version: u8, kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![version, kind];
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

/// Connects to a loopback port.
pub async fn tcp(port: u16) -> Outcome<Socket> {
    let socket = within(STEP, "TCP connect", TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await??;
    socket.set_nodelay(true)?;
    Ok(socket.compat())
}

/// TCP and the agreement on noise.
pub async fn agreed_on_noise(port: u16) -> Outcome<Negotiated<Socket>> {
    let socket = tcp(port).await?;
    let (_, io) =
        within(STEP, "agreement on noise", dialer_select_proto(socket, ["/noise"], Version::V1)).await??;
    Ok(io)
}

/// TCP, noise.
pub async fn secured(port: u16) -> Outcome<(PeerId, Secured)> {
    let io = agreed_on_noise(port).await?;
    noise_over(io).await
}

/// The noise handshake as the dialler, with a fresh identity.
pub async fn noise_over(io: Negotiated<Socket>) -> Outcome<(PeerId, Secured)> {
    let upgrade = noise::Config::new(&Keypair::generate_ed25519())?;
    Ok(within(STEP, "noise handshake", upgrade.upgrade_outbound(io, "/noise")).await??)
}

/// TCP, noise, and the agreement on yamux.
pub async fn muxable(port: u16) -> Outcome<Muxable> {
    let (_, io) = secured(port).await?;
    let select = dialer_select_proto(io, ["/yamux/1.0.0"], Version::V1);
    let (_, io) = within(STEP, "agreement on yamux", select).await??;
    Ok(io)
}

/// A connection of the `yamux` crate, polled by a task, from which substreams are opened that
/// nobody has negotiated anything on.
#[derive(Debug)]
pub struct Muxed {
    opens: tokio::sync::mpsc::Sender<tokio::sync::oneshot::Sender<yamux::Stream>>,
}

impl Muxed {
    /// TCP, noise, yamux.
    pub async fn connect(port: u16) -> Outcome<Self> {
        let mut connection =
            yamux::Connection::new(muxable(port).await?, yamux::Config::default(), yamux::Mode::Client);
        let (opens, mut inbox) =
            tokio::sync::mpsc::channel::<tokio::sync::oneshot::Sender<yamux::Stream>>(16);
        tokio::spawn(async move {
            let mut wanted: Option<tokio::sync::oneshot::Sender<yamux::Stream>> = None;
            std::future::poll_fn(|cx| {
                loop {
                    if wanted.is_none() {
                        match inbox.poll_recv(cx) {
                            std::task::Poll::Ready(Some(reply)) => wanted = Some(reply),
                            std::task::Poll::Ready(None) => return std::task::Poll::Ready(()),
                            std::task::Poll::Pending => {}
                        }
                    }
                    if wanted.is_some()
                        && let std::task::Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx)
                        && let Some(reply) = wanted.take()
                    {
                        let _ = reply.send(stream);
                        continue;
                    }
                    match connection.poll_next_inbound(cx) {
                        // What the peer opens is dropped, which resets it.
                        std::task::Poll::Ready(Some(Ok(_))) => {}
                        std::task::Poll::Ready(_) => return std::task::Poll::Ready(()),
                        std::task::Poll::Pending => return std::task::Poll::Pending,
                    }
                }
            })
            .await;
        });
        Ok(Self { opens })
    }

    /// Opens a substream without negotiating anything.
    pub async fn open(&self) -> Outcome<yamux::Stream> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        if self.opens.send(reply).await.is_err() {
            return failed("the connection has ended");
        }
        within(STEP, "open a bare substream", answer).await?.or_else(|_| failed("the connection has ended"))
    }
}

/// Fails unless the peer ends `io` within `limit`. What it still sends is thrown away.
pub async fn ends(io: &mut (impl AsyncRead + Unpin), limit: Duration) -> Outcome {
    let mut buffer = vec![0; 4096];
    within(limit, "the peer must end it", async { while let Ok(1..) = io.read(&mut buffer).await {} }).await
}

/// Agrees on noise one byte at a time, handshakes and agrees on yamux: slow, but honest.
pub async fn byte_by_byte(port: u16) -> Outcome<PeerId> {
    let mut socket = tcp(port).await?;
    let mut sent = HEADER.to_vec();
    sent.extend_from_slice(NOISE);
    for byte in &sent {
        socket.write_all(&[*byte]).await?;
        socket.flush().await?;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let mut answer = vec![0; sent.len()];
    within(STEP, "agreement on noise", socket.read_exact(&mut answer)).await??;
    need(answer == sent, || format!("answered {answer:02x?}"))?;
    // Everything is agreed and read, so the handshake starts on the bare socket.
    let upgrade = noise::Config::new(&Keypair::generate_ed25519())?;
    let (peer, secured) =
        within(STEP, "noise handshake", upgrade.upgrade_outbound(socket, "/noise")).await??;
    within(STEP, "agreement on yamux", dialer_select_proto(secured, ["/yamux/1.0.0"], Version::V1)).await??;
    Ok(peer)
}
