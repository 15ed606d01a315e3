//! The `substreams` example as rust-libp2p would write it: the same options, lines and exit codes.
//!
//! The cases are tried against it (`--bin reference`), and it is a peer for the real example.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use interop::check::{Failure, Outcome, failed, need};
use interop::exercises;
use interop::node::{Node, NodeConfig, STEP};
use libp2p::identity::{Keypair, ed25519, secp256k1};
use libp2p::{Multiaddr, PeerId};
use serde_json::json;

/// How long one op may take.
const OP: Duration = Duration::from_secs(10);

/// Raw substreams with any libp2p peer, by rust-libp2p.
#[derive(Debug, Parser)]
struct Options {
    /// Serve on this address.
    #[arg(long, value_name = "ADDR", required_unless_present = "connect")]
    listen: Option<Multiaddr>,
    /// End after this time.
    #[arg(long, value_name = "D", default_value = "60s", value_parser = duration)]
    ttl: Duration,
    /// Dial this address and run the ops.
    #[arg(long, value_name = "ADDR", conflicts_with = "listen", requires = "ops")]
    connect: Option<Multiaddr>,
    /// What to do with the peer: ping,identify,echo,longlived,many,halfclose,reset,unsupported,perf.
    #[arg(long, value_name = "OPS", value_delimiter = ',', value_parser = OPS)]
    ops: Vec<String>,
    /// Identity; a secp256k1 key file, or an ed25519 one with its prefix. Default: a fresh secp256k1 key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

const OPS: [&str; 9] =
    ["ping", "identify", "echo", "longlived", "many", "halfclose", "reset", "unsupported", "perf"];

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            eprintln!("{}", error.to_string().lines().next().unwrap_or("unusable options"));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    let key = match options.key.as_deref().map(read_key) {
        None => Keypair::generate_secp256k1(),
        Some(Ok(key)) => key,
        Some(Err(why)) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut config = NodeConfig::new().key(key);
    config.agent = concat!("reference/", env!("CARGO_PKG_VERSION")).into();
    config.ping_interval = Duration::from_millis(200);
    let outcome = match (options.listen, options.connect) {
        (Some(addr), _) => {
            config.listen = Some(addr);
            runtime.block_on(listen(config, options.ttl))
        }
        (None, Some(addr)) => runtime.block_on(connect(config, addr, options.ops)),
        (None, None) => failed("neither --listen nor --connect"),
    };
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(why) | Failure::Skipped(why)) => {
            eprintln!("{}", why.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

async fn listen(config: NodeConfig, ttl: Duration) -> Outcome {
    let node = Node::start(config).await?;
    let addr = node.addr.as_ref().expect("it listens");
    println!("{}", json!({"event": "listening", "addr": addr, "peer": node.peer.to_string()}));
    tokio::time::sleep(ttl).await;
    Ok(())
}

async fn connect(config: NodeConfig, addr: Multiaddr, ops: Vec<String>) -> Outcome {
    let node = Node::start(config).await?;
    let peer = node.dial(&addr).await?;
    let mut wrong = Vec::new();
    for op in ops {
        let outcome = tokio::time::timeout(OP, run(&node, peer, &op)).await;
        let outcome = outcome.unwrap_or_else(|_| failed(format!("not done within {OP:?}")));
        match outcome {
            Ok(()) => println!("{}", json!({"op": op, "ok": true})),
            Err(Failure::Failed(why) | Failure::Skipped(why)) => {
                println!("{}", json!({"op": op, "ok": false, "error": why}));
                wrong.push(op);
            }
        }
        if node.log().connected.get(&peer) == Some(&0) {
            return failed("the peer has left");
        }
    }
    need(wrong.is_empty(), || format!("failed: {}", wrong.join(", ")))
}

async fn run(node: &Node, peer: PeerId, op: &str) -> Outcome {
    match op {
        "ping" => node.pongs(peer, 3).await.map(drop),
        "identify" => {
            let key = node.identified(peer).await?.public_key;
            need(key.to_peer_id() == peer, || "the key in identify is another".into())
        }
        "echo" => exercises::echo(node, peer, 1 << 20).await,
        "longlived" => exercises::long_lived(node, peer, 200).await,
        "many" => exercises::many(node, peer, 100, 1000).await,
        "halfclose" => exercises::half_close(node, peer).await,
        "reset" => exercises::reset(node, peer).await,
        "unsupported" => exercises::unsupported(node, peer).await,
        "perf" => exercises::perf(node, peer, 1 << 20, 1 << 20).await,
        other => failed(format!("{other} is unknown, although it was checked; waited {STEP:?}")),
    }
}

/// `250ms` or `5s`.
fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('s').ok_or("a unit is missing: 250ms, 5s")?, 1000),
    };
    let n: u64 = digits.parse().map_err(|_| format!("{text:?} is no duration"))?;
    Ok(Duration::from_millis(n * unit))
}

/// 64 hex digits and a newline, `ed25519:` before them for that type.
fn read_key(path: &Path) -> Result<Keypair, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = text.trim();
    let (digits, ed25519) = match text.strip_prefix("ed25519:") {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|i| digits.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()))
        .collect();
    let Some(mut bytes) = bytes.filter(|b| b.len() == 32) else {
        return Err(format!("{}: not 64 hex digits", path.display()));
    };
    let unusable = |e| format!("{}: {e}", path.display());
    if ed25519 {
        Ok(ed25519::Keypair::from(ed25519::SecretKey::try_from_bytes(&mut bytes).map_err(unusable)?).into())
    } else {
        Ok(secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes(&mut bytes).map_err(unusable)?)
            .into())
    }
}
