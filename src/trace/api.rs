//! The trace of a running network, for those who embed it.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::budget::{Budget, Gate};
use super::drain::Drain;
use super::record::Line;
use super::recorder::Tracer;
use super::sink::{self, SinkShared};

/// How a network records what its actors do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// Events that each thread's flight recorder holds, 64 bytes each; the oldest is overwritten.
    /// Rounded up to a power of two. Default 8,192, at most 4,194,304; 0 switches the trace off.
    /// Rare events (connections, actors) have a ring of their own, an eighth of that.
    pub ring_events: usize,
    /// Where a live trace is written, JSON lines. Default: nowhere. The file is emptied first.
    pub file: Option<PathBuf>,
    /// What the live trace may take. What exceeds it is counted.
    pub budget: Budget,
    /// The folder for dumps of the flight recorder: when an actor panics, when requests never
    /// ended, and on request. At most 8 of a network. Default: no dumps by themselves.
    pub dump_dir: Option<PathBuf>,
    /// Under a paused clock: leaves out the time of day, so that two runs give the same file.
    pub simulated: bool,
}

impl Default for TraceConfig {
    fn default() -> Self {
        Self { ring_events: 8192, file: None, budget: Budget::default(), dump_dir: None, simulated: false }
    }
}

impl TraceConfig {
    /// No trace at all.
    pub fn off() -> Self {
        Self { ring_events: 0, ..Self::default() }
    }

    /// The same, with the live trace in a file of this folder and dumps beside it. The folder must
    /// exist when the network starts. The file is named for `us`, the network's
    /// [`PeerId`](crate::PeerId), and this process: `node-PEER-PID.jsonl`, so that nodes that share a
    /// folder do not share a file.
    pub fn in_folder(self, folder: &Path, us: &str) -> Self {
        // Ids differ at their end.
        let tail = us.char_indices().rev().nth(5).map_or(0, |(at, _)| at);
        let name = format!("node-{}-{}.jsonl", us.get(tail..).unwrap_or(us), std::process::id());
        Self { file: Some(folder.join(name)), dump_dir: Some(folder.to_owned()), ..self }
    }
}

/// How much was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// Events recorded since the start.
    pub recorded: u64,
    /// Events that were overwritten before the live trace could write them.
    pub lost: u64,
    /// Events that the live trace left out: over budget, or the disk took no more.
    pub skipped: u64,
    /// Requests, ours and those of peers, that have begun and not ended. After a shutdown each one
    /// is an orphan.
    pub open: u64,
}

/// Asks every session to tell where its open requests stand.
pub(crate) type AskOpen = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The trace of one network. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Trace {
    shared: Arc<SinkShared>,
    ask_open: Option<AskOpen>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Trace {
    /// Opens the file, starts the thread that writes it.
    pub(crate) fn start(
        config: &TraceConfig,
        node: &str,
        in_flight: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> io::Result<Self> {
        let tracer = Tracer::new(node, config.ring_events, config.simulated);
        let file = config.file.as_deref().map(File::create).transpose()?;
        let shared = SinkShared::new(tracer, config.dump_dir.clone(), config.simulated, in_flight);
        let shared = Arc::new(shared);
        if file.is_some() || config.dump_dir.is_some() {
            sink::start(Arc::clone(&shared), file, config.budget)?;
        }
        Ok(Self { shared, ask_open: None })
    }

    pub(crate) fn with_sessions(mut self, ask_open: AskOpen) -> Self {
        self.ask_open = Some(ask_open);
        self
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.shared.tracer
    }

    /// The network has ended: the rest is written, then `done` is dropped.
    pub(crate) fn close(&self, done: oneshot::Sender<()>) {
        self.shared.close(done);
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.shared.tracer.is_on()
    }

    /// How much was recorded so far.
    pub fn counts(&self) -> TraceCounts {
        let Some(inner) = self.shared.tracer.inner() else { return TraceCounts::default() };
        let rings = inner.rings();
        TraceCounts {
            recorded: rings.iter().map(|ring| ring.next() - 1).sum::<u64>()
                + inner.homeless.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            skipped: self.shared.skipped.load(Ordering::Relaxed),
            open: self.shared.open(),
        }
    }

    /// Has every session tell where its open requests stand (events `req.open`), so that requests
    /// older than the flight recorder are in what is read next. Waits at most 100 ms: a session
    /// that does not come back by then is part of what one wants to see.
    pub async fn take_stock(&self) {
        if let Some(ask_open) = self.ask_open.as_ref().filter(|_| self.is_on()) {
            let _ = tokio::time::timeout(Duration::from_millis(100), ask_open()).await;
        }
    }

    /// Dumps the flight recorder into the dump folder, on this thread, and returns the file (at the
    /// default size some megabytes per recording thread at most). `reason` becomes part
    /// of its name. `None`: there is no dump folder, or there have been 8 dumps.
    pub async fn dump(&self, reason: &str) -> Option<io::Result<PathBuf>> {
        self.take_stock().await;
        let reason: String = reason.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        self.shared.dump(&reason)
    }

    /// The dumps that have been written so far, whatever made them: file and reason, the oldest
    /// first.
    pub fn dumps(&self) -> Vec<(PathBuf, String)> {
        self.shared.dumped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what the flight recorder holds, as a trace file. Returns the number of events.
    pub fn write_to(&self, out: &mut impl Write, reason: &str) -> io::Result<u64> {
        match self.shared.tracer.inner() {
            Some(inner) => sink::write_rings(inner, reason, out),
            None => Ok(0),
        }
    }

    /// Everything from now on, as far as the budget goes.
    pub fn subscribe(&self, budget: Budget) -> Subscription {
        let drain = self.shared.tracer.inner().map(|inner| Drain::from_now(Arc::clone(inner)));
        Subscription { drain, gate: Gate::new(budget) }
    }

    /// What the flight recorder holds, put together, with where each open request stands.
    #[cfg(feature = "trace-tools")]
    pub async fn snapshot(&self) -> super::tools::Model {
        self.take_stock().await;
        let mut model = super::tools::Model::default();
        let Some(inner) = self.shared.tracer.inner() else { return model };
        let mut drain = Drain::from_oldest(Arc::clone(inner));
        model.on(&drain.header("snapshot"));
        drain.begin_round(true);
        while let Some((at, id, event)) = drain.next() {
            model.on(&Line::Event(drain.record(at, id, &event)));
        }
        model.span.1 = model.span.1.max(inner.now());
        model
    }
}

/// The events of a network from some moment on. Dropping it ends the subscription.
///
/// It reads the flight recorder at its own pace and holds nobody up: what is overwritten before it
/// was read is told as [`Line::Lost`], what exceeds the budget as [`Line::Skipped`].
#[derive(Debug)]
pub struct Subscription {
    drain: Option<Drain>,
    gate: Gate,
}

impl Subscription {
    /// What was recorded since the last call, in the order of time. Empty: nothing.
    pub fn take(&mut self) -> Vec<Line> {
        let Some(drain) = &mut self.drain else { return Vec::new() };
        let (lost, _) = drain.begin_round(true);
        let mut lines: Vec<Line> = lost.into_iter().map(|(ring, n)| Line::Lost { ring, n }).collect();
        if !lines.is_empty() {
            self.gate.on_lost();
        }
        while let Some((at, id, event)) = drain.next() {
            if self.gate.admit(at, id, &event) {
                lines.push(Line::Event(drain.record(at, id, &event)));
            }
        }
        if let Some((requests, events)) = self.gate.take_skipped() {
            lines.push(Line::Skipped { requests, events });
        }
        lines
    }

    /// The same, waiting until there is something; looks every 20 ms. Never, when the trace is off.
    pub async fn next(&mut self) -> Vec<Line> {
        if self.drain.is_none() {
            return std::future::pending().await;
        }
        loop {
            let lines = self.take();
            if !lines.is_empty() {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
