//! Chrome's trace event format, which ui.perfetto.dev and chrome://tracing open.
//!
//! A process per node and a track per actor with what it handled, one nested slice per request and
//! wait, arrows from causes to effects (across the wire as well), counters, and marks for what ended
//! or broke something.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use super::lifeline::{Lifeline, Lifelines, axis};
use super::text;
use crate::ids::Direction;
use crate::trace::kind::{Field, Kind};
use crate::trace::record::{EventId, Record};
use crate::trace::tools::model::{Mark, Step};
use crate::trace::tools::picture::{Node, Picture};

/// Writes the picture, event by event.
pub fn perfetto(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    let lines = Lifelines::of(picture);
    let mut events = Events { out, any: false };
    events.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
    for (nth, node) in picture.nodes.iter().enumerate() {
        names(&mut events, nth, node)?;
        slices(&mut events, nth, node, &lines)?;
        messages(&mut events, nth, node)?;
        connections(&mut events, nth, node)?;
        counters(&mut events, nth, node)?;
        for life in node.model.lives.values() {
            request(&mut events, nth, &lines.cut_one_side(nth, life))?;
        }
    }
    for (nth, line) in lines.iter().filter(|line| line.served.is_some()).enumerate() {
        wire_arrows(&mut events, picture, nth as u64 + 1, &line)?;
    }
    events.out.write_all(b"\n]}\n")
}

/// The list of events: commas between them, and the fields that all have.
struct Events<'a> {
    out: &'a mut dyn Write,
    any: bool,
}

impl Events<'_> {
    /// Opens an event; the caller writes more fields and closes it.
    fn open(
        &mut self,
        phase: &str,
        node: usize,
        actor: u32,
        at: i64,
        cat: &str,
        name: &str,
    ) -> io::Result<()> {
        if std::mem::replace(&mut self.any, true) {
            self.out.write_all(b",\n")?;
        }
        let pid = node + 1;
        write!(self.out, "{{\"ph\":\"{phase}\",\"pid\":{pid},\"tid\":{actor},\"ts\":")?;
        self.micros(at)?;
        write!(self.out, ",\"cat\":\"{cat}\",\"name\":")?;
        text::json(self.out, name)
    }

    /// Nanoseconds as the format's microseconds.
    fn micros(&mut self, ns: i64) -> io::Result<()> {
        let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
        write!(self.out, "{sign}{}.{:03}", ns / 1_000, ns % 1_000)
    }

    fn close(&mut self) -> io::Result<()> {
        self.out.write_all(b"}")
    }

    /// A slice as short as can be, for an arrow to begin or end at.
    fn touch(&mut self, node: usize, actor: u32, at: i64, cat: &str, name: &str) -> io::Result<()> {
        self.open("X", node, actor, at, cat, name)?;
        self.out.write_all(b",\"dur\":0.001}")
    }

    /// One end of an arrow: `s`, `t` or `f`.
    fn arrow(
        &mut self,
        phase: &str,
        node: usize,
        actor: u32,
        at: i64,
        cat: &str,
        id: &str,
    ) -> io::Result<()> {
        self.open(phase, node, actor, at, cat, cat)?;
        write!(self.out, ",\"id\":\"{id}\"")?;
        if phase == "f" {
            self.out.write_all(b",\"bp\":\"e\"")?;
        }
        self.close()
    }
}

fn names(events: &mut Events<'_>, nth: usize, node: &Node) -> io::Result<()> {
    let header = node.model.header.as_ref();
    let name = format!("node {}", header.map_or("?", |header| &header.node));
    events.open("M", nth, 0, 0, "__metadata", "process_name")?;
    events.out.write_all(b",\"args\":{\"name\":")?;
    text::json(events.out, &name)?;
    events.out.write_all(b"}}")?;
    let known = node.model.actors.keys().chain(&[0]);
    let actors: std::collections::BTreeSet<u32> =
        known.copied().chain(node.records.iter().map(|record| record.actor)).collect();
    for actor in actors {
        let info = node.model.actors.get(&actor);
        let name = match (actor, info.and_then(|info| info.name.as_deref())) {
            (0, _) => "callers".to_owned(),
            (_, Some(name)) => match info.map_or(0, |info| info.conn) {
                0 => format!("{name} {actor}"),
                conn => format!("{name} {actor}, connection {conn}"),
            },
            (_, None) => format!("actor {actor}"),
        };
        events.open("M", nth, actor, 0, "__metadata", "thread_name")?;
        events.out.write_all(b",\"args\":{\"name\":")?;
        text::json(events.out, &name)?;
        events.out.write_all(b"}}")?;
    }
    Ok(())
}

fn slices(events: &mut Events<'_>, nth: usize, node: &Node, lines: &Lifelines<'_>) -> io::Result<()> {
    for (actor, slices) in &lines.ground(nth).slices {
        for slice in slices {
            let name = slice.name.as_deref().unwrap_or("?");
            events.open("X", nth, *actor, axis(node, slice.from), slice.kind.name(), name)?;
            events.out.write_all(b",\"dur\":")?;
            events.micros(i64::try_from(slice.ns).unwrap_or(i64::MAX))?;
            write!(events.out, ",\"args\":{{\"id\":\"{}\"", slice.id)?;
            if let Some(cause) = slice.cause {
                write!(events.out, ",\"by\":\"{cause}\"")?;
            }
            if slice.open {
                events.out.write_all(b",\"unfinished\":true")?;
            }
            events.out.write_all(b"}}")?;
        }
    }
    Ok(())
}

/// Arrows from where a message was sent to where it was handled, and marks of what broke.
fn messages(events: &mut Events<'_>, nth: usize, node: &Node) -> io::Result<()> {
    let sent = node.records.iter().filter(|record| record.kind == Kind::MsgEnqueued);
    let sent: HashSet<EventId> = sent.map(|record| record.id).collect();
    let handled = node.records.iter().filter(|record| record.kind == Kind::MsgStarted);
    let handled: HashSet<EventId> =
        handled.filter_map(|record| record.cause).filter(|id| sent.contains(id)).collect();
    let mut begun = HashSet::new();
    for record in &node.records {
        let at = axis(node, record.at);
        match record.kind {
            Kind::MsgEnqueued if handled.contains(&record.id) => {
                let name = format!("send {}", record.name.as_deref().unwrap_or("?"));
                events.touch(nth, record.actor, at, "send", &name)?;
                events.arrow("s", nth, record.actor, at, "message", &format!("m{nth}.{}", record.id))?;
            }
            Kind::MsgStarted => {
                // A message is handled once; a file that says otherwise gets one arrow.
                let cause = record.cause.filter(|cause| handled.contains(cause) && begun.insert(*cause));
                if let Some(cause) = cause {
                    events.arrow("f", nth, record.actor, at, "message", &format!("m{nth}.{cause}"))?;
                }
            }
            kind if breaks(kind) => {
                let scope = if record.actor == 0 { "p" } else { "t" };
                events.open("i", nth, record.actor, at, "event", kind.name())?;
                write!(events.out, ",\"s\":\"{scope}\",\"args\":{{\"id\":\"{}\"", record.id)?;
                detail(events, record)?;
                events.out.write_all(b"}}")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What ends or breaks something, and is worth a mark of its own.
pub(super) fn breaks(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SubstreamReset
            | Kind::SubstreamFailed
            | Kind::GoAway
            | Kind::Violation
            | Kind::ActorPanicked
            | Kind::MsgRefused
            | Kind::MsgDropped
            | Kind::PollSlow
            | Kind::Stalled
            | Kind::ConnFailed
            | Kind::ConnClosed
            | Kind::SessionEnded
            | Kind::LaneDown
            | Kind::Misdeed
            | Kind::AnswerDropped
    )
}

fn detail(events: &mut Events<'_>, record: &Record) -> io::Result<()> {
    if record.conn != 0 {
        write!(events.out, ",\"connection\":{}", record.conn)?;
    }
    let (_, second) = record.kind.fields();
    let words =
        [("name", &record.name), ("proto", &record.proto), ("how", &record.how), ("text", &record.text)];
    for (key, word) in words {
        if let Some(word) = word {
            write!(events.out, ",\"{key}\":")?;
            text::json(events.out, word)?;
        }
    }
    if second == Field::Ns {
        write!(events.out, ",\"ns\":{}", record.y)?;
    }
    Ok(())
}

/// Each connection from when it was first heard of to its end, with the steps of its upgrade.
fn connections(events: &mut Events<'_>, nth: usize, node: &Node) -> io::Result<()> {
    for conn in node.model.conns.values() {
        let id = format!("c{nth}.{}", conn.number);
        let mut nested = |phase: &str, at: u64, name: &str| -> io::Result<()> {
            events.open(phase, nth, 0, axis(node, at), "connection", name)?;
            write!(events.out, ",\"id\":\"{id}\"}}")
        };
        let name = match &conn.peer {
            Some(peer) => format!("connection {} with {peer}", conn.number),
            None => format!("connection {}", conn.number),
        };
        nested("b", conn.began, &name)?;
        let mut at = conn.began;
        for (until, step, how, ns) in &conn.steps {
            let word = format!("{step}: {how}");
            at = at.max(until.saturating_sub(*ns));
            nested("b", at, &word)?;
            at = at.max(*until);
            nested("e", at, &word)?;
        }
        let ends = [&conn.closed, &conn.failed].map(|end| end.as_ref().map(|(at, _)| *at));
        let ended =
            conn.ended.as_ref().map(|(at, _, _)| *at).into_iter().chain(ends.into_iter().flatten()).max();
        nested("e", ended.unwrap_or(node.model.span.1).max(at), &name)?;
    }
    Ok(())
}

/// Bytes of each connection and messages in each mailbox, over time.
fn counters(events: &mut Events<'_>, nth: usize, node: &Node) -> io::Result<()> {
    let mut bytes: HashMap<u32, (u64, u64)> = HashMap::new();
    let mut depth: HashMap<u32, u64> = HashMap::new();
    for record in &node.records {
        let at = axis(node, record.at);
        let mailbox = match record.kind {
            Kind::SocketRead | Kind::SocketWrote => {
                let total = bytes.entry(record.conn).or_default();
                let way = if record.kind == Kind::SocketRead { &mut total.0 } else { &mut total.1 };
                *way = way.saturating_add(record.x);
                let total = *total;
                events.open("C", nth, 0, at, "bytes", &format!("bytes, connection {}", record.conn))?;
                write!(events.out, ",\"args\":{{\"in\":{},\"out\":{}}}}}", total.0, total.1)?;
                continue;
            }
            Kind::MsgEnqueued => {
                let to = u32::try_from(record.x).unwrap_or(0);
                *depth.entry(to).or_default() += 1;
                to
            }
            Kind::MsgDropped => u32::try_from(record.x).unwrap_or(0),
            Kind::MsgStarted | Kind::MsgAbandoned => record.actor,
            _ => continue,
        };
        let waiting = depth.entry(mailbox).or_default();
        if record.kind != Kind::MsgEnqueued {
            *waiting = waiting.saturating_sub(1);
        }
        let waiting = *waiting;
        events.open("C", nth, 0, at, "mailbox", &format!("mailbox, actor {mailbox}"))?;
        write!(events.out, ",\"args\":{{\"messages\":{waiting}}}}}")?;
    }
    Ok(())
}

/// A life line as one nested slice: the request, its waits in it, and its steps as marks.
fn request(events: &mut Events<'_>, nth: usize, line: &Lifeline<'_>) -> io::Result<()> {
    let life = line.life;
    let actor = life.marks.iter().flatten().map(|mark| mark.actor).find(|actor| *actor != 0).unwrap_or(0);
    let id = format!("{nth}.{}", life.key);
    let whose = if life.dir == Direction::Outbound { "ask" } else { "serve" };
    let name = format!("{whose} {}", life.name.as_deref().unwrap_or("request"));
    let nested = |events: &mut Events<'_>, phase: &str, at: i64, name: &str| -> io::Result<()> {
        events.open(phase, nth, actor, at, "request", name)?;
        write!(events.out, ",\"id\":\"{id}\"")
    };
    nested(events, "b", line.from, &name)?;
    write!(events.out, ",\"args\":{{\"r\":\"{}\",\"connection\":{},\"how\":", life.key, life.conn)?;
    text::json(events.out, line.state())?;
    if let Some(proto) = &life.proto {
        events.out.write_all(b",\"proto\":")?;
        text::json(events.out, proto)?;
    }
    if let Some(wire) = life.wire {
        write!(events.out, ",\"wire\":\"{wire}\"")?;
    }
    write!(events.out, ",\"bytes_asked\":{},\"bytes_answered\":{}}}}}", life.bytes.0, life.bytes.1)?;
    for wait in &line.waits {
        nested(events, "b", wait.from, wait.cause.name())?;
        events.close()?;
        nested(events, "e", wait.to, wait.cause.name())?;
        events.close()?;
    }
    for point in &line.points {
        let step = point.step.map_or("ended", Step::name);
        nested(events, "n", point.at, step)?;
        write!(events.out, ",\"args\":{{\"id\":\"{}\"}}}}", point.mark.id)?;
    }
    nested(events, "e", line.to, &name)?;
    events.close()
}

/// The question's way to the other node and the answer's way back, as arrows.
fn wire_arrows(events: &mut Events<'_>, picture: &Picture, nth: u64, line: &Lifeline<'_>) -> io::Result<()> {
    let Some((other, served)) = line.served else { return Ok(()) };
    let mut one = |way: &str,
                   from: (usize, Option<Mark>),
                   via: Option<(usize, Option<Mark>)>,
                   to: (usize, Option<Mark>)| {
        let (Some(sent), Some(arrived)) = (from.1, to.1) else { return Ok(()) };
        let id = format!("{way}{nth}");
        let stops = [("s", from.0, Some(sent)), ("t", via.map_or(0, |via| via.0), via.and_then(|via| via.1))];
        for (phase, node, mark) in stops.into_iter().chain([("f", to.0, Some(arrived))]) {
            let Some(mark) = mark else { continue };
            let at = axis(&picture.nodes[node], mark.at);
            events.touch(node, mark.actor, at, "wire", line.life.name.as_deref().unwrap_or("request"))?;
            events.arrow(phase, node, mark.actor, at, "wire", &id)?;
        }
        io::Result::Ok(())
    };
    let (asked, served) = (|step| line.life.marks[step as usize], |step| served.marks[step as usize]);
    one("q", (line.node, asked(Step::Written)), None, (other, served(Step::Received)))?;
    let first = Some((line.node, asked(Step::FirstByte)));
    one("a", (other, served(Step::Written)), first, (line.node, asked(Step::Received)))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use serde_json::Value;

    fn events(picture: &Picture) -> Vec<Value> {
        let mut out = Vec::new();
        perfetto(picture, &mut out).expect("a vector takes everything");
        let mut file: Value = serde_json::from_slice(&out).expect("valid JSON");
        serde_json::from_value(file["traceEvents"].take()).expect("a list")
    }

    fn text<'v>(event: &'v Value, field: &str) -> &'v str {
        event[field].as_str().unwrap_or_default()
    }

    #[test]
    fn slices_of_requests_nest_and_close() {
        let picture = fixtures::two_nodes(100);
        let mut open: HashMap<String, Vec<(String, f64)>> = HashMap::new();
        let mut requests = 0;
        for event in events(&picture) {
            let ts = event["ts"].as_f64().expect("every event has a time");
            let stack = open.entry(text(&event, "id").to_owned()).or_default();
            match text(&event, "ph") {
                "b" => {
                    requests += usize::from(stack.is_empty() && text(&event, "cat") == "request");
                    stack.push((text(&event, "name").to_owned(), ts));
                }
                "e" => {
                    let (name, from) = stack.pop().expect("an end has a beginning");
                    assert_eq!(name, text(&event, "name"));
                    assert!(from <= ts);
                }
                "n" => assert!(!stack.is_empty(), "{event}"),
                _ => {}
            }
        }
        assert!(open.values().all(Vec::is_empty));
        assert_eq!(requests, picture.nodes.iter().map(|node| node.model.lives.len()).sum::<usize>());
    }

    #[test]
    fn arrows_begin_and_end_once_in_slices_and_some_cross_the_wire() {
        let picture = fixtures::two_nodes(100);
        let events = events(&picture);
        let mut arrows: HashMap<&str, Vec<&Value>> = HashMap::new();
        let mut slices: HashSet<(u64, u64, String)> = HashSet::new();
        for event in &events {
            let track = (event["pid"].as_u64().expect("a process"), event["tid"].as_u64().expect("a thread"));
            match text(event, "ph") {
                "s" | "t" | "f" => arrows.entry(text(event, "id")).or_default().push(event),
                "X" => {
                    assert!(event["dur"].as_f64().is_some_and(|dur| dur >= 0.0), "{event}");
                    slices.insert((track.0, track.1, event["ts"].to_string()));
                }
                _ => {}
            }
        }
        let mut crossing = 0;
        for (id, ends) in &arrows {
            let phases: String = ends.iter().map(|end| text(end, "ph")).collect();
            let sorted = {
                let mut letters: Vec<char> = phases.chars().collect();
                letters.sort_by_key(|c| "stf".find(*c));
                letters
            };
            assert!(matches!(sorted.iter().collect::<String>().as_str(), "sf" | "stf"), "{id}: {phases}");
            let nodes: HashSet<u64> = ends.iter().filter_map(|end| end["pid"].as_u64()).collect();
            crossing += usize::from(nodes.len() > 1);
            for end in ends {
                let (pid, tid) =
                    (end["pid"].as_u64().expect("a process"), end["tid"].as_u64().expect("a thread"));
                assert!(
                    slices.contains(&(pid, tid, end["ts"].to_string())),
                    "an arrow ends at nothing: {end}"
                );
            }
        }
        assert!(crossing > picture.pairs.len(), "questions and most answers cross the wire");
    }

    #[test]
    fn tracks_have_names_and_what_broke_has_marks() {
        let events = events(&fixtures::two_nodes(20));
        let named = |name: &str| {
            let names = events.iter().filter(|event| text(event, "name") == name);
            names.map(|event| text(&event["args"], "name").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(named("process_name").len(), 2);
        let tracks = named("thread_name");
        assert!(tracks.contains(&"callers".to_owned()), "{tracks:?}");
        assert!(tracks.contains(&"PeerSession 2, connection 1".to_owned()), "{tracks:?}");
        for mark in ["goaway", "violation", "substream.reset", "actor.panicked", "session.ended"] {
            assert!(
                events.iter().any(|event| text(event, "ph") == "i" && text(event, "name") == mark),
                "{mark}"
            );
        }
        let depth = events.iter().filter(|event| text(event, "cat") == "mailbox");
        assert!(depth.clone().count() > 20 && depth.clone().any(|event| event["args"]["messages"] == 1));
        let negative = depth.filter(|event| event["args"]["messages"].as_i64().is_none_or(|n| n < 0)).count();
        assert_eq!(negative, 0);
    }
}
