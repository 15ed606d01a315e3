//! A trace in numbers: outcomes, latencies by kind of request, waits by hop.

use std::collections::BTreeMap;

use serde::Serialize;

use super::filter::Filter;
use super::histogram::{Histogram, Quantiles};
use super::model::{Beyond, Model, Step};
use super::requests::{self, dir};
use super::show::{self, Table, bytes, duration};
use crate::trace::record::Name;

/// So many kinds of requests are told apart; a file can invent as many as it likes.
const KINDS_MAX: usize = 256;

/// Requests of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindStats {
    /// The exchange.
    pub proto: Name,
    /// The kind.
    pub kind: Name,
    /// `out` or `in`.
    pub dir: &'static str,
    /// How they ended; `open` for those that have not.
    pub outcomes: BTreeMap<String, u64>,
    /// How long those that ended took.
    pub latency: Quantiles,
    /// How long they waited after each step.
    pub hops: Vec<HopStats>,
    /// Bytes of the questions.
    pub bytes_out: u64,
    /// Bytes of the answers.
    pub bytes_in: u64,
}

/// The wait after a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HopStats {
    /// The step.
    pub after: &'static str,
    /// The wait.
    pub wait: Quantiles,
}

/// A trace in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Who recorded it.
    pub node: Option<Name>,
    /// Why it was written.
    pub reason: Option<Name>,
    /// From the first to the last event.
    pub span_ns: u64,
    /// Events read.
    pub events: u64,
    /// Events that were overwritten.
    pub lost: u64,
    /// Events that the budget left out.
    pub skipped: u64,
    /// Events of unknown kinds.
    pub unknown: u64,
    /// The file ends in the middle of a line.
    pub cut: bool,
    /// Whether it was closed in an orderly way, and the orphans it counted then.
    pub closed: Option<u64>,
    /// Connections.
    pub conns: u64,
    /// Of them: sessions.
    pub sessions: u64,
    /// Actors.
    pub actors: u64,
    /// Requests.
    pub requests: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// By kind of request.
    pub kinds: Vec<KindStats>,
    /// What did not fit into memory.
    pub beyond: Beyond,
}

#[derive(Default)]
struct Counting {
    outcomes: BTreeMap<String, u64>,
    latency: Histogram,
    hops: BTreeMap<Step, Histogram>,
    bytes: (u64, u64),
}

/// The numbers of a trace; the filter chooses among its requests.
pub fn stats(model: &Model, filter: &Filter) -> Stats {
    let mut kinds: BTreeMap<(&'static str, Name, Name), Counting> = BTreeMap::new();
    let unknown: Name = "?".into();
    let mut requests = 0;
    for life in model.lives.values().filter(|life| requests::matches(model, life, filter)) {
        requests += 1;
        let proto = life.proto.as_ref().unwrap_or(&unknown).clone();
        let kind = life.name.as_ref().unwrap_or(&unknown).clone();
        let mut key = (dir(life.dir), proto, kind);
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&key) {
            key = (key.0, unknown.clone(), unknown.clone());
        }
        let counting = kinds.entry(key).or_default();
        let state = show::cut(life.state(), 32);
        if counting.outcomes.len() < 32 || counting.outcomes.contains_key(&state) {
            *counting.outcomes.entry(state).or_default() += 1;
        }
        counting.bytes.0 = counting.bytes.0.saturating_add(life.bytes.0);
        counting.bytes.1 = counting.bytes.1.saturating_add(life.bytes.1);
        let Some(end) = &life.end else { continue };
        counting.latency.record(life.took(end.mark.at));
        let path = life.path();
        let ends = path.iter().skip(1).map(|(_, mark)| mark.at).chain([end.mark.at]);
        for ((step, mark), until) in path.iter().zip(ends) {
            counting.hops.entry(*step).or_default().record(until.saturating_sub(mark.at));
        }
    }
    let kind = |((dir, proto, kind), counting): ((&'static str, Name, Name), Counting)| KindStats {
        proto,
        kind,
        dir,
        outcomes: counting.outcomes,
        latency: counting.latency.quantiles(),
        hops: counting
            .hops
            .into_iter()
            .map(|(step, wait)| HopStats { after: step.name(), wait: wait.quantiles() })
            .collect(),
        bytes_out: counting.bytes.0,
        bytes_in: counting.bytes.1,
    };
    Stats {
        node: model.header.as_ref().map(|header| header.node.clone()),
        reason: model.header.as_ref().map(|header| header.reason.clone()),
        span_ns: model.span.1.saturating_sub(model.span.0),
        events: model.events,
        lost: model.lost,
        skipped: model.skipped,
        unknown: model.unknown,
        cut: model.cut,
        closed: model.closed,
        conns: model.conns.len() as u64,
        sessions: model.conns.values().filter(|conn| conn.session.is_some()).count() as u64,
        actors: model.actors.len() as u64,
        requests,
        bytes_in: model.conns.values().fold(0, |sum, conn| sum.saturating_add(conn.bytes_in)),
        bytes_out: model.conns.values().fold(0, |sum, conn| sum.saturating_add(conn.bytes_out)),
        kinds: kinds.into_iter().map(kind).collect(),
        beyond: model.beyond,
    }
}

/// For people.
pub fn text(stats: &Stats) -> String {
    let node = stats.node.as_ref().map_or_else(|| "?".to_owned(), |node| show::peer(node));
    let end = match (stats.closed, stats.cut) {
        (Some(orphans), _) => format!("closed, {}", show::count(orphans, "orphan")),
        (None, true) => "ends in the middle of a line".to_owned(),
        (None, false) => "not closed".to_owned(),
    };
    let mut out = format!(
        "node {node}: {} in {}; {}\n{} ({}), {}, {}; {} in, {} out\n",
        show::count(stats.events, "event"),
        duration(stats.span_ns),
        end,
        show::count(stats.conns, "connection"),
        show::count(stats.sessions, "session"),
        show::count(stats.actors, "actor"),
        show::count(stats.requests, "request"),
        bytes(stats.bytes_in),
        bytes(stats.bytes_out),
    );
    let mut table = Table::new(&["dir", "request", ">ended", ">p50", ">p90", ">p99", ">max", "outcomes"]);
    for kind in &stats.kinds {
        let outcomes = kind.outcomes.iter().map(|(how, n)| format!("{} {n}", show::escape(how)));
        table.row(vec![
            kind.dir.to_owned(),
            format!(
                "{} {}",
                show::cut(&show::escape(&kind.proto), 10),
                show::cut(&show::escape(&kind.kind), 22)
            ),
            kind.latency.count.to_string(),
            duration(kind.latency.p50_ns),
            duration(kind.latency.p90_ns),
            duration(kind.latency.p99_ns),
            duration(kind.latency.max_ns),
            outcomes.collect::<Vec<_>>().join(", "),
        ]);
    }
    if !table.is_empty() {
        out.push('\n');
        out += &table.text();
    }
    let mut table = Table::new(&["dir", "request", "wait after", ">p50", ">p90", ">p99", ">max"]);
    for kind in &stats.kinds {
        for hop in &kind.hops {
            table.row(vec![
                kind.dir.to_owned(),
                show::cut(&show::escape(&kind.kind), 22),
                hop.after.to_owned(),
                duration(hop.wait.p50_ns),
                duration(hop.wait.p90_ns),
                duration(hop.wait.p99_ns),
                duration(hop.wait.max_ns),
            ]);
        }
    }
    if !table.is_empty() {
        out.push('\n');
        out += &table.text();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::kind::Kind;
    use crate::trace::tools::fixtures::{MS, Story};

    #[test]
    fn outcomes_latencies_and_hops_are_counted_by_kind() {
        let mut story = Story::new();
        story.session(0, 1);
        for n in 0..10 {
            story.answered(100 * n, 1, "GetBlockHeaders", n);
        }
        let late = story.ask(1000, 1, "GetBlockHeaders");
        story.step(1001, late, Kind::ReqWritten, 99);
        story.end(1501, late, 99, "timed_out");
        story.ask(1600, 1, "GetBlockBodies");
        let stats = stats(&story.model(), &Filter::default());
        assert_eq!((stats.requests, stats.sessions, stats.kinds.len()), (12, 1, 2));
        let headers = &stats.kinds[1];
        assert_eq!((headers.outcomes["ok"], headers.outcomes["timed_out"]), (10, 1));
        assert_eq!(headers.latency.max_ns, 501 * MS);
        let written = headers.hops.iter().find(|hop| hop.after == "written").expect("a wait after written");
        assert_eq!((written.wait.count, written.wait.max_ns), (11, 500 * MS));
        assert_eq!(stats.kinds[0].outcomes["open"], 1);
        let text = text(&stats);
        assert!(text.contains("ok 10, timed_out 1"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= show::WIDTH), "{text}");
    }
}
