//! Two traces side by side: what got worse.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::histogram::Quantiles;
use super::show::{self, Table, duration};
use super::stats::{KindStats, Stats};
use crate::trace::record::Name;

/// Fewer samples than this on either side say nothing about latency.
const SAMPLES_MIN: u64 = 5;
/// A quantile has to grow by this factor, and by [`GROWTH_NS`], to be worse.
const GROWTH: f64 = 1.25;
/// By so many nanoseconds.
const GROWTH_NS: u64 = 100_000;

/// One kind of request in both traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindDiff {
    /// The exchange.
    pub proto: Name,
    /// The kind.
    pub kind: Name,
    /// `out` or `in`.
    pub dir: &'static str,
    /// How they ended: in the first trace, in the second one.
    pub outcomes: BTreeMap<String, (u64, u64)>,
    /// How long they took.
    pub latency: (Quantiles, Quantiles),
    /// How long they waited after each step.
    pub hops: BTreeMap<&'static str, (Quantiles, Quantiles)>,
}

/// Two traces side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// By kind of request.
    pub kinds: Vec<KindDiff>,
    /// What got worse, in words, the worst first.
    pub worse: Vec<String>,
    /// What got better.
    pub better: Vec<String>,
}

/// Compares the first trace with the second one.
pub fn diff(a: &Stats, b: &Stats) -> Diff {
    let key = |kind: &KindStats| (kind.dir, kind.proto.clone(), kind.kind.clone());
    let of = |stats: &Stats| -> BTreeMap<_, KindStats> {
        stats.kinds.iter().map(|kind| (key(kind), kind.clone())).collect()
    };
    let (a, b) = (of(a), of(b));
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).cloned().collect();
    let (mut worse, mut better) = (Vec::new(), Vec::new());
    let mut kinds = Vec::new();
    for key in keys {
        let kind = pair(&key, a.get(&key), b.get(&key));
        judge(&kind, &mut worse, &mut better);
        kinds.push(kind);
    }
    let words = |mut found: Vec<(u64, String)>| {
        found.sort_by_key(|(by, _)| std::cmp::Reverse(*by));
        found.into_iter().map(|(_, words)| words).collect()
    };
    Diff { kinds, worse: words(worse), better: words(better) }
}

fn pair(key: &(&'static str, Name, Name), a: Option<&KindStats>, b: Option<&KindStats>) -> KindDiff {
    let mut outcomes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut hops: BTreeMap<&'static str, (Quantiles, Quantiles)> = BTreeMap::new();
    for (how, n) in a.iter().flat_map(|kind| &kind.outcomes) {
        outcomes.entry(how.clone()).or_default().0 = *n;
    }
    for (how, n) in b.iter().flat_map(|kind| &kind.outcomes) {
        outcomes.entry(how.clone()).or_default().1 = *n;
    }
    for hop in a.iter().flat_map(|kind| &kind.hops) {
        hops.entry(hop.after).or_default().0 = hop.wait;
    }
    for hop in b.iter().flat_map(|kind| &kind.hops) {
        hops.entry(hop.after).or_default().1 = hop.wait;
    }
    let latency = |kind: Option<&KindStats>| kind.map(|kind| kind.latency).unwrap_or_default();
    KindDiff {
        dir: key.0,
        proto: key.1.clone(),
        kind: key.2.clone(),
        outcomes,
        latency: (latency(a), latency(b)),
        hops,
    }
}

/// What changed for the worse or the better, with by how much to sort it.
fn judge(kind: &KindDiff, worse: &mut Vec<(u64, String)>, better: &mut Vec<(u64, String)>) {
    let name = format!("{} {} ({})", show::escape(&kind.proto), show::escape(&kind.kind), kind.dir);
    let total = |pick: fn(&(u64, u64)) -> u64| kind.outcomes.values().map(pick).sum::<u64>().max(1);
    let (before, after) = (total(|n| n.0), total(|n| n.1));
    for (how, (a, b)) in kind.outcomes.iter().filter(|(how, _)| how.as_str() != "ok") {
        let (a, b) = (*a as f64 / before as f64, *b as f64 / after as f64);
        let words = format!("{name}: {} {:.1} % -> {:.1} %", show::escape(how), a * 100.0, b * 100.0);
        // Failing is worse than any wait: one in a hundred more counts like a second.
        let by = ((b - a).abs() * 1e11) as u64;
        if b > a + 0.001 {
            worse.push((by, words));
        } else if a > b + 0.001 {
            better.push((by, words));
        }
    }
    let (a, b) = kind.latency;
    compare(&format!("{name}: latency"), a, b, worse, better);
    for (after, (a, b)) in &kind.hops {
        compare(&format!("{name}: wait after {after}"), *a, *b, worse, better);
    }
}

fn compare(
    what: &str,
    a: Quantiles,
    b: Quantiles,
    worse: &mut Vec<(u64, String)>,
    better: &mut Vec<(u64, String)>,
) {
    if a.count < SAMPLES_MIN || b.count < SAMPLES_MIN {
        return;
    }
    for (name, a, b) in [("p50", a.p50_ns, b.p50_ns), ("p99", a.p99_ns, b.p99_ns)] {
        let words = || format!("{what} {name} {} -> {}", duration(a), duration(b));
        let grown = |from: u64, to: u64| to as f64 > from as f64 * GROWTH && to - from >= GROWTH_NS;
        if grown(a, b) {
            worse.push((b - a, words()));
        } else if grown(b, a) {
            better.push((a - b, words()));
        }
    }
}

/// For people.
pub fn text(diff: &Diff) -> String {
    let mut out = String::new();
    for (title, lines) in [("worse", &diff.worse), ("better", &diff.better)] {
        match lines.len() {
            0 => out += &format!("{title}: nothing\n"),
            _ => out += &format!("{title}:\n"),
        }
        for line in lines {
            out += &format!("  {line}\n");
        }
    }
    let mut table = Table::new(&[
        "dir",
        "request",
        "",
        ">p50 first",
        ">second",
        ">p99 first",
        ">second",
        ">number first",
        ">second",
    ]);
    for kind in &diff.kinds {
        let name = format!(
            "{} {}",
            show::cut(&show::escape(&kind.proto), 8),
            show::cut(&show::escape(&kind.kind), 16)
        );
        let mut first = Some((kind.dir.to_owned(), name));
        let mut row = |what: String, times: [String; 4], counts: [String; 2]| {
            let (dir, name) = first.take().unwrap_or_default();
            let cells = [dir, name, what].into_iter().chain(times).chain(counts);
            table.row(cells.collect());
        };
        let none = || std::array::from_fn(|_| String::new());
        for (how, (a, b)) in &kind.outcomes {
            row(show::cut(&show::escape(how), 16), none(), [a.to_string(), b.to_string()]);
        }
        let times = [("took".to_owned(), kind.latency)].into_iter();
        let hops = kind.hops.iter().map(|(after, both)| (format!("after {after}"), *both));
        // Waits below a microsecond are no waits.
        for (what, (a, b)) in times.chain(hops).filter(|(_, (a, b))| a.max_ns.max(b.max_ns) >= 1000) {
            let [x, y, z, w] = [a.p50_ns, b.p50_ns, a.p99_ns, b.p99_ns].map(duration);
            row(what, [x, y, z, w], [a.count.to_string(), b.count.to_string()]);
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
    use crate::trace::tools::filter::Filter;
    use crate::trace::tools::fixtures::Story;
    use crate::trace::tools::stats::stats;

    fn run(answer: u64, failing: u64) -> Stats {
        let mut story = Story::new();
        story.session(0, 1);
        for n in 0..20 {
            let at = 1000 * n + 10;
            let key = story.ask(at, 1, "GetBlockBodies");
            story.steps(key, n, &[(at + 1, Kind::ReqQueued), (at + 2, Kind::ReqWritten)]);
            story.step(at + 2 + answer, key, Kind::ReqReceived, n);
            story.end(at + 3 + answer, key, n, if n < failing { "timed_out" } else { "ok" });
        }
        stats(&story.model(), &Filter::default())
    }

    #[test]
    fn what_got_worse_is_named_the_worst_first() {
        let found = diff(&run(10, 0), &run(100, 2));
        assert_eq!(found.worse[0], "eth GetBlockBodies (out): timed_out 0.0 % -> 10.0 %");
        assert!(
            found.worse.iter().any(|line| line.contains("latency p50 13.0 ms -> 103 ms")),
            "{:?}",
            found.worse
        );
        assert!(found.worse.iter().any(|line| line.contains("wait after written p50")), "{:?}", found.worse);
        assert!(found.better.is_empty(), "{:?}", found.better);
        let back = diff(&run(100, 2), &run(10, 0));
        assert_eq!((back.better.len(), back.worse.len()), (found.worse.len(), 0));
        let text = text(&found);
        assert!(text.lines().all(|line| line.chars().count() <= show::WIDTH), "{text}");
    }

    #[test]
    fn the_same_trace_twice_is_neither_worse_nor_better() {
        let found = diff(&run(10, 1), &run(10, 1));
        assert_eq!((found.worse.len(), found.better.len()), (0, 0));
        assert!(text(&found).starts_with("worse: nothing\nbetter: nothing\n"));
    }
}
