//! Prometheus' text exposition: how requests and messages went, as counters and histograms.
//!
//! Every word of a label comes from a trace. There are only so many series per metric; what is beyond
//! is counted under `other`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::lifeline::Lifelines;
use super::text::label;
use crate::trace::kind::Kind;
use crate::trace::tools::picture::Picture;
use crate::trace::tools::requests::dir;

/// At most so many combinations of labels per metric.
const SERIES_MAX: usize = 500;
/// Upper bounds of buckets in nanoseconds; behind them comes `+Inf`.
const BOUNDS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Writes what the picture's traces add up to.
pub fn prometheus(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    requests(picture, out)?;
    messages(picture, out)?;
    let mut events = Family::counter("trunkline_trace_events_total", "Events by kind.", &["node", "event"]);
    let mut bytes =
        Family::counter("trunkline_socket_bytes_total", "Bytes of the muxer.", &["node", "direction"]);
    let mut lost = Family::counter(
        "trunkline_trace_left_out_total",
        "Events that were lost or skipped: what else stands here is too low by them.",
        &["node", "why"],
    );
    for (nth, node) in picture.nodes.iter().enumerate() {
        let name = node_name(picture, nth);
        for record in &node.records {
            events.add(&[&name, record.kind.name()], 1);
            match record.kind {
                Kind::SocketRead => bytes.add(&[&name, "in"], record.x),
                Kind::SocketWrote => bytes.add(&[&name, "out"], record.x),
                _ => {}
            }
        }
        lost.add(&[&name, "lost"], node.model.lost);
        lost.add(&[&name, "skipped"], node.model.skipped);
    }
    [events, bytes, lost].iter().try_for_each(|family| family.write(out))
}

fn requests(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    let of_request = ["node", "direction", "proto", "kind", "outcome"];
    let mut ended = Family::counter("trunkline_requests_total", "Requests that have ended.", &of_request);
    let mut open =
        Family::new("gauge", "trunkline_requests_open", "Requests without an end.", &of_request[..4]);
    let mut took = Family::histogram(
        "trunkline_request_seconds",
        "How long requests took from their first event to their end.",
        &of_request[..4],
    );
    let mut waited = Family::histogram(
        "trunkline_request_wait_seconds",
        "How long requests waited, by what for.",
        &["node", "direction", "proto", "kind", "wait"],
    );
    let lines = Lifelines::of(picture);
    for (nth, node) in picture.nodes.iter().enumerate() {
        let name = node_name(picture, nth);
        for life in node.model.lives.values() {
            let line = lines.cut_one_side(nth, life);
            let direction = dir(life.dir);
            let (proto, kind) = (life.proto.as_deref().unwrap_or(""), life.name.as_deref().unwrap_or(""));
            match &life.end {
                Some(end) => {
                    ended.add(&[&name, direction, proto, kind, &end.how], 1);
                    took.observe(&[&name, direction, proto, kind], line.ns());
                }
                None => open.add(&[&name, direction, proto, kind], 1),
            }
            for wait in &line.waits {
                waited.observe(&[&name, direction, proto, kind, wait.cause.name()], wait.ns());
            }
        }
    }
    [ended, open, took, waited].iter().try_for_each(|family| family.write(out))
}

fn messages(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    let labels = ["node", "actor", "message"];
    let mut waited = Family::histogram(
        "trunkline_message_wait_seconds",
        "How long messages waited in mailboxes.",
        &labels,
    );
    let mut handled = Family::histogram(
        "trunkline_message_handling_seconds",
        "How long actors handled messages, stream items and timers.",
        &labels,
    );
    for (nth, node) in picture.nodes.iter().enumerate() {
        let name = node_name(picture, nth);
        for record in &node.records {
            let actor = node.model.actors.get(&record.actor).and_then(|actor| actor.name.as_deref());
            let labels = [&*name, actor.unwrap_or(""), record.name.as_deref().unwrap_or("")];
            match record.kind {
                Kind::MsgStarted => waited.observe(&labels, record.y),
                Kind::MsgFinished | Kind::ItemFinished | Kind::TimerFinished => {
                    handled.observe(&labels, record.y)
                }
                _ => {}
            }
        }
    }
    [waited, handled].iter().try_for_each(|family| family.write(out))
}

fn node_name(picture: &Picture, nth: usize) -> String {
    picture.nodes[nth].model.header.as_ref().map_or_else(|| nth.to_string(), |header| header.node.to_string())
}

/// What one combination of labels has come to.
#[derive(Debug, Default)]
struct Series {
    /// The counter's value; of a histogram how many were seen.
    count: u64,
    sum: u128,
    buckets: [u64; BOUNDS.len()],
}

struct Family<'a> {
    kind: &'a str,
    name: &'a str,
    help: &'a str,
    labels: &'a [&'a str],
    series: BTreeMap<Vec<String>, Series>,
}

impl<'a> Family<'a> {
    fn new(kind: &'a str, name: &'a str, help: &'a str, labels: &'a [&'a str]) -> Self {
        Self { kind, name, help, labels, series: BTreeMap::new() }
    }

    fn counter(name: &'a str, help: &'a str, labels: &'a [&'a str]) -> Self {
        Self::new("counter", name, help, labels)
    }

    fn histogram(name: &'a str, help: &'a str, labels: &'a [&'a str]) -> Self {
        Self::new("histogram", name, help, labels)
    }

    fn series(&mut self, values: &[&str]) -> &mut Series {
        let mut key: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
            key.fill("other".to_owned());
        }
        self.series.entry(key).or_default()
    }

    fn add(&mut self, values: &[&str], by: u64) {
        let series = self.series(values);
        series.count = series.count.saturating_add(by);
    }

    fn observe(&mut self, values: &[&str], ns: u64) {
        let series = self.series(values);
        series.count += 1;
        series.sum += u128::from(ns);
        if let Some(bucket) = BOUNDS.iter().position(|bound| ns <= *bound) {
            series.buckets[bucket] += 1;
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = self.name;
        writeln!(out, "# HELP {name} {}\n# TYPE {name} {}", self.help, self.kind)?;
        for (values, series) in &self.series {
            let labels: Vec<String> = self
                .labels
                .iter()
                .zip(values)
                .map(|(key, value)| format!("{key}=\"{}\"", label(value)))
                .collect();
            let labels = labels.join(",");
            if self.kind != "histogram" {
                writeln!(out, "{name}{{{labels}}} {}", series.count)?;
                continue;
            }
            let mut below = 0;
            for (bound, count) in BOUNDS.iter().zip(series.buckets) {
                below += count;
                writeln!(out, "{name}_bucket{{{labels},le=\"{}\"}} {below}", *bound as f64 / 1e9)?;
            }
            writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count)?;
            writeln!(out, "{name}_sum{{{labels}}} {}", series.sum as f64 / 1e9)?;
            writeln!(out, "{name}_count{{{labels}}} {}", series.count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    fn text(picture: &Picture) -> String {
        let mut out = Vec::new();
        prometheus(picture, &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_request_is_counted_once_per_node() {
        let picture = fixtures::two_nodes(120);
        let text = text(&picture);
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<usize>().ok());
        let total = |start: &str| {
            text.lines().filter(|line| line.starts_with(start)).filter_map(value).sum::<usize>()
        };
        let lives: usize = picture.nodes.iter().map(|node| node.model.lives.len()).sum();
        assert_eq!(total("trunkline_requests_total{") + total("trunkline_requests_open{"), lives);
        assert_eq!(total("trunkline_request_seconds_count{"), total("trunkline_requests_total{"));
        assert!(text.contains("outcome=\"timed_out\"") && text.contains("wait=\"handler\""));
    }

    #[test]
    fn buckets_rise_and_the_last_holds_all() {
        let text = text(&fixtures::two_nodes(120));
        let mut before = 0;
        for line in text.lines().filter(|line| line.contains("_bucket{")) {
            let value: u64 = line.rsplit(' ').next().unwrap_or_default().parse().expect("a number");
            assert!(value >= before, "{line}");
            before = if line.contains("le=\"+Inf\"") { 0 } else { value };
        }
    }

    #[test]
    fn hostile_words_stay_in_their_label_and_cannot_make_series_without_end() {
        let text = text(&fixtures::with_words(20, "a\"} 1\nevil{x=\"\u{1b}"));
        assert!(!text.lines().any(|line| line.starts_with("evil")) && !text.contains('\u{1b}'));
        let mut family = Family::counter("f", "F.", &["x"]);
        (0..10_000).for_each(|nth| family.add(&[&nth.to_string()], 1));
        assert_eq!(family.series.len(), SERIES_MAX + 1);
        assert_eq!(family.series[&vec!["other".to_owned()]].count, 10_000 - SERIES_MAX as u64);
    }
}
