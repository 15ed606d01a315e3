//! What may end a node before its work is done: a signal, its time to live, its time-out.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::signals::Stop;

/// Why a node ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// `--until-block` was reached.
    Reached,
    /// Ctrl-C or SIGTERM.
    Signal,
    /// The table was left.
    Left,
    /// `--ttl` is over.
    Ttl,
    /// `--timeout` is over.
    Timeout(Duration),
    /// It cannot go on.
    Broken(String),
}

/// Counts from the start of the process.
#[derive(Debug)]
pub(super) struct Ends {
    stop: Stop,
    ttl: Option<Instant>,
    timeout: Option<(Instant, Duration)>,
}

impl Ends {
    /// Both times start now.
    pub(super) fn new(stop: Stop, ttl: Option<Duration>, timeout: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { stop, ttl: ttl.map(|ttl| now + ttl), timeout: timeout.map(|timeout| (now + timeout, timeout)) }
    }

    /// Waits for the first of them. Cancel safe.
    pub(super) async fn next(&mut self) -> Why {
        let (timeout_at, timeout) = self.timeout.unzip();
        tokio::select! {
            biased;
            () = self.stop.asked() => Why::Signal,
            () = until(timeout_at) => Why::Timeout(timeout.unwrap_or_default()),
            () = until(self.ttl) => Why::Ttl,
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
