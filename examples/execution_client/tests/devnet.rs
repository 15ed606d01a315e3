//! The devnet of three as a user starts it: processes of their own, real sockets.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use execution_client::genesis::Chain;
use execution_client::state::StateBatch;
use execution_client::store::{OpenError, Store};
use serde_json::Value;

/// Far above what it takes: a machine may be busy.
const AT_MOST: Duration = Duration::from_secs(180);

const DEVNET: &str = env!("CARGO_BIN_EXE_devnet");

/// A devnet that is killed if the test gives up.
struct Devnet {
    child: Child,
    /// Its lines; closed when it ends.
    lines: mpsc::Receiver<Value>,
}

impl Devnet {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new(DEVNET);
        let mut child = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits for an event of a node.
    fn until(&self, node: &str, event: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(AT_MOST).expect("it is told in time");
            if line["node"] == node && line["event"] == event {
                return line;
            }
        }
    }

    /// All lines until the end, the exit code and what stands on stderr.
    fn end(mut self) -> (Vec<Value>, Option<i32>, String) {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(AT_MOST) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end; so far: {lines:#?}"),
            }
        }
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (lines, self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> mpsc::Receiver<Value> {
    let (tell, hear) = mpsc::sync_channel(1_024);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).expect("each line is an object");
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    hear
}

#[test]
fn three_nodes_agree_and_transfers_travel_from_the_follower_into_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let traces = folder.path().join("traces");
    let devnet = Devnet::start(&["--blocks", "8", "--json", "--trace", traces.to_str().unwrap()]);
    let (lines, code, said) = devnet.end();
    assert_eq!((code, said.as_str()), (Some(0), ""), "{lines:#?}");
    let result = lines.last().unwrap();
    assert_eq!(result["event"], "result");
    assert_eq!((result["agree"].as_bool(), result["submitted"].as_u64()), (Some(true), Some(30)));
    assert_eq!(result["mined"], 30);
    let nodes = &result["nodes"];
    for node in ["producer", "relay", "follower"] {
        let node = &nodes[node];
        assert_eq!((node["number"].as_u64(), node["in_blocks"].as_u64()), (Some(8), Some(30)));
        assert_eq!((&node["hash"], &node["root"]), (&nodes["producer"]["hash"], &nodes["producer"]["root"]));
        assert_eq!(node["orphans"], 0);
    }
    assert_eq!(nodes["follower"]["accepted"], 30);
    assert_eq!(nodes["relay"]["transactions"]["added"], 30);
    assert_eq!(nodes["producer"]["transactions"]["added"], 30);
    // One wire each on both sides of the relay.
    let wires = |node: &str| {
        let up = lines.iter().filter(|line| line["event"] == "peer-up" && line["node"] == node);
        up.map(|line| line["wire"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((wires("producer"), wires("follower")), (vec!["libp2p"], vec!["rlpx"]));
    assert_eq!(result["trace"]["connections"], 2);
    let way = result["trace"]["way"].as_array().unwrap();
    let by = |index: usize| way[index]["node"].as_str().unwrap();
    assert_eq!((by(0), by(1), by(way.len() - 1)), ("producer", "relay", "follower"));
    let merged = std::fs::read_to_string(result["trace"]["merged"].as_str().unwrap()).unwrap();
    assert_eq!(merged.lines().count() as u64, result["trace"]["events"].as_u64().unwrap() + 1);
}

#[test]
fn no_node_survives_a_devnet_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    // Nodes that have nothing to say do not notice that nobody listens.
    let quiet = ["--blocks", "2", "--block-time", "1h", "--json", "--keep", kept.to_str().unwrap()];
    let mut devnet = Devnet::start(&quiet);
    devnet.until("follower", "head");
    let is_in_use = |node: &str| {
        let store = Store::open(&kept.join("data").join(node), &Chain::dev(), || Ok(StateBatch::default()));
        matches!(store, Err(OpenError::InUse(_)))
    };
    let nodes = ["producer", "relay", "follower"];
    assert!(nodes.into_iter().all(is_in_use));
    devnet.child.kill().unwrap();
    // Nobody tells when the child of another process ends.
    let begun = Instant::now();
    while nodes.into_iter().any(is_in_use) {
        assert!(begun.elapsed() < AT_MOST, "somebody has survived");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_cannot_be_used_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    std::fs::create_dir_all(full.join("something")).unwrap();
    let full = full.to_str().unwrap();
    for words in
        [&["--blocks", "0"][..], &["--block-time", "soon"], &["--transfers", "601"], &["--keep", full]]
    {
        let (lines, code, said) = Devnet::start(words).end();
        assert_eq!((lines.len(), code, said.lines().count()), (0, Some(2), 1), "{words:?}: {said}");
    }
}
