//! An eth-like exchange for scenarios: a handshake, questions with ids, news, and a log.
//!
//! Bodies of questions and answers are `id u64 | payload`. What a payload begins with says what
//! becomes of it: see [`SILENCE`], [`AT_LENGTH`], [`OTHER`] and [`PANIC`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use tokio::sync::Notify;
use trunkline::disconnect::{Breach, DisconnectReason, Disconnected};
use trunkline::ids::ProtocolId;
use trunkline::protocols::{Class, Encoding, Exchange, From, Outlet, Payload, Request, ServeError};
use trunkline::wire::{DecodeError, snappy};
use trunkline::{Config, Direction, Keypair, Network, PeerId};

pub(crate) const CHAT: &str = "/test/chat/1";
pub(crate) const HELLO: u8 = 0;
pub(crate) const QUESTION: u8 = 1;
pub(crate) const ANSWER: u8 = 2;
pub(crate) const OTHER_ANSWER: u8 = 3;
pub(crate) const NEWS: u8 = 4;

/// A question that is never answered.
pub(crate) const SILENCE: u8 = b'.';
/// A question with a long answer: 600,000 bytes.
pub(crate) const AT_LENGTH: u8 = b'*';
/// A question that is answered by another kind of answer.
pub(crate) const OTHER: u8 = b'~';
/// A question or news that make their handler panic.
pub(crate) const PANIC: u8 = b'!';
/// The handshake that is refused.
pub(crate) const FOREIGN: &[u8] = b"foreign";

const IDS: &[(ProtocolId, u32)] = &[(ProtocolId::new(CHAT), 1)];
const INFLATED_MAX: usize = 100_000;

/// What a node heard, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Up(PeerId),
    News(PeerId, Bytes),
    Down(PeerId, Disconnected),
}

/// The exchange of one node.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    hello: Bytes,
    snappy: bool,
    log: Mutex<Vec<Heard>>,
    outlets: Mutex<Vec<(PeerId, Arc<dyn Outlet>)>>,
    changed: Notify,
    /// Questions whose serving has begun and neither ended nor been dropped.
    serving: Arc<AtomicUsize>,
    /// Questions that have arrived.
    asked: AtomicUsize,
}

impl Chat {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { hello: Bytes::from_static(b"hello"), ..Self::default() })
    }

    pub(crate) fn with_snappy() -> Arc<Self> {
        Arc::new(Self { hello: Bytes::from_static(b"hello"), snappy: true, ..Self::default() })
    }

    pub(crate) fn log(&self) -> Vec<Heard> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn clear(&self) {
        self.log.lock().unwrap().clear();
    }

    /// Waits until so many questions have arrived, served or not.
    pub(crate) async fn until_asked(&self, count: usize) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.asked.load(Ordering::SeqCst) >= count {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn serving(&self) -> usize {
        self.serving.load(Ordering::SeqCst)
    }

    /// Sends news to a peer that is up. Returns whether it was queued.
    pub(crate) fn tell(&self, peer: PeerId, news: &[u8]) -> bool {
        let outlets = self.outlets.lock().unwrap();
        let outlet = outlets.iter().rev().find(|(of, _)| *of == peer);
        outlet.is_some_and(|(_, outlet)| outlet.send(Payload { code: NEWS, body: self.pack(news) }))
    }

    /// Waits until the log holds what `enough` asks for.
    pub(crate) async fn until(&self, enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on nothing is missed, though nobody has polled it yet.
            changed.as_mut().enable();
            let log = self.log();
            if enough(&log) {
                return log;
            }
            changed.await;
        }
    }

    /// Waits for the end of a session with this peer.
    pub(crate) async fn down(&self, peer: PeerId) -> Disconnected {
        let is_down = |heard: &Heard| match heard {
            Heard::Down(of, ended) if *of == peer => Some(*ended),
            _ => None,
        };
        self.until(|log| log.iter().any(|heard| is_down(heard).is_some()))
            .await
            .iter()
            .find_map(is_down)
            .expect("it is there")
    }

    /// Starts a node that speaks it, on a thread of its own.
    pub(crate) async fn start(self: &Arc<Self>, config: Config) -> Network {
        let builder = Network::builder(config, Keypair::generate_ed25519());
        builder.exchange(Arc::clone(self) as Arc<dyn Exchange>).start().await.expect("starts")
    }

    fn note(&self, heard: Heard) {
        self.log.lock().unwrap().push(heard);
        self.changed.notify_waiters();
    }

    fn pack(&self, plain: &[u8]) -> Bytes {
        if self.snappy { snappy::compress(plain) } else { Bytes::copy_from_slice(plain) }
    }

    fn unpack(&self, body: Bytes) -> Result<Bytes, ServeError> {
        if !self.snappy {
            return Ok(body);
        }
        snappy::inflate(&body, INFLATED_MAX).map_err(|_| ServeError::Breach(Breach::Compression))
    }
}

/// Counts a question as being served for as long as it lives.
struct Serving(Arc<AtomicUsize>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Exchange for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn ids(&self) -> &[(ProtocolId, u32)] {
        IDS
    }

    fn encoding(&self) -> Encoding {
        if self.snappy { Encoding::Snappy { inflated_max: INFLATED_MAX } } else { Encoding::Plain }
    }

    fn handshake(&self, _: u32) -> Option<Payload> {
        Some(Payload { code: HELLO, body: self.hello.clone() })
    }

    fn accept(&self, _: u32, theirs: Bytes) -> Result<(), DisconnectReason> {
        if theirs == FOREIGN { Err(DisconnectReason::GenesisMismatch) } else { Ok(()) }
    }

    fn classify(&self, _: u32, code: u8, prefix: &[u8]) -> Result<Class, Breach> {
        let id = prefix.first_chunk().map(|id| u64::from_be_bytes(*id)).ok_or(Breach::Malformed);
        match code {
            QUESTION => {
                self.asked.fetch_add(1, Ordering::SeqCst);
                self.changed.notify_waiters();
                id.map(Class::Request)
            }
            ANSWER | OTHER_ANSWER => id.map(Class::Answer),
            NEWS => Ok(Class::OneWay),
            _ => Err(Breach::UnknownCode),
        }
    }

    fn serve(self: Arc<Self>, _: From, question: Payload) -> BoxFuture<'static, Result<Payload, ServeError>> {
        self.serving.fetch_add(1, Ordering::SeqCst);
        let counted = Serving(Arc::clone(&self.serving));
        Box::pin(async move {
            let _counted = counted;
            let body = self.unpack(question.body)?;
            match body.get(8) {
                Some(&SILENCE) => std::future::pending().await,
                Some(&PANIC) => panic!("asked to panic"),
                Some(&AT_LENGTH) => {
                    let answer = [&body[..8], &[AT_LENGTH; 600_000]].concat();
                    Ok(Payload { code: ANSWER, body: self.pack(&answer) })
                }
                Some(&OTHER) => Ok(Payload { code: OTHER_ANSWER, body: self.pack(&body) }),
                _ => Ok(Payload { code: ANSWER, body: self.pack(&body) }),
            }
        })
    }

    fn on_message(
        self: Arc<Self>,
        from: From,
        message: Payload,
    ) -> BoxFuture<'static, Result<(), ServeError>> {
        Box::pin(async move {
            let news = self.unpack(message.body)?;
            if news.first() == Some(&PANIC) {
                panic!("told to panic");
            }
            self.note(Heard::News(from.peer, news));
            Ok(())
        })
    }

    fn on_up(&self, from: From, _: Direction, _: Option<Bytes>, outlet: Arc<dyn Outlet>) {
        self.outlets.lock().unwrap().push((from.peer, outlet));
        self.note(Heard::Up(from.peer));
    }

    fn on_down(&self, from: From, ended: Disconnected) {
        self.outlets.lock().unwrap().retain(|(peer, _)| *peer != from.peer);
        self.note(Heard::Down(from.peer, ended));
    }
}

/// Says something and expects to hear it again. Not for the compressed form.
#[derive(Debug, Clone)]
pub(crate) struct Say(pub(crate) Bytes);

impl Say {
    pub(crate) fn new(text: impl Into<Vec<u8>>) -> Self {
        Self(text.into().into())
    }
}

impl Request for Say {
    type Response = Bytes;
    const CODE: u8 = QUESTION;
    const ANSWER: u8 = ANSWER;

    fn exchange() -> &'static str {
        "chat"
    }

    fn encode(&self, _: u32, id: u64) -> Bytes {
        question(id, &self.0).into()
    }

    fn decode_answer(&self, _: u32, mut body: Bytes) -> Result<Bytes, DecodeError> {
        trunkline::wire::need(&body, 8)?;
        body.advance(8);
        match body.starts_with(b"too many") {
            true => Err(DecodeError::Excess { got: 2, asked: 1 }),
            false if body.starts_with(b"garbled") => Err(DecodeError::Trailing),
            false => Ok(body),
        }
    }
}

/// The body of a question or an answer.
pub(crate) fn question(id: u64, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], payload].concat()
}
