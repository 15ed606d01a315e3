//! One line: JSON to a [`Line`].

use serde::Deserialize;

use super::Words;
use super::raw::{Raw, Text};
use super::scan::scan;
use crate::ids::Direction;
use crate::trace::kind::{Field, Kind};
use crate::trace::record::{EventId, Header, Line, Record};

/// What a line says.
pub(super) enum Parsed {
    /// Something this program knows.
    Line(Line),
    /// An event of a kind it does not know.
    Unknown,
}

/// The version that a header names, whatever else it says.
pub(super) fn version(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        ev: String,
        v: u64,
    }
    let found: Version = serde_json::from_slice(line).ok()?;
    (found.ev == "trace.start").then_some(found.v)
}

/// Reads one line.
pub(super) fn line(line: &[u8], words: &mut Words) -> Result<Parsed, String> {
    let raw = match scan(line) {
        Some(raw) => raw,
        None => serde_json::from_slice(line).map_err(|error| said(&error))?,
    };
    let Some(ev) = &raw.ev else { return Err("no ev".to_owned()) };
    let line = match &*ev.0 {
        "trace.start" => Line::Header(Header {
            version: raw.v,
            node: words.share(raw.node.as_ref().map_or("", |node| &node.0)),
            unix_ns: raw.unix_ns,
            reason: words.share(raw.reason.as_ref().map_or("", |reason| &reason.0)),
        }),
        "trace.lost" => Line::Lost { ring: raw.ring, n: raw.n },
        "trace.skipped" => Line::Skipped { requests: raw.requests, events: raw.events },
        "trace.end" => Line::End { events: raw.events, orphans: raw.orphans },
        name => match Kind::by_name(name) {
            Some(kind) => Line::Event(event(kind, &raw, words)?),
            None => return Ok(Parsed::Unknown),
        },
    };
    Ok(Parsed::Line(line))
}

/// What the parser says, which counts the lines of what it was given: always one.
fn said(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

fn event(kind: Kind, raw: &Raw<'_>, words: &mut Words) -> Result<Record, String> {
    let (x, y) = kind.fields();
    let mut share = |text: &Option<Text<'_>>| text.as_ref().map(|text| words.share(&text.0));
    Ok(Record {
        at: raw.t.ok_or("no t")?,
        id: id("id", &raw.id)?.ok_or("no id")?,
        cause: id("by", &raw.by)?,
        actor: raw.a,
        kind,
        conn: raw.c,
        dir: match raw.dir.as_ref().map(|dir| &*dir.0) {
            None => None,
            Some("out") => Some(Direction::Outbound),
            Some("in") => Some(Direction::Inbound),
            Some(_) => return Err("dir is neither out nor in".to_owned()),
        },
        key: id("r", &raw.r)?,
        name: share(&raw.name),
        proto: share(&raw.proto),
        how: share(&raw.how),
        x: number(x, raw),
        y: number(y, raw),
        text: if x == Field::Text || y == Field::Text { share(&raw.text) } else { None },
    })
}

fn id(field: &str, text: &Option<Text<'_>>) -> Result<Option<EventId>, String> {
    let Some(text) = text else { return Ok(None) };
    text.0.parse().map(Some).map_err(|()| format!("{field} is not RING.NUMBER"))
}

fn number(what: Field, raw: &Raw<'_>) -> u64 {
    match what {
        Field::None | Field::Text => 0,
        Field::Wire => raw.wire,
        Field::To => raw.to,
        Field::Bytes => raw.bytes,
        Field::Ns => raw.ns,
        Field::Stream => raw.stream,
        Field::Count => raw.n,
    }
}
