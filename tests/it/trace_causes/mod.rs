//! One cause each in an otherwise healthy pair of nodes: `stuck` and `follow` name it, and nothing
//! else is blamed.

mod abandoned;
mod here;
mod negotiation;
mod orphan;
mod peer;
mod socket;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::FutureExt;
use trunkline::trace::Line;
use trunkline::trace::tools::follow::{self, Chain, Followed, Which};
use trunkline::trace::tools::model::{Keep, Life};
use trunkline::trace::tools::read::Reader;
use trunkline::trace::tools::stuck::{self, Cause, Finding, Options};
use trunkline::trace::tools::{Filter, Model};
use trunkline::transport::addr::Endpoint;
use trunkline::{Direction, Network, PeerAddr, PeerHandle, RequestError};

use crate::support::{Blob, Bytes4, ECHO, GetBlob, within};

const SOON: Duration = Duration::from_secs(10);

/// Runs a scenario. A machine that keeps our threads from running is one more cause, and rightly
/// blamed: what failed under it is tried again.
async fn undisturbed(scenario: impl AsyncFn()) {
    for _ in 0..4 {
        let heart = Heart::beating();
        let outcome = AssertUnwindSafe(scenario()).catch_unwind().await;
        let missed = heart.longest_pause();
        let Err(failure) = outcome else { return };
        if missed < ms(40) {
            std::panic::resume_unwind(failure);
        }
        eprintln!("threads of this test did not run for {missed:?}; again");
    }
    scenario().await;
}

/// A thread that wants to run every few milliseconds.
struct Heart {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Heart {
    fn beating() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let before = Instant::now();
                std::thread::sleep(ms(5));
                longest = longest.max(before.elapsed().saturating_sub(ms(5)));
            }
            longest
        });
        Self { stop, thread }
    }

    fn longest_pause(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only sleeps")
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Where a node listens.
fn socket_of(node: &Network) -> SocketAddr {
    match addr_of(node).endpoint {
        Endpoint::Tcp(addr) => addr,
        other => panic!("{other:?} is not TCP"),
    }
}

fn addr_of(node: &Network) -> PeerAddr {
    node.listening()[0].clone()
}

async fn ask(peer: &PeerHandle, mode: u8, size: u32) -> Result<Bytes4, RequestError> {
    within(SOON, "an outcome", peer.ask::<Blob>(GetBlob(mode, size))).await
}

/// Keeps a connection busy with questions that are answered at once, for so long.
async fn keep_talking(peer: &PeerHandle, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        ask(peer, ECHO, 10).await.expect("the rest goes well");
        tokio::time::sleep(ms(10)).await;
    }
}

/// A folder of its own, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("trunkline-causes-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn dumps(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("our folder");
        entries.map(|entry| entry.expect("readable").path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a node's trace says.
struct Told {
    model: Model,
    lines: Vec<Line>,
    options: Options,
}

impl Told {
    /// Asks a running node; what takes longer than `over_ms` counts as long.
    async fn by(node: &Network, over_ms: u64) -> Self {
        let model = node.trace().snapshot().await;
        let mut file = Vec::new();
        node.trace().write_to(&mut file, "test").expect("memory takes it");
        let lines = Reader::new(&file[..]).map(|line| line.expect("our own trace is readable")).collect();
        Self { model, lines, options: Options::over(over_ms * 1_000_000) }
    }

    /// What the file of a node says.
    fn in_file(path: &std::path::Path, over_ms: u64) -> Self {
        let file = std::fs::read(path).expect("a trace file");
        let model = Model::read(Reader::new(&file[..]), Keep::All).expect("readable");
        let lines = Reader::new(&file[..]).map(|line| line.expect("readable")).collect();
        Self { model, lines, options: Options::over(over_ms * 1_000_000) }
    }

    fn findings(&self) -> Vec<Finding> {
        stuck::find(&self.model, self.options)
    }

    fn text(&self) -> String {
        stuck::text(&self.model, &self.findings())
    }

    /// The longest finding of this cause; findings of any other cause are a failure.
    fn only(&self, cause: Cause) -> Finding {
        let findings = self.findings();
        assert!(!findings.is_empty(), "nothing was found, but {}", cause.name());
        assert!(findings.iter().all(|finding| finding.cause == cause), "{}: {}", cause.name(), self.text());
        findings.into_iter().next().expect("there is one")
    }

    /// The longest finding of this cause among others.
    fn one(&self, cause: Cause) -> Finding {
        let mut findings = self.findings().into_iter();
        findings.find(|finding| finding.cause == cause).unwrap_or_else(|| panic!("{}", self.text()))
    }

    /// The requests in this state (`open`, or how they ended), oldest first.
    fn lives(&self, dir: Direction, state: &str) -> Vec<&Life> {
        let mut lives: Vec<&Life> = self.model.lives.values().collect();
        lives.retain(|life| life.dir == dir && life.state() == state);
        lives.sort_by_key(|life| (life.began(), life.key));
        lives
    }

    /// The only request in this state.
    fn life(&self, dir: Direction, state: &str) -> &Life {
        let lives = self.lives(dir, state);
        assert_eq!(lives.len(), 1, "{lives:#?}");
        lives[0]
    }

    /// `follow` of a request, and its words.
    fn follow(&self, life: &Life) -> (Followed, String) {
        let which = Which::Id(life.key.to_string());
        let life = follow::choose(&self.model, &which, &Filter::default()).expect("it is there");
        let mut chain = Chain::new(&self.model, life);
        self.lines.iter().for_each(|line| chain.link(line));
        chain.linked();
        self.lines.iter().for_each(|line| chain.collect(line));
        let followed = follow::follow(&self.model, life, &chain, self.options);
        let text = follow::text(&followed);
        (followed, text)
    }

    /// `follow` of a request gives this cause and no other, with the very words of `stuck`.
    fn follows(&self, life: &Life, finding: &Finding) -> String {
        let (followed, text) = self.follow(life);
        let causes: Vec<Cause> = followed.findings.iter().map(|finding| finding.cause).collect();
        assert_eq!(causes, [finding.cause], "{text}");
        let said = format!("cause: {}: {}", finding.cause.name(), finding.sentence);
        assert!(text.contains(&said), "{said} is not in\n{text}");
        assert_eq!(followed.missing, 0, "{text}");
        text
    }
}

/// Whether a finding lasted for so many milliseconds, and not for seconds more.
#[track_caller]
fn lasted(finding: &Finding, ms: u64) {
    let took = finding.duration_ns / 1_000_000;
    // What measures it starts a little later than what causes it.
    assert!((ms - ms / 10..ms + 3_000).contains(&took), "{took} ms: {finding:#?}");
}

/// Whether a finding names a session as the actor.
#[track_caller]
fn names_session(told: &Told, finding: &Finding) {
    let who = finding.actor.as_ref().unwrap_or_else(|| panic!("no actor: {finding:#?}"));
    assert_eq!(who.name.as_deref(), Some("PeerSession"));
    let conn = finding.conn.and_then(|conn| told.model.conns.get(&conn)).expect("a connection");
    assert_eq!(conn.session.map(|(_, actor)| actor), Some(who.actor));
    assert!(finding.sentence.contains(&format!("actor {} (PeerSession)", who.actor)), "{}", finding.sentence);
}
