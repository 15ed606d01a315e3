//! Ten thousand requests under faults, simulated: every one ends once in the trace, no effect comes
//! before its cause, and one seed writes one file.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::LocalSet;
use trunkline::trace::{EventId, Kind, Record, TraceConfig};
use trunkline::{Direction, Keypair, Network, PeerHandle, RequestError};

use crate::chat::{AT_LENGTH, Chat, PANIC, SILENCE, Say};
use crate::support::{addr, config};
use crate::trace_lines::{events, lives};

const NODES: usize = 3;

/// What the nodes recorded, as files, and how many requests were made.
struct Run {
    files: Vec<Vec<u8>>,
    asked: u64,
    outcomes: HashMap<&'static str, u64>,
}

async fn ask(peer: PeerHandle, rng: u64, outcomes: &mut HashMap<&'static str, u64>) {
    let mut rng = StdRng::seed_from_u64(rng);
    let mut question = vec![b'q'; rng.random_range(1..2_000)];
    question[0] = match rng.random_range(0..1_000) {
        0..20 => SILENCE,
        20..23 => PANIC,
        23..43 => AT_LENGTH,
        _ => b'q',
    };
    if rng.random_range(0..50) == 0 {
        question.splice(.., *b"garbled");
    }
    let timeout = Duration::from_millis(rng.random_range(30..2_000));
    let asking = peer.request_within(Say::new(question), timeout);
    let patience =
        Duration::from_millis(if rng.random_range(0..30) == 0 { rng.random_range(0..60) } else { 60_000 });
    let outcome = match tokio::time::timeout(patience, asking).await {
        Ok(Ok(_)) => "ok",
        Ok(Err(error)) => RequestError::name(&error),
        Err(_) => "cancelled",
    };
    *outcomes.entry(outcome).or_default() += 1;
}

/// Nodes in a ring ask each other until so many requests were made; sessions die on the way.
async fn run(seed: u64, first_port: u64, requests: u64) -> Run {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut nodes = Vec::new();
    for index in 0..NODES {
        let mut config = config(&format!("/memory/{}", first_port + index as u64));
        config.seed = Some(rng.random());
        config.memory_latency = Duration::from_millis(rng.random_range(1..40));
        config.avoid = Duration::ZERO;
        config.trace = TraceConfig { ring_events: 1 << 18, simulated: true, ..TraceConfig::default() };
        let key = Keypair::ed25519_from_bytes([index as u8 + 1; 32]).expect("a key");
        let builder = Network::builder(config, key).exchange(Chat::new());
        nodes.push(builder.start_local().await.expect("starts"));
    }
    let mut outcomes = HashMap::new();
    let mut asked = 0;
    while asked < requests {
        for (index, node) in nodes.iter().enumerate() {
            // Whoever is connected already gives its session.
            let next = first_port + ((index + 1) % NODES) as u64;
            let _ = node.dial(addr(&format!("/memory/{next}"))).await;
        }
        let peers: Vec<PeerHandle> = nodes.iter().flat_map(Network::peers).collect();
        let mut asking = Vec::new();
        for peer in &peers {
            let count = rng.random_range(1..80);
            asking.extend((0..count).map(|_| (peer.clone(), rng.random())));
        }
        asked += asking.len() as u64;
        let done = join_all(asking.into_iter().map(|(peer, rng)| async move {
            let mut outcomes = HashMap::new();
            ask(peer, rng, &mut outcomes).await;
            outcomes
        }));
        for (outcome, count) in done.await.into_iter().flatten() {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    join_all(nodes.iter().map(Network::shutdown)).await;
    let file = |node: &Network| {
        assert_eq!(node.trace().counts().open, 0, "seed {seed}: orphans");
        let mut file = Vec::new();
        node.trace().write_to(&mut file, "test").expect("memory takes it");
        file
    };
    Run { files: nodes.iter().map(file).collect(), asked, outcomes }
}

fn run_alone(seed: u64, first_port: u64, requests: u64) -> Run {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, run(seed, first_port, requests))
}

/// Every request has one beginning and one end, and nothing behind it.
fn ends_once(records: &[Record], dir: Direction, begins: Kind) -> usize {
    let lives = lives(records, dir);
    for (key, life) in &lives {
        assert_eq!(life[0].kind, begins, "{key}: {life:?}");
        assert_eq!(life[0].id, *key);
        let ends = life.iter().filter(|record| record.kind == Kind::ReqEnded).count();
        assert_eq!(ends, 1, "{key}: {life:?}");
        let last = life.iter().rposition(|record| record.kind == Kind::ReqEnded).expect("it has one");
        // The session may still write, or be told of, what its caller has given up.
        let behind = &life[last + 1..];
        assert!(life[last].how.as_deref() != Some("ok") || behind.is_empty(), "{key}: {life:?}");
    }
    lives.len()
}

/// Where an event happened: an actor of a node, or the caller's task of a request.
type Process = (usize, u32, Option<EventId>);

/// The events of all nodes with what must come before each of them.
struct Causality<'a> {
    events: Vec<(usize, &'a Record)>,
    before: Vec<Vec<usize>>,
}

impl<'a> Causality<'a> {
    fn of(nodes: &'a [Vec<Record>]) -> Self {
        let all = nodes.iter().enumerate().flat_map(|(n, records)| records.iter().map(move |r| (n, r)));
        let events: Vec<(usize, &Record)> = all.collect();
        let index: HashMap<(usize, EventId), usize> =
            events.iter().enumerate().map(|(at, (node, record))| ((*node, record.id), at)).collect();
        let mut before = vec![Vec::new(); events.len()];
        let mut last: HashMap<Process, usize> = HashMap::new();
        let mut links = 0;
        for (at, (node, record)) in events.iter().enumerate() {
            if let Some(cause) = record.cause {
                before[at].push(index[&(*node, cause)]);
            }
            let process = (*node, record.actor, record.key.filter(|_| record.actor == 0));
            before[at].extend(last.insert(process, at));
        }
        // A question is written before it is received, and so is its answer.
        let wire = |node: usize, record: &Record| -> Option<(String, String, u64, bool)> {
            let session = &sessions(nodes)[node];
            let (us, them) = session.get(&record.conn)?.clone();
            let ours = record.dir == Some(Direction::Outbound);
            let (asker, server) = if ours { (us, them) } else { (them, us) };
            Some((asker, server, record.x, ours))
        };
        let mut written: HashMap<(String, String, u64, bool), Vec<usize>> = HashMap::new();
        for (at, (node, record)) in events.iter().enumerate() {
            if record.kind == Kind::ReqWritten
                && let Some(key) = wire(*node, record)
            {
                written.entry(key).or_default().push(at);
            }
        }
        for (at, (node, record)) in events.iter().enumerate() {
            let arrives = match record.dir {
                Some(Direction::Outbound) => record.kind == Kind::ReqFirstByte,
                _ => record.kind == Kind::ReqReceived,
            };
            let Some((asker, server, id, ours)) = arrives.then(|| wire(*node, record)).flatten() else {
                continue;
            };
            // Several connections reuse ids: the last that was written by then is meant.
            let sent = written.get(&(asker, server, id, !ours)).into_iter().flatten();
            let sent =
                sent.filter(|sent| events[**sent].1.at <= record.at).max_by_key(|sent| events[**sent].1.at);
            if let Some(sent) = sent {
                before[at].push(*sent);
                links += 1;
            }
        }
        assert!(links > 0, "the nodes have nothing to do with each other");
        Self { events, before }
    }

    /// Walks the events in an order that respects every cause, with vector clocks.
    fn check(&self) {
        let mut after = vec![Vec::new(); self.events.len()];
        let mut missing: Vec<usize> = self.before.iter().map(Vec::len).collect();
        for (at, before) in self.before.iter().enumerate() {
            before.iter().for_each(|cause| after[*cause].push(at));
        }
        let mut processes: HashMap<Process, usize> = HashMap::new();
        let mut process = |at: usize| {
            let (node, record) = self.events[at];
            // Callers come and go: their own clocks are those of their requests.
            let count = processes.len();
            *processes.entry((node, record.actor, None)).or_insert(count)
        };
        let mut clocks: HashMap<usize, Vec<u32>> = HashMap::new();
        let mut ready: Vec<usize> = (0..missing.len()).filter(|at| missing[*at] == 0).collect();
        let mut waiting: Vec<usize> = after.iter().map(Vec::len).collect();
        let mut seen = 0;
        while let Some(at) = ready.pop() {
            seen += 1;
            let mut clock: Vec<u32> = Vec::new();
            for cause in &self.before[at] {
                let (effect, cause_of) = (self.events[at].1, self.events[*cause].1);
                assert!(cause_of.at <= effect.at, "{effect:?}\nis earlier than its cause\n{cause_of:?}");
                let earlier = &clocks[cause];
                clock.resize(clock.len().max(earlier.len()), 0);
                clock.iter_mut().zip(earlier).for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
                waiting[*cause] -= 1;
                if waiting[*cause] == 0 {
                    clocks.remove(cause);
                }
            }
            let mine = process(at);
            clock.resize(clock.len().max(mine + 1), 0);
            clock[mine] += 1;
            if waiting[at] > 0 {
                clocks.insert(at, clock);
            }
            for effect in &after[at] {
                missing[*effect] -= 1;
                if missing[*effect] == 0 {
                    ready.push(*effect);
                }
            }
        }
        assert_eq!(seen, self.events.len(), "some events are their own causes");
    }
}

/// Per node: us and the peer of each connection.
fn sessions(nodes: &[Vec<Record>]) -> &'static [HashMap<u32, (String, String)>] {
    use std::sync::OnceLock;
    static SESSIONS: OnceLock<Vec<HashMap<u32, (String, String)>>> = OnceLock::new();
    SESSIONS.get_or_init(|| {
        let ids: Vec<String> = (0..NODES as u8)
            .map(|index| {
                Keypair::ed25519_from_bytes([index + 1; 32]).expect("a key").public().to_peer_id().to_string()
            })
            .collect();
        let of = |(node, records): (usize, &Vec<Record>)| {
            let met = records.iter().filter(|record| record.kind == Kind::SessionStarted);
            met.map(|r| (r.conn, (ids[node].clone(), r.text.as_deref().unwrap_or_default().to_owned())))
                .collect()
        };
        nodes.iter().enumerate().map(of).collect()
    })
}

#[test]
fn ten_thousand_requests_under_faults_each_end_once_and_no_effect_precedes_its_cause() {
    let run = run_alone(11, 7300, 10_000);
    let nodes: Vec<Vec<Record>> = run.files.iter().map(|file| events(file)).collect();
    let ours: usize = nodes.iter().map(|r| ends_once(r, Direction::Outbound, Kind::ReqCreated)).sum();
    assert_eq!(ours as u64, run.asked);
    let served: usize = nodes.iter().map(|r| ends_once(r, Direction::Inbound, Kind::ReqReceived)).sum();
    assert!(served > ours / 2, "{served} of {ours} were served");
    for outcome in ["ok", "busy", "timed_out", "disconnected", "cancelled", "malformed"] {
        assert!(run.outcomes.contains_key(outcome), "no {outcome}: {:?}", run.outcomes);
    }
    // The trace and the callers agree on how it went.
    let mut told: HashMap<String, u64> = HashMap::new();
    for record in nodes.iter().flatten() {
        if record.kind == Kind::ReqEnded && record.dir == Some(Direction::Outbound) {
            *told.entry(record.how.as_deref().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let callers: HashMap<String, u64> = run.outcomes.iter().map(|(how, n)| ((*how).to_owned(), *n)).collect();
    assert_eq!(told, callers);
    Causality::of(&nodes).check();
}

#[test]
fn one_seed_writes_one_file() {
    let (once, twice) = (run_alone(3, 7320, 600), run_alone(3, 7320, 600));
    for (once, twice) in once.files.iter().zip(&twice.files) {
        let (once, twice) = (String::from_utf8_lossy(once), String::from_utf8_lossy(twice));
        let differs = once.lines().zip(twice.lines()).find(|(a, b)| a != b);
        assert!(once == twice, "{differs:?}");
        let kinds: HashSet<&str> =
            once.lines().filter_map(|l| l.split("\"ev\":\"").nth(1)?.split('"').next()).collect();
        assert!(kinds.len() > 25, "{kinds:?}");
    }
}
