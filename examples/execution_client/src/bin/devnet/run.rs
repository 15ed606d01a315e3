//! What happens: three nodes start one after the other, make and pass on blocks, and end in that order.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use execution_client::failure::Failure;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::checked::{self, Held};
use crate::child::{Heard, Node, Role};
use crate::report::{self, Report, Side};
use crate::seen::Seen;
use crate::{Options, traces, transfers, unusable};

/// What the nodes have told and we have not heard yet. When full, they wait.
const HEARD_MAX: usize = 64;
/// Nothing new for so long beyond a block's time: it will not come about.
const STALLED: Duration = Duration::from_secs(30);

/// Nodes that were told to end and still run after this time are killed; if something went wrong, or
/// somebody waits at a terminal, after the shorter one.
const END_WITHIN: Duration = Duration::from_secs(15);
const HURRIED_WITHIN: Duration = Duration::from_secs(4);

/// Plays it from the beginning to the end.
pub(crate) async fn run(options: &Options, folder: &Path, stop: CancellationToken) -> Result<(), Failure> {
    let file = folder.join("transfers.txt");
    let submitted = transfers::write(&file, options.transfers).map_err(|error| unusable(&file, &error))?;
    for name in ["data", "traces"] {
        let path = folder.join(name);
        std::fs::create_dir(&path).map_err(|error| unusable(&path, &error))?;
    }
    let (tell, hear) = mpsc::channel(HEARD_MAX);
    let mut devnet = Devnet {
        options,
        folder,
        tell,
        hear,
        nodes: [None, None, None],
        seen: Default::default(),
        moved: Instant::now(),
    };
    let played = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Failure::failed("interrupted before the nodes agreed")),
        played = devnet.play(&file) => played,
    };
    let ended = devnet.end(played.is_ok()).await;
    played.and(ended)?;
    devnet.report(submitted.into_iter().collect()).await
}

struct Devnet<'a> {
    options: &'a Options,
    folder: &'a Path,
    tell: mpsc::Sender<Heard>,
    hear: mpsc::Receiver<Heard>,
    nodes: [Option<Node>; 3],
    seen: [Seen; 3],
    /// When something new was heard.
    moved: Instant,
}

impl Devnet<'_> {
    async fn play(&mut self, file: &Path) -> Result<(), Failure> {
        let Options { blocks, block_time, .. } = self.options;
        let every = humantime::format_duration(*block_time).to_string().replace(' ', "");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (produce_to, file) = (blocks.to_string(), file.display().to_string());
        let at = ["--listen", "/ip4/127.0.0.1/tcp/0"];
        self.start(
            Role::Producer,
            words(&[&at[..], &["--produce", &every, "--produce-to", &produce_to]].concat()),
        )?;
        let producer = self.address(Role::Producer).await?;
        let at = ["--listen", "/ip4/127.0.0.1/tcp/0/rlpx"];
        self.start(Role::Relay, words(&[&at[..], &["--bootnode", &producer]].concat()))?;
        let relay = self.address(Role::Relay).await?;
        self.start(Role::Follower, words(&["--bootnode", &relay, "--tx-file", &file]))?;
        while self.seen.iter().any(|seen| seen.head < *blocks) {
            self.next().await?;
        }
        Ok(())
    }

    fn start(&mut self, role: Role, words: Vec<String>) -> Result<(), Failure> {
        self.nodes[role as usize] = Some(Node::start(role, self.folder, &words, self.tell.clone())?);
        Ok(())
    }

    /// Waits until it is known where a node listens.
    async fn address(&mut self, role: Role) -> Result<String, Failure> {
        loop {
            if let Some(addr) = &self.seen[role as usize].addr {
                return Ok(addr.clone());
            }
            self.next().await?;
        }
    }

    /// Hears one thing of a node. None may end yet.
    async fn next(&mut self) -> Result<(), Failure> {
        let due = self.moved + STALLED + self.options.block_time;
        let heard = tokio::select! {
            biased;
            heard = self.hear.recv() => heard,
            () = sleep_until(due) => return Err(Failure::failed(self.stalled())),
        };
        // We hold a sender ourselves: there is always another.
        let Some(heard) = heard else { return Ok(()) };
        self.on_heard(heard);
        let gone = Role::ALL.into_iter().find(|role| self.seen[*role as usize].closed);
        let Some(role) = gone else { return Ok(()) };
        // Why, its last words say.
        let Some(node) = self.nodes[role as usize].take() else { return Ok(()) };
        node.ended(HURRIED_WITHIN).await?;
        Err(Failure::failed(format!("the {} has ended too early", role.name())))
    }

    fn stalled(&self) -> String {
        let at =
            Role::ALL.map(|role| format!("the {} at block {}", role.name(), self.seen[role as usize].head));
        let error = self.seen.iter().filter_map(|seen| seen.error.as_deref()).next_back();
        let error = error.map_or(String::new(), |error| format!("; the last error: {error}"));
        format!("nothing new for {} s: {}{error}", STALLED.as_secs(), at.join(", "))
    }

    fn on_heard(&mut self, heard: Heard) {
        let (role, when, mut event) = match heard {
            Heard::Event(role, when, event) => (role, when, event),
            Heard::Closed(role) => return self.seen[role as usize].closed = true,
        };
        let seen = &mut self.seen[role as usize];
        let text = |name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| event.get(name).and_then(Value::as_u64).unwrap_or(0);
        let kind = text("event").unwrap_or_default();
        match kind.as_str() {
            "listening" => seen.addr = text("addr").or_else(|| text("enode")),
            "head" => {
                let rises = number("number") > seen.head;
                seen.head = number("number");
                if rises {
                    self.moved = when;
                }
            }
            "submitted" => seen.accepted = number("accepted"),
            "error" => seen.error = text("error"),
            "end" => seen.end = Some(event.clone()),
            "progress" | "pool" | "opened" => return,
            _ => {}
        }
        if self.options.json {
            if let Some(fields) = event.as_object_mut() {
                fields.insert("node".to_owned(), json!(role.name()));
            }
            return report::line(&event.to_string());
        }
        if let Some(told) = report::told(role, &kind, &event) {
            report::line(&told);
        }
    }

    /// Ends those that run, in order the producer first, else all at once, and hears their last words.
    async fn end(&mut self, in_order: bool) -> Result<(), Failure> {
        let by = Instant::now() + if in_order { END_WITHIN } else { HURRIED_WITHIN };
        if !in_order {
            self.nodes.iter_mut().flatten().for_each(Node::stop);
        }
        let mut result = Ok(());
        for role in Role::ALL {
            let Some(node) = self.nodes[role as usize].take() else { continue };
            let ending = node.ended(by.saturating_duration_since(Instant::now()));
            tokio::pin!(ending);
            let ended = loop {
                tokio::select! {
                    biased;
                    Some(heard) = self.hear.recv() => self.on_heard(heard),
                    ended = &mut ending => break ended,
                }
            };
            while !self.seen[role as usize].closed {
                let Some(heard) = self.hear.recv().await else { break };
                self.on_heard(heard);
            }
            result = result.and(ended);
        }
        result
    }

    /// Reads what the nodes have left, and prints it.
    async fn report(self, submitted: HashSet<alloy_primitives::B256>) -> Result<(), Failure> {
        let Self { options, folder, seen, .. } = self;
        let (data, trace, to) = (folder.join("data"), folder.join("traces"), options.trace.clone());
        let is_kept = to.is_some() || options.keep.is_some();
        let read = tokio::task::spawn_blocking(move || -> Result<_, Failure> {
            let held = |role: Role| checked::held(&data.join(role.name()), &submitted);
            let held: [Held; 3] = [held(Role::Producer)?, held(Role::Relay)?, held(Role::Follower)?];
            let merged = traces::merge(&trace, to.as_deref().unwrap_or(&trace))?;
            Ok((held, merged))
        });
        let (held, merged) = read.await.map_err(Failure::failed)??;
        let differs = checked::difference(&held);
        let sides = Role::ALL.into_iter().zip(held).zip(seen);
        let sides = sides.map(|((role, held), seen)| Side { role, held, seen }).collect();
        let report = Report { sides, differs, submitted: u64::from(options.transfers), merged, is_kept };
        report.print(options.json);
        report.verdict()
    }
}
