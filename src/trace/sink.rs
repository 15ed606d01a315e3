//! The thread that writes a trace to a file, and dumps when something went wrong.
//!
//! Nobody waits for it: a slow or full disk makes it fall behind, the rings are overwritten, and
//! what was lost is counted and told.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::budget::{Budget, Gate};
use super::clock::nanos;
use super::drain::Drain;
use super::event::Event;
use super::json;
use super::kind::Kind;
use super::record::Line;
use super::recorder::{Inner, Tracer};

/// How often the rings are looked at, unless one is half full earlier.
const EVERY: Duration = Duration::from_millis(25);
/// Bytes written at one go.
const CHUNK: usize = 256 << 10;
/// How long the last requests get to tell their ends when everything else has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long the end of a network may wait for the disk.
const CLOSE: Duration = Duration::from_secs(2);
/// A thread that does not come back from an actor for this long is told of; then at each doubling.
const STALL: Duration = Duration::from_millis(250);
/// Dumps of one network; further ones are not written.
const DUMPS_MAX: u64 = 8;

/// What a network and its sink thread share.
pub(super) struct SinkShared {
    pub(super) tracer: Tracer,
    pub(super) dump_dir: Option<PathBuf>,
    /// Requests that have neither ended nor been dropped.
    pub(super) in_flight: Box<dyn Fn() -> u64 + Send + Sync>,
    pub(super) simulated: bool,
    /// Dropped when the thread has written everything.
    closing: Mutex<Option<SyncSender<()>>>,
    closed: AtomicBool,
    dumps: AtomicU64,
    /// The dumps that were written: file and reason. Bound: [`DUMPS_MAX`].
    pub(super) dumped: Mutex<Vec<(PathBuf, String)>>,
    /// Events lost and skipped by the file.
    pub(super) lost: AtomicU64,
    pub(super) skipped: AtomicU64,
}

impl SinkShared {
    pub(super) fn new(
        tracer: Tracer,
        dump_dir: Option<PathBuf>,
        simulated: bool,
        in_flight: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Self {
            tracer,
            dump_dir,
            in_flight,
            simulated,
            closing: Mutex::default(),
            closed: AtomicBool::new(false),
            dumps: AtomicU64::new(0),
            dumped: Mutex::default(),
            lost: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        }
    }

    /// Requests that have begun and not ended: ours, and those of peers.
    pub(super) fn open(&self) -> u64 {
        (self.in_flight)() + self.tracer.inner().map_or(0, |inner| inner.served_open())
    }

    /// The network has ended: the rest is written, then `done` is dropped; at the latest after a
    /// while, because a disk may never take it.
    pub(super) fn close(&self, done: oneshot::Sender<()>) {
        // Without a thread there is nothing to write.
        let Some(thread) = self.tracer.inner().and_then(|inner| inner.drainer.get()) else { return };
        let (closing, closed) = sync_channel::<()>(0);
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = Some(closing);
        self.closed.store(true, Ordering::Release);
        thread.unpark();
        let wait = move || {
            let _ = closed.recv_timeout(CLOSE);
            drop(done);
        };
        // No thread to wait with: nobody waits.
        drop(std::thread::Builder::new().name("trunkline-trace-end".into()).spawn(wait));
    }

    /// Writes what the rings hold into the dump folder. `None`: there is none, or there have been
    /// as many dumps as may be.
    pub(super) fn dump(&self, reason: &str) -> Option<io::Result<PathBuf>> {
        let (dir, inner) = (self.dump_dir.as_ref()?, self.tracer.inner()?);
        let number = self.dumps.fetch_add(1, Ordering::Relaxed);
        if number >= DUMPS_MAX {
            return None;
        }
        let short: String = inner.node.chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
        let name = format!("dump-{short}-{}-{number}-{reason}.jsonl", std::process::id());
        let path = dir.join(name);
        // The folder may be the system's own for temporary files: nothing that somebody else has put
        // there is written over or followed.
        let created = File::create_new(&path);
        let written = created.and_then(|mut file| write_rings(inner, reason, &mut file));
        if written.is_ok() {
            let mut dumped = self.dumped.lock().unwrap_or_else(PoisonError::into_inner);
            dumped.push((path.clone(), reason.to_owned()));
        }
        Some(written.map(|_| path))
    }

    fn dump_and_say(&self, reason: &str) {
        match self.dump(reason) {
            Some(Ok(path)) => tracing::warn!(reason, path = %path.display(), "flight recorder dumped"),
            Some(Err(error)) => tracing::warn!(reason, %error, "flight recorder not dumped"),
            None => {}
        }
    }
}

/// Writes everything the rings hold, as a file of its own. Returns the number of events.
pub(super) fn write_rings(inner: &Arc<Inner>, reason: &str, out: &mut impl Write) -> io::Result<u64> {
    let mut drain = Drain::from_oldest(Arc::clone(inner));
    let mut buffer = Vec::new();
    json::write(&drain.header(reason), &mut buffer);
    let mut events = 0;
    drain.begin_round(true);
    while let Some((at, id, event)) = drain.next() {
        events += 1;
        json::write(&Line::Event(drain.record(at, id, &event)), &mut buffer);
        if buffer.len() >= CHUNK {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)?;
    out.flush()?;
    Ok(events)
}

/// A live trace in a file.
struct LiveFile {
    file: File,
    gate: Gate,
    buffer: Vec<u8>,
    events: u64,
    /// Writing has failed: from then on everything is only counted.
    failed: bool,
}

/// Starts the thread. It ends after [`SinkShared::close`].
pub(super) fn start(shared: Arc<SinkShared>, file: Option<File>, budget: Budget) -> io::Result<()> {
    let Some(inner) = shared.tracer.inner().map(Arc::clone) else { return Ok(()) };
    let drain = Drain::from_oldest(Arc::clone(&inner));
    let mut live = file.map(|file| LiveFile {
        file,
        gate: Gate::new(budget),
        buffer: Vec::new(),
        events: 0,
        failed: false,
    });
    if let Some(live) = &mut live {
        json::write(&drain.header("file"), &mut live.buffer);
        live.flush();
    }
    let mine = Arc::clone(&inner);
    let run = move || run(&shared, &mine, drain, live);
    let thread = std::thread::Builder::new().name("trunkline-trace".into()).spawn(run)?;
    let _ = inner.drainer.set(thread.thread().clone());
    Ok(())
}

fn run(shared: &SinkShared, inner: &Arc<Inner>, mut drain: Drain, mut live: Option<LiveFile>) {
    let mut watch = Watch::default();
    while !shared.closed.load(Ordering::Acquire) {
        let parked = Instant::now();
        std::thread::park_timeout(EVERY);
        if !shared.simulated {
            watch.woke_after(&shared.tracer, parked.elapsed());
            watch.look(&shared.tracer, inner, inner.now());
        }
        if inner.take_panicked() {
            shared.dump_and_say("panic");
        }
        if let Some(live) = &mut live {
            live.round(&mut drain, shared);
        }
    }
    let deadline = Instant::now() + LAST_WORDS;
    while shared.open() > 0 && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let orphans = shared.open();
    if let Some(live) = &mut live {
        live.round(&mut drain, shared);
        live.finish(shared, orphans);
    }
    if inner.take_panicked() {
        shared.dump_and_say("panic");
    }
    if orphans > 0 {
        tracing::error!(orphans, "requests that never ended");
        shared.dump_and_say("orphan");
    }
    drop(shared.closing.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl LiveFile {
    /// Writes what was recorded since the last round and the budget allows.
    fn round(&mut self, drain: &mut Drain, shared: &SinkShared) {
        let now = shared.tracer.inner().map_or(0, |inner| inner.now());
        // Nothing is worth reading for a disk that takes nothing.
        let (lost, passed) = drain.begin_round(!self.failed && self.gate.wants_frequent(now));
        if passed > 0 {
            self.events += passed;
            self.gate.skip(passed);
            if self.gate.on_lost() {
                // Some that were followed had not ended: from here on nothing is known of them.
                json::write(&Line::Lost { ring: 0, n: 0 }, &mut self.buffer);
            }
        }
        for (ring, n) in lost {
            // It lies before everything that is left.
            self.gate.on_lost();
            self.events += n;
            shared.lost.fetch_add(n, Ordering::Relaxed);
            json::write(&Line::Lost { ring, n }, &mut self.buffer);
        }
        while let Some((at, id, event)) = drain.next() {
            self.events += 1;
            if self.failed {
                self.gate.skip(1);
            } else if self.gate.admit(at, id, &event) {
                json::write(&Line::Event(drain.record(at, id, &event)), &mut self.buffer);
                if self.buffer.len() >= CHUNK {
                    self.flush();
                }
            }
        }
        if let Some((requests, events)) = self.gate.take_skipped() {
            shared.skipped.fetch_add(events, Ordering::Relaxed);
            json::write(&Line::Skipped { requests, events }, &mut self.buffer);
        }
        self.flush();
    }

    fn finish(&mut self, shared: &SinkShared, orphans: u64) {
        let homeless = shared.tracer.inner().map_or(0, |inner| inner.homeless.load(Ordering::Relaxed));
        json::write(&Line::End { events: self.events + homeless, orphans }, &mut self.buffer);
        self.flush();
    }

    fn flush(&mut self) {
        if !self.failed
            && let Err(error) = self.file.write_all(&self.buffer)
        {
            self.failed = true;
            tracing::warn!(%error, "the trace file takes no more; events are only counted from now on");
        }
        self.buffer.clear();
    }
}

/// Looks from outside whether threads come back from their actors.
#[derive(Default)]
struct Watch {
    /// Per ring: since when it is busy, and for how long that was told last.
    told: HashMap<u16, (u64, u64)>,
}

impl Watch {
    /// A thread that only wanted to rest for a moment was away for long: the whole process was
    /// (SIGSTOP, a suspended machine), or the machine is overloaded. Told without an actor.
    fn woke_after(&self, tracer: &Tracer, away: Duration) {
        if away >= STALL * 2 {
            tracer.record(|| Event::new(Kind::Stalled).y(nanos(away)));
        }
    }

    fn look(&mut self, tracer: &Tracer, inner: &Inner, now: u64) {
        for ring in inner.rings() {
            let Some((since, actor)) = ring.busy() else {
                self.told.remove(&ring.number());
                continue;
            };
            let busy = now.saturating_sub(since);
            let told = match self.told.get(&ring.number()) {
                Some((of, told)) if *of == since => *told,
                _ => STALL.as_nanos() as u64 / 2,
            };
            if busy >= told * 2 {
                self.told.insert(ring.number(), (since, busy));
                tracer.record(|| Event::new(Kind::Stalled).actor(actor).y(busy));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_come_back_is_told_of_at_each_doubling() {
        let tracer = Tracer::new("us", 64, true);
        let inner = Arc::clone(tracer.inner().unwrap());
        tracer.with(|local| local.set_busy(Some((0, 7))));
        let mut watch = Watch::default();
        let told = |tracer: &Tracer| tracer.record(|| Event::new(Kind::ConnDialing)).number() / 4;
        assert_eq!(told(&tracer), 1);
        for ms in 0..=600 {
            watch.look(&tracer, &inner, ms * 1_000_000);
        }
        assert_eq!(told(&tracer), 4, "at 250 and at 500 ms");
        tracer.with(|local| local.set_busy(None));
        watch.look(&tracer, &inner, 601_000_000);
        assert!(watch.told.is_empty());
    }
}
