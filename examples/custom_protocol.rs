//! A protocol of one's own, in one file: `/uptime/1` asks how long the remote has been running.
//!
//! ```text
//! cargo run --example custom_protocol
//! cargo run --example custom_protocol -- --trace-file uptime.jsonl
//! ```
//!
//! What it takes: the question and the answer as types with an encoding, and `Protocol` for what is
//! done with a question. Request ids, time-outs, slots and blame come with it, and so does the trace: with
//! `--trace-file` the asking node writes what became of each question, for `trunkline trace`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::Parser;
use tokio::time::Instant;
use trunkline::protocols::ServeError;
use trunkline::protocols::simple::Protocol;
use trunkline::trace::TraceConfig;
use trunkline::wire::{Decode, DecodeError, Encode, need};
use trunkline::{Config, Keypair, Network, PeerAddr, PeerId, ProtocolId};

/// Knows when the node was started.
struct UptimeService {
    started: Instant,
}

/// The question: a number that the answer repeats.
struct GetUptime {
    nonce: u32,
}

/// The answer.
struct Uptime {
    nonce: u32,
    millis: u64,
}

impl Encode for GetUptime {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.nonce);
    }
}

impl Decode for GetUptime {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        need(bytes, 4)?;
        Ok(Self { nonce: bytes.get_u32() })
    }
}

impl Encode for Uptime {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.nonce);
        out.put_u64(self.millis);
    }
}

impl Decode for Uptime {
    fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        need(bytes, 12)?;
        Ok(Self { nonce: bytes.get_u32(), millis: bytes.get_u64() })
    }
}

impl Protocol for UptimeService {
    const ID: ProtocolId = ProtocolId::new("/uptime/1");
    type Request = GetUptime;
    type Response = Uptime;

    async fn serve(&self, _from: PeerId, question: GetUptime) -> Result<Uptime, ServeError> {
        let millis = self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        Ok(Uptime { nonce: question.nonce, millis })
    }
}

#[derive(Debug, Parser)]
struct Options {
    /// Writes the asking node's trace to this file, replacing it.
    #[arg(long, value_name = "FILE")]
    trace_file: Option<PathBuf>,
}

async fn start(listen: Option<PeerAddr>, trace_file: Option<PathBuf>) -> Result<Network, Box<dyn Error>> {
    let builder = Config::builder().trace(TraceConfig { file: trace_file, ..TraceConfig::default() });
    let config = match listen {
        Some(addr) => builder.listen(addr).build()?,
        None => builder.build()?,
    };
    let uptime = UptimeService { started: Instant::now() };
    Ok(Network::builder(config, Keypair::generate_secp256k1()).protocol(uptime).start().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let server = start(Some("/ip4/127.0.0.1/tcp/0".parse()?), None).await?;
    let client = start(None, options.trace_file).await?;
    let addr = server.listening().into_iter().next().ok_or("the server does not listen")?;
    let peer = client.dial(addr).await?;
    println!("connected to {} over {}", peer.id(), peer.protocols().join(" "));

    // One after the other: a round trip each, over one long-lived substream.
    for nonce in 1..=3 {
        let asked = Instant::now();
        let uptime = peer.ask::<UptimeService>(GetUptime { nonce }).await?;
        println!("round trip {}: up for {} ms, asked for {:?}", uptime.nonce, uptime.millis, asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // Many at once: request ids lead every answer to the question it belongs to.
    let asked = Instant::now();
    let questions = (0..50).map(|nonce| peer.ask::<UptimeService>(GetUptime { nonce }));
    let answers = futures::future::try_join_all(questions).await?;
    let all_right = answers.iter().zip(0..).all(|(answer, nonce)| answer.nonce == nonce);
    println!("50 round trips at once: {:?}, each answer where it belongs: {all_right}", asked.elapsed());

    client.shutdown().await;
    server.shutdown().await;
    if all_right { Ok(()) } else { Err("answers were mixed up".into()) }
}
