//! `trunkline ping`: who is there, what does it speak, how long is a round trip?

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline::error::{DialError, StartError, SubstreamError, UpgradeError};
use trunkline::protocols::ping::{self as protocol, PingError};
use trunkline::trace::TraceConfig;
use trunkline::{Config, Keypair, Network, PeerAddr, PeerHandle, Wire};

use crate::addr;
use crate::escape::escape;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::status_probe::{StatusProbe, describe};

/// How long an echo may take.
const ECHO: Duration = Duration::from_secs(10);
/// How long the Status of a peer may take once it speaks eth.
const STATUS: Duration = Duration::from_secs(5);
/// The pause between two round trips.
const PAUSE: Duration = Duration::from_millis(20);

/// Connects to a peer, tells who it is and what it speaks, and measures round trips.
///
/// A peer that speaks eth is asked for its Status, whatever its chain. Exit code 1 with the reason
/// when the peer refuses, cannot be reached, is silent, or is not who the address says.
#[derive(Debug, clap::Args)]
pub(crate) struct PingArgs {
    /// Where: /ip4/1.2.3.4/tcp/30303, with /p2p/ID behind it if it must be that peer; for devp2p an
    /// enode://KEY@IP:PORT or an ENR (enr:..).
    #[arg(value_parser = addr::dialled)]
    addr: PeerAddr,
    /// Round trips to measure.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Writes the trace to this file, replacing it. Read it with `trunkline trace`. Default: none.
    #[arg(long, value_name = "FILE")]
    trace_file: Option<PathBuf>,
}

/// Does what was asked. A signal ends it early, without a failure.
pub(crate) async fn run(args: PingArgs, json: bool) -> Result<(), Failure> {
    let mut stop = Stop::listen().map_err(Failure::failed)?;
    let trace = TraceConfig { file: args.trace_file.clone(), ..TraceConfig::default() };
    let config = Config::builder().trace(trace).build().map_err(Failure::failed)?;
    let probe = Arc::new(StatusProbe::default());
    let builder = Network::builder(config, Keypair::generate_secp256k1());
    let network = builder.exchange(probe.clone()).start().await.map_err(|error| match error {
        StartError::Trace(_) => Failure::unusable(error),
        error => Failure::failed(error),
    })?;
    let result = tokio::select! {
        biased;
        () = stop.asked() => Ok(()),
        result = ping(&network, &args, &probe, json) => result,
    };
    network.shutdown().await;
    result
}

async fn ping(network: &Network, args: &PingArgs, probe: &StatusProbe, json: bool) -> Result<(), Failure> {
    let dialled = network.dial(args.addr.clone()).await;
    let peer = dialled.map_err(|error| Failure::Failed(escape(&why(&args.addr, &error))))?;
    let status = match peer.version_of("eth") {
        Some(_) => tokio::time::timeout(STATUS, probe.status(peer.session())).await.ok().flatten(),
        None => None,
    };
    let out = Printer { json };
    out.peer(&peer, status.as_ref().map(describe)).map_err(Failure::failed)?;
    let mut echo = match peer.wire() {
        // devp2p pings on the connection itself.
        Wire::Rlpx => None,
        _ => Some(peer.open_substream(protocol::ID).await.map_err(|error| silent(&error))?),
    };
    let mut times = Vec::new();
    for n in 1..=args.count {
        let time = match &mut echo {
            Some(substream) => protocol::ping(substream, rand::random(), ECHO).await,
            None => peer.ping(1, ECHO).await.pop().unwrap_or(Err(PingError::TimedOut(ECHO))),
        };
        let time = time.map_err(|error| Failure::failed(format!("round trip {n}: {error}")))?;
        out.round_trip(n, time).map_err(Failure::failed)?;
        times.push(time);
        tokio::time::sleep(PAUSE).await;
    }
    out.summary(&mut times).map_err(Failure::failed)
}

/// The ways not to meet a peer, told apart by their first word.
fn why(addr: &PeerAddr, error: &DialError) -> String {
    match error {
        DialError::Unreachable(cause) if cause.kind() == ErrorKind::ConnectionRefused => {
            format!("refused: nobody listens on {addr}")
        }
        DialError::Unreachable(cause) => format!("unreachable: {addr}: {cause}"),
        DialError::Upgrade(UpgradeError::TimedOut(after)) => {
            format!("silent: {addr} took the connection, but no handshake came within {after:?}")
        }
        DialError::Upgrade(error @ UpgradeError::WrongIdentity { .. }) => {
            format!("wrong identity at {addr}: {error}")
        }
        DialError::Upgrade(UpgradeError::Refused(reason)) => format!("refused by {addr}: {reason}"),
        DialError::Upgrade(UpgradeError::Io(cause)) if addr.endpoint.wire() == Wire::Rlpx => {
            format!("no handshake with {addr}: {cause}; perhaps the node there has another key")
        }
        DialError::Upgrade(error) => format!("no handshake with {addr}: {error}"),
        DialError::Refused(ended) => format!("refused by {addr}: {ended}"),
        error => format!("{addr}: {error}"),
    }
}

fn silent(error: &SubstreamError) -> Failure {
    Failure::Failed(escape(&format!("connected, but the peer cannot be pinged: {error}")))
}

/// Results, for people or for programs.
struct Printer {
    json: bool,
}

impl Printer {
    fn peer(&self, peer: &PeerHandle, eth: Option<(String, Value)>) -> io::Result<()> {
        let (security, muxer) = peer.transport();
        let agent = escape(peer.identity().map_or("", |identity| &identity.agent));
        let protocols: Vec<String> = peer.protocols().iter().map(|name| escape(name)).collect();
        let (id, wire) = (peer.id().to_string(), peer.wire().to_string());
        let addr = peer.remote_addr().to_string();
        let (text, value) = eth.unzip();
        self.line(
            json!({
                "event": "peer", "peer": id, "addr": addr, "agent": agent, "wire": wire,
                "security": security, "muxer": muxer, "protocols": protocols, "eth": value,
            }),
            || {
                let mut lines = format!(
                    "peer       {id}\naddress    {addr}\nagent      {agent}\nwire       {wire}\n\
                     security   {security}\nmuxer      {muxer}\nprotocols  {}",
                    protocols.join("\n           ")
                );
                if let Some(text) = text {
                    lines += &format!("\neth        {text}");
                }
                lines
            },
        )
    }

    fn round_trip(&self, n: u32, time: Duration) -> io::Result<()> {
        let ms = millis(time);
        self.line(json!({"event": "round-trip", "n": n, "ms": ms}), || format!("round trip {n}: {ms:.3} ms"))
    }

    fn summary(&self, times: &mut [Duration]) -> io::Result<()> {
        times.sort_unstable();
        let (Some(min), Some(max)) = (times.first(), times.last()) else { return Ok(()) };
        let (min, median, max) = (millis(*min), millis(times[times.len() / 2]), millis(*max));
        let count = times.len();
        self.line(
            json!({"event": "summary", "count": count, "min_ms": min, "median_ms": median, "max_ms": max}),
            || format!("min/median/max: {min:.3}/{median:.3}/{max:.3} ms"),
        )
    }

    fn line(&self, json: Value, text: impl FnOnce() -> String) -> io::Result<()> {
        let line = if self.json { json.to_string() } else { text() };
        writeln!(io::stdout(), "{line}")
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
