//! Tells the trace how writing to a socket goes: what it takes, when it takes nothing, for how long.

use std::io;
use std::task::Poll;

use tokio::time::Instant;

use crate::trace::{ConnTrace, Event, Kind};

/// The writing side of one socket, as the trace sees it.
#[derive(Debug)]
pub(super) struct WriteWatch {
    trace: ConnTrace,
    /// Since when the socket takes no bytes.
    blocked: Option<Instant>,
    /// Bytes were written since the last flush.
    unflushed: bool,
}

impl WriteWatch {
    pub(super) fn new(trace: ConnTrace) -> Self {
        Self { trace, blocked: None, unflushed: false }
    }

    /// The socket took bytes, or takes none now.
    pub(super) fn on_write(&mut self, polled: &Poll<io::Result<usize>>) {
        if !self.trace.is_on() {
            return;
        }
        let now = Instant::now();
        match (polled, self.blocked) {
            (Poll::Pending, None) => {
                self.blocked = Some(now);
                self.trace.record_at(now.into_std(), || Event::new(Kind::SocketBlocked));
            }
            (Poll::Pending, Some(_)) => {}
            (Poll::Ready(written), blocked) => {
                if let Some(since) = blocked {
                    self.blocked = None;
                    let ns = now.saturating_duration_since(since).as_nanos() as u64;
                    self.trace.record_at(now.into_std(), || Event::new(Kind::SocketReady).y(ns));
                }
                self.unflushed = true;
                let bytes = *written.as_ref().unwrap_or(&0) as u64;
                self.trace.record_at(now.into_std(), || Event::new(Kind::SocketWrote).x(bytes));
            }
        }
    }

    /// The socket was flushed.
    pub(super) fn on_flushed(&mut self) {
        if std::mem::take(&mut self.unflushed) {
            self.trace.record_soon(|| Event::new(Kind::SocketFlushed));
        }
    }
}
