//! From a stuck request to its cause: what one types, and what one reads then.
//!
//! ```text
//! cargo run --example trace_tour
//! ```
//!
//! Two nodes in this process, over TCP on loopback. Node A asks for pages, node B has them, and two
//! of them are trouble. Both write traces; the commands that are printed can be typed afterwards.
//! Reading order: this file (what happens), `pages.rs` (the protocol), `ask.rs` (what the commands of
//! `trunkline trace` do, from the library).

mod ask;
mod pages;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use trunkline::trace::TraceConfig;
use trunkline::{Config, Keypair, Network, PeerAddr, PeerHandle, RequestError};

use pages::{GetPage, LOST, Pages, SLOW};

/// Answers may take so long.
const PATIENCE: Duration = Duration::from_millis(1800);

/// Walks through a slow and a stuck request of two nodes, from the symptom to the cause.
#[derive(Debug, Parser)]
struct Options {
    /// Writes the traces into this folder, a.jsonl and b.jsonl. Default: trunkline-tour in the
    /// system's temporary folder.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = Options::parse().trace.unwrap_or_else(|| std::env::temp_dir().join("trunkline-tour"));
    std::fs::create_dir_all(&folder)?;
    let (a_file, b_file) = (folder.join("a.jsonl"), folder.join("b.jsonl"));

    let b = start(2, Some("/ip4/127.0.0.1/tcp/0".parse()?), &b_file).await?;
    let a = start(1, None, &a_file).await?;
    let addr = b.listening().into_iter().next().ok_or("node B does not listen")?;
    let peer = a.dial(addr).await?;

    say("Node A asks node B for ten pages, one after the other.");
    let slowest = ask_for_ten(&peer).await?;
    ask::caught_up(&a_file).await?;
    ask::caught_up(&b_file).await?;
    say(&format!(
        "All came, but one of them only after {:.1} s. Why? A's trace says:",
        slowest.as_secs_f64()
    ));
    ask::stuck(&[&a_file])?;
    say("So it is not A, and not its connection. With both traces, B's side comes in:");
    ask::stuck(&[&a_file, &b_file])?;
    say("B's protocol took its time over it. The whole life of that request, as A saw it:");
    ask::follow_slowest(&a_file)?;

    say("Then page 13 is asked for, and nothing happens at all. Node B is asked while it lasts:");
    let asking = tokio::spawn({
        let peer = peer.clone();
        async move { peer.ask::<Pages>(GetPage { number: LOST }).await }
    });
    tokio::time::sleep(PATIENCE / 2).await;
    ask::live("b", b.trace()).await;
    let Err(RequestError::TimedOut(_)) = asking.await? else {
        return Err("page 13 should never come".into());
    };
    say("A has given up in the meantime. Where the time went, from both ends:");
    a.shutdown().await;
    b.shutdown().await;
    ask::merge_slow(&a_file, &b_file)?;
    say(&format!(
        "And as a picture:\n\n$ trunkline trace export --format html {} {} -o tour.html",
        a_file.display(),
        b_file.display()
    ));
    Ok(())
}

/// A node that is the same one in every run, and writes a trace.
async fn start(key: u8, listen: Option<PeerAddr>, trace: &Path) -> Result<Network, Box<dyn Error>> {
    let trace = TraceConfig { file: Some(trace.to_owned()), ..TraceConfig::default() };
    let builder = Config::builder().trace(trace).with(|config| {
        (config.pace.start, config.pace.min, config.pace.max) = (PATIENCE, PATIENCE, PATIENCE);
    });
    let builder = listen.into_iter().fold(builder, |builder, addr| builder.listen(addr));
    // A key that everybody knows: for examples only.
    let keypair = Keypair::ed25519_from_bytes([key; 32])?;
    Ok(Network::builder(builder.build()?, keypair).protocol(Pages).start().await?)
}

/// How long the slowest one took.
async fn ask_for_ten(peer: &PeerHandle) -> Result<Duration, RequestError> {
    let mut slowest = Duration::ZERO;
    for number in (SLOW - 5)..(SLOW + 5) {
        let asked = std::time::Instant::now();
        peer.ask::<Pages>(GetPage { number }).await?;
        slowest = slowest.max(asked.elapsed());
    }
    Ok(slowest)
}

fn say(text: &str) {
    println!("{text}");
}
