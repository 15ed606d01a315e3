//! A log for ShiViz: every event with the vector clock of the actor it happened in.
//!
//! The first line is the expression that ShiViz reads the rest with, the second would divide
//! executions and is empty. Clocks follow from the order within an actor, from causes, and from
//! requests that one node wrote and the other received.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::io::{self, Write};
use std::rc::Rc;

use super::lifeline::axis;
use crate::trace::kind::Kind;
use crate::trace::record::{EventId, Record};
use crate::trace::tools::model::Step;
use crate::trace::tools::picture::Picture;
use crate::trace::tools::show;

/// At most so many events: the earliest. ShiViz draws every one of them.
const EVENTS_MAX: usize = 20_000;
/// At most so many actors have a line of their own; the others of a node share one.
const HOSTS_MAX: usize = 64;

/// Writes the log.
pub fn shiviz(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "(?<host>\\S+) (?<clock>\\{{[^}}]*\\}}) (?<date>\\S+) (?<event>.*)\n")?;
    let log = Log::of(picture);
    log.clocked(|event, clock| {
        write!(out, "{} {{", log.hosts[event.host])?;
        let known = clock.iter().enumerate().filter(|(_, count)| **count > 0);
        for (nth, (host, count)) in known.enumerate() {
            let comma = if nth > 0 { "," } else { "" };
            write!(out, "{comma}\"{}\":{count}", log.hosts[host])?;
        }
        writeln!(out, "}} {} {}", event.at, words(event.record))
    })?;
    if log.left_out > 0 {
        writeln!(out, "trace {{\"trace\":1}} 0 {} later events are left out", log.left_out)?;
    }
    Ok(())
}

struct Event<'a> {
    record: &'a Record,
    at: i64,
    host: usize,
    /// Events that come before it, by their places in the log.
    after: Vec<usize>,
}

struct Log<'a> {
    hosts: Vec<String>,
    events: Vec<Event<'a>>,
    left_out: usize,
}

impl<'a> Log<'a> {
    fn of(picture: &'a Picture) -> Self {
        let mut all: Vec<(i64, usize, &Record)> = Vec::new();
        for (nth, node) in picture.nodes.iter().enumerate() {
            // What only counts bytes says nothing about order.
            let telling = node.records.iter().filter(|record| {
                !matches!(record.kind, Kind::SocketRead | Kind::SocketWrote | Kind::SocketFlushed)
            });
            all.extend(telling.map(|record| (axis(node, record.at), nth, record)));
        }
        all.sort_by_key(|(at, nth, record)| (*at, *nth, record.id));
        let left_out = all.len().saturating_sub(EVENTS_MAX);
        all.truncate(EVENTS_MAX);
        let mut numbers: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        let mut hosts: Vec<String> = Vec::new();
        let places: HashMap<(usize, EventId), usize> =
            all.iter().enumerate().map(|(place, (_, nth, record))| ((*nth, record.id), place)).collect();
        let mut events: Vec<Event<'a>> = Vec::with_capacity(all.len());
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (place, (at, nth, record)) in all.into_iter().enumerate() {
            let host = *numbers.entry((nth, record.actor)).or_insert_with(|| {
                let name = host_name(picture, nth, record.actor, hosts.len());
                hosts.iter().position(|host| *host == name).unwrap_or_else(|| {
                    hosts.push(name);
                    hosts.len() - 1
                })
            });
            let before = last.insert(host, place);
            let cause = record.cause.and_then(|cause| places.get(&(nth, cause)).copied());
            events.push(Event { record, at, host, after: before.into_iter().chain(cause).collect() });
        }
        let mut log = Self { hosts, events, left_out };
        log.join(picture, &places);
        log
    }

    /// What one node wrote comes before what the other received.
    fn join(&mut self, picture: &Picture, places: &HashMap<(usize, EventId), usize>) {
        for pair in &picture.pairs {
            let mark = |(node, key): (usize, EventId), step: Step| {
                let life = picture.nodes.get(node)?.model.lives.get(&key)?;
                places.get(&(node, life.marks[step as usize]?.id)).copied()
            };
            let asked = mark(pair.asked, Step::Written).zip(mark(pair.served, Step::Received));
            let back = mark(pair.asked, Step::FirstByte).or_else(|| mark(pair.asked, Step::Received));
            let answered = mark(pair.served, Step::Written).zip(back);
            for (before, after) in asked.into_iter().chain(answered) {
                self.events[after].after.push(before);
            }
        }
    }

    /// Gives every event once, each behind those that come before it, with its clock. Should a
    /// file claim that two events cause each other, the earlier one goes first.
    fn clocked(&self, mut give: impl FnMut(&Event<'a>, &[u64]) -> io::Result<()>) -> io::Result<()> {
        let mut waits: Vec<usize> = self.events.iter().map(|event| event.after.len()).collect();
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); self.events.len()];
        for (place, event) in self.events.iter().enumerate() {
            event.after.iter().for_each(|before| next[*before].push(place));
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..waits.len()).filter(|place| waits[*place] == 0).map(Reverse).collect();
        let mut left: BTreeSet<usize> = (0..self.events.len()).collect();
        let mut clocks: Vec<Option<Rc<[u64]>>> = vec![None; self.events.len()];
        let mut uses: Vec<usize> = next.iter().map(Vec::len).collect();
        let mut own: Vec<Rc<[u64]>> = vec![vec![0; self.hosts.len()].into(); self.hosts.len()];
        while let Some(first) = left.first().copied() {
            let place = loop {
                match ready.pop() {
                    Some(Reverse(place)) if left.contains(&place) => break place,
                    Some(_) => {}
                    None => break first,
                }
            };
            left.remove(&place);
            let event = &self.events[place];
            let mut clock = own[event.host].to_vec();
            for before in &event.after {
                if let Some(other) = &clocks[*before] {
                    clock
                        .iter_mut()
                        .zip(other.iter())
                        .for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
                }
                uses[*before] -= 1;
                if uses[*before] == 0 {
                    clocks[*before] = None;
                }
            }
            clock[event.host] = own[event.host][event.host] + 1;
            give(event, &clock)?;
            own[event.host] = clock.into();
            clocks[place] = (uses[place] > 0).then(|| own[event.host].clone());
            for later in &next[place] {
                waits[*later] -= 1;
                if waits[*later] == 0 {
                    ready.push(Reverse(*later));
                }
            }
        }
        Ok(())
    }
}

/// A name without spaces and quotes.
fn host_name(picture: &Picture, nth: usize, actor: u32, known: usize) -> String {
    let letter = (b'A' + nth.min(25) as u8) as char;
    if known >= HOSTS_MAX {
        return format!("{letter}/others");
    }
    let info = picture.nodes[nth].model.actors.get(&actor);
    match (actor, info.and_then(|info| info.name.as_deref())) {
        (0, _) => format!("{letter}/callers"),
        (_, Some(name)) => {
            let name: String =
                name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
            format!("{letter}/{name}-{actor}")
        }
        (_, None) => format!("{letter}/actor-{actor}"),
    }
}

fn words(record: &Record) -> String {
    let mut words = record.kind.name().to_owned();
    if record.conn != 0 {
        words.push_str(&format!(" c={}", record.conn));
    }
    if let Some(key) = record.key {
        words.push_str(&format!(" r={key}"));
    }
    for word in [&record.name, &record.proto, &record.how, &record.text].into_iter().flatten() {
        words.push(' ');
        words.push_str(&show::escape(word));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use crate::trace::tools::picture::Pair;

    type Clock = BTreeMap<String, u64>;

    fn log(picture: &Picture) -> Vec<(String, Clock, String)> {
        let mut out = Vec::new();
        shiviz(picture, &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.contains("(?<clock>")));
        assert_eq!(lines.next(), Some(""));
        let read = |line: &str| {
            let (host, rest) = line.split_once(' ').expect("a host");
            let (clock, event) = rest.split_once("} ").expect("a clock");
            (host.to_owned(), serde_json::from_str(&format!("{clock}}}")).expect("JSON"), event.to_owned())
        };
        lines.map(read).collect()
    }

    #[test]
    fn every_clock_counts_its_own_host_and_no_effect_comes_before_its_cause() {
        let log = log(&fixtures::two_nodes(60));
        let mut seen: Clock = BTreeMap::new();
        for (host, clock, event) in &log {
            let own = seen.entry(host.clone()).or_default();
            *own += 1;
            assert_eq!(clock[host], *own, "{event}");
            for (other, count) in clock {
                assert!(
                    seen.get(other).is_some_and(|seen| seen >= count),
                    "{event} knows of what is yet to come"
                );
            }
        }
    }

    #[test]
    fn a_question_is_received_after_it_was_written() {
        let picture = fixtures::two_nodes(1);
        let log = log(&picture);
        let received =
            log.iter().find(|(host, _, event)| host.starts_with("B/") && event.contains("req.received"));
        let written =
            log.iter().find(|(host, _, event)| host.starts_with("A/") && event.contains("req.written"));
        let (received, written) = (received.expect("received"), written.expect("written"));
        assert_eq!(received.1[&written.0], written.1[&written.0]);
    }

    #[test]
    fn events_that_claim_to_cause_each_other_are_all_written() {
        let mut picture = fixtures::two_nodes(3);
        let records = &mut picture.nodes[0].records;
        let (first, last) = (records[0].id, records[records.len() - 1].id);
        records[0].cause = Some(last);
        let end = records.len() - 1;
        records[end].cause = Some(first);
        let twisted = picture.pairs.iter().map(|pair| Pair { asked: pair.served, served: pair.asked });
        picture.pairs = twisted.collect();
        let telling = |record: &&Record| !record.kind.name().starts_with("socket.");
        let events: usize =
            picture.nodes.iter().map(|node| node.records.iter().filter(telling).count()).sum();
        assert_eq!(log(&picture).len(), events);
    }
}
