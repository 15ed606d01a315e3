//! What is printed: lines and a bar on the way, a table at the end.

use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use trunkline::PeerHandle;
use trunkline::chain::RawBlock;
use trunkline::protocols::eth::Chain as _;
use trunkline::sync::{MemoryStore, Progress};
use trunkline::wire::DecodeError;
use trunkline::wire::rlp::List;

use crate::node::Node;
use crate::{Options, Wire, support};

/// What is told on the way: lines, and a bar if somebody watches a terminal.
pub(crate) struct Talk {
    json: bool,
    bar: Option<ProgressBar>,
}

impl Talk {
    /// For programs, or for people.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Self { json, bar: (!json && terminal).then(bar) }
    }

    /// A line for people.
    pub(crate) fn say(&self, line: fmt::Arguments<'_>) {
        match &self.bar {
            _ if self.json => {}
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// How far node B is.
    pub(crate) fn progress(&self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{:.0} blocks/s", progress.rate_blocks_per_s));
            bar.set_length(progress.target);
            bar.set_position(progress.bodies);
        }
    }

    /// Nothing more will be told.
    pub(crate) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // A template that does not parse leaves the bar as it is by default.
    match ProgressStyle::with_template("node B {bar:40} {pos}/{len} blocks, {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What can be asked about the traces of both nodes.
pub(crate) fn say_what_to_ask(folder: &Path) {
    let folder = folder.display();
    println!("\nthe traces of both nodes are in {folder}; ask them:");
    for (command, answer) in [
        (format!("stuck {folder}"), "what blocked, if anything did"),
        (format!("requests {folder}/b.jsonl"), "what node B asked for"),
        (format!("follow slowest {folder}/b.jsonl"), "the wait at each hop of its slowest request"),
        (format!("merge {folder}/a.jsonl {folder}/b.jsonl"), "where the time went, from both ends"),
        (format!("export --format html {folder} -o trace.html"), "the picture of both"),
    ] {
        println!("  # {answer}\n  trunkline trace {command}");
    }
}

/// What a run came to.
pub(crate) struct Report {
    json: bool,
    wire: Wire,
    chain: String,
    synced: Duration,
    took: Duration,
    sides: [Side; 2],
    /// The first block that is not the same, or what else is wrong.
    differs: Option<String>,
}

/// One node's part.
struct Side {
    blocks: u64,
    transactions: usize,
    bytes_in: u64,
    bytes_out: u64,
    requests: Vec<(&'static str, u64)>,
    p50: Option<Duration>,
    p99: Option<Duration>,
    number: u64,
    head: String,
}

impl Report {
    /// Compares the nodes. `synced`: until B had the blocks that were there when it came.
    pub(crate) fn new(options: &Options, a: &Node, b: &Node, synced: Duration, took: Duration) -> Self {
        Self {
            json: options.json,
            wire: options.wire,
            chain: a.store.spec().name().to_owned(),
            synced,
            took,
            sides: [Side::of(a), Side::of(b)],
            differs: difference(&a.store, &b.store),
        }
    }

    /// Prints it. The exit code says whether the nodes agree.
    pub(crate) fn print(&self) -> ExitCode {
        if self.json {
            println!("{}", self.to_json());
        } else {
            println!("{self}");
        }
        match &self.differs {
            None => ExitCode::SUCCESS,
            Some(why) => support::fail(format!("the nodes disagree: {why}")),
        }
    }

    fn to_json(&self) -> Value {
        let [a, b] = self.sides.each_ref().map(Side::to_json);
        json!({
            "event": "result", "agree": self.differs.is_none(), "wire": self.wire_name(), "chain": self.chain,
            "synced_ms": millis(self.synced), "ms": millis(self.took), "a": a, "b": b,
        })
    }

    fn wire_name(&self) -> &'static str {
        match self.wire {
            Wire::Libp2p => "libp2p",
            Wire::Rlpx => "rlpx",
            Wire::Memory => "memory",
        }
    }
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |name: &str, value: &dyn Fn(&Side) -> String| {
            let [a, b] = self.sides.each_ref().map(value);
            [name.to_owned(), a, b]
        };
        let time =
            |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.3} ms", millis(time)));
        let rows = [
            [format!("{} over {}", self.chain, self.wire_name()), "node A".to_owned(), "node B".to_owned()],
            row("blocks", &|side| side.blocks.to_string()),
            row("transactions", &|side| side.transactions.to_string()),
            row("bytes received", &|side| side.bytes_in.to_string()),
            row("bytes sent", &|side| side.bytes_out.to_string()),
            row("requests", &Side::requests),
            row("latency p50", &|side| time(side.p50)),
            row("latency p99", &|side| time(side.p99)),
            row("head", &|side| format!("#{} {}", side.number, &side.head[..14])),
        ];
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (first, second, third) = (width(0), width(1), width(2));
        writeln!(f)?;
        for (index, [name, a, b]) in rows.iter().enumerate() {
            writeln!(f, "{name:first$}  {a:>second$}  {b:>third$}")?;
            if index == 0 {
                writeln!(f, "{:-<first$}  {:-<second$}  {:-<third$}", "", "", "")?;
            }
        }
        let verdict = match &self.differs {
            None => "both heads and every block hash agree".to_owned(),
            Some(why) => format!("DIFFERENT: {why}"),
        };
        write!(
            f,
            "\nsynced in {:.0} ms, at the head after {:.0} ms: {verdict}",
            millis(self.synced),
            millis(self.took)
        )
    }
}

impl Side {
    fn of(node: &Node) -> Self {
        let blocks = node.store.blocks();
        let traffic = node
            .network
            .peers()
            .iter()
            .map(PeerHandle::traffic)
            .fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
        let (stats, head) = (node.network.stats(), node.store.status().latest);
        Self {
            blocks: blocks.len() as u64,
            // The bodies were verified before they were stored: each of them can be counted.
            transactions: blocks.iter().map(|block| transactions(block).unwrap_or(0)).sum(),
            bytes_in: traffic.0,
            bytes_out: traffic.1,
            requests: stats.outcomes(),
            p50: stats.quantile(0.5),
            p99: stats.quantile(0.99),
            number: head.number,
            head: head.hash.to_string(),
        }
    }

    fn requests(&self) -> String {
        let some = self.requests.iter().filter(|(name, count)| *count > 0 || *name == "ok");
        some.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }

    fn to_json(&self) -> Value {
        let requests = self.requests.iter().map(|(name, count)| ((*name).to_owned(), json!(count)));
        json!({
            "blocks": self.blocks, "transactions": self.transactions, "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out, "requests": Value::Object(requests.collect()),
            "p50_ms": self.p50.map(millis), "p99_ms": self.p99.map(millis),
            "number": self.number, "hash": self.head,
        })
    }
}

/// The transactions in a body `[transactions, ommers, withdrawals?]`.
fn transactions(block: &RawBlock) -> Result<usize, DecodeError> {
    List::whole(&block.body)?.item()?.list()?.count(1)
}

/// Where two chains differ, if they do: every header and every body is compared.
fn difference(a: &MemoryStore, b: &MemoryStore) -> Option<String> {
    let (ours, theirs) = (a.status(), b.status());
    if ours.latest != theirs.latest {
        return Some(format!("heads {} and {}", ours.latest.number, theirs.latest.number));
    }
    let different = |number: &u64| a.block(*number) != b.block(*number);
    (ours.earliest..=ours.latest.number).find(different).map(|number| format!("block {number}"))
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
