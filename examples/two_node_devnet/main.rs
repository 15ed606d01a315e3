//! Two nodes, one chain: node A makes blocks and announces them, node B syncs and follows.
//!
//! ```text
//! cargo run --release --example two_node_devnet
//! cargo run --release --example two_node_devnet -- --blocks 200 --txs 50 --block-time 50ms
//! cargo run --release --example two_node_devnet -- --import chain.rlp
//! cargo run --release --example two_node_devnet -- --trace traces
//! ```
//!
//! Reading order: this file (what happens), `chain.rs` (where A's blocks come from), `node.rs` (one
//! node: network, eth, store), `report.rs` (what is printed). Exit 0 only when both heads and every
//! block agree; 1 when they do not, or not in time; 2 for unusable options.

mod chain;
mod node;
mod report;
#[path = "../support/mod.rs"]
mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use trunkline::protocols::eth::Chain as _;

use chain::{Maker, Origin};
use node::Node;
use report::{Report, Talk};

/// Nothing new for so long: node B is not going to arrive.
const STALLED: Duration = Duration::from_secs(30);

/// Two nodes in one process: A makes blocks with signed transactions and announces them, B syncs
/// from genesis and then follows. Ends with a table, and with exit code 0 if they agree.
#[derive(Debug, Parser)]
struct Options {
    /// Blocks to make: half of them before node B comes, the others while it follows.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    blocks: u64,
    /// Transactions per block: legacy, access list and dynamic fee ones. Fewer once full blocks have
    /// made them too expensive.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=1_400))]
    txs: u64,
    /// Time between two announced blocks.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = support::duration)]
    block_time: Duration,
    /// Node A serves the blocks of this file instead: .rlp, .rlp.gz or .era1.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// Genesis and forks of the file. Default: sepolia for .era1, else the genesis.json beside it.
    #[arg(long, value_name = "dev|sepolia|FILE", requires = "import")]
    chain: Option<String>,
    /// What the nodes talk over: TCP with noise and yamux, devp2p's RLPx (with
    /// the feature rlpx), or pipes within the process.
    #[arg(long, default_value = "libp2p")]
    wire: Wire,
    /// Writes the trace of each node into this folder, a.jsonl and b.jsonl, and says what to ask them.
    /// The folder is made if it is missing.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wire {
    Libp2p,
    Rlpx,
    Memory,
}

impl Wire {
    fn listen_addr(self) -> &'static str {
        match self {
            Self::Libp2p => "/ip4/127.0.0.1/tcp/0",
            Self::Rlpx => "/ip4/127.0.0.1/tcp/0/rlpx",
            Self::Memory => "/memory/0",
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let options: Options = match support::options() {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Err(why) = check_trace(&options) {
        return support::refuse(why);
    }
    let origin = match chain::prepare(&options).await {
        Ok(origin) => origin,
        Err(why) => return support::refuse(why),
    };
    let talk = Talk::new(options.json);
    let ended = tokio::select! {
        () = support::signal() => support::fail("interrupted before the nodes agreed"),
        ended = run(&options, origin, talk) => match ended {
            Ok(report) => report.print(),
            Err(why) => support::fail(why),
        }
    };
    if let Some(folder) = options.trace.as_deref().filter(|_| !options.json) {
        report::say_what_to_ask(folder);
    }
    ended
}

/// Makes the folder, and finds out now whether the files can be written.
fn check_trace(options: &Options) -> Result<(), String> {
    let Some(folder) = &options.trace else { return Ok(()) };
    let made = std::fs::create_dir_all(folder);
    let files = made.and_then(|()| {
        ["a", "b"].iter().try_for_each(|node| File::create(trace_file(folder, node)).map(drop))
    });
    files.map_err(|error| format!("{}: {error}", folder.display()))
}

fn trace_file(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.jsonl"))
}

/// Everything from A's first listen to B's last block.
async fn run(options: &Options, origin: Origin, talk: Talk) -> Result<Report, String> {
    let Origin { store, anchor, maker } = origin;
    let first = store.status().latest;
    let trace = |node| support::trace_to(options.trace.as_deref().map(|folder| trace_file(folder, node)));
    let a = Node::start(store, Some(options.wire.listen_addr()), trace("a")).await?;
    let addr = a.listening()?;
    talk.say(format_args!("node A serves {} blocks on {addr}", first.number - a.store.status().earliest));

    let dialled = Instant::now();
    let b = Node::start(node::empty(&a.store, anchor), None, trace("b")).await?;
    let sync = b.follow(addr, anchor).await;
    let mut making = tokio::spawn(make(a.clone(), maker, options.block_time));
    let mut all_made = false;

    let mut progress = sync.subscribe();
    let mut synced = None;
    loop {
        let (ours, theirs) = (a.store.status().latest, b.store.status().latest);
        talk.progress(&progress.borrow_and_update());
        if synced.is_none() && theirs.number >= first.number {
            synced = Some(dialled.elapsed());
            talk.say(format_args!("node B has synced up to block {} and follows", theirs.number));
        }
        if all_made && ours == theirs {
            break;
        }
        tokio::select! {
            made = &mut making, if !all_made => {
                made.map_err(|error| error.to_string())??;
                all_made = true;
            }
            changed = progress.changed() => {
                changed.map_err(|_| "node B's sync has ended before its time".to_owned())?;
            }
            () = tokio::time::sleep(STALLED) => {
                return Err(format!("node B is stuck at block {}, A is at {}", theirs.number, ours.number));
            }
        }
    }
    talk.done();

    let report = Report::new(options, &a, &b, synced.unwrap_or_default(), dialled.elapsed());
    sync.stop();
    b.network.shutdown().await;
    a.network.shutdown().await;
    Ok(report)
}

/// Makes the remaining blocks, one after the other, and announces each.
async fn make(a: Node, maker: Option<Maker>, block_time: Duration) -> Result<(), String> {
    let Some(mut maker) = maker else { return Ok(()) };
    while maker.left > 0 {
        tokio::time::sleep(block_time).await;
        let (back, block, receipts) = maker.next_block().await?;
        maker = back;
        a.store.extend(vec![block.clone()], vec![receipts]).map_err(|error| error.to_string())?;
        let total = a.store.total_difficulty(&block.hash).unwrap_or_default();
        a.eth.announce_block(&block, total);
    }
    Ok(())
}

impl Clone for Node {
    fn clone(&self) -> Self {
        Self { network: self.network.clone(), eth: Arc::clone(&self.eth), store: Arc::clone(&self.store) }
    }
}
