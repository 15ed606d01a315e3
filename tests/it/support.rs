//! What scenarios share: a tiny protocol and nodes that speak it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use trunkline::ids::ProtocolId;
use trunkline::protocols::simple::Protocol;
use trunkline::protocols::{Capability, ServeError};
use trunkline::trace::{Budget, TraceConfig};
use trunkline::wire::{Decode, DecodeError, Encode};
use trunkline::{Config, Keypair, Network, PeerAddr, PeerHandle, PeerId};

/// Asks for so many bytes; how they come is said by the first byte of the question.
pub(crate) struct Blob;

pub(crate) const ECHO: u8 = 0;
/// Never answered.
pub(crate) const SILENCE: u8 = 1;
/// The handler panics.
pub(crate) const PANIC: u8 = 2;
/// The handler keeps its thread for so many milliseconds.
pub(crate) const BLOCK: u8 = 3;
/// Answered after so many milliseconds.
pub(crate) const LATER: u8 = 4;

/// `mode u8 | size u32`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetBlob(pub(crate) u8, pub(crate) u32);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bytes4(pub(crate) Bytes);

impl Encode for GetBlob {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.0);
        out.put_u32(self.1);
    }
}

impl Decode for GetBlob {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        use bytes::Buf;
        trunkline::wire::need(bytes, 5)?;
        Ok(Self(bytes.get_u8(), bytes.get_u32()))
    }
}

impl Encode for Bytes4 {
    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.0);
    }
}

impl Decode for Bytes4 {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self(bytes.split_to(bytes.len())))
    }
}

/// What a question of this size is answered with.
pub(crate) fn pattern(size: u32) -> Bytes {
    (0..size).map(|k| (k ^ size) as u8).collect::<Vec<u8>>().into()
}

impl Protocol for Blob {
    const ID: ProtocolId = ProtocolId::new("/test/blob/1");
    const CAPABILITY: Option<Capability> = Some(Capability { name: "blob", version: 1, messages: 3 });
    type Request = GetBlob;
    type Response = Bytes4;

    async fn serve(&self, _: PeerId, GetBlob(mode, size): GetBlob) -> Result<Bytes4, ServeError> {
        match mode {
            SILENCE => std::future::pending().await,
            PANIC => panic!("asked to panic"),
            BLOCK => {
                std::thread::sleep(Duration::from_millis(size.into()));
                Ok(Bytes4(pattern(1)))
            }
            LATER => {
                tokio::time::sleep(Duration::from_millis(size.into())).await;
                Ok(Bytes4(pattern(1)))
            }
            _ => Ok(Bytes4(pattern(size))),
        }
    }
}

pub(crate) fn addr(text: &str) -> PeerAddr {
    text.parse().expect("a valid address")
}

/// With `TRACE_AT_MAX` set, every node of every scenario writes a live trace of everything: the
/// results must be the same (O3).
fn traced() -> TraceConfig {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Some(folder) = std::env::var_os("TRACE_AT_MAX") else { return TraceConfig::default() };
    let name = format!("{}-{}.jsonl", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let budget = Budget { events_max: u64::MAX, events_per_second: u32::MAX };
    let file = Some(PathBuf::from(folder).join(name));
    TraceConfig { file, budget, ring_events: 1 << 16, ..TraceConfig::default() }
}

pub(crate) fn config(listen: &str) -> Config {
    let builder = Config::builder().seed(7).trace(traced());
    let builder = if listen.is_empty() { builder } else { builder.listen(addr(listen)) };
    builder.build().expect("a valid configuration")
}

pub(crate) async fn start(config: Config) -> Network {
    Network::builder(config, Keypair::generate_secp256k1()).protocol(Blob).start().await.expect("starts")
}

/// Two connected nodes and the dialler's handle, over a listen address such as `/memory/0`.
pub(crate) async fn two_nodes(listen: &str) -> (Network, Network, PeerHandle) {
    let server = start(config(listen)).await;
    let client = start(config("")).await;
    let to = server.listening()[0].clone();
    let peer = client.dial(to).await.expect("connects");
    (server, client, peer)
}

/// Fails the test instead of hanging it.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}

/// How every scenario ends: shut down, and no request is left without an end (O-1).
pub(crate) trait Over {
    async fn over(&self);
}

impl Over for Network {
    async fn over(&self) {
        self.shutdown().await;
        let counts = self.trace().counts();
        assert_eq!(counts.open, 0, "orphans: {counts:?}");
        assert!(counts.recorded > 0, "nothing was recorded");
    }
}
