//! A Mermaid sequence diagram: the first requests, arrow by arrow, with their long waits as notes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::lifeline::{Cause, Lifeline, Lifelines, Place};
use super::text;
use crate::ids::Direction;
use crate::trace::record::EventId;
use crate::trace::tools::model::Step;
use crate::trace::tools::picture::Picture;
use crate::trace::tools::show;

/// At most so many arrows: beyond that nobody can read it.
const ARROWS_MAX: usize = 200;
/// At most so many sessions per node have a line of their own.
const SESSIONS_MAX: usize = 6;
/// Waits as long as this get a note.
const NOTE_NS: u64 = 5_000_000;

/// Writes the picture as text that begins with `sequenceDiagram`.
pub fn mermaid(picture: &Picture, out: &mut dyn Write) -> io::Result<()> {
    let lines = Lifelines::of(picture);
    // Only the requests that begin first can have a place; one draws two arrows at least.
    let mut first: BTreeMap<(i64, usize, EventId), Lifeline<'_>> = BTreeMap::new();
    let mut all = 0;
    for line in lines.iter() {
        all += 1;
        first.insert((line.from, line.node, line.life.key), line);
        if first.len() > ARROWS_MAX {
            first.pop_last();
        }
    }
    let mut drawing = Drawing::default();
    let mut drawn = 0;
    for line in first.values() {
        let before = drawing.arrows.len();
        drawing.request(line);
        if drawing.arrows.iter().filter(|arrow| arrow.is_arrow()).count() > ARROWS_MAX {
            drawing.arrows.truncate(before);
            break;
        }
        drawn += 1;
    }
    drawing.write(picture, all - drawn, out)
}

/// Who an arrow leads from or to. Their order is that of the columns, from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    rank: u32,
    node: usize,
    who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Caller,
    Protocol,
    Session(u32),
    Wire,
}

impl Column {
    fn new(node: usize, who: Who) -> Self {
        // The first node stands to the left of the wire, the others mirrored to its right.
        let from_wire = match who {
            Who::Wire => 0,
            Who::Session(_) => 1,
            Who::Protocol => 2,
            Who::Caller => 3,
        };
        match (node, who) {
            (_, Who::Wire) => Self { rank: 10, node: 0, who },
            (0, _) => Self { rank: 10 - from_wire, node, who },
            _ => Self {
                rank: u32::try_from(node).unwrap_or(0).saturating_mul(10).saturating_add(from_wire),
                node,
                who,
            },
        }
    }

    fn id(&self) -> String {
        match self.who {
            Who::Caller => format!("c{}", self.node),
            Who::Protocol => format!("p{}", self.node),
            Who::Session(conn) => format!("s{}x{conn}", self.node),
            Who::Wire => "w".to_owned(),
        }
    }
}

/// One line of the diagram.
#[derive(Debug)]
enum Arrow {
    Sent { at: i64, from: Column, to: Column, text: String, lost: bool },
    Note { at: i64, over: Column, text: String },
}

impl Arrow {
    fn is_arrow(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    fn at(&self) -> i64 {
        match self {
            Self::Sent { at, .. } | Self::Note { at, .. } => *at,
        }
    }
}

#[derive(Default)]
struct Drawing {
    arrows: Vec<Arrow>,
    sessions: BTreeMap<usize, BTreeSet<u32>>,
}

impl Drawing {
    /// Sessions beyond the first few share the line of connection 0.
    fn session(&mut self, node: usize, conn: u32) -> Column {
        let known = self.sessions.entry(node).or_default();
        let own = known.contains(&conn) || (known.len() < SESSIONS_MAX && known.insert(conn));
        Column::new(node, Who::Session(if own { conn } else { 0 }))
    }

    fn request(&mut self, line: &Lifeline<'_>) {
        let life = line.life;
        let wire = Column::new(0, Who::Wire);
        let ours = self.session(line.node, life.conn);
        let (caller, server) = (Column::new(line.node, Who::Caller), Column::new(line.node, Who::Protocol));
        let other = line
            .served
            .map(|(node, theirs)| (self.session(node, theirs.conn), Column::new(node, Who::Protocol)));
        let name = life.name.as_deref().unwrap_or("request");
        let question = match life.wire {
            Some(wire) => format!("{name} {wire}"),
            None => name.to_owned(),
        };
        let answer = format!("answer to {question}");
        let mut send = |at: i64, from: Column, to: Column, text: &str, lost: bool| {
            self.arrows.push(Arrow::Sent { at, from, to, text: text.to_owned(), lost });
        };
        for point in &line.points {
            let here = point.node == line.node;
            match (life.dir, here, point.step) {
                (Direction::Outbound, true, Some(Step::Created)) => {
                    send(point.at, caller, ours, &question, false)
                }
                (Direction::Outbound, true, Some(Step::Written)) => {
                    send(point.at, ours, wire, &question, false)
                }
                (Direction::Outbound, true, Some(Step::FirstByte)) => {
                    send(point.at, wire, ours, &answer, false)
                }
                (Direction::Outbound, true, Some(Step::Delivered)) => {
                    send(point.at, ours, caller, &answer, false)
                }
                (Direction::Outbound, true, None) if line.state() != "ok" => {
                    let took = show::duration(line.ns());
                    send(
                        point.at,
                        ours,
                        caller,
                        &format!("{} after {took} ({question})", line.state()),
                        true,
                    );
                }
                (_, served_here, Some(step)) if !served_here || life.dir == Direction::Inbound => {
                    let (session, protocol) = other.unwrap_or((ours, server));
                    match step {
                        Step::Received => send(point.at, wire, session, &question, false),
                        Step::Delivered => send(point.at, session, protocol, &question, false),
                        Step::Encoded => send(point.at, protocol, session, &answer, false),
                        Step::Written => send(point.at, session, wire, &answer, false),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        for wait in line.waits.iter().filter(|wait| wait.ns() >= NOTE_NS) {
            let there = wait.node != line.node;
            let over = match wait.place {
                Place::Wire => wire,
                Place::Caller => Column::new(wait.node, Who::Caller),
                Place::Protocol => Column::new(wait.node, Who::Protocol),
                Place::Session => other.filter(|_| there).map_or(ours, |other| other.0),
            };
            let words = match wait.cause {
                Cause::Peer => "no answer",
                cause => cause.name(),
            };
            let text = format!("{question} waited {} ({words})", show::duration(wait.ns()));
            self.arrows.push(Arrow::Note { at: wait.to, over, text });
        }
    }

    fn write(mut self, picture: &Picture, left_out: usize, out: &mut dyn Write) -> io::Result<()> {
        // A note stands before the arrow that ends its wait.
        self.arrows.sort_by_key(|arrow| (arrow.at(), arrow.is_arrow()));
        let mut columns = BTreeSet::new();
        for arrow in &self.arrows {
            match arrow {
                Arrow::Sent { from, to, .. } => columns.extend([*from, *to]),
                Arrow::Note { over, .. } => columns.extend([*over]),
            }
        }
        columns.insert(Column::new(0, Who::Wire));
        writeln!(out, "sequenceDiagram")?;
        for column in &columns {
            let node = picture.nodes.get(column.node).and_then(|node| node.model.header.as_ref());
            let node = node.map_or_else(|| column.node.to_string(), |header| show::peer(&header.node));
            let name = match column.who {
                Who::Wire => "wire".to_owned(),
                Who::Caller => format!("caller {node}"),
                Who::Protocol => format!("protocol {node}"),
                Who::Session(0) => format!("other sessions {node}"),
                Who::Session(conn) => format!("session {conn} {node}"),
            };
            writeln!(out, "    participant {} as {}", column.id(), text::mermaid(&name))?;
        }
        let origin = self.arrows.iter().map(Arrow::at).min().unwrap_or(0);
        for arrow in &self.arrows {
            match arrow {
                Arrow::Sent { at, from, to, text, lost } => {
                    let line = if *lost { "--x" } else { "->>" };
                    let at = show::duration(at.saturating_sub(origin).max(0) as u64);
                    let text = text::mermaid(&format!("{text}, at {at}"));
                    writeln!(out, "    {}{line}{}: {text}", from.id(), to.id())?;
                }
                Arrow::Note { over, text, .. } => {
                    writeln!(out, "    Note over {}: {}", over.id(), text::mermaid(text))?;
                }
            }
        }
        if left_out > 0 {
            writeln!(out, "    Note over w: {left_out} later requests are left out")?;
        } else if self.arrows.is_empty() {
            writeln!(out, "    Note over w: the trace holds no requests")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    fn diagram(picture: &Picture) -> String {
        let mut out = Vec::new();
        mermaid(picture, &mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_request_goes_through_both_nodes_and_back() {
        let diagram = diagram(&fixtures::two_nodes(2));
        let first = diagram.lines().filter(|line| line.contains("GetBlockHeaders 1,"));
        let arrows: Vec<&str> =
            first.filter_map(|line| line.trim().split_once(": ")).map(|part| part.0).collect();
        let way = [
            "c0->>s0x1",
            "s0x1->>w",
            "w->>s1x1",
            "s1x1->>p1",
            "p1->>s1x1",
            "s1x1->>w",
            "w->>s0x1",
            "s0x1->>c0",
        ];
        assert_eq!(arrows, way);
    }

    #[test]
    fn a_long_trace_is_cut_and_says_so() {
        let diagram = diagram(&fixtures::two_nodes(1_000));
        let arrows = diagram.lines().filter(|line| line.contains("->>") || line.contains("--x")).count();
        assert!(arrows <= ARROWS_MAX && arrows > ARROWS_MAX - 20, "{arrows}");
        assert!(diagram.ends_with("later requests are left out\n"), "{diagram}");
    }

    #[test]
    fn hostile_words_stay_on_their_line() {
        let words = "x\nparticipant evil;end #1 \"q\" %% <b> -->> end\u{1b}";
        let tame = diagram(&fixtures::with_words(20, "tame"));
        let hostile = diagram(&fixtures::with_words(20, words));
        assert_eq!(hostile.lines().count(), tame.lines().count());
        assert!(!hostile.contains(['\u{1b}', '"', '<', '%']));
    }
}
