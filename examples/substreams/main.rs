//! Raw substreams with any libp2p peer.
//!
//! ```text
//! cargo run --example substreams -- --listen /ip4/127.0.0.1/tcp/4001 --ttl 60s
//! cargo run --example substreams -- --connect /ip4/127.0.0.1/tcp/4001 --ops ping,echo,many
//! ```
//!
//! The listener serves `/echo/1.0.0`, `/sink/1.0.0`, `/perf/1.0.0`, `/reset/1.0.0` and
//! `/call-back/1.0.0` (`serve.rs`); the dialler runs each operation and prints a JSON line for it
//! (`ops.rs`). Exit 0: done, or every operation passed. 1: one failed. 2: unusable options.

mod ops;
mod serve;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use libp2p_identity::{ed25519, secp256k1};
use serde_json::json;
use trunkline::{Config, Keypair, Network, PeerAddr};

use ops::Op;
use serve::Services;

/// Substreams a peer may open to us, and we to it.
const SUBSTREAMS_MAX: usize = 300;

/// Raw substreams with any libp2p peer: serves some protocols, or tries them with a peer.
#[derive(Debug, Parser)]
struct Options {
    /// Serves on this address; port 0 picks one.
    #[arg(long, value_name = "ADDR", required_unless_present = "connect")]
    listen: Option<PeerAddr>,
    /// Ends after that time.
    #[arg(long, value_name = "D", default_value = "60s", value_parser = support::duration)]
    ttl: Duration,
    /// Dials this address and runs the operations.
    #[arg(long, value_name = "ADDR", conflicts_with = "listen", requires = "ops")]
    connect: Option<PeerAddr>,
    /// What to try, in this order, separated by commas.
    #[arg(long, value_name = "OPS", value_delimiter = ',')]
    ops: Vec<Op>,
    /// Writes the trace to this file, replacing it.
    #[arg(long, value_name = "FILE")]
    trace_file: Option<PathBuf>,
    /// Identity: a file of 64 hex digits, `ed25519:` before them for that type. Default: a fresh one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options: Options = match support::options() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let keypair = match options.key.as_deref().map(read_key) {
        None => Keypair::generate_secp256k1(),
        Some(Ok(keypair)) => keypair,
        Some(Err(why)) => return support::refuse(why),
    };
    let mut builder =
        Config::builder().perf(true).trace(support::trace_to(options.trace_file)).with(|config| {
            config.transport.inbound_substreams_max = SUBSTREAMS_MAX;
            config.transport.outbound_substreams_max = SUBSTREAMS_MAX;
        });
    if let Some(addr) = options.listen {
        builder = builder.listen(addr);
    }
    let config = match builder.build() {
        Ok(config) => config,
        Err(error) => return support::refuse(error),
    };
    let services = Services::default();
    let network = match services.register(Network::builder(config, keypair)).start().await {
        Ok(network) => network,
        Err(error) => return support::refuse(error),
    };
    services.opens_back_over(network.peer_table());
    let code = match options.connect {
        Some(addr) => connect(&network, addr, &options.ops).await,
        None => listen(&network, options.ttl).await,
    };
    network.shutdown().await;
    code
}

async fn listen(network: &Network, ttl: Duration) -> ExitCode {
    for addr in network.listening() {
        let port = addr.endpoint.port();
        let peer = network.id().to_string();
        println!("{}", json!({"event": "listening", "addr": addr.to_string(), "peer": peer, "port": port}));
    }
    tokio::select! {
        () = support::signal() => {}
        () = tokio::time::sleep(ttl) => {}
    }
    ExitCode::SUCCESS
}

async fn connect(network: &Network, addr: PeerAddr, ops: &[Op]) -> ExitCode {
    let peer = match network.dial(addr).await {
        Ok(peer) => peer,
        Err(error) => return support::fail(format!("no connection: {error}")),
    };
    let mut failed = Vec::new();
    for op in ops {
        let name = op.name();
        let line = match op.run(&peer).await {
            Ok(took) => json!({"op": name, "ok": true, "ms": took.as_secs_f64() * 1e3}),
            Err(why) => {
                failed.push(name);
                json!({"op": name, "ok": false, "error": why})
            }
        };
        println!("{line}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        support::fail(format!("failed: {}", failed.join(", ")))
    }
}

/// A key file in the form of `trunkline key`.
fn read_key(path: &Path) -> Result<Keypair, String> {
    let refused = |why: &str| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| refused(&error.to_string()))?;
    let text = text.trim();
    let digits = text.strip_prefix("ed25519:").unwrap_or(text);
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let mut secret = (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().unwrap_or_default();
    let keypair = if digits.len() == text.len() {
        secp256k1::SecretKey::try_from_bytes(&mut secret).map(|key| secp256k1::Keypair::from(key).into())
    } else {
        ed25519::SecretKey::try_from_bytes(&mut secret).map(|key| ed25519::Keypair::from(key).into())
    };
    keypair.map_err(|_| refused("not a key file"))
}
