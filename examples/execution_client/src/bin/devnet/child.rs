//! One node: this program once more, as a child process that ends with us in any case.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use execution_client::failure::Failure;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// A line of a child is cut here.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// The three nodes, in the order in which blocks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Relay,
    Follower,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Producer, Self::Relay, Self::Follower];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Relay => "relay",
            Self::Follower => "follower",
        }
    }

    pub(crate) fn wires(self) -> &'static str {
        match self {
            Self::Producer => "libp2p",
            Self::Relay => "libp2p, rlpx",
            Self::Follower => "rlpx",
        }
    }
}

/// What a child says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A line of its stdout, and when it came.
    Event(Role, Instant, Value),
    /// It says no more.
    Closed(Role),
}

/// A running node.
pub(crate) struct Node {
    role: Role,
    child: Child,
    /// It ends when this is closed, whoever closes it: we, or the system after we were killed.
    stdin: Option<ChildStdin>,
    /// Reads stderr; its last line.
    said: JoinHandle<String>,
}

impl Node {
    /// Starts it. What it tells goes to `heard`; while that is full, it waits.
    pub(crate) fn start(
        role: Role,
        folder: &Path,
        options: &[String],
        heard: mpsc::Sender<Heard>,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::failed(format!("this program cannot be found: {error}")))?;
        let path = |name: &str| folder.join(name).join(role.name()).into_os_string();
        let mut words: Vec<OsString> =
            [crate::NODE, "--genesis", "dev", "--json", "--datadir"].map(OsString::from).to_vec();
        words.extend([path("data"), "--trace".into(), path("traces")]);
        words.extend(options.iter().map(OsString::from));
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for us alone: we end the nodes in their order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| Failure::failed(format!("the {} cannot be started: {error}", role.name())))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(Failure::failed(format!("the {} has no output", role.name())));
        };
        tokio::spawn(async move {
            let mut stdout = BufReader::new(stdout);
            while let Some(line) = next_line(&mut stdout).await {
                let Ok(event) = serde_json::from_str(&line) else { continue };
                if heard.send(Heard::Event(role, Instant::now(), event)).await.is_err() {
                    return;
                }
            }
            let _ = heard.send(Heard::Closed(role)).await;
        });
        let said = tokio::spawn(async move {
            let (mut stderr, mut last) = (BufReader::new(stderr), String::new());
            while let Some(line) = next_line(&mut stderr).await {
                last = line;
            }
            last
        });
        Ok(Self { role, child, stdin, said })
    }

    /// Tells it to end.
    pub(crate) fn stop(&mut self) {
        self.stdin = None;
    }

    /// Tells it to end and waits until it has; after this time it is killed. `Err`: it did not end by
    /// itself, or not well, and what it said.
    pub(crate) async fn ended(mut self, within: Duration) -> Result<(), Failure> {
        self.stop();
        let name = self.role.name();
        let Ok(status) = timeout(within, self.child.wait()).await else {
            // Dropped with this value, and so killed.
            return Err(Failure::failed(format!("the {name} did not end in time")));
        };
        let said = self.said.await.unwrap_or_default();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let said = if said.is_empty() { said } else { format!(": {said}") };
                Err(Failure::failed(format!("the {name} has failed ({status}){said}")))
            }
            Err(error) => Err(Failure::failed(format!("the {name} is lost: {error}"))),
        }
    }
}

/// `None` at the end.
async fn next_line(from: &mut (impl AsyncBufReadExt + AsyncRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    match from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(String::from_utf8_lossy(line.trim_ascii_end()).into_owned()),
    }
}
