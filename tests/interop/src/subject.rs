//! The program under test: the `substreams` example as a child process.
//!
//! Owns every child it starts: dropping the value kills it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::check::{Failure, Outcome, failed, need, within};

/// How long a child may take until it listens.
const START: Duration = Duration::from_secs(10);

/// The program, and what is known about it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Path of the `substreams` executable.
    pub bin: PathBuf,
    /// What its agent version must begin with.
    pub agent: String,
    /// It is allowed to keep peers connected that break yamux rules, as rust-libp2p does.
    pub lenient: bool,
}

/// A child that listens.
#[derive(Debug)]
pub struct Listening {
    /// Where, as it said in its first line, with `/p2p`.
    pub addr: Multiaddr,
    /// The identity in that address.
    pub peer: PeerId,
    child: Child,
    stderr: Arc<Mutex<String>>,
    _stdout: BufReader<ChildStdout>,
}

/// A child that has dialled and ended.
#[derive(Debug)]
pub struct Dialled {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Its stdout, one JSON object per line.
    pub lines: Vec<Value>,
    /// Its stderr.
    pub stderr: String,
}

impl Subject {
    /// Starts `substreams --listen` on a free loopback port and waits for its first line.
    pub async fn listen(&self, more: &[&str]) -> Outcome<Listening> {
        let mut child = Command::new(&self.bin)
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--ttl", "60s"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = Arc::new(Mutex::new(String::new()));
        tokio::spawn(collect(child.stderr.take().expect("piped"), stderr.clone()));
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        within(START, "the line that it listens", stdout.read_line(&mut line)).await??;
        let told = tail(&stderr);
        let first: Value = serde_json::from_str(&line)
            .map_err(|e| Failure::Failed(format!("first line {line:?} is no JSON ({e}); stderr {told:?}")))?;
        need(first["event"] == "listening", || format!("first line is {line:?}"))?;
        let addr: Multiaddr = first["addr"].as_str().unwrap_or_default().parse()?;
        let peer = match addr.iter().last() {
            Some(libp2p::multiaddr::Protocol::P2p(peer)) => peer,
            _ => return failed(format!("no /p2p at the end of {addr}")),
        };
        Ok(Listening { addr, peer, child, stderr, _stdout: stdout })
    }

    /// Runs `substreams --connect` to its end.
    pub async fn connect(
        &self,
        addr: &Multiaddr,
        ops: &str,
        more: &[&str],
        limit: Duration,
    ) -> Outcome<Dialled> {
        let child = Command::new(&self.bin)
            .args(["--connect", &addr.to_string(), "--ops", ops])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output =
            within(limit, &format!("--connect with --ops {ops}"), child.wait_with_output()).await??;
        let mut lines = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let value: Value = serde_json::from_str(line)
                .map_err(|e| Failure::Failed(format!("stdout line {line:?} is no JSON: {e}")))?;
            need(value.is_object(), || format!("stdout line {line:?} is no JSON object"))?;
            lines.push(value);
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Dialled { code: output.status.code(), lines, stderr })
    }

    /// Does it take `--key FILE`?
    pub async fn takes_key(&self) -> Outcome<bool> {
        let help = Command::new(&self.bin).arg("--help").stdin(Stdio::null()).kill_on_drop(true).output();
        let output = within(START, "--help", help).await??;
        Ok(String::from_utf8_lossy(&output.stdout).contains("--key"))
    }
}

impl Listening {
    /// Its address without the identity.
    pub fn bare_addr(&self) -> Multiaddr {
        self.addr.iter().filter(|p| !matches!(p, libp2p::multiaddr::Protocol::P2p(_))).collect()
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.addr
            .iter()
            .find_map(|p| match p {
                libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
                _ => None,
            })
            .unwrap_or(0)
    }

    /// Fails if the process has ended.
    pub fn alive(&mut self) -> Outcome {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => failed(format!("the node ended: {status}; stderr {:?}", tail(&self.stderr))),
        }
    }
}

impl Dialled {
    /// Fails unless it ended with this code.
    pub fn ended_with(&self, code: i32) -> Outcome {
        need(self.code == Some(code), || {
            format!(
                "exit {:?} instead of {code}; stdout {:?}; stderr {:?}",
                self.code,
                self.lines,
                self.stderr.trim()
            )
        })
    }

    /// Fails unless there is one line for each of these ops, in any order.
    pub fn answered(&self, ops: &[&str]) -> Outcome {
        let names = |op: &str| self.lines.iter().filter(|l| l["op"] == op).count();
        let missing: Vec<_> = ops.iter().filter(|op| names(op) != 1).collect();
        need(missing.is_empty() && self.lines.len() == ops.len(), || {
            format!("not one line with \"op\" for each of {missing:?}: {:?}", self.lines)
        })
    }
}

/// Keeps the end of what a child says on stderr, and never lets its pipe fill up.
async fn collect(mut stderr: tokio::process::ChildStderr, into: Arc<Mutex<String>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        let mut text = into.lock().unwrap_or_else(|e| e.into_inner());
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if text.len() > 8192 {
            *text = text.chars().skip(text.chars().count() / 2).collect();
        }
    }
}

fn tail(stderr: &Mutex<String>) -> String {
    let text = stderr.lock().unwrap_or_else(|e| e.into_inner());
    text.chars().skip(text.chars().count().saturating_sub(400)).collect()
}
