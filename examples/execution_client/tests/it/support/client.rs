//! The client as a child process.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use trunkline::PeerAddr;

use super::within;

/// A running client. Dropped, it is killed.
pub(crate) struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Everything it has told so far.
    pub(crate) told: Vec<Value>,
}

/// A client that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) told: Vec<Value>,
}

impl Client {
    /// Listens on both wires, and has these options beside.
    pub(crate) fn start(genesis: &Path, datadir: &Path, options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_execution_client"));
        command.arg("--json").arg("--genesis").arg(genesis).arg("--datadir").arg(datadir);
        command.args(["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/tcp/0/rlpx"]);
        command.args(options.iter().map(OsStr::new)).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the client starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines, told: Vec::new() }
    }

    /// The next event; nothing after the last.
    async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.expect("readable")?;
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.told.push(event.clone());
        Some(event)
    }

    /// Reads on to an event of this kind.
    pub(crate) async fn event(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let reading = async {
            loop {
                match self.next().await {
                    Some(event) if event["event"] == kind && is(&event) => return event,
                    Some(_) => {}
                    None => panic!("the client has ended before such a {kind}: {:#?}", self.told),
                }
            }
        };
        match tokio::time::timeout(super::LONG, reading).await {
            Ok(event) => event,
            Err(_) => panic!("no such {kind}: {:#?}", self.told),
        }
    }

    /// Where it listens: over libp2p, over RLPx.
    pub(crate) async fn addrs(&mut self) -> (PeerAddr, PeerAddr) {
        let libp2p = self.event("listening", |event| event["wire"] == "libp2p").await;
        let rlpx = self.event("listening", |event| event["wire"] == "rlpx").await;
        let addr = |text: &Value| text.as_str().expect("text").parse().expect("an address");
        (addr(&libp2p["addr"]), addr(&rlpx["enode"]))
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        let id = self.child.id().expect("runs").to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill").success());
    }

    /// Kill -9. Gives what it had told.
    pub(crate) async fn kill(mut self) -> Vec<Value> {
        self.child.start_kill().expect("runs");
        self.ended().await.told
    }

    /// Reads on to the end.
    pub(crate) async fn ended(mut self) -> Ended {
        let ending = async {
            // A kill may cut the last line.
            while let Ok(Some(line)) = self.lines.next_line().await {
                self.told.extend(serde_json::from_str::<Value>(&line));
            }
            let mut stderr = String::new();
            let from = self.child.stderr.as_mut().expect("piped");
            from.read_to_string(&mut stderr).await.expect("readable");
            (self.child.wait().await.expect("ends").code(), stderr)
        };
        let (code, stderr) = within("the end of the client", ending).await;
        Ended { code, stderr, told: self.told }
    }
}

impl Ended {
    /// Events of this kind.
    pub(crate) fn events(&self, kind: &str) -> Vec<&Value> {
        self.told.iter().filter(|event| event["event"] == kind).collect()
    }

    /// The last event, which is `end`.
    pub(crate) fn end(&self) -> &Value {
        let last = self.told.last().unwrap_or_else(|| panic!("told nothing: {}", self.stderr));
        assert_eq!(last["event"], "end", "{:#?}", self.told);
        last
    }

    /// Why the sessions with this peer ended, as far as the client ended them.
    pub(crate) fn blamed(&self, peer: &str) -> Vec<&str> {
        let downs = self.events("peer-down").into_iter();
        let ours = downs.filter(|down| down["peer"] == peer && down["side"] == "local");
        let reasons = ours.map(|down| down["reason"].as_str().expect("text"));
        reasons.filter(|reason| *reason != "client quitting").collect()
    }
}
