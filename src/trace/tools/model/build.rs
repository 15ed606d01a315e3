//! Line by line into a model.

use super::actors::Early;
use super::{Keep, Model};
use crate::trace::kind::Kind;
use crate::trace::record::{Line, Name, Record};

/// So many spans of silence of the whole trace are kept.
const GAPS_MAX: usize = 256;
/// Shorter than this is no gap, in nanoseconds.
const GAP_NS: u64 = 100_000_000;

/// What building a model needs and nobody asks for.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// Messages that were begun with before their `msg.enqueued` was seen.
    pub(super) early: Early,
    /// For what has no name.
    pub(super) unnamed: Name,
    /// When events were lost last.
    pub(super) doubted_at: Option<u64>,
    /// When room may be made for connections again: looking for those that ended takes time, and a
    /// file in which none does must not have it done for every event.
    pub(super) sweep_conns_at: u64,
    /// The same for actors.
    pub(super) sweep_actors_at: u64,
    /// Failed and slow requests that are kept.
    pub(super) suspicious: usize,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            early: Early::default(),
            unnamed: "?".into(),
            doubted_at: None,
            suspicious: 0,
            sweep_conns_at: 0,
            sweep_actors_at: 0,
        }
    }
}

impl Model {
    /// Takes in one line.
    pub fn on(&mut self, line: &Line) {
        match line {
            Line::Header(header) => self.header = Some(header.clone()),
            Line::Event(record) => self.on_event(record),
            Line::Lost { n, .. } => {
                self.lost = self.lost.saturating_add(*n);
                self.doubt_lives();
                self.doubt_actors();
            }
            // Requests are left out whole, so those that are here are complete.
            Line::Skipped { events, .. } => {
                self.skipped = self.skipped.saturating_add(*events);
                self.doubt_actors();
            }
            Line::End { orphans, .. } => self.closed = Some(*orphans),
        }
    }

    fn on_event(&mut self, record: &Record) {
        self.tick(record.at);
        self.events += 1;
        if record.actor != 0 {
            self.heard_of(record.actor, record.at);
        }
        if record.kind.is_request() {
            self.on_request(record);
        } else if record.kind < Kind::ConnDialing {
            self.on_actor(record);
        } else if record.conn != 0 {
            self.on_conn(record);
        }
    }

    fn tick(&mut self, at: u64) {
        if self.events == 0 {
            self.span = (at, at);
            return;
        }
        let (first, last) = self.span;
        self.span = (first.min(at), last.max(at));
        if at.saturating_sub(last) < GAP_NS {
            return;
        }
        if self.gaps.len() == GAPS_MAX {
            // The shortest one goes.
            let shortest = (0..GAPS_MAX).min_by_key(|index| self.gaps[*index].1 - self.gaps[*index].0);
            shortest.map(|index| self.gaps.remove(index));
        }
        self.gaps.push((last, at));
    }

    /// Whether a request that has ended is worth keeping.
    pub(super) fn is_kept(&self, how: &str, took: u64) -> bool {
        match self.keep {
            Keep::All => true,
            Keep::Open { slow_ns } => took >= slow_ns || !matches!(how, "ok" | "cancelled" | "shutdown"),
        }
    }

    /// When events were lost last, if any were.
    pub fn doubted_at(&self) -> Option<u64> {
        self.build.doubted_at
    }
}
