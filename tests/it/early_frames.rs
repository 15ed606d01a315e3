//! The bug this crate exists to make impossible: what a peer sends together with its protocol
//! selection arrives before anybody listens, and is lost (C7, A6, A7).
//!
//! A peer sends its selection, its handshake and its first messages in one write, cut at random on
//! its way. A tap that only counts is attached first, as the metrics were that uncovered the bug.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, join};
use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::LocalSet;
use trunkline::disconnect::{Breach, DisconnectReason, Disconnected};
use trunkline::protocols::{Class, Exchange, From, Outlet, Payload, ServeError};
use trunkline::testing::fault_io::{FaultIo, FaultPlan, Way};
use trunkline::testing::raw_peer::{MULTISTREAM, RawConnection, RawListener, RawMux, message, proposal};
use trunkline::testing::raw_peer::{SYN, data};
use trunkline::transport::addr::Endpoint;
use trunkline::transport::{TransportLimits, negotiate, pipe};
use trunkline::wire::segment::{Assembler, SegmentDecoder};
use trunkline::{Direction, Keypair, Network, PeerAddr, PeerId, ProtocolId};

use crate::chat::{ANSWER, CHAT, Chat, HELLO, Heard, NEWS, QUESTION, question};
use crate::support::Over;
use crate::support::{config, within};

/// An observer in front of an exchange: it sees everything and takes nothing.
struct Tap {
    inner: Arc<Chat>,
    seen: AtomicUsize,
}

impl Exchange for Tap {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        self.inner.ids()
    }

    fn handshake(&self, version: u32) -> Option<Payload> {
        self.inner.handshake(version)
    }

    fn accept(&self, version: u32, theirs: Bytes) -> Result<(), DisconnectReason> {
        self.inner.accept(version, theirs)
    }

    fn classify(&self, version: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
        self.seen.fetch_add(1, Ordering::Relaxed);
        self.inner.classify(version, code, prefix)
    }

    fn serve(self: Arc<Self>, from: From, asked: Payload) -> BoxFuture<'static, Result<Payload, ServeError>> {
        Arc::clone(&self.inner).serve(from, asked)
    }

    fn on_message(self: Arc<Self>, from: From, news: Payload) -> BoxFuture<'static, Result<(), ServeError>> {
        Arc::clone(&self.inner).on_message(from, news)
    }

    fn on_up(&self, from: From, direction: Direction, theirs: Option<Bytes>, outlet: Arc<dyn Outlet>) {
        self.inner.on_up(from, direction, theirs, outlet);
    }

    fn on_down(&self, from: From, ended: Disconnected) {
        self.inner.on_down(from, ended);
    }
}

/// What one run sends.
struct Script {
    /// Handshake and first messages, as segments.
    bytes: Vec<u8>,
    /// The answers that must come, and the news that must be heard, each in order.
    answers: Vec<Vec<u8>>,
    news: Vec<Bytes>,
    plan: FaultPlan,
}

impl Script {
    fn seeded(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = message(0, HELLO, b"hello");
        let (mut answers, mut news) = (Vec::new(), Vec::new());
        for number in 1..=rng.random_range(1..7) {
            let size = match rng.random_range(0..40) {
                0 => rng.random_range(16_000..40_000),
                _ => rng.random_range(0..120),
            };
            let payload = vec![(number + seed) as u8 | 0x80; size];
            if rng.random_range(0..2) == 0 {
                bytes.extend(message(number, NEWS, &payload));
                news.push(payload.into());
            } else {
                let body = question(number, &payload);
                bytes.extend(message(number, QUESTION, &body));
                answers.push(body);
            }
        }
        let pass_max = [1, 7, 30, 100, 400, 5000, 1 << 20][rng.random_range(0..7)];
        // Single bytes only for short scripts: the others would take most of the time.
        let pass_max = if bytes.len() > 300 { pass_max.max(30) } else { pass_max };
        // Only what they send is cut: what they receive is not the question here.
        let plan = FaultPlan { read: Way::default(), ..FaultPlan::seeded(seed, pass_max) };
        Self { bytes, answers, news, plan }
    }

    /// Selection, handshake and first messages in one write; then everything that comes back.
    /// Dropping the stream that is returned resets it.
    async fn play<T: AsyncRead + AsyncWrite + Unpin>(&self, io: T, dialled: bool, seed: u64) -> FaultIo<T> {
        let io = FaultIo::new(io, self.plan.clone());
        let selection = [MULTISTREAM, &proposal(CHAT)].concat();
        let all = [&selection[..], &self.bytes].concat();
        let (mut from, mut to) = io.split();
        let sending = async {
            to.write_all(&all).await.unwrap();
            to.flush().await.unwrap();
        };
        let receiving = async {
            // A listener has read its part of the selection before.
            let mut head = vec![0; if dialled { selection.len() } else { 0 }];
            from.read_exact(&mut head).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(selection.ends_with(&head), "seed {seed}: {head:?}");
            let (mut back, mut chunk) = (Back::default(), vec![0; 4096]);
            while !back.is_complete(self) {
                match from.read(&mut chunk).await {
                    Ok(read @ 1..) => back.take(&chunk[..read]),
                    _ => break,
                }
            }
            back
        };
        let (back, ()) = join(receiving, sending).await;
        back.check(self, seed);
        from.reunite(to).expect("two halves of one stream")
    }
}

/// What comes back behind the selection.
#[derive(Default)]
struct Back {
    decoder: SegmentDecoder,
    assembler: Assembler,
    buffer: BytesMut,
    greeted: bool,
    answers: Vec<Vec<u8>>,
}

impl Back {
    fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while let Some(segment) = self.decoder.decode(&mut self.buffer).unwrap() {
            match self.assembler.on_segment(segment).unwrap() {
                Some(message) if message.code == ANSWER => self.answers.push(message.body.to_vec()),
                Some(message) => self.greeted |= message.code == HELLO,
                None => {}
            }
        }
    }

    fn is_complete(&self, script: &Script) -> bool {
        self.greeted && self.answers.len() >= script.answers.len()
    }

    fn check(mut self, script: &Script, seed: u64) {
        self.answers.sort();
        let mut expected = script.answers.clone();
        expected.sort();
        assert!(self.greeted, "seed {seed}: no handshake");
        assert!(self.answers == expected, "seed {seed}: {} answers", self.answers.len());
    }
}

fn tapped_node(listen: &str) -> (Arc<Chat>, Arc<Tap>, trunkline::NetworkBuilder) {
    let chat = Chat::new();
    let tap = Arc::new(Tap { inner: Arc::clone(&chat), seen: AtomicUsize::new(0) });
    let mut config = config(listen);
    config.slots = trunkline::machine::admission::SlotLimits::for_peers(1000);
    let node = Network::builder(config, Keypair::generate_ed25519()).exchange(Arc::clone(&tap) as Arc<_>);
    (chat, tap, node)
}

/// Everything of a script was heard, in order; the log is empty afterwards.
async fn all_heard(chat: &Chat, tap: &Tap, script: &Script, from: PeerId, seed: u64) {
    let news = |log: &[Heard]| -> Vec<Bytes> {
        log.iter()
            .filter_map(|heard| match heard {
                Heard::News(peer, news) if *peer == from => Some(news.clone()),
                _ => None,
            })
            .collect()
    };
    let enough = |log: &[Heard]| news(log).len() >= script.news.len();
    let log = tokio::time::timeout(Duration::from_secs(20), chat.until(enough)).await;
    let log = log.unwrap_or_else(|_| panic!("seed {seed}: only {:?} was heard", chat.log()));
    assert!(news(&log) == script.news, "seed {seed}: news out of order");
    assert_eq!(tap.seen.swap(0, Ordering::Relaxed), script.news.len() + script.answers.len(), "seed {seed}");
    chat.clear();
}

fn identity(seed: u64) -> Keypair {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&seed.to_be_bytes());
    Keypair::ed25519_from_bytes(secret).unwrap()
}

/// C7 A6 A7: nothing is lost in 10,000 seeded deliveries, half of them with us as the dialer.
#[tokio::test(start_paused = true)]
async fn nothing_is_lost_in_ten_thousand_deliveries() {
    let test = async {
        let (chat, tap, node) = tapped_node("/memory/0");
        let node = node.start_local().await.unwrap();
        let port = match node.listening()[0].clone().endpoint {
            Endpoint::Memory(port) => port,
            other => panic!("{other:?}"),
        };
        for seed in 0..10_000 {
            let script = Script::seeded(seed);
            let us = identity(seed).public().to_peer_id();
            let play = async {
                if seed % 2 == 0 {
                    let connection = RawConnection::dial_memory(port, us).unwrap();
                    let _io = script.play(connection.open().await.unwrap(), true, seed).await;
                    all_heard(&chat, &tap, &script, us, seed).await;
                } else {
                    let mut listener = RawListener::memory(us).unwrap();
                    let to = PeerAddr { endpoint: listener.endpoint(), peer: None };
                    let answering = async {
                        let mut connection = listener.accept().await.unwrap();
                        let io = until_chat(&mut connection).await;
                        let _io = script.play(io, false, seed).await;
                        all_heard(&chat, &tap, &script, us, seed).await;
                    };
                    let (_, ()) = join(node.dial(to), answering).await;
                }
            };
            within(Duration::from_secs(60), &format!("seed {seed}"), play).await;
        }
        node.over().await;
    };
    LocalSet::new().run_until(test).await;
}

/// The substream on which the other end selects the chat; the others are reset.
async fn until_chat(connection: &mut RawConnection) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
    let selection = [MULTISTREAM, &proposal(CHAT)].concat();
    loop {
        let mut io = connection.accept().await.expect("another substream");
        let mut got = Vec::new();
        while selection.starts_with(&got) && got.len() < selection.len() {
            let mut byte = [0];
            io.read_exact(&mut byte).await.unwrap();
            got.push(byte[0]);
        }
        if got == selection {
            return io;
        }
    }
}

/// C7: the same over TCP, noise and yamux, the socket itself being cut up.
#[tokio::test]
async fn nothing_is_lost_over_noise_and_yamux() {
    let (chat, tap, node) = tapped_node("/ip4/127.0.0.1/tcp/0");
    let node = node.start().await.unwrap();
    let to = tcp_addr(&node);
    for seed in 0..300 {
        let script = Script::seeded(seed);
        let key = identity(seed);
        let socket = tokio::net::TcpStream::connect(to).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let socket = tokio_util::compat::TokioAsyncReadCompatExt::compat(socket);
        let socket = FaultIo::new(socket, FaultPlan::seeded(seed, 500));
        let play = async {
            let connection = RawConnection::dial(socket, &key).await.unwrap();
            let _io = script.play(connection.open().await.unwrap(), true, seed).await;
            all_heard(&chat, &tap, &script, key.public().to_peer_id(), seed).await;
        };
        within(Duration::from_secs(20), &format!("seed {seed}"), play).await;
    }
    node.over().await;
}

fn tcp_addr(node: &Network) -> std::net::SocketAddr {
    match node.listening()[0].clone().endpoint {
        Endpoint::Tcp(addr) => addr,
        other => panic!("{other:?}"),
    }
}

/// C7: a peer in a hurry at every layer sends the choice of the muxer, of the protocol, its
/// handshake and its messages in one encrypted write, more of it than a handshake may take.
#[tokio::test]
async fn nothing_is_lost_of_a_peer_in_a_hurry() {
    let (chat, tap, node) = tapped_node("/ip4/127.0.0.1/tcp/0");
    let node = node.start().await.unwrap();
    let to = tcp_addr(&node);
    for seed in 0..200 {
        let script = Script::seeded(seed);
        let key = identity(seed);
        let socket = tokio::net::TcpStream::connect(to).await.unwrap();
        let socket = tokio_util::compat::TokioAsyncReadCompatExt::compat(socket);
        let stream = [MULTISTREAM, &proposal(CHAT), &script.bytes].concat();
        let mut frames = Vec::new();
        for (index, body) in stream.chunks(16 << 10).enumerate() {
            frames.extend(data(if index == 0 { SYN } else { 0 }, 1, body));
        }
        let play = async {
            let mut mux = RawMux::dial_in_a_hurry(socket, &key, &frames)
                .await
                .unwrap_or_else(|error| panic!("seed {seed}, {} bytes: {error}", frames.len()));
            let mut back = Back::default();
            let selection = [MULTISTREAM, &proposal(CHAT)].concat();
            mux.read_until(1, &selection).await;
            while !back.is_complete(&script) {
                let Some(frame) = mux.read().await else { break };
                if frame.stream == 1 {
                    back.take(&frame.body);
                }
            }
            back.check(&script, seed);
            all_heard(&chat, &tap, &script, key.public().to_peer_id(), seed).await;
        };
        within(Duration::from_secs(20), &format!("seed {seed}"), play).await;
    }
    node.over().await;
}

/// A listener as it used to be done: the stream flows from the moment it is agreed on, because a
/// tap listens to it; who handles its messages attaches `late` or in time.
async fn listener_of_old(io: pipe::Pipe, late: bool) -> usize {
    let (_, mut io) = negotiate::listen(io, &[ProtocolId::new(CHAT)], &TransportLimits::default())
        .await
        .expect("an honest selection");
    let attached = std::cell::Cell::new(!late);
    let flowing = async {
        let (mut tapped, mut chunk) = (0, vec![0; 4096]);
        let (mut decoder, mut assembler) = (SegmentDecoder::default(), Assembler::default());
        let (mut buffer, mut messages) = (BytesMut::new(), 0);
        while let Ok(read @ 1..) = io.read(&mut chunk).await {
            tapped += read;
            if !attached.get() {
                // Nobody listens: the bytes go past.
                continue;
            }
            buffer.extend_from_slice(&chunk[..read]);
            while let Ok(Some(segment)) = decoder.decode(&mut buffer) {
                match assembler.on_segment(segment) {
                    Ok(message) => messages += usize::from(message.is_some()),
                    Err(_) => return messages,
                }
            }
        }
        assert!(tapped > 0);
        messages
    };
    let attaching = async {
        tokio::task::yield_now().await;
        attached.set(true);
    };
    join(flowing, attaching).await.0
}

async fn lost_by_a_listener_of_old(late: bool) -> usize {
    let mut lost = 0;
    for seed in 0..300 {
        let script = Script::seeded(seed);
        let (near, far) = pipe::pair(1 << 20, Duration::ZERO);
        let sending = async {
            let mut io = FaultIo::new(near, script.plan.clone());
            let all = [MULTISTREAM, &proposal(CHAT), &script.bytes].concat();
            // A listener that has lost its place hangs up.
            let _ = io.write_all(&all).await;
            let _ = io.close().await;
            let mut echo = Vec::new();
            let _ = io.read_to_end(&mut echo).await;
        };
        let (messages, ()) = join(listener_of_old(far, late), sending).await;
        let sent = 1 + script.news.len() + script.answers.len();
        lost += usize::from(messages < sent);
    }
    lost
}

/// The test can fail: the same deliveries to a late listener are lost, to an early one they are not.
#[tokio::test]
async fn a_late_listener_loses_frames() {
    let lost = lost_by_a_listener_of_old(true).await;
    assert!(lost > 100, "only {lost} of 300 deliveries suffered");
    assert_eq!(lost_by_a_listener_of_old(false).await, 0);
}
