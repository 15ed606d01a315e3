//! The bare noise + yamux stream: the ceiling of everything that runs over this transport.
//!
//! One long-lived substream per connection, an inline loop at each end, one write per batch of
//! messages read. No negotiation, no routing, no caller: answers come in order.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p_core::upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _};
use libp2p_identity::Keypair;
use libp2p_noise as noise;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};
use yamux::{Connection, Mode};

use crate::harness::{Contender, Failure, Gate, Load, on_this_thread, serve_beside};
use crate::message::{ANSWER_BYTES, REQUEST_BYTES, answer, check, request};
use crate::tally::{Tally, Window};

/// Bytes of the length before each message.
const LENGTH_BYTES: usize = 4;
/// What is read at once, at most.
const READ_BYTES: usize = 64 * 1024;

type Secured = noise::Output<Compat<TcpStream>>;

/// The bare stream.
#[derive(Debug)]
pub struct Raw;

impl Contender for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn variant(&self) -> &'static str {
        "inline"
    }

    fn run(&self, load: Load, gate: Gate) -> Result<Tally, Failure> {
        serve_beside(
            async |announce, stopped| {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let _ = announce.send(listener.local_addr()?);
                tokio::select! {
                    biased;
                    _ = stopped => Ok(()),
                    failed = accept(listener) => failed,
                }
            },
            async move |addr| ask(addr, load, gate).await,
        )
    }
}

/// Answers whoever connects, each connection in a task of its own.
async fn accept(listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = serve(socket).await {
                eprintln!("raw, answering: {error}");
            }
        });
    }
}

async fn serve(socket: TcpStream) -> Result<(), Failure> {
    socket.set_nodelay(true)?;
    let noise = noise::Config::new(&Keypair::generate_ed25519())?;
    let (_, io) = noise.upgrade_inbound(socket.compat(), "/noise").await?;
    let mut connection = Connection::new(io, yamux::Config::default(), Mode::Server);
    let stream =
        std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await.ok_or("no substream")??;
    tokio::select! {
        biased;
        answered = answer_all(stream) => answered,
        // The asking end has gone: what it has not read does not count.
        () = drive(connection) => Ok(()),
    }
}

async fn answer_all(mut stream: yamux::Stream) -> Result<(), Failure> {
    let mut input = Input::new();
    let mut out = Vec::new();
    while input.fill(&mut stream).await? {
        while let Some(message) = input.next_message(REQUEST_BYTES)? {
            let answer = answer(message)?;
            out.extend_from_slice(&(ANSWER_BYTES as u32).to_be_bytes());
            out.extend_from_slice(&answer);
        }
        // The asking end may leave while we write.
        if stream.write_all(&out).await.is_err() || stream.flush().await.is_err() {
            return Ok(());
        }
        out.clear();
    }
    Ok(())
}

async fn ask(addr: SocketAddr, load: Load, gate: Gate) -> Result<Tally, Failure> {
    let mut connections = Vec::new();
    for _ in 0..load.peers {
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        let noise = noise::Config::new(&Keypair::generate_ed25519())?;
        let (_, io) = noise.upgrade_outbound(socket.compat(), "/noise").await?;
        let mut connection = Connection::new(io, yamux::Config::default(), Mode::Client);
        let stream = std::future::poll_fn(|cx| connection.poll_new_outbound(cx)).await?;
        connections.push((connection, stream));
    }
    let window = gate.open();
    let asking = connections
        .into_iter()
        .map(|(connection, stream)| ask_peer(connection, stream, load.in_flight, window));
    on_this_thread(window, asking).await
}

async fn ask_peer(
    connection: Connection<Secured>,
    stream: yamux::Stream,
    in_flight: usize,
    window: Window,
) -> Result<Tally, Failure> {
    tokio::select! {
        biased;
        tally = ask_all(stream, in_flight, window) => tally,
        () = drive(connection) => Err("the connection ended early".into()),
    }
}

async fn ask_all(mut stream: yamux::Stream, in_flight: usize, window: Window) -> Result<Tally, Failure> {
    let mut tally = Tally::new(window);
    let mut input = Input::new();
    let mut out = Vec::new();
    let mut asked = VecDeque::with_capacity(in_flight);
    let (mut first, mut next) = (0, 0);
    let mut push = |out: &mut Vec<u8>, asked: &mut VecDeque<Instant>, now| {
        out.extend_from_slice(&(REQUEST_BYTES as u32).to_be_bytes());
        out.extend_from_slice(&request(next));
        asked.push_back(now);
        next += 1;
    };
    let start = Instant::now();
    for _ in 0..in_flight {
        push(&mut out, &mut asked, start);
    }
    loop {
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if !input.fill(&mut stream).await? {
            return Err("the stream ended early".into());
        }
        // One look at the clock per batch: all of it arrived, and is answered, now.
        let now = Instant::now();
        while let Some(message) = input.next_message(ANSWER_BYTES)? {
            check(message, first)?;
            first += 1;
            let since = asked.pop_front().ok_or("an answer to nothing")?;
            if !tally.note(since, now) {
                return Ok(tally);
            }
            push(&mut out, &mut asked, now);
        }
    }
}

/// Polls the connection until it ends. Without it nothing is read or written.
async fn drive(mut connection: Connection<Secured>) {
    while let Some(Ok(_)) = std::future::poll_fn(|cx| connection.poll_next_inbound(cx)).await {}
}

/// Cuts what is read into messages, in place.
#[derive(Debug)]
struct Input {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self { buffer: vec![0; READ_BYTES].into(), start: 0, end: 0 }
    }

    /// Reads once. `false` at the end of the stream.
    async fn fill(&mut self, stream: &mut yamux::Stream) -> Result<bool, Failure> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let n = stream.read(&mut self.buffer[self.end..]).await?;
        self.end += n;
        Ok(n > 0)
    }

    /// The next whole message, which must have this length.
    fn next_message(&mut self, length: usize) -> Result<Option<&[u8]>, Failure> {
        let rest = &self.buffer[self.start..self.end];
        let Some((prefix, rest)) = rest.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        if u32::from_be_bytes(*prefix) as usize != length {
            return Err(format!("a message of {} bytes", u32::from_be_bytes(*prefix)).into());
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        self.start += LENGTH_BYTES + length;
        Ok(Some(message))
    }
}
