//! Where traces go, and what happens when it goes nowhere: full disks, slow readers, small budgets.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::future::join_all;
use trunkline::trace::tools::read::Reader;
use trunkline::trace::{Budget, Kind, Line, TraceConfig, TraceCounts};
use trunkline::{Network, PeerHandle};

use crate::support::{self, Blob, ECHO, GetBlob, Over, PANIC, within};
use crate::trace_lines::events;

const SOON: Duration = Duration::from_secs(10);

/// A folder of this test that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn traced(trace: TraceConfig) -> (Network, Network, PeerHandle) {
    let server = support::start(support::config("/ip4/127.0.0.1/tcp/0")).await;
    let mut config = support::config("");
    config.trace = trace;
    let client = support::start(config).await;
    let to = server.listening()[0].clone();
    let peer = client.dial(to).await.expect("connects");
    (server, client, peer)
}

async fn ask(peer: &PeerHandle, requests: usize) {
    for _ in 0..requests / 50 {
        let asking = (0..50).map(|_| peer.ask::<Blob>(GetBlob(ECHO, 10)));
        let answers = within(SOON, "answers", join_all(asking)).await;
        assert!(answers.iter().all(Result::is_ok));
    }
}

/// N6: the disk takes nothing; the node lives, and what was not written is counted.
#[tokio::test]
async fn a_full_disk_costs_the_trace_and_nothing_else() {
    if !PathBuf::from("/dev/full").exists() {
        eprintln!("SKIPPED: no /dev/full here");
        return;
    }
    let file = Some("/dev/full".into());
    let (server, client, peer) = traced(TraceConfig { file, ..TraceConfig::default() }).await;
    ask(&peer, 500).await;
    client.over().await;
    server.over().await;
    let TraceCounts { recorded, skipped, .. } = client.trace().counts();
    assert!(skipped > recorded / 2, "{recorded} recorded, {skipped} skipped");
}

/// O1: nobody reads the pipe that the trace is written to; requests go on, a shutdown as well.
#[tokio::test]
async fn a_sink_that_takes_nothing_holds_nobody_up() {
    let folder = Folder::new("slow-sink");
    let pipe = folder.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no mkfifo here");
        return;
    }
    // Opened for both, so that opening does not wait either; nothing is ever read from it.
    let _reader = std::fs::File::options().read(true).write(true).open(&pipe).expect("the pipe");
    let trace = TraceConfig { ring_events: 1024, file: Some(pipe), ..TraceConfig::default() };
    let (server, client, peer) = traced(trace).await;
    ask(&peer, 20_000).await;
    let begun = Instant::now();
    client.over().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    server.over().await;
    assert!(client.trace().counts().recorded > 100_000);
}

/// The budget leaves requests out whole, and says how many.
#[tokio::test]
async fn a_small_budget_writes_whole_life_lines_and_counts_the_rest() {
    let folder = Folder::new("budget");
    let file = folder.0.join("trace.jsonl");
    let budget = Budget { events_max: 2_000, ..Budget::default() };
    let trace = TraceConfig { file: Some(file.clone()), budget, ..TraceConfig::default() };
    let (server, client, peer) = traced(trace).await;
    ask(&peer, 1_000).await;
    client.over().await;
    server.over().await;
    let bytes = std::fs::read(&file).expect("the file");
    let records = events(&bytes);
    let count = |kind: Kind| records.iter().filter(|record| record.kind == kind).count();
    assert!((1_500..3_000).contains(&records.len()), "{}", records.len());
    assert!(count(Kind::ReqCreated) > 50);
    assert_eq!(count(Kind::ReqCreated), count(Kind::ReqEnded));
    let lines = Reader::new(&bytes[..]).map(|line| line.expect("readable"));
    let (mut skipped, mut left_out) = (0, 0);
    for line in lines {
        if let Line::Skipped { requests, events } = line {
            (left_out, skipped) = (left_out + requests, skipped + events);
        }
    }
    assert_eq!(left_out as usize + count(Kind::ReqCreated), 1_000);
    assert_eq!(client.trace().counts().skipped, skipped);
}

/// A subscriber hears what happens from then on; one that is too slow is told what it missed.
#[tokio::test]
async fn subscribers_hear_of_requests_and_of_what_they_missed() {
    let trace = TraceConfig { ring_events: 1024, ..TraceConfig::default() };
    let (server, client, peer) = traced(trace).await;
    let mut quick = client.trace().subscribe(Budget::default());
    let mut slow = client.trace().subscribe(Budget::default());
    assert!(quick.take().len() < 50, "the past is not told");
    ask(&peer, 50).await;
    let ended = |lines: &[Line]| {
        let is_end = |line: &&Line| matches!(line, Line::Event(record) if record.kind == Kind::ReqEnded);
        lines.iter().filter(is_end).count()
    };
    let mut heard = 0;
    let hearing = async {
        while heard < 50 {
            heard += ended(&quick.next().await);
        }
    };
    within(SOON, "the ends of all requests", hearing).await;
    assert_eq!(heard, 50);
    ask(&peer, 1_000).await;
    let missed: u64 = slow
        .take()
        .iter()
        .filter_map(|line| if let Line::Lost { n, .. } = line { Some(*n) } else { None })
        .sum();
    assert!(missed > 1_000, "{missed}");
    client.over().await;
    server.over().await;
}

/// A snapshot knows requests that are older than the flight recorder.
#[tokio::test]
async fn a_snapshot_tells_of_a_request_that_the_recorder_has_long_forgotten() {
    let trace = TraceConfig { ring_events: 512, ..TraceConfig::default() };
    let (server, client, peer) = traced(trace).await;
    let silent = tokio::spawn({
        let peer = peer.clone();
        async move { peer.ask::<Blob>(GetBlob(support::SILENCE, 0)).await }
    });
    ask(&peer, 2_000).await;
    let model = within(SOON, "a snapshot", client.trace().snapshot()).await;
    let open: Vec<_> = model.lives.values().filter(|life| life.end.is_none() && !life.uncertain).collect();
    assert_eq!(open.len(), 1, "{open:?}");
    silent.abort();
    assert!(silent.await.expect_err("it was aborted").is_cancelled());
    client.over().await;
    server.over().await;
}

/// A panic in a handler leaves a dump behind that names it.
#[tokio::test]
async fn a_panic_leaves_a_dump() {
    let folder = Folder::new("panic-dump");
    let mut config = support::config("/ip4/127.0.0.1/tcp/0");
    config.trace = TraceConfig { dump_dir: Some(folder.0.clone()), ..TraceConfig::default() };
    let server = support::start(config).await;
    let client = support::start(support::config("")).await;
    let to = server.listening()[0].clone();
    let peer = client.dial(to).await.expect("connects");
    peer.ask::<Blob>(GetBlob(PANIC, 0)).await.expect_err("the other end panics");
    client.over().await;
    server.over().await;
    let dumps: Vec<PathBuf> =
        std::fs::read_dir(&folder.0).expect("the folder").flatten().map(|entry| entry.path()).collect();
    let [dump] = &dumps[..] else { panic!("{dumps:?}") };
    assert!(dump.to_string_lossy().ends_with("panic.jsonl"), "{dump:?}");
    let records = events(&std::fs::read(dump).expect("the dump"));
    let panicked = records.iter().find(|record| record.kind == Kind::ActorPanicked).expect("the panic");
    assert!(panicked.actor > 0 && panicked.name.as_deref() == Some("ReaderItem"), "{panicked:?}");
}
